"""XGBoost's trees as a model, boosted or a forest: kept as UBJ, and as ONNX for the server.

How each of the two is fitted is its candidate's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.model import onnx_export
from loan_default.risk.model.candidates.base import CandidateModel
from loan_default.risk.model.estimators import shares
from loan_default.risk.model.features import FeatureSpace

_FEW_ROWS = 100


@dataclass(frozen=True)
class XGBoostModel(CandidateModel):
    """Trees of XGBoost."""

    booster: Any  # xgboost.Booster; the library is imported where it is used

    file_name: ClassVar[str] = "model.ubj"
    requirements: ClassVar[Mapping[str, str]] = {"xgboost": "xgboost"}

    def margins(self, X: Matrix) -> Floats:
        margins = self.booster.inplace_predict(X, predict_type="margin", validate_features=False)
        return np.asarray(margins, dtype=np.float64)

    def contributions(self, X: Matrix) -> Floats:
        """Return exact tree SHAP (Lundberg et al. 2020); the last column that XGBoost adds, the bias, is left out."""
        import xgboost

        # One row: 0.2 ms for the matrix instead of 0.5; waking threads and comparing names take longer than filling it.
        rows = xgboost.DMatrix(X, nthread=1 if len(X) <= _FEW_ROWS else None)
        contributions = self.booster.predict(rows, pred_contribs=True, validate_features=False)
        return np.asarray(contributions, dtype=np.float64)[:, :-1]

    def importance(self) -> Floats:
        gains: Mapping[str, float] = self.booster.get_score(importance_type="total_gain")
        return shares(np.array([gains.get(name, 0.0) for name in self.booster.feature_names]))

    def save(self, folder: Path) -> None:
        self.booster.save_model(folder / self.file_name)
        (folder / onnx_export.FILE).write_bytes(onnx_export.to_onnx(self.booster))

    @classmethod
    def load(cls, folder: Path) -> Self:
        import xgboost

        # As many as a container may use, which XGBoost would read from files for each prediction.
        threads = {"nthread": pl.thread_pool_size()}
        return cls(xgboost.Booster(threads, model_file=folder / cls.file_name))


def tree_parameters(parameters: Mapping[str, float | int], space: FeatureSpace, seed: int) -> dict[str, Any]:
    """Return XGBoost's parameters: PD may only rise, or fall, with the fields of which the contract says so."""
    return {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "monotone_constraints": space.monotone,
        "seed": seed,
        **parameters,
    }
