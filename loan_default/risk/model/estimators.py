"""The kinds of model, behind one shape: a margin (log-odds of default) and its exact contributions per column.

Trees (boosted, or XGBoost's own random forest) are kept as XGBoost UBJ and as ONNX, the logistic regression as skops:
nothing is pickled. Fitting them is `training`; turning a margin into a PD is `calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.errors import BadInput
from loan_default.risk.model import onnx_export

_FEW_ROWS = 100


class RiskModel(Protocol):
    """What scoring needs of a model. `X` is float32 (n, columns), NaN where a value is missing."""

    file_name: ClassVar[str]

    def margins(self, X: Matrix) -> Floats:
        """Log-odds of default (n,), not yet calibrated; higher is riskier."""
        ...

    def contributions(self, X: Matrix) -> Floats:
        """What each column adds to the margin (n, columns), against the average training loan; exact."""
        ...

    def importance(self) -> Floats:
        """How much the model uses each column (columns,), summing to 1."""
        ...

    def save(self, folder: Path) -> None:
        """Write `file_name` into the folder."""
        ...


@dataclass(frozen=True)
class TreeModel:
    """Boosted trees or a random forest, by XGBoost."""

    booster: Any  # xgboost.Booster; the library is imported where it is used
    file_name: ClassVar[str] = "model.ubj"

    def margins(self, X: Matrix) -> Floats:
        margins = self.booster.inplace_predict(X, predict_type="margin", validate_features=False)
        return np.asarray(margins, dtype=np.float64)

    def contributions(self, X: Matrix) -> Floats:
        """Exact tree SHAP (Lundberg et al. 2020); the last column that XGBoost adds, the bias, is left out."""
        import xgboost

        # One row: 0.2 ms for the matrix instead of 0.5; waking threads and comparing names take longer than filling it.
        rows = xgboost.DMatrix(X, nthread=1 if len(X) <= _FEW_ROWS else None)
        added = self.booster.predict(rows, pred_contribs=True, validate_features=False)
        return np.asarray(added, dtype=np.float64)[:, :-1]

    def importance(self) -> Floats:
        gains: Mapping[str, float] = self.booster.get_score(importance_type="total_gain")
        used = np.array([gains.get(name, 0.0) for name in self.booster.feature_names])
        return np.asarray(used / max(used.sum(), 1e-12), dtype=np.float64)

    def save(self, folder: Path) -> None:
        self.booster.save_model(folder / self.file_name)
        (folder / onnx_export.FILE).write_bytes(onnx_export.to_onnx(self.booster))

    @classmethod
    def load(cls, folder: Path) -> TreeModel:
        import xgboost

        # As many as a container may use, which XGBoost would read from files for each prediction.
        threads = {"nthread": pl.thread_pool_size()}
        return cls(xgboost.Booster(threads, model_file=folder / cls.file_name))


@dataclass(frozen=True)
class LinearModel:
    """Logistic regression on filled-in, transformed, standardised columns, by scikit-learn."""

    pipeline: Any  # sklearn.pipeline.Pipeline of `fill`, any transformers, `scale` and `logit`
    file_name: ClassVar[str] = "model.skops"

    def margins(self, X: Matrix) -> Floats:
        return np.asarray(self.pipeline.decision_function(X), dtype=np.float64)

    def contributions(self, X: Matrix) -> Floats:
        """Coefficient times standardised value: the exact SHAP values of a linear model, as the mean loan is 0.

        What the indicator of a missing value adds belongs to its column.
        """
        transformed = self.pipeline[:-1].transform(X) * self.pipeline["logit"].coef_[0]
        added = np.array(transformed[:, : X.shape[1]], dtype=np.float64)
        added[:, self._indicated] += transformed[:, X.shape[1] :]
        return added

    def importance(self) -> Floats:
        coefficients = np.abs(self.pipeline["logit"].coef_[0])
        columns = len(coefficients) - len(self._indicated)
        used = coefficients[:columns].copy()
        used[self._indicated] += coefficients[columns:]
        return np.asarray(used / max(used.sum(), 1e-12), dtype=np.float64)

    @property
    def _indicated(self) -> NDArray[np.intp]:
        """For each column that tells of a missing value, which column it tells of."""
        return np.asarray(self.pipeline["fill"].indicator_.features_, dtype=np.intp)

    def save(self, folder: Path) -> None:
        import skops.io

        skops.io.dump(self.pipeline, folder / self.file_name)

    @classmethod
    def load(cls, folder: Path) -> LinearModel:
        import skops.io

        # numpy.dtype: skops knows it for no safe type, and the imputer keeps that of its input
        return cls(skops.io.load(folder / cls.file_name, trusted=["numpy.dtype"]))


def load_model(folder: Path) -> RiskModel:
    """The model that stands in the folder.

    Raises:
        BadInput: the folder holds none.
    """
    kinds: tuple[type[TreeModel] | type[LinearModel], ...] = (TreeModel, LinearModel)
    for kind in kinds:
        if (folder / kind.file_name).exists():
            return kind.load(folder)
    raise BadInput(f"{folder} holds neither {TreeModel.file_name} nor {LinearModel.file_name}; train a model first.")
