"""The ASGI application: routes, tokens, limits, and the way of one request from its bytes to its answer.

Small requests that are plainly right are answered where they arrive; all others in a thread, so that nobody waits
for them. Decoding is `protocol`, scoring `served`, swapping `follower`, the process `server`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from itertools import count
from typing import Any, NamedTuple

import orjson

from loan_default.adapters.tracking import MODEL_NAME
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import ServingPolicy
from loan_default.risk.scoring import Answer
from loan_default.serving.follower import Followed, Follower
from loan_default.serving.metrics import Metrics
from loan_default.serving.prediction_log import PredictionLog
from loan_default.serving.protocol import JSON, Refused, Request, decode, encode, invalid
from loan_default.serving.routing import is_challenged
from loan_default.serving.served import Row, ServedModel

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]

log = logging.getLogger(__name__)

_INLINE_BYTES = 20_000  # about ten applications; more would keep the others waiting
_SETTLE_SECONDS = 0.005  # after which answers are counted and logged, together; longer would make others wait


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for."""

    body_bytes: int = 8_000_000
    rows: int = 10_000
    concurrent: int = 64
    seconds: float = 30.0


@dataclass(frozen=True)
class Tokens:
    """Bearer tokens; none of a kind means that its routes are open."""

    scoring: tuple[str, ...] = field(default=(), repr=False)
    admin: tuple[str, ...] = field(default=(), repr=False)


class Scored(NamedTuple):
    """One application and its answer."""

    application: Mapping[str, Any]
    row: Row
    answer: Answer
    model: ServedModel


class Reply(NamedTuple):
    """An HTTP answer; `scored` is what the prediction log and the shadow still need of it."""

    status: int
    body: bytes
    kind: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    scored: Sequence[Scored] = ()


class ScoringApp:
    """One worker's application."""

    def __init__(
        self,
        production: Followed,
        challenger: Followed,
        follower: Follower,
        log: Callable[[ServedModel], PredictionLog],
        dropped: Callable[[], int],
        *,
        policy: ServingPolicy,
        limits: Limits,
        tokens: Tokens,
        reload: Callable[[], None],
        workers: int = 1,
    ) -> None:
        """Answer by `production`, and by `challenger` where the policy says so; `reload` tells the other workers.

        `log` is that of a version, `dropped` counts the rows that no log holds.
        """
        self._production, self._challenger, self._follower = production, challenger, follower
        self._log, self._policy, self._limits, self._tokens = log, policy, limits, tokens
        self._dropped, self._reload, self._workers = dropped, reload, workers
        self._metrics = Metrics()
        self._answered_lately: list[tuple[datetime, str, str, str, str, float, Reply]] = []
        self._in_flight = 0
        self._ids: Iterator[int] = count()
        self._id_prefix = f"{os.getpid():x}-{int(time.time()):x}-"
        self._access = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115 - as long as the process
        self._routes: Mapping[tuple[str, str], Callable[[Headers, Receive], Awaitable[Reply]]] = {
            ("POST", "/invocations"): self._invocations,
            ("GET", "/ping"): self._ping,
            ("GET", "/health"): self._health,
            ("GET", "/version"): self._version,
            ("GET", "/metrics"): self._show_metrics,
            ("POST", "/admin/reload"): self._admin_reload,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = _request_id(headers) or f"{self._id_prefix}{next(self._ids):x}"
        try:
            reply = await self._route(scope, headers, receive)
        except Refused as refused:
            retry = ((b"retry-after", str(refused.retry_after).encode()),) if refused.retry_after else ()
            reply = Reply(refused.status, refused.body, headers=retry)
        except Exception:  # the caller gets no trace; the log does
            log.exception("request %s failed", request_id)
            failed = Refused(500, "INTERNAL_ERROR", f"The server failed; its log tells why of request {request_id}.")
            reply = Reply(failed.status, failed.body)
        named = (
            (b"content-type", reply.kind.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-request-id", request_id.encode()),
        )
        await send({"type": "http.response.start", "status": reply.status, "headers": [*named, *reply.headers]})
        await send({"type": "http.response.body", "body": reply.body})
        if not self._answered_lately:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self.settle)
        client = (scope.get("client") or ("",))[0]
        seconds = time.perf_counter() - started
        self._answered_lately.append(
            (datetime.now(UTC), request_id, scope["method"], scope["path"], client, seconds, reply)
        )

    async def _route(self, scope: Scope, headers: Headers, receive: Receive) -> Reply:
        answer = self._routes.get((scope["method"], scope["path"]))
        if answer is not None:
            return await answer(headers, receive)
        if allowed := [method for method, path in self._routes if path == scope["path"]]:
            sentence = f"{scope['path']} takes {allowed[0]} only."
            return Reply(405, Refused(405, "BAD_REQUEST", sentence).body, headers=((b"allow", allowed[0].encode()),))
        raise Refused(404, "ENDPOINT_NOT_FOUND", f"There is no such path; the paths are {self._paths}.")

    @property
    def _paths(self) -> str:
        return ", ".join(path for _, path in self._routes)

    # --- scoring

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
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            if len(body) <= _INLINE_BYTES and content_type == JSON:
                request = self._decoded(body, content_type)
                rows = model.read(request.applications)
                if rows is not None:
                    return self._answered(model, request, rows)
            return await self._in_thread(self._answer, model, body, content_type)
        finally:
            self._in_flight -= 1

    async def _in_thread(self, work: Callable[..., Reply], *given: Any) -> Reply:
        try:
            return await asyncio.wait_for(asyncio.to_thread(work, *given), self._limits.seconds)
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

    def _answer(self, model: ServedModel, body: bytes, content_type: str) -> Reply:
        """The careful way, in a thread."""
        request = self._decoded(body, content_type)
        try:
            rows = model.rows(request.applications)
        except BadInput as error:
            raise invalid(str(error)) from error
        return self._answered(model, request, rows)

    def _decoded(self, body: bytes, content_type: str) -> Request:
        request = decode(body, content_type)
        rows = len(request.applications)
        if not rows:
            raise invalid("There is no application in the request; send at least one row.")
        if rows > self._limits.rows:
            sentence = f"{rows:,} applications in one request; at most {self._limits.rows:,} are taken."
            raise Refused(413, "BAD_REQUEST", sentence)
        return request

    def _answered(self, model: ServedModel, request: Request, rows: Sequence[Row]) -> Reply:
        explained = request.output == "full"
        answers = model.answers(rows, with_reasons=explained)
        scored = [
            Scored(application, row, answer, model)
            for application, row, answer in zip(request.applications, rows, answers, strict=True)
        ]
        if self._challenger.model is not None and self._policy.challenger_share:
            scored = [self._rescored(one, self._policy.challenger_share, explained=explained) or one for one in scored]
            answers = [one.answer for one in scored]
        versions = ",".join(str(version) for version in sorted({one.model.version for one in scored}))
        named = ((b"x-model-version", versions.encode()),)
        return Reply(200, encode(answers, request.output), headers=named, scored=scored)

    def _rescored(self, one: Scored, share: float, *, explained: bool) -> Scored | None:
        """The same application by the challenger; None where it is not of the share, or not what its contract asks."""
        model = self._challenger.model
        if model is None or model is one.model or not is_challenged(one.row.id, share):
            return None
        try:
            rows = model.rows([one.application])
        except BadInput:
            return None
        return Scored(one.application, rows[0], model.answers(rows, with_reasons=explained)[0], model)

    # --- after the answer

    def settle(self) -> None:
        """Count and log what was answered lately; nobody waits for it, and together it costs less."""
        answered, self._answered_lately = self._answered_lately, []
        lines = []
        for at, request_id, method, path, client, seconds, reply in answered:
            self._metrics.count(path if (method, path) in self._routes else "other", reply.status)
            if path == "/invocations":
                self._metrics.latency.observe(seconds)
            if reply.scored:
                self._metrics.scored([one.answer for one in reply.scored])
                self._append(reply.scored, request_id, at)
            line = {
                "time": at,
                "request_id": request_id,
                "method": method,
                "path": path,
                "status": reply.status,
                "ms": round(1000 * seconds, 3),
                "rows": len(reply.scored),
                "client": client,
            }
            lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))
        self._access.write(b"".join(lines))

    def _append(self, scored: Sequence[Scored], request_id: str, at: datetime) -> None:
        """Hand the rows to the log of the versions that answered; a canary is nobody's application."""
        scored = [one for one in scored if one.application != one.model.canary.application]
        rows: dict[int, list[tuple[Any, ...]]] = {}
        for one in scored:
            said = (request_id, at, one.row.id, one.answer.pd, one.answer.score, one.answer.decision, one.model.version)
            rows.setdefault(one.model.version, []).append((*said, *self._shadow(one), *one.row.features))
        for model in {one.model.version: one.model for one in scored}.values():
            self._log(model).append(rows[model.version])

    def _shadow(self, one: Scored) -> tuple[int | None, float | None]:
        """Version and PD of the challenger, for the log only."""
        shadow = self._rescored(one, self._policy.shadow_share, explained=False)
        return (shadow.model.version, shadow.answer.pd) if shadow else (None, None)

    # --- the other routes

    async def _ping(self, headers: Headers, receive: Receive) -> Reply:
        return Reply(200, b"\n")

    async def _version(self, headers: Headers, receive: Receive) -> Reply:
        return Reply(200, installed_version("mlflow").encode(), kind="text/plain")

    async def _health(self, headers: Headers, receive: Receive) -> Reply:
        model, trouble = self._production.model, self._production.trouble
        told = {
            "status": "ready" if model else "not ready",
            "model": MODEL_NAME,
            "alias": self._production.alias,
            "version": model.version if model else None,
            "trees": model.quick_form if model else None,
            "pid": os.getpid(),
            "workers": self._workers,
            "trouble": trouble,
        }
        return Reply(200 if model else 503, orjson.dumps(told))

    async def _show_metrics(self, headers: Headers, receive: Receive) -> Reply:
        self.settle()
        for followed in (self._production, self._challenger):
            self._metrics.version.labels(followed.alias).set(followed.model.version if followed.model else 0)
            self._metrics.swaps.labels(followed.alias).set(followed.swaps)
            self._metrics.swap_failures.labels(followed.alias).set(followed.failures)
        self._metrics.log_dropped.set(self._dropped())
        return Reply(200, self._metrics.text(), kind="text/plain; version=0.0.4; charset=utf-8")

    async def _admin_reload(self, headers: Headers, receive: Receive) -> Reply:
        _authorise(headers, self._tokens.admin)
        self._reload()
        await asyncio.to_thread(self._follower.look, again=True)
        health = await self._health(headers, receive)
        return Reply(503 if self._production.trouble else health.status, health.body)


def _authorise(headers: Headers, tokens: Sequence[str]) -> None:
    """Refuse a request without one of the tokens; every token is compared, in constant time."""
    if not tokens:
        return
    given = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    right = [hmac.compare_digest(given, token.encode()) for token in tokens]
    if not any(right):
        raise Refused(401, "UNAUTHENTICATED", "A valid token is needed: Authorization: Bearer TOKEN.")


def _request_id(headers: Headers) -> str:
    """The caller's own id of the request, if it is short and plain."""
    given = headers.get(b"x-request-id", b"")
    return given.decode("ascii") if 0 < len(given) <= 100 and given.isascii() and given.decode().isprintable() else ""


def _too_large(most: int) -> Refused:
    return Refused(413, "BAD_REQUEST", f"The body is larger than {most:,} bytes; send fewer applications at once.")
