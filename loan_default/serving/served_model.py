"""A version that is ready to answer: loaded, checked with its canary, its trees in the quicker of two forms.

Following the alias is `follower`'s, a request `scoring`'s.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import orjson

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.errors import BadInput
from loan_default.risk.model import canary, hazard, onnx_export
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.model.online_features import Applications, QuickReader, check
from loan_default.risk.model.scorer import HAZARD_FOLDER, Predictions, Scorer
from loan_default.risk.policy import UnknownFields
from loan_default.serving.decoding import decode, form_of
from loan_default.serving.json_body import QuickDecoder, measure
from loan_default.serving.protocol import CSV, JSON, BodyLimits, DecodedBody, Output, Refused

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

AGREEMENT = 1e-6  # of PDs
_ROWS_FOR_ONNX = 50  # there both forms take 0.4 ms; of 1,000 rows ONNX Runtime takes 8.6 ms, the other 1.4
_ROWS_OF_PART = 1_000  # between parts it is seen whether somebody still waits
_TRIED_ROWS = 256

log = logging.getLogger(__name__)

Margins = Callable[[Matrix], Floats]


class ParsedRequest(msgspec.Struct, frozen=True):
    """The applications of a body, and the form of the answer."""

    applications: Applications
    output: Output


@dataclass(frozen=True)
class ServedModel:
    """A model version that answers. `quick` gives the margins of a few rows, the scorer's own model those of many.

    `quick_hazards` are the same of default and repayment, none where the version has no hazards.
    """

    version: int
    scorer: Scorer
    decoder: QuickDecoder
    reader: QuickReader
    quick: Margins
    quick_form: str
    canary: canary.Canary
    unknown_fields: UnknownFields
    quick_hazards: tuple[Margins, ...] = ()

    @classmethod
    def load(cls, folder: Path, version: int, unknown_fields: UnknownFields = "refuse") -> ServedModel:
        """Load a model package, choose the form of its trees, and see that it still gives its canary's PD.

        Raises:
            BadInput: the folder is no whole package, or the canary's PD has changed.
        """
        scorer, expected = Scorer.load(folder), canary.read(folder)
        reader = QuickReader(scorer.space, ignore_unknown=unknown_fields == "ignore")
        decoder = QuickDecoder(reader.form, reader.row_form)
        quick, form = _quicker(folder, scorer.model, scorer.kind, _trial_rows(scorer))
        hazards = _quick_hazards(folder, scorer)
        served = cls(version, scorer, decoder, reader, quick, form, expected, unknown_fields, hazards)
        (pd,) = served.predict(served._canary_application).pds
        if abs(pd - expected.pd) > AGREEMENT:
            raise BadInput(
                f"Version {version} gives its canary the PD {pd:.6f} and not {expected.pd:.6f}; register it again."
            )
        served.scorer.model.contributions(_trial_rows(scorer)[:1])  # the first explanation is slow
        return served

    def read_quickly(self, body: bytes, *, at_most: int) -> ParsedRequest | None:
        """Read a JSON body whose applications, at most so many, are plainly right; None where `read` has to look.

        Raises:
            Refused: the body would become more than so many applications.
        """
        measure(body, BodyLimits(at_most))
        request = self.decoder.decode(body)
        if request is None or not 0 < len(request.rows) <= at_most:
            return None
        applications = self.reader.read(request.names, request.rows)
        return None if applications is None else ParsedRequest(applications, request.output)

    def read(self, body: bytes, content_type: str, *, at_most: int, until: float = math.inf) -> ParsedRequest:
        """Read a body of any form, until then (`time.monotonic`) at the latest.

        Raises:
            Refused: it is no request, or one of too many applications, or it takes too long.
            BadInput: names row, field, value and what is allowed.
        """
        form = form_of(content_type)
        if form == JSON and (quick := self.read_quickly(body, at_most=at_most)) is not None:
            return quick
        decoded = decode(body, form, at_most=at_most, until=until)
        _check_time(until)
        applications = self.reader.read_texts(decoded.names, decoded.rows) if form == CSV else None
        return ParsedRequest(applications or self._check(decoded), decoded.output)

    def read_decoded_quickly(self, decoded: DecodedBody) -> ParsedRequest | None:
        """Read decoded values that are plainly right; None where `read_decoded` has to look."""
        applications = self.reader.read_values(decoded.names, decoded.rows)
        return None if applications is None else ParsedRequest(applications, decoded.output)

    def read_decoded(self, decoded: DecodedBody) -> ParsedRequest:
        """Read decoded values; raises BadInput as `read` does."""
        return self.read_decoded_quickly(decoded) or ParsedRequest(self._check(decoded), decoded.output)

    def _check(self, decoded: DecodedBody) -> Applications:
        ignore_unknown = self.unknown_fields == "ignore"
        return check(decoded.names, decoded.rows, self.scorer.contract, ignore_unknown=ignore_unknown)

    def predict(self, applications: Applications, *, with_reasons: bool = True, until: float = math.inf) -> Predictions:
        """Compute PD, score, decision and reasons of each application, until then (`time.monotonic`) at the latest.

        Raises:
            Refused: it takes too long; what is not computed yet costs nothing more.
        """
        X, predictions = self.decide(applications, until, with_timings=with_reasons)
        if with_reasons:
            self.explain(applications, X, predictions, until)
        return predictions

    def decide(
        self, applications: Applications, until: float, *, with_timings: bool = True
    ) -> tuple[Matrix, Predictions]:
        """Return the applications as the model sees them, and predictions without reasons; raises as `predict`."""
        X = self.reader.matrix(applications.values)
        margins = self._margins(X, until)
        hazards = self.scorer.hazard if with_timings else None
        hazard_margins = None if hazards is None else self._hazard_margins(hazards, X, until)
        return X, self.scorer.decide(applications.values, margins, hazard_margins)

    def explain(self, applications: Applications, X: Matrix, predictions: Predictions, until: float) -> None:
        """Put the reasons into what `decide` returned; raises as `predict`."""
        explained = self.scorer.explained(predictions) if predictions.decisions != ["approve"] else ()
        for start in range(0, len(explained), _ROWS_OF_PART):
            _check_time(until)
            self.scorer.explain(predictions, applications.values, X, explained[start : start + _ROWS_OF_PART])

    def _margins(self, X: Matrix, until: float) -> Floats:
        return self.quick(X) if len(X) <= _ROWS_FOR_ONNX else _by_parts(self.scorer.model.margins, X, until)

    def _hazard_margins(self, hazards: hazard.Hazard, X: Matrix, until: float) -> Floats:
        if len(X) <= _ROWS_FOR_ONNX:
            return hazards.margins_by(X, *self.quick_hazards)
        return _by_parts(hazards.margins, X, until)

    def is_canary(self, applications: Applications, predictions: Predictions) -> bool:
        """Tell whether an application is the canary, and so nobody's."""
        if applications.ids != [None] or abs(predictions.pds[0] - self.canary.pd) > AGREEMENT:
            return False
        return np.array_equal(applications.values, self._canary_application.values, equal_nan=True)

    @cached_property
    def _canary_application(self) -> Applications:
        """The canary's application as it is read."""
        body = orjson.dumps({"inputs": [self.canary.application]})
        return self.read(body, JSON, at_most=1).applications


def _check_time(until: float) -> None:
    if time.monotonic() > until:
        raise Refused(503, "TEMPORARILY_UNAVAILABLE", "The answer took too long; send fewer applications at once.", 5)


def _by_parts(margins: Margins, X: Matrix, until: float) -> Floats:
    """Compute margins of many rows, and see between parts whether somebody still waits."""
    parts = []
    for start in range(0, len(X), _ROWS_OF_PART):
        _check_time(until)
        parts.append(margins(X[start : start + _ROWS_OF_PART]))
    return np.concatenate(parts)


def _quick_hazards(folder: Path, scorer: Scorer) -> tuple[Margins, ...]:
    """Return the margins of default and repayment by ONNX Runtime, as `_quicker` does those of the model."""
    if scorer.hazard is None:
        return ()
    X = scorer.hazard.phase_rows(_trial_rows(scorer))
    models = {name: getattr(scorer.hazard, name) for name in hazard.MODELS}
    rows = len(X) // _TRIED_ROWS  # of one application
    return tuple(_quicker(folder / HAZARD_FOLDER / name, model, name, X, rows)[0] for name, model in models.items())


def _quicker(folder: Path, model: RiskModel, kind: str, X: Matrix, rows: int = 1) -> tuple[Margins, str]:
    """Return the margins by ONNX Runtime on one thread where the package has that form, else the model's.

    So it is too where the two are not the same to the bit on the rows `X`: which of them answers depends on how many
    rows come. One application has so many `rows`.
    """
    file = folder / onnx_export.FILE
    if not file.exists():
        return model.margins, kind
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])

    bound = _BoundRows(session, rows, X.shape[1])

    def margins(X: Matrix) -> Floats:
        if len(X) == rows:
            return bound(X)
        return np.asarray(session.run([onnx_export.OUTPUT], {onnx_export.INPUT: X})[0][:, 0], dtype=np.float64)

    singly = np.concatenate([margins(X[start : start + rows]) for start in range(0, len(X), rows)])
    if np.array_equal(margins(X), model.margins(X)) and np.array_equal(singly, margins(X)):
        return margins, "onnx"
    log.warning("ONNX Runtime does not give the same margins as %s, so that answers few rows as well", kind)
    return model.margins, kind


class _BoundRows(threading.local):
    """The margins of so many rows by ONNX Runtime, with buffers that are bound once a thread: in 2/3 of the time."""

    def __init__(self, session: InferenceSession, rows: int, columns: int) -> None:
        self._session, self._binding = session, session.io_binding()
        self._X, self._margins = np.empty((rows, columns), dtype=np.float32), np.empty((rows, 1), dtype=np.float32)
        for bind, name, buffer in (
            (self._binding.bind_input, onnx_export.INPUT, self._X),
            (self._binding.bind_output, onnx_export.OUTPUT, self._margins),
        ):
            bind(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)

    def __call__(self, X: Matrix) -> Floats:
        """Return the margins (rows,)."""
        self._X[:] = X
        self._session.run_with_iobinding(self._binding)
        return self._margins[:, 0].astype(np.float64)


def _trial_rows(scorer: Scorer) -> Matrix:
    """Draw rows from all over the allowed ranges, a third of the values missing (n, columns)."""
    rng = np.random.default_rng(0)
    fields = [scorer.contract.features[index] for index in scorer.space.field_of]
    low = np.array([field.range[0] if field.range else 0.0 for field in fields])
    high = np.array([field.range[1] if field.range else len(field.levels) for field in fields])
    # Powers crowd the values towards the low end, where most loans and thresholds are.
    X = low + (high - low) * rng.random((_TRIED_ROWS, len(fields))) ** rng.integers(1, 8, len(fields))
    categorical = np.array([field.kind != "number" for field in fields])
    X[:, categorical] = np.floor(X[:, categorical])
    X[rng.random(X.shape) < 1 / 3] = np.nan
    return np.asarray(X, dtype=np.float32)
