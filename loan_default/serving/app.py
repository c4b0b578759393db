"""What the scoring server answers: routes, tokens, limits, and the way of a request from its body to its reply.

Small requests that are plainly right are answered where they arrive; all others in a thread, so that nobody waits
for them. Reading and writing is `connection`, decoding `protocol`, scoring `served_model`, swapping `follower`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from itertools import chain, count
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import msgspec
import numpy as np
import orjson

from loan_default.adapters.hosting import NO_PLATFORM, AuthenticatedBy, Hosting
from loan_default.adapters.tracking import MODEL_NAME
from loan_default.risk.errors import BadInput
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import Predictions, Scorer
from loan_default.risk.policy import ServingPolicy
from loan_default.serving import docs_page, idempotency, inference_protocol
from loan_default.serving.background_writer import BackgroundWriter
from loan_default.serving.connection import ConnectionLimits, Door
from loan_default.serving.decision_id import DecisionIds, decided_at, first_of, text_of
from loan_default.serving.decoding import unpack
from loan_default.serving.follower import FollowedAlias, Follower
from loan_default.serving.http import JSON_HEADER, Headers, Reply, Request, is_loopback_url
from loan_default.serving.idempotency import Claim, IdempotencyKeys
from loan_default.serving.inference_protocol import InferenceRequest
from loan_default.serving.metrics import Metrics
from loan_default.serving.prediction_log import Entry, PredictionLog
from loan_default.serving.problems import encode_refusal
from loan_default.serving.protocol import JSON, Output, Refused, encode, invalid
from loan_default.serving.request_spans import RequestSpans, Times
from loan_default.serving.routing import is_challenged
from loan_default.serving.served_model import ParsedRequest, ServedModel
from loan_default.serving.work_queue import QueueLimits, WorkQueue

if TYPE_CHECKING:
    from loan_default.serving.decisions import Decision
    from loan_default.serving.openapi import Description

log = logging.getLogger(__name__)

_FAILED = "request %s failed"
_REFUSED_CODES = {503: "TEMPORARILY_UNAVAILABLE"}
_INLINE_BYTES = 20_000  # about twenty applications; more would keep the others waiting
_RELOAD_SECONDS = 30.0  # after which a reload is answered although the registry has not
_DECISION = "/decisions/{decision_id}"
_ON_ITS_WAY = timedelta(seconds=0.5)  # a decision is at most, from the answer to the journal
_CLOSE_SECONDS = 1.0  # in which the last lines of the access log are written
_REFRESH_SECONDS = 1.0  # between two looks at what gauges show
_SETTLE_SECONDS = 0.005  # after which answers are counted and logged, together; longer would make others wait


@dataclass(frozen=True)
class Limits:
    """The limits of one request, of those that wait for a thread, and of connections."""

    rows: int = 10_000
    unpacked_bytes: int = 8_000_000  # of a body that came as gzip
    queue: QueueLimits = field(default_factory=QueueLimits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)


@dataclass(frozen=True)
class Tokens:
    """Names of callers by their bearer tokens; none of a kind means that its routes are open."""

    scoring: Mapping[str, str] = field(default_factory=dict, repr=False)
    admin: Mapping[str, str] = field(default_factory=dict, repr=False)


class RequestBody(NamedTuple):
    """The body of a request to score, and its type."""

    body: bytes
    content_type: str


class VersionPredictions(NamedTuple):
    """Applications of one request, what one version predicts for them, and their positions in the body."""

    model: ServedModel
    applications: Applications
    predictions: Predictions
    positions: Sequence[int]
    times: Times


class ScoringReply(Reply, frozen=True):
    """The reply to a request to score, and what counters and prediction log still need of it.

    `first` is the id of the decision on the first application.
    """

    parts: Sequence[VersionPredictions] = ()
    first: int = 0
    output: Output = "full"
    is_logged: bool = False


class Route(NamedTuple):
    """What answers a path, and which tokens open it; none where anybody may ask."""

    answer: Callable[[Request], Reply | Awaitable[Reply]]
    tokens: Mapping[str, str] = {}
    decides: bool = False


class AccessLine(msgspec.Struct):
    """One line of the access log."""

    time: datetime
    request_id: str
    method: str
    path: str
    status: int
    ms: float
    rows: int
    client: str
    trace_id: str


class AnsweredRequest(NamedTuple):
    """A request that was answered: when (seconds since 1970), in how many seconds, and how."""

    answered_at: float
    seconds: float
    request: Request
    reply: Reply

    @property
    def parts(self) -> Sequence[VersionPredictions]:
        """Return the predictions, of each version that made some."""
        return self.reply.parts if isinstance(self.reply, ScoringReply) else ()


class ScoringApp:
    """One worker's application."""

    def __init__(
        self,
        production: FollowedAlias,
        challenger: FollowedAlias,
        follower: Follower,
        log: PredictionLog,
        *,
        policy: ServingPolicy,
        limits: Limits,
        tokens: Tokens,
        reload: Callable[[], None],
        recall: Callable[[str], Decision],
        keys: IdempotencyKeys,
        workers: int = 1,
        model_name: str = MODEL_NAME,
        hosting: Hosting = NO_PLATFORM,
        authenticated_by: AuthenticatedBy = "tokens",
    ) -> None:
        """Answer by `production`, and by `challenger` where the policy says so.

        `reload` tells the other workers; `recall` finds a decision by its id, or raises `BadInput` where there is none;
        `keys` are those of requests that are not to be decided on twice.
        """
        self._production, self._challenger, self._follower = production, challenger, follower
        self._log, self._policy, self._limits, self._tokens = log, policy, limits, tokens
        self._reload, self._recall, self._workers, self._model_name = reload, recall, workers, model_name
        self._metrics, self._spans = Metrics(), RequestSpans()
        self._recent: list[AnsweredRequest] = []
        self._decision_ids, self._keys = DecisionIds(), keys
        self.door, self._queue = Door(limits.connections), WorkQueue(limits.queue)
        self._looks, self._recalls = ThreadPoolExecutor(1, "reload"), ThreadPoolExecutor(1, "recall")
        self._look: Future[None] | None = None  # at the registry, that reloads wait for
        has_tokens = tokens.scoring and tokens.admin
        self._is_open = authenticated_by == "tokens" and not has_tokens  # to all of this machine, and of no other
        self._ids: Iterator[int] = count()
        self._id_prefix = f"{os.getpid():x}-{int(time.time()):x}-"
        self._access = BackgroundWriter(sys.stdout.fileno())
        self._encoder = msgspec.json.Encoder()
        self._described: tuple[ServedModel, Description] | None = None
        self._routes: dict[tuple[str, str], Route] = {
            ("POST", "/invocations"): Route(self._invocations, tokens.scoring, decides=True),
            ("GET", "/ping"): Route(self._ping),
            ("GET", "/health"): Route(self._health),
            ("GET", "/version"): Route(self._version),
            ("GET", "/metrics"): Route(self._show_metrics),
            ("POST", "/admin/reload"): Route(self._admin_reload, tokens.admin),
            ("GET", _DECISION): Route(self._decision, tokens.admin),
            ("GET", "/openapi.json"): Route(self._openapi),
            ("GET", "/docs"): Route(self._docs),
            ("GET", "/v2"): Route(self._server_metadata),
            ("GET", "/v2/health/live"): Route(self._live),
            ("GET", "/v2/health/ready"): Route(self._ready),
        }
        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            self._routes |= {
                ("GET", model): Route(self._model_metadata),
                ("GET", f"{model}/ready"): Route(self._model_ready),
                ("POST", f"{model}/infer"): Route(self._infer, tokens.scoring, decides=True),
            }

        if hosting.predict_route:
            self._routes.setdefault(("POST", hosting.predict_route), self._routes["POST", "/invocations"])
        if hosting.health_route:
            self._routes.setdefault(("GET", hosting.health_route), self._routes["GET", "/health"])

    # --- the way of a request

    def admit(self, request: Request) -> Reply | None:
        """Name a request whose body has not come yet, and refuse it where its body would be read for nothing."""
        request.id = _caller_id(request.headers) or f"{self._id_prefix}{next(self._ids):x}"
        self._spans.begin(request)
        try:
            route = self._route(request)
            if self._is_open:
                _refuse_foreign(request.headers)
            if route.tokens:
                request.caller = _authorise(request.headers, route.tokens)
        except Refused as refused:
            return self._note(request, _refusal(refused, request))
        return None

    def answer(self, request: Request) -> Reply | Awaitable[Reply]:
        """Answer an admitted request, at once where nobody would have to wait for it."""
        try:
            route = self._route(request)
            if route.decides and idempotency.HEADER in request.headers:
                answer: Reply | Awaitable[Reply] = self._answer_once(request, route)
            else:
                answer = route.answer(request)
        except Refused as refused:
            answer = _refusal(refused, request)
        except Exception:  # the caller gets no trace; the log does
            log.exception(_FAILED, request.id)
            answer = _failure(request)
        if isinstance(answer, Reply) and not self._is_logged_first(answer):
            return self._note(request, answer)
        return self._answer_later(request, answer)

    async def _answer_later(self, request: Request, answer: Reply | Awaitable[Reply]) -> Reply:
        try:
            reply = answer if isinstance(answer, Reply) else await answer
            if self._is_logged_first(reply):
                reply = await self._log_first(request, reply)
        except Refused as refused:
            reply = _refusal(refused, request)
        except Exception:  # as above
            log.exception(_FAILED, request.id)
            reply = _failure(request)
        return self._note(request, reply)

    async def _answer_once(self, request: Request, route: Route) -> Reply:
        """Answer a request with an `Idempotency-Key`: the same has the same reply, whichever worker it comes to."""
        claim = Claim.of(request)
        if (replayed := await self._keys.begin(claim)) is not None:
            return replayed
        try:
            answer = route.answer(request)
            reply = answer if isinstance(answer, Reply) else await answer
            if isinstance(reply, ScoringReply):
                reply = await self._log_first(request, reply)
            await self._keys.finish(claim, reply)
        except BaseException:
            await self._keys.release(claim)
            raise
        return reply

    def refuse(self, request: Request, status: int, sentence: str) -> Reply:
        """Refuse a request that could not be read."""
        request.id = request.id or f"{self._id_prefix}{next(self._ids):x}"
        if not request.path:
            self._metrics.malformed.inc()
        refused = Refused(status, _REFUSED_CODES.get(status, "BAD_REQUEST"), sentence)
        return self._note(request, _refusal(refused, request))

    def _note(self, request: Request, reply: Reply) -> Reply:
        """Have a reply counted and logged a little later, with others; return it with the request's id."""
        if not self._recent:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self.settle)
        seconds = time.perf_counter() - request.received_at if request.received_at else 0.0
        self._recent.append(AnsweredRequest(time.time(), seconds, request, reply))
        headers = (*reply.headers, (b"x-request-id", request.id.encode()))
        if request.trace is not None:
            headers = (*headers, (b"traceresponse", request.trace.header))
        return Reply(reply.status, reply.body, headers)

    def _route(self, request: Request) -> Route:
        method = "GET" if request.method == "HEAD" else request.method
        if (route := self._routes.get((method, request.path))) is not None:
            return route
        template = _template(request.path)
        if (route := self._routes.get((method, template))) is not None:
            return route
        if allowed := [method for method, path in self._routes if path == template]:
            methods = ", ".join([*allowed, *(["HEAD"] if "GET" in allowed else [])])
            sentence = f"{request.path} takes {methods} only."
            raise Refused(405, "BAD_REQUEST", sentence, headers=((b"allow", methods.encode()),))
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"There is no such path; the paths are {self._paths}.")

    @property
    def _paths(self) -> str:
        return ", ".join(path for _, path in self._routes)

    # --- scoring

    @property
    def _model(self) -> ServedModel:
        """Return the version in production; raise Refused where none is loaded."""
        model = self._production.model
        if model is None:
            sentence = f"Not ready: {self._production.trouble or 'no version is loaded yet.'}"
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5)
        return model

    def _invocations(self, request: Request) -> Reply | Awaitable[Reply]:
        model = self._model
        return self._answer_inline(model, request) or self._queue.run(self._answer, model, request)

    def _answer_inline(self, model: ServedModel, request: Request) -> Reply | None:
        """Answer here and now; None where somebody would have to wait for it, or where it may have to be refused."""
        headers = request.headers
        if (
            len(request.body) > _INLINE_BYTES
            or headers.get(b"content-type") != JSON_HEADER[1]
            or b"content-encoding" in headers
        ):
            return None
        began = time.perf_counter()
        parsed = model.read_quickly(request.body, at_most=self._limits.rows)
        return None if parsed is None else self._answer_by(model, parsed, RequestBody(request.body, JSON), began)

    def _answer(self, model: ServedModel, request: Request) -> Reply:
        """Answer a request that is large, or has to be read closely; in a thread, as long as somebody waits."""
        began, until = time.perf_counter(), time.monotonic() + self._limits.queue.work_seconds
        content_type = request.headers.get(b"content-type", b"").decode("latin-1")
        request_body = RequestBody(self._unpacked(request), content_type)
        try:
            parsed = model.read(*request_body, at_most=self._limits.rows, until=until)
        except BadInput as error:
            raise invalid(str(error)) from error
        return self._answer_by(model, parsed, request_body, began, until)

    def _unpacked(self, request: Request) -> bytes:
        encoding = request.headers.get(b"content-encoding", b"").decode("latin-1")
        return unpack(request.body, encoding, at_most=self._limits.unpacked_bytes)

    def _answer_by(
        self,
        model: ServedModel,
        request: ParsedRequest,
        request_body: RequestBody,
        began: float,
        until: float = math.inf,
    ) -> Reply:
        """Answer by a version, or part of it by the challenger where the policy says so; reading `began` then."""
        applications, explained = request.applications, request.output == "full"
        positions = range(len(applications.ids))
        chosen = self._choose(self._policy.challenger_share, applications.ids)
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
            predictions, version = _merge(parts), b",".join(b"%d" % version for version in versions)
        first = self._decision_ids.draw()
        ids = [text_of(first, row) for row in positions]
        headers = (JSON_HEADER, (b"x-model-version", version), (b"x-decision-id", ids[0].encode()))
        return ScoringReply(200, encode(predictions, request.output, ids), headers, parts, first, request.output)

    def _choose(self, share: float, ids: Sequence[str | None]) -> Sequence[int]:
        """Choose the positions of the loans that go to the challenger, if there is one: a share from 0 to 1."""
        if not share or self._challenger.model is None:
            return ()
        return [index for index, loan_id in enumerate(ids) if is_challenged(loan_id, share)]

    def _rescore(
        self, request_body: RequestBody, chosen: Sequence[int], *, explained: bool
    ) -> VersionPredictions | None:
        """Have the challenger answer some of the applications; None where its contract refuses them."""
        model = self._challenger.model
        if model is None:
            return None
        began = time.perf_counter()
        try:
            applications = model.read(*request_body, at_most=self._limits.rows).applications.take(chosen)
        except BadInput:
            return None
        return _score(model, applications, chosen, began, explained=explained)

    # --- scoring by the Open Inference Protocol

    def _infer(self, request: Request) -> Reply | Awaitable[Reply]:
        model = self._named(request)
        if len(request.body) <= _INLINE_BYTES and b"content-encoding" not in request.headers:
            inference = self._read_inference(request)
            if reply := self._answer_inline(model, _as_invocation(request, inference)):
                return self._tensors(reply, inference)
        return self._queue.run(self._infer_closely, model, request)

    def _infer_closely(self, model: ServedModel, request: Request) -> Reply:
        inference = self._read_inference(request)
        return self._tensors(self._answer(model, _as_invocation(request, inference)), inference)

    def _read_inference(self, request: Request) -> InferenceRequest:
        length = request.headers.get(inference_protocol.HEADER_LENGTH)
        return inference_protocol.decode(self._unpacked(request), length, at_most=self._limits.rows)

    def _tensors(self, reply: Reply, inference: InferenceRequest) -> Reply:
        """Return the same reply in tensors."""
        assert isinstance(reply, ScoringReply)  # else it was refused
        version = ",".join(str(number) for number in sorted(part.model.version for part in reply.parts))
        answer = inference_protocol.encode(
            _merge(reply.parts),
            inference,
            model_name=self._model_name,
            version=version,
            reasons_at_most=max(part.model.scorer.policy.reasons_at_most for part in reply.parts),
        )
        headers = (*answer.headers, *(header for header in reply.headers if header[0].startswith(b"x-")))
        return ScoringReply(200, answer.body, headers, reply.parts, reply.first, reply.output)

    def _named(self, request: Request) -> ServedModel:
        """Return the version that a path names, which has to be in production."""
        target = inference_protocol.parse_path(request.path)
        assert target is not None  # as it has a route
        if target.name != self._model_name:
            sentence = f"There is no model {target.name!r}; the model is {self._model_name}."
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST", sentence)
        model = self._model
        if target.version not in (None, str(model.version)):
            sentence = f"Version {target.version!r} is not in production; version {model.version} is."
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST", sentence)
        return model

    def _server_metadata(self, request: Request) -> Reply:
        return Reply(200, orjson.dumps(inference_protocol.server_metadata(installed_version("loan-default"))))

    def _live(self, request: Request) -> Reply:
        return Reply(200, orjson.dumps({"live": True}))

    def _ready(self, request: Request) -> Reply:
        ready = self._production.model is not None
        return Reply(200 if ready else 503, orjson.dumps({"ready": ready}))

    def _model_metadata(self, request: Request) -> Reply:
        model = self._named(request)
        metadata = inference_protocol.model_metadata(model.scorer, name=self._model_name, version=model.version)
        return Reply(200, orjson.dumps(metadata))

    def _model_ready(self, request: Request) -> Reply:
        self._named(request)
        return Reply(200, orjson.dumps({"name": self._model_name, "ready": True}))

    # --- after the answer

    def settle(self) -> None:
        """Count and log what was answered lately; nobody waits for it, and together it costs less."""
        answered, self._recent = self._recent, []
        scored = [part for answer in answered for part in answer.parts]
        self._metrics.count_requests(
            [(self._route_name(answer.request), answer.reply.status) for answer in answered],
            [(answer.reply.status, answer.seconds) for answer in answered if self._is_to_score(answer.request)],
        )
        self._metrics.count_scores([(part.model.version, part.predictions) for part in scored])
        began = time.perf_counter()
        self._log.append([logged for answer in answered for logged in _entries(answer.request, answer.reply)])
        self._spans.end(answered, self._route_name, (began, time.perf_counter()))
        self._access.write(self._encoder.encode_lines(map(_line, answered)))

    def keep_metrics(self) -> None:
        """Keep the gauges current while the loop runs: another worker may be asked for them."""
        self._update_metrics()
        asyncio.get_running_loop().call_later(_REFRESH_SECONDS, self.keep_metrics)

    def _update_metrics(self) -> None:
        self._metrics.update((self._production, self._challenger), self._log.dropped)
        self._metrics.log_lag.set(self._log.lag_seconds)
        self._metrics.update_connections(self.door, self._queue, self._access.dropped)

    def _is_to_score(self, request: Request) -> bool:
        route = self._routes.get((request.method, _template(request.path)))
        return route is not None and route.answer in (self._invocations, self._infer)

    def _route_name(self, request: Request) -> str:
        if (request.method, request.path) in self._routes:
            return request.path
        template = _template(request.path)
        return template if (request.method, template) in self._routes else "other"

    def close(self) -> None:
        """Settle the last answers."""
        self.settle()
        self._queue.close()
        self._keys.close()
        self._looks.shutdown(wait=False)
        self._recalls.shutdown(wait=False)
        self._spans.close()
        self._access.close(_CLOSE_SECONDS)

    def _is_logged_first(self, reply: Reply) -> TypeGuard[ScoringReply]:
        """Tell whether a decision has to be durable before it is answered."""
        return self._log.syncs_each and isinstance(reply, ScoringReply) and not reply.is_logged

    async def _log_first(self, request: Request, reply: ScoringReply) -> ScoringReply:
        """Log a decision now, and wait until it is on the disk, with those of others, where that is asked for.

        Raises:
            Refused: it is not, so nobody may be told of it.
        """
        entries = _entries(request, reply)
        if entries and self._log.syncs_each:
            await self._log_durably(entries)
        else:
            self._log.append(entries)
        return msgspec.structs.replace(reply, is_logged=True)

    async def _log_durably(self, entries: Sequence[tuple[Scorer, Entry]]) -> None:
        loop = asyncio.get_running_loop()
        synced: asyncio.Future[str | None] = loop.create_future()

        def resolve(trouble: str | None) -> None:
            if not synced.done():
                synced.set_result(trouble)

        self._log.append(entries, lambda trouble: loop.call_soon_threadsafe(resolve, trouble))  # type: ignore[arg-type]
        try:
            trouble = await asyncio.wait_for(synced, self._limits.queue.work_seconds)
        except TimeoutError:
            trouble = f"the disk took longer than {self._limits.queue.work_seconds:g} s"
        if trouble:
            sentence = f"The decision cannot be recorded, so there is none: {trouble}."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5)

    # --- the other routes

    def _ping(self, request: Request) -> Reply:
        return Reply(200, b"\n")

    def _version(self, request: Request) -> Reply:
        return Reply(200, installed_version("mlflow-skinny").encode(), headers=((b"content-type", b"text/plain"),))

    def _health(self, request: Request) -> Reply:
        model = self._production.model
        health = {
            "status": "ready" if model else "not ready",
            "model": self._model_name,
            "alias": self._production.alias,
            "version": model.version if model else None,
            "trees": model.quick_form if model else None,
            "pid": os.getpid(),
            "workers": self._workers,
            "trouble": self._trouble,
            "log": {"trouble": self._log.trouble, "dropped_rows": self._log.dropped},
        }
        return Reply(200 if model else 503, orjson.dumps(health))

    def _show_metrics(self, request: Request) -> Reply:
        self.settle()
        self._update_metrics()
        kind = b"text/plain; version=0.0.4; charset=utf-8"
        return Reply(200, self._metrics.text(), headers=((b"content-type", kind),))

    async def _description(self) -> Description:
        """Describe the server while this version answers; it takes a moment, and is done once a version."""
        model = self._model
        if self._described is None or self._described[0] is not model:
            from loan_default.serving.openapi import Service, describe

            service = Service(self._model_name, self._limits.rows, secured=bool(self._tokens.scoring))
            self._described = model, await asyncio.to_thread(describe, model, service)
        return self._described[1]

    async def _openapi(self, request: Request) -> Reply:
        return Reply(200, (await self._description()).document)

    async def _docs(self, request: Request) -> Reply:
        return Reply(200, (await self._description()).page, docs_page.HEADERS)

    async def _admin_reload(self, request: Request) -> Reply:
        """Look at the registry in a thread that scores nothing; all who ask before it begins wait for the same look."""
        self._reload()
        if self._look is None or self._look.running() or self._look.done():  # what has begun may have looked too early
            self._look = self._looks.submit(self._follower.look, again=True)
        with suppress(TimeoutError):  # health tells since when the registry does not answer
            async with asyncio.timeout(_RELOAD_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._look))
        health = self._health(request)
        return Reply(503 if self._trouble else health.status, health.body)

    async def _decision(self, request: Request) -> Reply:
        decision_id = request.path.removeprefix(_DECISION.partition("{")[0])
        try:
            first, _ = first_of(decision_id)
        except BadInput as error:
            raise invalid(str(error)) from error
        self.settle()
        if datetime.now(UTC) - decided_at(first) < _ON_ITS_WAY:
            await asyncio.sleep(_ON_ITS_WAY.total_seconds())
        try:
            decision = await asyncio.get_running_loop().run_in_executor(self._recalls, self._recall, decision_id)
        except BadInput as error:
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST", str(error)) from error
        except OSError as error:  # the server of a bucket may only add to the log
            sentence = f"The log cannot be read here; where it can, loan-default decision {decision_id} tells: {error}"
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence) from error
        return Reply(200, orjson.dumps(decision))

    @property
    def _trouble(self) -> str | None:
        return self._follower.hang or self._production.trouble


def _score(
    model: ServedModel,
    applications: Applications,
    positions: Sequence[int],
    began: float,
    *,
    explained: bool,
    until: float = math.inf,
) -> VersionPredictions:
    read, explain_seconds = time.perf_counter(), list[float]()
    predictions = model.predict(applications, with_reasons=explained, until=until, explain_seconds=explain_seconds)
    ended = time.perf_counter()
    times = Times(began, read, ended - sum(explain_seconds), ended)
    return VersionPredictions(model, applications, predictions, positions, times)


def _entries(request: Request, reply: Reply) -> list[tuple[Scorer, Entry]]:
    """Return what the prediction log keeps of a reply; a canary is nobody's application."""
    if not isinstance(reply, ScoringReply) or reply.is_logged:
        return []
    return [
        (part.model.scorer, _entry(request, reply, part))
        for part in reply.parts
        if not part.model.is_canary(part.applications, part.predictions)
    ]


def _entry(request: Request, reply: ScoringReply, part: VersionPredictions) -> Entry:
    return Entry.of(
        reply.first,
        part.model.version,
        part.applications,
        part.predictions,
        output=reply.output,
        request_id=request.id,
        trace_id=request.trace_id,
        caller=request.caller,
        positions=None if isinstance(part.positions, range) else part.positions,
    )


def _merge(parts: Sequence[VersionPredictions]) -> Predictions:
    """Merge the predictions of all parts, each at the position of its application."""
    order = np.argsort([*chain.from_iterable(part.positions for part in parts)]).tolist()
    columns = [[*chain.from_iterable(column)] for column in zip(*(part.predictions for part in parts), strict=True)]
    return Predictions(*([column[index] for index in order] for column in columns))


def _refusal(refused: Refused, request: Request) -> Reply:
    retry = ((b"retry-after", b"%d" % refused.retry_after),) if refused.retry_after else ()
    body, headers = encode_refusal(refused, request.path, request.headers)
    return Reply(refused.status, body, (*headers, *refused.headers, *retry))


def _failure(request: Request) -> Reply:
    """Answer a request that met an error of ours."""
    sentence = f"The server failed; its log tells why of request {request.id}."
    return _refusal(Refused(500, "INTERNAL_ERROR", sentence), request)


def _line(answer: AnsweredRequest) -> AccessLine:
    request, rows = answer.request, sum(len(part.positions) for part in answer.parts)
    time, milliseconds = datetime.fromtimestamp(answer.answered_at, UTC), round(1000 * answer.seconds, 3)
    status = answer.reply.status
    path, client, trace_id = request.path, request.client, request.trace_id
    return AccessLine(time, request.id, request.method, path, status, milliseconds, rows, client, trace_id)


def _authorise(headers: Headers, tokens: Mapping[str, str]) -> str:
    """Return the name of the caller, or refuse one without a token; each is compared, in constant time."""
    scheme, _, token_sent = headers.get(b"authorization", b"").partition(b" ")
    matches = [name for token, name in tokens.items() if hmac.compare_digest(token_sent.strip(), token.encode())]
    if scheme.lower() == b"bearer" and matches:
        return matches[0]
    sentence = "A valid token is needed: Authorization: Bearer TOKEN."
    raise Refused(401, "UNAUTHENTICATED", sentence, headers=((b"www-authenticate", b'Bearer realm="loan-default"'),))


def _refuse_foreign(headers: Headers) -> None:
    """Refuse what a page of the web makes a browser send: without tokens it would be let in as this machine's."""
    host, origin = headers.get(b"host"), headers.get(b"origin")
    if host is not None and not is_loopback_url(b"//" + host):
        header, value = "Host", host
    elif origin is not None and not is_loopback_url(origin):
        header, value = "Origin", origin
    else:
        return
    sentence = (
        f"{header} is {value.decode('latin-1')[:100]!r}; without tokens only this machine is answered, by its own "
        "names; set LOAN_DEFAULT_API_TOKENS and LOAN_DEFAULT_ADMIN_TOKENS to answer others."
    )
    raise Refused(403, "PERMISSION_DENIED", sentence)


def _template(path: str) -> str:
    """Return the path as the routes have it, where it names a model or a decision."""
    if path.startswith(_DECISION.partition("{")[0]):
        return _DECISION
    target = inference_protocol.parse_path(path)
    return path if target is None else target.template


def _as_invocation(request: Request, inference: InferenceRequest) -> Request:
    """Return a request to infer in MLflow's form."""
    headers = {**request.headers, JSON_HEADER[0]: JSON_HEADER[1]}
    headers.pop(b"content-encoding", None)
    return Request(
        request.method, request.path, request.query, headers, request.client, inference.body,
        request.received_at, request.id, request.caller
    )  # fmt: skip


def _caller_id(headers: Headers) -> str:
    """Return the caller's own id of the request, if it is short and plain."""
    request_id = headers.get(b"x-request-id", b"")
    if not 0 < len(request_id) <= 100 or not request_id.isascii():
        return ""
    text = request_id.decode()
    return text if text.isprintable() else ""
