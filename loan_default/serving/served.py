"""A version that is ready to answer: loaded, checked with its canary, its trees in the quicker of two forms.

Following the alias is `follower`, requests are `app`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loan_default.risk import canary, onnx_trees
from loan_default.risk.applications import QuickReader, Value, from_pandas
from loan_default.risk.cleaning import clean_applications
from loan_default.risk.errors import BadInput
from loan_default.risk.features import Matrix
from loan_default.risk.scoring import Answer, Scorer

AGREEMENT = 1e-6  # of PDs
_ROWS_FOR_ONNX = 100  # there both take 0.6 ms on 2 cores; beyond, XGBoost's threads win
_TRIED_ROWS = 256

Margins = Callable[[Matrix], NDArray[np.float64]]


class Row(NamedTuple):
    """A checked application: its id, if it came with one, and its features in the contract's order."""

    id: str | None
    features: Sequence[Value]


@dataclass(frozen=True)
class ServedModel:
    """A model version that answers. `quick` gives the margins of a few rows, the scorer's own model those of many."""

    version: int
    scorer: Scorer
    reader: QuickReader
    quick: Margins
    quick_form: str
    canary: canary.Canary

    @classmethod
    def load(cls, folder: Path, version: int) -> ServedModel:
        """Load a model package, choose the form of its trees, and see that it still gives its canary's PD.

        Raises:
            BadInput: the folder is no whole package, or the canary's PD has changed.
        """
        scorer, known = Scorer.load(folder), canary.read(folder)
        reader = QuickReader(scorer.contract)
        quick, form = _quicker(folder, scorer)
        served = cls(version, scorer, reader, quick, form, known)
        answer = served.answers(served.check([known.application]))[0]
        if abs(answer.pd - known.pd) > AGREEMENT:
            raise BadInput(
                f"Version {version} gives its canary the PD {answer.pd:.6f} and not {known.pd:.6f}; register it again."
            )
        served.scorer.model.contributions(_trial_rows(scorer)[:1])  # the first explanation is slow
        return served

    def rows(self, applications: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The applications, by the quick reader if all are plainly right, else by the closer look.

        Raises:
            BadInput: as `check`.
        """
        return self.read(applications) or self.check(applications)

    def read(self, applications: Sequence[Mapping[str, Any]]) -> list[Row] | None:
        """The applications, if all are plainly right; None where a closer look is needed."""
        rows = []
        for application in applications:
            features = self.reader.read(application)
            if features is None:
                return None
            rows.append(Row(self._id_of(application), features))
        return rows

    def check(self, applications: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The closer look.

        Raises:
            BadInput: names row, field, value and what is allowed.
        """
        import pandas as pd

        features = clean_applications(from_pandas(pd.DataFrame(applications)), self.scorer.contract).rows()
        return [Row(self._id_of(application), row) for application, row in zip(applications, features, strict=True)]

    def _id_of(self, application: Mapping[str, Any]) -> str | None:
        """The loan's id as text; a table reads a number of it as a float."""
        given = application.get(self.scorer.contract.id_name)
        if isinstance(given, float) and given.is_integer():
            given = int(given)
        return None if given is None else str(given)

    def answers(self, rows: Sequence[Row], *, with_reasons: bool = True) -> list[Answer]:
        """PD, score, decision and reasons of each row."""
        X = np.array([self.reader.encode(row.features) for row in rows], dtype=np.float32)
        margins = self.quick(X) if len(rows) <= _ROWS_FOR_ONNX else self.scorer.model.margins(X)
        return self.scorer.answers(X, margins, with_reasons=with_reasons)


def _quicker(folder: Path, scorer: Scorer) -> tuple[Margins, str]:
    """ONNX Runtime on one thread where the package has the trees in that form and they agree, else the model itself."""
    file = folder / onnx_trees.FILE
    if not file.exists():
        return scorer.model.margins, scorer.kind
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])

    def margins(X: Matrix) -> NDArray[np.float64]:
        return np.asarray(session.run(None, {"X": X})[0][:, 0], dtype=np.float64)

    X = _trial_rows(scorer)
    pds = scorer.calibration.pds
    if np.abs(pds(margins(X)) - pds(scorer.model.margins(X))).max() > AGREEMENT:
        return scorer.model.margins, scorer.kind
    return margins, "onnx"


def _trial_rows(scorer: Scorer) -> Matrix:
    """Rows from all over the allowed ranges, a third of the values missing (n, columns)."""
    rng = np.random.default_rng(0)
    fields = [scorer.contract.features[at] for at in scorer.space.field_of]
    low = np.array([field.range[0] if field.range else 0.0 for field in fields])
    high = np.array([field.range[1] if field.range else len(field.levels) for field in fields])
    # Powers crowd the values towards the low end, where most loans and thresholds are.
    X = low + (high - low) * rng.random((_TRIED_ROWS, len(fields))) ** rng.integers(1, 8, len(fields))
    whole = np.array([field.kind != "number" for field in fields])
    X[:, whole] = np.floor(X[:, whole])
    X[rng.random(X.shape) < 1 / 3] = np.nan
    return np.asarray(X, dtype=np.float32)
