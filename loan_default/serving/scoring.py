"""A request to score, from its body to its reply: by the version in production, or in part by the challenger.

Small requests that are plainly right are answered where they arrive; all others in a thread, so that nobody waits
for them. Who may ask, and what becomes of a reply, is `app`'s; decoding is `protocol`'s, a version `served_model`'s.
Tested in `serving/test_app.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from loan_default.risk.errors import BadInput
from loan_default.risk.model.offers import OFFERS_AT_MOST
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import ApplicationValue, Predictions
from loan_default.risk.model.timing import UNTIMED
from loan_default.serving.decision_id import DecisionIds, text_of, texts_of
from loan_default.serving.decision_records import Entry
from loan_default.serving.decoding import unpack
from loan_default.serving.http import JSON_HEADER, RawHeaders, Reply, Request
from loan_default.serving.offered_changes import find_all
from loan_default.serving.protocol import (
    DECISION_ID,
    EXPLAINED,
    JSON,
    DecodedBody,
    Output,
    Refused,
    encode,
    invalid,
    too_large,
)
from loan_default.serving.request_spans import Times
from loan_default.serving.routing import is_challenged
from loan_default.serving.served_model import ParsedRequest, ServedModel

if TYPE_CHECKING:
    from loan_default.serving.follower import FollowedAlias
    from loan_default.serving.work_queue import WorkQueue

_NO_VALUE = ApplicationValue(math.nan, math.nan)
INLINE_BYTES = 20_000  # about twenty applications; more would keep the others waiting


class RequestBody(msgspec.Struct, frozen=True, gc=False):
    """The body of a request to score, and its type; or what tensors were `decoded` to."""

    body: bytes = b""
    content_type: str = JSON
    decoded: DecodedBody | None = None

    def read_quickly(self, model: ServedModel, *, at_most: int) -> ParsedRequest | None:
        """Read applications of JSON or tensors that are plainly right; None where `read` has to look."""
        if self.decoded is not None:
            return model.read_decoded_quickly(self.decoded)
        return model.read_quickly(self.body, at_most=at_most)

    def read(self, model: ServedModel, *, at_most: int, until: float = math.inf) -> ParsedRequest:
        """Read the applications as a version does; raises as `ServedModel.read`."""
        if self.decoded is not None:
            return model.read_decoded(self.decoded)
        return model.read(self.body, self.content_type, at_most=at_most, until=until)


class VersionPredictions(msgspec.Struct, frozen=True):
    """Applications of one request, what one version predicts for them, and their positions in the body."""

    model: ServedModel
    applications: Applications
    predictions: Predictions
    positions: Sequence[int]
    times: Times


class ScoringReply(Reply, frozen=True):
    """The reply to a request to score, and what counters and prediction log still need of it.

    `first` is the id of the decision on the first application; one that `is_logged` needs no more of the log, also
    as it decided on nobody.
    """

    parts: Sequence[VersionPredictions] = ()
    first: int = 0
    output: Output = "full"
    is_logged: bool = False


class Scoring:
    """Answers requests to score by `production`, and by `challenger` a share (0 to 1) of the loans."""

    def __init__(
        self,
        production: FollowedAlias,
        challenger: FollowedAlias,
        challenger_share: float,
        queue: WorkQueue,
        *,
        rows: int,
        unpacked_bytes: int,
    ) -> None:
        """Answer requests of at most so many rows, and bytes of a body that came as gzip."""
        self._production, self._challenger, self._challenger_share = production, challenger, challenger_share
        self.queue, self.rows, self._unpacked_bytes = queue, rows, unpacked_bytes
        self._decision_ids = DecisionIds()

    @property
    def is_ready(self) -> bool:
        """Tell whether a version is loaded."""
        return self._production.model is not None

    @property
    def model(self) -> ServedModel:
        """Return the version in production; raise Refused where none is loaded."""
        model = self._production.model
        if model is None:
            sentence = f"Not ready: {self._production.trouble or 'no version is loaded yet.'}"
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5)
        return model

    def answer(self, request: Request) -> Reply | Awaitable[Reply]:
        """Answer a request, at once where nobody would have to wait for it.

        Raises:
            Refused: no version is loaded.
        """
        model = self.model
        return self.answer_inline(model, request) or self.queue.run(self.answer_closely, model, request)

    def answer_inline(self, model: ServedModel, request: Request) -> Reply | None:
        """Answer here and now; None where somebody would have to wait for it, or where it may have to be refused."""
        headers = request.headers
        if (
            len(request.body) > INLINE_BYTES
            or headers.get(b"content-type") != JSON_HEADER[1]
            or b"content-encoding" in headers
        ):
            return None
        return self.answer_quickly(model, RequestBody(request.body), request, time.perf_counter())

    def answer_quickly(
        self, model: ServedModel, request_body: RequestBody, request: Request, began: float
    ) -> Reply | None:
        """Answer a small body whose reading `began` then; None where it has to be read closely, or takes long."""
        parsed = request_body.read_quickly(model, at_most=self.rows)
        if parsed is None or parsed.output == "offers":
            return None
        return self._answer_by(model, parsed, request_body, request, began)

    def answer_closely(self, model: ServedModel, request: Request) -> Reply:
        """Answer a request that is large, or has to be read closely; in a thread, as long as somebody waits."""
        began, content_type = time.perf_counter(), request.headers.get(b"content-type", b"").decode("latin-1")
        return self.answer_body(model, RequestBody(self.unpacked(request), content_type), request, began)

    def answer_body(self, model: ServedModel, request_body: RequestBody, request: Request, began: float) -> Reply:
        """Answer a body whose reading `began` then; in a thread, as long as somebody waits."""
        until = time.monotonic() + self.queue.limits.work_seconds
        try:
            parsed = request_body.read(model, at_most=self.rows, until=until)
        except BadInput as error:
            raise invalid(str(error)) from error
        return self._answer_by(model, parsed, request_body, request, began, until)

    def unpacked(self, request: Request) -> bytes:
        """Return the body as it was before it was packed.

        Raises:
            Refused: it cannot be unpacked.
        """
        encoding = request.headers.get(b"content-encoding", b"").decode("latin-1")
        return unpack(request.body, encoding, at_most=self._unpacked_bytes)

    def _answer_by(
        self,
        model: ServedModel,
        parsed: ParsedRequest,
        request_body: RequestBody,
        request: Request,
        began: float,
        until: float = math.inf,
    ) -> Reply:
        """Answer by a version, or part of it by the challenger where the policy says so; reading `began` then."""
        applications, explained = parsed.applications, parsed.output in EXPLAINED
        with_offers = parsed.output == "offers"
        if with_offers and len(applications.ids) > OFFERS_AT_MOST:
            count = len(applications.ids)
            raise too_large(f"{count:,} applications in a request for offers; at most {OFFERS_AT_MOST} are taken.")
        positions = range(len(applications.ids))
        chosen = self._choose(applications.ids) if self._challenger_share else ()
        challenged = self._rescore(request_body, chosen, explained=explained) if chosen else None
        parts: tuple[VersionPredictions, ...]
        if challenged is None:
            parts = (_score(model, applications, positions, began, explained=explained, until=until),)
            predictions, version = parts[0].predictions, b"%d" % model.version
        else:
            others = sorted({*positions} - {*chosen})
            own = applications.take(others)
            rest = [_score(model, own, others, began, explained=explained, until=until)] if others else []
            parts = (*rest, challenged)
            versions = sorted(part.model.version for part in parts)
            predictions, version = merge(parts), b",".join(b"%d" % version for version in versions)
        headers: RawHeaders = (JSON_HEADER, (b"x-model-version", version))
        offers = find_all(request_body, parts, len(positions), self.rows, until) if with_offers else ()
        if request.is_what_if:  # nobody is decided on, so there is no id by which to find it
            body = encode(predictions, parsed.output, offers=offers)
            return ScoringReply(200, body, headers, parts, 0, parsed.output, is_logged=True)
        first = self._decision_ids.draw()
        decision_id = text_of(first)
        ids = texts_of(decision_id, positions) if len(positions) > 1 else (decision_id,)
        body = encode(predictions, parsed.output, ids, offers)
        headers = (*headers, (DECISION_ID, decision_id.encode()))
        return ScoringReply(200, body, headers, parts, first, parsed.output)

    def _choose(self, ids: Sequence[str | None]) -> Sequence[int]:
        """Choose the positions of the loans that go to the challenger, if there is one."""
        if self._challenger.model is None:
            return ()
        return [index for index, loan_id in enumerate(ids) if is_challenged(loan_id, self._challenger_share)]

    def _rescore(
        self, request_body: RequestBody, chosen: Sequence[int], *, explained: bool
    ) -> VersionPredictions | None:
        """Have the challenger answer some of the applications; None where its contract refuses them."""
        model = self._challenger.model
        if model is None:
            return None
        began = time.perf_counter()
        try:
            applications = request_body.read(model, at_most=self.rows).applications.take(chosen)
        except BadInput:
            return None
        return _score(model, applications, chosen, began, explained=explained)


def _score(
    model: ServedModel,
    applications: Applications,
    positions: Sequence[int],
    began: float,
    *,
    explained: bool,
    until: float = math.inf,
) -> VersionPredictions:
    read = time.perf_counter()
    X, predictions = model.decide(applications, until, with_timings=explained)
    scored = time.perf_counter()
    if explained:
        model.explain(applications, X, predictions, until)
    times = Times(began, read, scored, time.perf_counter())
    return VersionPredictions(model, applications, predictions, positions, times)


def entries_of(request: Request, reply: Reply) -> list[Entry]:
    """Return what the prediction log keeps of a reply; a canary is nobody's application."""
    if not isinstance(reply, ScoringReply) or reply.is_logged:
        return []
    return [
        Entry(
            reply.first,
            part.model.version,
            part.model.scorer,
            part.applications,
            part.predictions,
            reply.output,
            request.id,
            request.trace_id,
            request.caller,
            request.person,
            None if isinstance(part.positions, range) else part.positions,
        )
        for part in reply.parts
        if not part.model.is_canary(part.applications, part.predictions)
    ]


def merge(parts: Sequence[VersionPredictions]) -> Predictions:
    """Merge the predictions of all parts, each at the position of its application."""
    order = np.argsort([*chain.from_iterable(part.positions for part in parts)]).tolist()
    predictions = [_completed(part.predictions, parts) for part in parts]
    columns = [[*chain.from_iterable(column)] for column in zip(*predictions, strict=True)]
    return Predictions(*([column[index] for index in order if column] for column in columns))


def _completed(predictions: Predictions, parts: Sequence[VersionPredictions]) -> Predictions:
    """Give predictions of a version that has no value, or no hazards, empty ones, where another part has some."""
    rows = len(predictions.pds)
    if not predictions.values and any(part.predictions.values for part in parts):
        predictions = predictions._replace(values=[_NO_VALUE] * rows)
    if not predictions.timings and any(part.predictions.timings for part in parts):
        predictions = predictions._replace(timings=[UNTIMED] * rows)
    return predictions
