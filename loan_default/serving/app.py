"""The ASGI application: routes, tokens, limits, and the way of one request from its bytes to its answer.

Small requests that are plainly right are answered where they arrive; all others in a thread, so that nobody waits
for them. Decoding is `protocol`, scoring `served_model`, swapping `follower`, the process `server`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from itertools import chain, count
from threading import BoundedSemaphore
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson

from loan_default.adapters.tracking import MODEL_NAME
from loan_default.risk.errors import BadInput
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import Predictions
from loan_default.risk.policy import ServingPolicy
from loan_default.serving.follower import FollowedAlias, Follower
from loan_default.serving.metrics import Metrics
from loan_default.serving.prediction_log import Entry, PredictionLog
from loan_default.serving.protocol import JSON, Refused, encode, invalid
from loan_default.serving.routing import is_challenged
from loan_default.serving.served_model import ParsedRequest, ServedModel

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]
RawHeaders = tuple[tuple[bytes, bytes], ...]

log = logging.getLogger(__name__)

_JSON_HEADER = (b"content-type", JSON.encode())
_FAILED = "request %s failed"
_INLINE_BYTES = 20_000  # about twenty applications; more would keep the others waiting
_SHADOW_BATCHES = 100  # of settled answers may wait for the shadow; beyond, they are logged without
_SETTLE_SECONDS = 0.005  # after which answers are counted and logged, together; longer would make others wait


@dataclass(frozen=True)
class Limits:
    """The limits of one request, and of all of them together."""

    body_bytes: int = 8_000_000
    rows: int = 10_000
    concurrent: int = 64
    seconds: float = 30.0


@dataclass(frozen=True)
class Tokens:
    """Bearer tokens; none of a kind means that its routes are open."""

    scoring: tuple[str, ...] = field(default=(), repr=False)
    admin: tuple[str, ...] = field(default=(), repr=False)


class RequestBody(NamedTuple):
    """The body of a request to score, and its type."""

    body: bytes
    content_type: str


class VersionPredictions(NamedTuple):
    """Applications of one request, what one version predicts for them, and their positions in the body."""

    model: ServedModel
    applications: Applications
    predictions: Predictions
    body: RequestBody
    positions: Sequence[int]


class Reply(NamedTuple):
    """An HTTP answer; `parts` is what the counters, the prediction log and the shadow still need of it."""

    status: int
    body: bytes
    headers: RawHeaders = (_JSON_HEADER,)
    parts: Sequence[VersionPredictions] = ()


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


class AnsweredRequest(NamedTuple):
    """A request that was answered: when (seconds since 1970), in how many seconds, and how."""

    answered_at: float
    request_id: str
    method: str
    path: str
    client: str
    seconds: float
    reply: Reply


class ScoringApp:
    """One worker's application."""

    def __init__(
        self,
        production: FollowedAlias,
        challenger: FollowedAlias,
        follower: Follower,
        log: Callable[[ServedModel], PredictionLog],
        dropped: Callable[[], int],
        *,
        policy: ServingPolicy,
        limits: Limits,
        tokens: Tokens,
        reload: Callable[[], None],
        workers: int = 1,
        model_name: str = MODEL_NAME,
    ) -> None:
        """Answer by `production`, and by `challenger` where the policy says so; `reload` tells the other workers.

        `log` is that of a version, `dropped` counts the rows that no log holds.
        """
        self._production, self._challenger, self._follower = production, challenger, follower
        self._log, self._policy, self._limits, self._tokens = log, policy, limits, tokens
        self._dropped, self._reload, self._workers, self._model_name = dropped, reload, workers, model_name
        self._metrics = Metrics()
        self._recent: list[AnsweredRequest] = []
        self._beside, self._shadow_room = ThreadPoolExecutor(1, "shadow"), BoundedSemaphore(_SHADOW_BATCHES)
        self._in_flight = 0
        self._ids: Iterator[int] = count()
        self._id_prefix = f"{os.getpid():x}-{int(time.time()):x}-"
        self._access = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115 - as long as the process
        self._encoder = msgspec.json.Encoder()
        self._routes: Mapping[tuple[str, str], Callable[[Headers, Receive], Awaitable[Reply]]] = {
            ("POST", "/invocations"): self._invocations,
            ("GET", "/ping"): self._ping,
            ("GET", "/health"): self._health,
            ("GET", "/version"): self._version,
            ("GET", "/metrics"): self._show_metrics,
            ("POST", "/admin/reload"): self._admin_reload,
        }

    def answer_inline(self, headers: Headers, body: bytes, client: str) -> tuple[Reply, RawHeaders] | None:
        """Answer a small request to score that is plainly right, with all headers; None where `__call__` has to."""
        started, request_id = time.perf_counter(), self._request_id(headers)
        try:
            reply = self._answer_inline(headers, body)
        except Exception:  # the caller gets no trace; the log does
            log.exception(_FAILED, request_id)
            reply = _failed(request_id)
        if reply is None:
            return None
        self._note(reply, request_id, "POST", "/invocations", client, started)
        return reply, _headers(reply, request_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        started, headers = time.perf_counter(), dict(scope["headers"])
        request_id = self._request_id(headers)
        try:
            reply = await self._route(scope, headers, receive)
        except Refused as refused:
            retry = ((b"retry-after", str(refused.retry_after).encode()),) if refused.retry_after else ()
            reply = Reply(refused.status, refused.body, headers=(_JSON_HEADER, *retry))
        except Exception:  # the caller gets no trace; the log does
            log.exception(_FAILED, request_id)
            reply = _failed(request_id)
        client = (scope.get("client") or ("",))[0]
        self._note(reply, request_id, scope["method"], scope["path"], client, started)
        await send({"type": "http.response.start", "status": reply.status, "headers": _headers(reply, request_id)})
        await send({"type": "http.response.body", "body": reply.body})

    def _request_id(self, headers: Headers) -> str:
        return _caller_id(headers) or f"{self._id_prefix}{next(self._ids):x}"

    def _note(self, reply: Reply, request_id: str, method: str, path: str, client: str, started: float) -> None:
        """Have the reply counted and logged a little later, with others."""
        if not self._recent:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self.settle)
        seconds = time.perf_counter() - started
        self._recent.append(AnsweredRequest(time.time(), request_id, method, path, client, seconds, reply))

    async def _route(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        answer = self._routes.get((scope["method"], scope["path"]))
        if answer is not None:
            return await answer(headers, receive)
        if allowed := [method for method, path in self._routes if path == scope["path"]]:
            sentence = f"{scope['path']} takes {allowed[0]} only."
            refused = Refused(405, "BAD_REQUEST", sentence)
            return Reply(405, refused.body, headers=(_JSON_HEADER, (b"allow", allowed[0].encode())))
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"There is no such path; the paths are {self._paths}.")

    @property
    def _paths(self) -> str:
        return ", ".join(path for _, path in self._routes)

    # --- scoring

    def _answer_inline(self, headers: Headers, body: bytes) -> Reply | None:
        """Answer here and now; None where somebody would have to wait for it, or where it may have to be refused."""
        model = self._production.model
        if (
            model is None
            or len(body) > _INLINE_BYTES
            or headers.get(b"content-type") != _JSON_HEADER[1]
            or not _is_authorised(headers, self._tokens.scoring)
        ):
            return None
        request = model.read_quickly(body, at_most=self._limits.rows)
        return None if request is None else self._answer_by(model, request, RequestBody(body, JSON))

    async def _invocations(self, headers: Headers, receive: Receive) -> Reply:
        _authorise(headers, self._tokens.scoring)
        if self._in_flight >= self._limits.concurrent:
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", "Too many requests at once; try again in a second.", 1)
        self._in_flight += 1
        try:
            body = await self._body(headers, receive)
            model = self._production.model
            if model is None:
                sentence = f"Not ready: {self._production.trouble or 'no version is loaded yet.'}"
                raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5)
            request_body = RequestBody(body, headers.get(b"content-type", b"").decode("latin-1"))
            return self._answer_inline(headers, body) or await self._in_thread(self._answer, model, request_body)
        finally:
            self._in_flight -= 1

    async def _in_thread(self, work: Callable[..., Reply], *arguments: Any) -> Reply:
        try:
            return await asyncio.wait_for(asyncio.to_thread(work, *arguments), self._limits.seconds)
        except TimeoutError:
            sentence = f"The answer took longer than {self._limits.seconds:g} s; send fewer applications at once."
            raise Refused(503, "TEMPORARILY_UNAVAILABLE", sentence, 5) from None

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        most = self._limits.body_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        message = await receive()
        body = message.get("body", b"")
        if not message.get("more_body"):
            return body  # type: ignore[no-any-return]
        parts, size = [body], len(body)
        try:
            async with asyncio.timeout(self._limits.seconds):
                while message.get("more_body"):
                    message = await receive()
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise _too_large(most)
        except TimeoutError:
            raise Refused(408, "BAD_REQUEST", f"The body did not arrive within {self._limits.seconds:g} s.") from None
        return b"".join(parts)

    def _answer(self, model: ServedModel, request_body: RequestBody) -> Reply:
        """Answer a request that is large, or that has to be read closely; in a thread."""
        try:
            return self._answer_by(model, model.read(*request_body, at_most=self._limits.rows), request_body)
        except BadInput as error:
            raise invalid(str(error)) from error

    def _answer_by(self, model: ServedModel, request: ParsedRequest, request_body: RequestBody) -> Reply:
        """Answer by a version, or part of it by the challenger where the policy says so."""
        applications, explained = request.applications, request.output == "full"
        positions = range(len(applications.ids))
        chosen = self._choose(self._policy.challenger_share, applications.ids)
        challenged = self._rescore(request_body, chosen, explained=explained) if chosen else None
        parts: tuple[VersionPredictions, ...]
        if challenged is None:
            parts = (_score(model, applications, request_body, positions, explained=explained),)
            predictions, version = parts[0].predictions, b"%d" % model.version
        else:
            others = sorted({*positions} - {*chosen})
            rest = (
                [_score(model, applications.take(others), request_body, others, explained=explained)] if others else []
            )
            parts = (*rest, challenged)
            versions = sorted(part.model.version for part in parts)
            predictions, version = _merge(parts), b",".join(b"%d" % version for version in versions)
        return Reply(200, encode(predictions, request.output), (_JSON_HEADER, (b"x-model-version", version)), parts)

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
        try:
            applications = model.read(*request_body, at_most=self._limits.rows).applications.take(chosen)
        except BadInput:
            return None
        return _score(model, applications, request_body, chosen, explained=explained)

    # --- after the answer

    def settle(self) -> None:
        """Count and log what was answered lately; nobody waits for it, and together it costs less."""
        answered, self._recent = self._recent, []
        scored = [part for request in answered for part in request.reply.parts]
        self._metrics.count_requests(
            [(self._route_name(request), request.reply.status) for request in answered],
            [request.seconds for request in answered if request.path == "/invocations"],
        )
        self._metrics.count_scores([(part.model.version, part.predictions) for part in scored])
        self._access.write(self._encoder.encode_lines(map(_line, answered)))
        if self._policy.shadow_share and scored and self._shadow_room.acquire(blocking=False):
            self._beside.submit(self._log_with_shadow, answered)  # scoring again takes its time
        else:
            self._log_parts(answered, shadow_share=0)

    def _route_name(self, request: AnsweredRequest) -> str:
        return request.path if (request.method, request.path) in self._routes else "other"

    def close(self) -> None:
        """Settle the last answers."""
        self.settle()
        self._beside.shutdown()

    def _log_with_shadow(self, answered: Sequence[AnsweredRequest]) -> None:
        try:
            self._log_parts(answered, shadow_share=self._policy.shadow_share)
        except Exception:  # nobody waits for the thread's result
            log.exception("scored rows are neither scored in the shadow nor logged")
        finally:
            self._shadow_room.release()

    def _log_parts(self, answered: Sequence[AnsweredRequest], *, shadow_share: float) -> None:
        """Hand the applications to the log of the versions that answered; a canary is nobody's application."""
        entries: dict[PredictionLog, list[Entry]] = defaultdict(list)
        for request in answered:
            for part in request.reply.parts:
                if not part.model.is_canary(part.applications, part.predictions):
                    entries[self._log(part.model)].append(self._entry(request, part, shadow_share))
        for prediction_log, new in entries.items():
            prediction_log.append(new)

    def _entry(self, request: AnsweredRequest, part: VersionPredictions, shadow_share: float) -> Entry:
        """Build the entry of the prediction log, with the challenger's PD where a share is scored in the shadow."""
        entry = Entry(request.request_id, request.answered_at, part.model.version, part.applications, part.predictions)
        chosen = () if part.model is self._challenger.model else self._choose(shadow_share, part.applications.ids)
        positions = [part.positions[index] for index in chosen]
        if not positions or (shadow := self._rescore(part.body, positions, explained=False)) is None:
            return entry
        pds = dict(zip(chosen, shadow.predictions.pds, strict=True))
        shadow_pds = [pds.get(index) for index in range(len(part.positions))]
        return entry._replace(shadow_version=shadow.model.version, shadow_pds=shadow_pds)

    # --- the other routes

    async def _ping(self, headers: Headers, receive: Receive) -> Reply:
        return Reply(200, b"\n")

    async def _version(self, headers: Headers, receive: Receive) -> Reply:
        return Reply(200, installed_version("mlflow-skinny").encode(), headers=((b"content-type", b"text/plain"),))

    async def _health(self, headers: Headers, receive: Receive) -> Reply:
        model, trouble = self._production.model, self._production.trouble
        health = {
            "status": "ready" if model else "not ready",
            "model": self._model_name,
            "alias": self._production.alias,
            "version": model.version if model else None,
            "trees": model.quick_form if model else None,
            "pid": os.getpid(),
            "workers": self._workers,
            "trouble": trouble,
        }
        return Reply(200 if model else 503, orjson.dumps(health))

    async def _show_metrics(self, headers: Headers, receive: Receive) -> Reply:
        self.settle()
        self._metrics.update((self._production, self._challenger), self._dropped())
        kind = b"text/plain; version=0.0.4; charset=utf-8"
        return Reply(200, self._metrics.text(), headers=((b"content-type", kind),))

    async def _admin_reload(self, headers: Headers, receive: Receive) -> Reply:
        _authorise(headers, self._tokens.admin)
        self._reload()
        await asyncio.to_thread(self._follower.look, again=True)
        health = await self._health(headers, receive)
        return Reply(503 if self._production.trouble else health.status, health.body)


def _score(
    model: ServedModel,
    applications: Applications,
    request_body: RequestBody,
    positions: Sequence[int],
    *,
    explained: bool,
) -> VersionPredictions:
    return VersionPredictions(
        model, applications, model.predict(applications, with_reasons=explained), request_body, positions
    )


def _merge(parts: Sequence[VersionPredictions]) -> Predictions:
    """Merge the predictions of all parts, each at the position of its application."""
    order = np.argsort([*chain.from_iterable(part.positions for part in parts)]).tolist()
    columns = [[*chain.from_iterable(column)] for column in zip(*(part.predictions for part in parts), strict=True)]
    return Predictions(*([column[index] for index in order] for column in columns))


def _headers(reply: Reply, request_id: str) -> RawHeaders:
    length = b"%d" % len(reply.body)
    return (*reply.headers, (b"content-length", length), (b"x-request-id", request_id.encode()))


def _failed(request_id: str) -> Reply:
    """Answer a request that met an error of ours."""
    sentence = f"The server failed; its log tells why of request {request_id}."
    return Reply(500, Refused(500, "INTERNAL_ERROR", sentence).body)


def _line(request: AnsweredRequest) -> AccessLine:
    rows = sum(len(part.positions) for part in request.reply.parts)
    time, milliseconds = datetime.fromtimestamp(request.answered_at, UTC), round(1000 * request.seconds, 3)
    status, client = request.reply.status, request.client
    return AccessLine(time, request.request_id, request.method, request.path, status, milliseconds, rows, client)


def _authorise(headers: Headers, tokens: Sequence[str]) -> None:
    """Refuse a request without one of the tokens."""
    if not _is_authorised(headers, tokens):
        raise Refused(401, "UNAUTHENTICATED", "A valid token is needed: Authorization: Bearer TOKEN.")


def _is_authorised(headers: Headers, tokens: Sequence[str]) -> bool:
    """Tell whether there are no tokens, or the request has one; every token is compared, in constant time."""
    if not tokens:
        return True
    token_sent = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    matches = [hmac.compare_digest(token_sent, token.encode()) for token in tokens]
    return any(matches)


def _caller_id(headers: Headers) -> str:
    """Return the caller's own id of the request, if it is short and plain."""
    request_id = headers.get(b"x-request-id", b"")
    if not 0 < len(request_id) <= 100 or not request_id.isascii():
        return ""
    text = request_id.decode()
    return text if text.isprintable() else ""


def _too_large(most: int) -> Refused:
    return Refused(413, "BAD_REQUEST", f"The body is larger than {most:,} bytes; send fewer applications at once.")
