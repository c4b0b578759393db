"""XGBoost's trees as a model, boosted or a forest: kept as UBJ, and as ONNX for the server.

How each of the two is fitted is its candidate's file; exact contributions by a table are `tree_shap`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from pydantic_core import from_json

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.model import onnx_export
from loan_default.risk.model.candidates.base import CandidateModel
from loan_default.risk.model.estimators import shares
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.tree_margins import TreeMargins
from loan_default.risk.model.tree_shap import ShapTable, Trees

_FEW_ROWS = 100
# XGBoost's threads spin while they wait: two took 4 ms for 1,000 rows, and 15 on a busy machine.
_ROWS_OF_ONE_THREAD = 2_000
_AGREEMENT = 1e-5  # of contributions to the log-odds
_TRIAL_ROWS, _EXPLAINED_ROWS = 100, 8  # to be tried; contributions of XGBoost take long

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class XGBoostModel(CandidateModel):
    """Trees of XGBoost."""

    booster: Any  # xgboost.Booster; the library is imported where it is used

    file_name: ClassVar[str] = "model.ubj"
    requirements: ClassVar[Mapping[str, str]] = {"xgboost": "xgboost"}

    def margins(self, X: Matrix) -> Floats:
        """Return the log-odds (n,), to the bit as ONNX Runtime does: leaves in the trees' order, the base last."""
        few = self._of_few_rows if len(X) <= _ROWS_OF_ONE_THREAD else None
        leaves = self._sums_of_xgboost(X) if few is None else few.sums(X)
        return np.asarray(leaves + self._base, dtype=np.float64)

    def _sums_of_xgboost(self, X: Matrix) -> Matrix:
        nothing = np.zeros(len(X), dtype=np.float32)  # XGBoost would begin its sums with the base
        sums = self.booster.inplace_predict(X, predict_type="margin", validate_features=False, base_margin=nothing)
        return np.asarray(sums, dtype=np.float32)

    @cached_property
    def _trees(self) -> Trees:
        return trees_of(self.booster)

    @cached_property
    def _of_few_rows(self) -> TreeMargins | None:
        """Return what sums the leaves of some rows; None where the trees are too deep, or it does not as XGBoost."""
        few = TreeMargins.of_trees(self._trees)
        if few is None:
            return None
        X = self._trees.trial_rows(_TRIAL_ROWS, self.booster.num_features())
        if np.array_equal(few.sums(X), self._sums_of_xgboost(X)):
            return few
        log.warning("the comparisons do not give the same margins as XGBoost, so XGBoost gives those of few rows too")
        return None

    @cached_property
    def _base(self) -> np.float32:
        """Return the log-odds that the trees' leaves are added to."""
        return np.float32(onnx_export.base_margin(json.loads(self.booster.save_config())["learner"]))

    def contributions(self, X: Matrix) -> Floats:
        """Return exact tree SHAP (Lundberg et al. 2020): by the table, or by XGBoost where there is none."""
        return self.contributions_of_xgboost(X) if self.table is None else self.table.contributions(X)

    @cached_property
    def table(self) -> ShapTable | None:
        """Return the table of contributions; None where it would be too large, or does not say what XGBoost does."""
        columns = self.booster.num_features()
        table = ShapTable.of_trees(self._trees, columns)
        if table is None:
            return None
        X = self._trees.trial_rows(_EXPLAINED_ROWS, columns)
        difference = np.abs(table.contributions(X) - self.contributions_of_xgboost(X)).max()
        if difference <= _AGREEMENT:
            return table
        log.warning("the table of contributions differs from XGBoost's by %.1e, so XGBoost gives them", difference)
        return None

    def contributions_of_xgboost(self, X: Matrix) -> Floats:
        """Return the same by XGBoost; the last column that it adds, the bias, is left out."""
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


def trees_of(booster: Any) -> Trees:
    """Read the trees of a booster from its JSON, in which a leaf's value stands as its condition."""
    trees = from_json(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    sizes = [len(tree["left_children"]) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    begins = np.repeat(roots, sizes)

    def nodes(name: str) -> Any:
        return np.concatenate([tree[name] for tree in trees])

    left, right, condition = nodes("left_children"), nodes("right_children"), nodes("split_conditions")
    return Trees(
        roots=roots,
        left=np.where(left < 0, -1, left + begins),
        right=np.where(right < 0, -1, right + begins),
        column=nodes("split_indices"),
        threshold=condition.astype(np.float32),
        missing_left=nodes("default_left").astype(bool),
        cover=nodes("sum_hessian"),
        value=condition,
    )
