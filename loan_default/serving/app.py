"""What the scoring server answers: routes, who may ask, and what becomes of a reply once it is made.

Reading and writing is `connection`, scoring `scoring`, tensors `inference_routes`, swapping versions `follower`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from itertools import count
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import msgspec
import orjson

from loan_default.adapters.hosting import NO_PLATFORM, AuthenticatedBy, Hosting
from loan_default.adapters.tracking import MODEL_NAME
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import ServingPolicy
from loan_default.serving import docs_page, idempotency, inference_protocol
from loan_default.serving.access import Tokens, authorise, refuse_foreign
from loan_default.serving.background_writer import BackgroundWriter
from loan_default.serving.connection import ConnectionLimits, Connections
from loan_default.serving.decision_id import decided_at, first_of
from loan_default.serving.decision_records import Entry
from loan_default.serving.follower import FollowedAlias, Follower
from loan_default.serving.http import Headers, Reply, Request, Route
from loan_default.serving.idempotency import Claim, IdempotencyKeys
from loan_default.serving.inference_routes import InferenceRoutes
from loan_default.serving.metrics import Metrics
from loan_default.serving.prediction_log import PredictionLog
from loan_default.serving.problems import encode_refusal
from loan_default.serving.protocol import Refused, invalid
from loan_default.serving.purpose import read_purpose
from loan_default.serving.ready_workers import ReadyWorkers
from loan_default.serving.request_spans import RequestSpans
from loan_default.serving.scoring import Scoring, ScoringReply, VersionPredictions, entries_of
from loan_default.serving.served_model import ServedModel
from loan_default.serving.work_queue import QueueLimits, WorkQueue

if TYPE_CHECKING:
    from loan_default.serving.decisions import Decision
    from loan_default.serving.openapi import Description

log = logging.getLogger(__name__)

Recorded = TypeVar("Recorded", bound=Reply)

_FAILED = "request %s failed"
_REFUSED_CODES = {503: "TEMPORARILY_UNAVAILABLE"}
_RELOAD_SECONDS = 30.0  # after which a reload is answered although the registry has not
_DECISIONS = "/decisions/"
_DECISION = f"{_DECISIONS}{{decision_id}}"
_ON_ITS_WAY = timedelta(seconds=0.5)  # a decision is at most, from the answer to the journal
_CLOSE_SECONDS = 1.0  # in which the last lines of the access log are written
_READY_SECONDS = 0.02  # between two looks at whether the version is loaded that another worker has
_REFRESH_SECONDS = 1.0  # between two looks at what gauges show
_SETTLE_SECONDS = 0.02  # after which answers are counted and logged, together; longer would make others wait


@dataclass(frozen=True)
class Limits:
    """The limits of one request, of those that wait for a thread, and of connections."""

    rows: int = 10_000
    unpacked_bytes: int = 8_000_000  # of a body that came as gzip
    queue: QueueLimits = field(default_factory=QueueLimits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)


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


class AnsweredRequest(msgspec.Struct, frozen=True):
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
        ready_workers: ReadyWorkers | None = None,
        model_name: str = MODEL_NAME,
        hosting: Hosting = NO_PLATFORM,
        authenticated_by: AuthenticatedBy = "tokens",
    ) -> None:
        """Answer by `production`, and by `challenger` where the policy says so.

        `reload` tells the other workers; `recall` finds a decision by its id, or raises `BadInput` where there is none;
        `keys` are those of requests that are not to be decided on twice; `ready_workers` are those of this server,
        where it has several.
        """
        self._production, self._challenger, self._follower = production, challenger, follower
        self._log, self._limits, self._tokens = log, limits, tokens
        self._reload, self._recall, self._workers, self._model_name = reload, recall, workers, model_name
        self._ready_workers = ready_workers
        self._metrics, self._spans = Metrics(lambda: self._log.status), RequestSpans()
        self._recent: list[AnsweredRequest] = []
        self.connections, self._queue, self._keys = Connections(limits.connections), WorkQueue(limits.queue), keys
        self._scoring = Scoring(
            production,
            challenger,
            policy.challenger_share,
            self._queue,
            rows=limits.rows,
            unpacked_bytes=limits.unpacked_bytes,
        )
        self._looks, self._recalls = ThreadPoolExecutor(1, "reload"), ThreadPoolExecutor(1, "recall")
        self._look: Future[None] | None = None  # at the registry, that reloads wait for
        has_tokens = tokens.scoring and tokens.admin
        self._is_open = authenticated_by == "tokens" and not has_tokens  # to all of this machine, and of no other
        self._ids: Iterator[int] = count()
        self._id_prefix = f"{os.getpid():x}-{int(time.time()):x}-"
        self._access = BackgroundWriter(sys.stdout.fileno())
        self._encoder = msgspec.json.Encoder()
        self._described: tuple[ServedModel, Description] | None = None
        self._routes = {(route.method, route.path): route for route in self._list_routes(hosting)}

    def _list_routes(self, hosting: Hosting) -> list[Route]:
        tokens = self._tokens
        score = Route("POST", "/invocations", self._scoring.answer, tokens.scoring, decides=True)
        health = Route("GET", "/health", self._health)
        routes = [
            score,
            Route("GET", "/ping", self._ping),
            health,
            Route("GET", "/version", self._version),
            Route("GET", "/metrics", self._show_metrics),
            Route("POST", "/admin/reload", self._admin_reload, tokens.admin),
            Route("GET", _DECISION, self._decision, tokens.admin),
            Route("GET", "/openapi.json", self._openapi),
            Route("GET", "/docs", self._docs),
            *InferenceRoutes(self._scoring, self._model_name).routes(tokens.scoring),
        ]
        own = {(route.method, route.path) for route in routes}
        hosted = [(hosting.predict_route, score), (hosting.health_route, health)]
        routes += [route._replace(path=path) for path, route in hosted if path and (route.method, path) not in own]
        return routes

    # --- the way of a request

    def admit(self, request: Request) -> Reply | None:
        """Name a request whose body has not come yet, and refuse it where its body would be read for nothing."""
        request.id = _caller_id(request.headers) or f"{self._id_prefix}{next(self._ids):x}"
        self._spans.begin(request)
        try:
            route = request.route = self._find_route(request)
            if self._is_open:
                refuse_foreign(request.headers)
            if route.tokens:
                request.caller = authorise(request.headers, route.tokens)
            if route.decides:
                read_purpose(request)
        except Refused as refused:
            return self._note(request, _refusal(refused, request))
        return None

    def answer(self, request: Request) -> Reply | Awaitable[Reply]:
        """Answer an admitted request, at once where nobody would have to wait for it."""
        route = request.route
        assert route is not None  # else it was refused
        try:
            if route.decides and idempotency.HEADER in request.headers:
                answer: Reply | Awaitable[Reply] = self._answer_once(request, route)
            else:
                answer = self._ask(request, route)
        except Refused as refused:
            answer = _refusal(refused, request)
        except Exception:  # the caller gets no trace; the log does
            log.exception(_FAILED, request.id)
            answer = _failure(request)
        if isinstance(answer, Reply) and not self._is_logged_first(answer):
            return self._note(request, answer)
        return self._answer_later(request, answer)

    def _ask(self, request: Request, route: Route) -> Reply | Awaitable[Reply]:
        if route.decides and not self._scoring.is_ready and self._ready_workers is not None:
            return self._ask_when_ready(self._ready_workers, request, route)
        return route.answer(request)

    async def _ask_when_ready(self, ready_workers: ReadyWorkers, request: Request, route: Route) -> Reply:
        """Wait for a version that another worker has loaded already: that one would answer."""
        until = time.monotonic() + self._limits.queue.wait_seconds
        while not self._scoring.is_ready and ready_workers.exist() and time.monotonic() < until:
            await asyncio.sleep(_READY_SECONDS)
        answer = route.answer(request)
        return answer if isinstance(answer, Reply) else await answer

    async def _answer_later(self, request: Request, answer: Reply | Awaitable[Reply]) -> Reply:
        try:
            reply = answer if isinstance(answer, Reply) else await answer
            if self._is_logged_first(reply):
                reply = await self._in_time(self._log_first(request, reply))
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
            answer = self._ask(request, route)
            reply = answer if isinstance(answer, Reply) else await answer
        except BaseException:
            await self._keys.release(claim)
            raise
        # It ends also where the caller is gone, or the disk hangs: what the log then holds is what the key stands for.
        return await self._in_time(asyncio.shield(self._record_once(claim, request, reply)))

    async def _record_once(self, claim: Claim, request: Request, reply: Reply) -> Reply:
        """Log the decision of a key, and keep its reply; where the log refuses it, there is none."""
        try:
            if isinstance(reply, ScoringReply) and not reply.is_logged:
                await self._keys.prepare(claim, reply)
                reply = await self._log_first(request, reply)
        except BaseException:
            await self._keys.release(claim)
            raise
        await self._keys.finish(claim, reply)
        return reply

    async def _in_time(self, recording: Awaitable[Recorded]) -> Recorded:
        """Wait for what is recorded, as long as for other work."""
        seconds = self._limits.queue.work_seconds
        try:
            return await asyncio.wait_for(recording, seconds)
        except TimeoutError:
            sentence = f"The decision is not told, as it is not recorded yet: the disk took longer than {seconds:g} s."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5) from None

    def refuse(self, request: Request, status: int, sentence: str) -> Reply:
        """Refuse a request that could not be read."""
        request.id = request.id or f"{self._id_prefix}{next(self._ids):x}"
        if not request.path:
            self._metrics.malformed.inc()
        refused = Refused(status, _REFUSED_CODES.get(status, "BAD_REQUEST"), sentence)
        return self._note(request, _refusal(refused, request))

    def _note(self, request: Request, reply: Reply) -> Reply:
        """Have a reply counted and logged a little later, with others; return it."""
        if not self._recent:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self.settle)
        seconds = time.perf_counter() - request.received_at if request.received_at else 0.0
        self._recent.append(AnsweredRequest(time.time(), seconds, request, reply))
        return reply

    def _find_route(self, request: Request) -> Route:
        method, path = "GET" if request.method == "HEAD" else request.method, request.path
        if (
            route := self._routes.get((method, path)) or self._routes.get((method, path := _template(path)))
        ) is not None:
            return route
        if allowed := [method for method, template in self._routes if template == path]:
            methods = ", ".join([*allowed, *(["HEAD"] if "GET" in allowed else [])])
            sentence = f"{request.path} takes {methods} only."
            raise Refused(405, "BAD_REQUEST", sentence, headers=((b"allow", methods.encode()),))
        paths = ", ".join(path for _, path in self._routes)
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"There is no such path; the paths are {paths}.")

    # --- after the answer

    def settle(self) -> None:
        """Count and log what was answered lately; nobody waits for it, and together it costs less."""
        answered, self._recent = self._recent, []
        scored = [part for answer in answered if not answer.request.is_what_if for part in answer.parts]
        self._metrics.count_requests(
            [(_path_of(answer.request), answer.reply.status) for answer in answered],
            [(answer.reply.status, answer.seconds) for answer in answered if _is_to_score(answer.request)],
        )
        self._metrics.count_scores([(part.model.version, part.predictions) for part in scored])
        self._metrics.what_if.inc(sum(_rows(answer) for answer in answered if answer.request.is_what_if))
        began = time.perf_counter()
        self._log.append([logged for answer in answered for logged in entries_of(answer.request, answer.reply)])
        self._spans.end(answered, _path_of, (began, time.perf_counter()))
        self._access.write(self._encoder.encode_lines(map(_line, answered)))

    def keep_metrics(self) -> None:
        """Keep the gauges current while the loop runs: another worker may be asked for them."""
        self._update_metrics()
        asyncio.get_running_loop().call_later(_REFRESH_SECONDS, self.keep_metrics)

    def _update_metrics(self) -> None:
        self._metrics.update((self._production, self._challenger), self._log.dropped)
        self._metrics.log_lag.set(self._log.lag_seconds)
        self._metrics.update_connections(self.connections, self._queue, self._access.dropped)

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
        """Log a decision now, and wait until it is in the journal, with those of others.

        Raises:
            Refused: it is not, so nobody may be told of it.
        """
        if entries := entries_of(request, reply):
            await self._log_durably(entries)
        return msgspec.structs.replace(reply, is_logged=True)

    async def _log_durably(self, entries: Sequence[Entry]) -> None:
        loop = asyncio.get_running_loop()
        synced: asyncio.Future[str | None] = loop.create_future()

        def resolve(trouble: str | None) -> None:
            if not synced.done():
                synced.set_result(trouble)

        self._log.append(entries, lambda trouble: loop.call_soon_threadsafe(resolve, trouble))  # type: ignore[arg-type]
        if trouble := await synced:
            sentence = f"The decision cannot be recorded, so there is none: {trouble}."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5)

    # --- the other routes

    def _ping(self, request: Request) -> Reply:
        return Reply(200, b"\n")

    def _version(self, request: Request) -> Reply:
        return Reply(200, installed_version("mlflow-skinny").encode(), headers=((b"content-type", b"text/plain"),))

    def _health(self, request: Request) -> Reply:
        model, log = self._production.model, self._log.status
        health = {
            "status": "ready" if model else "not ready",
            "model": self._model_name,
            "alias": self._production.alias,
            "version": model.version if model else None,
            "trees": model.quick_form if model else None,
            "pid": os.getpid(),
            "workers": self._workers,
            "trouble": self._trouble,
            "log": {"trouble": log.trouble, "dropped_rows": self._log.dropped, "damaged_rows": log.damaged_rows},
        }
        return Reply(200 if model else 503, orjson.dumps(health))

    def _show_metrics(self, request: Request) -> Reply:
        self.settle()
        self._update_metrics()
        kind = b"text/plain; version=0.0.4; charset=utf-8"
        return Reply(200, self._metrics.text(), headers=((b"content-type", kind),))

    async def _description(self) -> Description:
        """Describe the server while this version answers; it takes a moment, and is done once a version."""
        model = self._scoring.model
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
        decision_id = request.path.removeprefix(_DECISIONS)
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


def _refusal(refused: Refused, request: Request) -> Reply:
    retry = ((b"retry-after", b"%d" % refused.retry_after),) if refused.retry_after else ()
    body, headers = encode_refusal(refused, request.path, request.headers)
    return Reply(refused.status, body, (*headers, *refused.headers, *retry))


def _failure(request: Request) -> Reply:
    """Answer a request that met an error of ours."""
    sentence = f"The server failed; its log tells why of request {request.id}."
    return _refusal(Refused(500, "INTERNAL_ERROR", sentence), request)


def _rows(answer: AnsweredRequest) -> int:
    return sum([len(part.positions) for part in answer.parts])


def _line(answer: AnsweredRequest) -> AccessLine:
    request, rows = answer.request, _rows(answer)
    time, milliseconds = datetime.fromtimestamp(answer.answered_at, UTC), round(1000 * answer.seconds, 3)
    status = answer.reply.status
    path, client, trace_id = request.path, request.client, request.trace_id
    return AccessLine(time, request.id, request.method, path, status, milliseconds, rows, client, trace_id)


def _template(path: str) -> str:
    """Return the path as the routes have it, where it names a model or a decision."""
    if path.startswith(_DECISIONS):
        return _DECISION
    target = inference_protocol.parse_path(path)
    return path if target is None else target.template


def _path_of(request: Request) -> str:
    """Return the path of a request as its route has it, for metrics."""
    return request.route.path if request.route else "other"


def _is_to_score(request: Request) -> bool:
    return request.route is not None and request.route.decides


def _caller_id(headers: Headers) -> str:
    """Return the caller's own id of the request, if it is short and plain."""
    request_id = headers.get(b"x-request-id", b"")
    if not 0 < len(request_id) <= 100 or not request_id.isascii():
        return ""
    text = request_id.decode()
    return text if text.isprintable() else ""
