"""The application without a network: routes, tokens, the queue, challenger and shadow, and what it counts."""

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loan_default.risk.errors import BadInput
from loan_default.risk.policy import ServingPolicy
from loan_default.serving import app as app_module
from loan_default.serving.access import Tokens
from loan_default.serving.app import Limits, ScoringApp
from loan_default.serving.decision_id import DecisionIds, text_of
from loan_default.serving.decision_records import Entry
from loan_default.serving.decisions import Decision
from loan_default.serving.follower import FollowedAlias, Follower
from loan_default.serving.http import Reply, Request
from loan_default.serving.idempotency import IdempotencyKeys
from loan_default.serving.log_status import LogStatus
from loan_default.serving.ready_workers import ReadyWorkers
from loan_default.serving.served_model import ParsedRequest, ServedModel
from loan_default.serving.work_queue import QueueLimits
from loan_default_tests.packages import applications, package, timed_scorer, valued_scorer

ONE = {name: value for name, value in applications()[0][0].items() if value is not None}


@dataclass(eq=False)
class Log:
    """Remembers entries instead of writing them, and says what a disk would."""

    entries: list[Entry] = field(default_factory=list)
    disk: list[str | None] = field(default_factory=lambda: [None])
    syncs_each: bool = False
    dropped: int = 0
    status: LogStatus = field(default_factory=LogStatus)
    lag_seconds: float = 0.0

    def has(self, decision_id: str) -> bool:
        return decision_id in [text_of(entry.first) for entry in self.entries]

    def append(self, entries: list[Entry], synced: Callable[[str | None], None] | None = None) -> None:
        self.entries += entries
        if synced is not None:
            for answer in self.disk:
                synced(answer)


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_of(method: str, path: str, headers: Mapping[str, str]) -> Request:
    raw = {name.lower().encode(): value.encode() for name, value in headers.items()}
    return Request(method, path, b"", raw, "127.0.0.1")


@dataclass
class Desk:
    """An application with its parts."""

    app: ScoringApp
    production: FollowedAlias
    log: Log

    def answer(self, request: Request, body: bytes) -> Reply | Awaitable[Reply]:
        """Answer as a connection does, where a loop runs."""
        if (refusal := self.app.admit(request)) is not None:
            return refusal
        request.body, request.received_at = body, time.perf_counter()
        return self.app.answer(request)

    async def send_request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        request = request_of(method, path, headers)
        answer = self.answer(request, body)
        reply = answer if isinstance(answer, Reply) else await answer
        sent = {name.decode(): value.decode() for name, value in reply.headers}
        return Answer(reply.status, {**sent, "x-request-id": request.id}, reply.body)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        return asyncio.run(self.send_request(method, path, body, headers))

    def answers_inline(self, body: bytes, **headers: str) -> bool:
        """Tell whether nobody would have had to wait for an answer."""

        async def answer() -> bool:
            answer = self.answer(request_of("POST", "/invocations", headers), body)
            if not (inline := isinstance(answer, Reply)):
                await answer
            return inline

        return asyncio.run(answer())

    def score(self, *rows: Mapping[str, Any], output: str = "full", **headers: str) -> Answer:
        body = json.dumps({"dataframe_records": rows, "params": {"output": output}}).encode()
        return self.ask("POST", "/invocations", body, **{"content-type": "application/json", **headers})


def pd_of(model: ServedModel, application: Mapping[str, Any]) -> float:
    body = json.dumps({"inputs": [application]}).encode()
    return model.predict(model.read(body, "application/json", at_most=1).applications).pds[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, ServedModel]:
    folder = tmp_path_factory.mktemp("packages")
    kinds = {1: "xgboost", 2: "logistic_regression"}
    return {version: ServedModel.load(package(folder / kind, kind), version) for version, kind in kinds.items()}


def without_id(answer: Answer) -> Any:
    """Return all of an answer that does not differ from one decision to the next."""
    predictions = [
        {name: value for name, value in prediction.items() if name != "decision_id"}
        for prediction in answer.json["predictions"]
    ]
    return answer.status, {**answer.headers, "x-decision-id": "", "content-length": ""}, predictions


FOUND, LOST = text_of(DecisionIds().draw()), text_of(DecisionIds().draw())


def recall(decision_id: str) -> Decision:
    if decision_id == LOST:
        raise OSError("forbidden")
    if decision_id != FOUND:
        raise BadInput(f"There is no decision {decision_id}.")
    return Decision(
        {"pd": 0.5, "scored_at": datetime(2026, 11, 3, tzinfo=UTC)}, "same", "It says the same.", {"pd": 0.5}
    )


def desk_of(
    models: Mapping[int, ServedModel],
    folder: Path,
    *,
    policy: ServingPolicy | None = None,
    limits: Limits | None = None,
    tokens: Tokens | None = None,
    ready: bool = True,
) -> Desk:
    production = FollowedAlias("production", model=models[1] if ready else None)
    follower = Follower([], lambda alias: None, lambda version: folder, sign=folder / "reload", seconds=100)
    log = Log()
    app = ScoringApp(
        production,
        FollowedAlias("staging", model=models[2]),
        follower,
        log,  # type: ignore[arg-type]
        policy=policy or ServingPolicy(challenger_share=0, shadow_share=0),
        limits=limits or Limits(),
        tokens=tokens or Tokens(),
        reload=(folder / "reload").touch,
        recall=recall,
        keys=IdempotencyKeys(folder / "keys.db", log.has),
    )
    return Desk(app, production, log)


@pytest.fixture
def desk(models: dict[int, ServedModel], tmp_path: Path) -> Iterator[Desk]:
    desk = desk_of(models, tmp_path)
    yield desk
    desk.app.settle()


def test_an_application_is_answered_logged_and_counted(desk: Desk) -> None:
    answer = desk.score({"id": "A-1", **ONE})
    assert (answer.status, answer.headers["x-model-version"]) == (200, "1")
    (prediction,) = answer.json["predictions"]
    assert prediction.keys() == {"pd", "score", "decision", "reasons", "reason_codes", "decision_id"}
    text = desk.ask("GET", "/metrics").body.decode()
    assert 'loan_default_requests_total{code="200",route="/invocations"} 1.0' in text
    assert 'loan_default_rows_total{version="1"} 1.0' in text
    assert f'loan_default_decisions_total{{decision="{prediction["decision"]}",version="1"}} 1.0' in text
    assert 'loan_default_model_version{alias="production"} 1.0' in text
    (entry,) = desk.log.entries
    assert (entry.request_id, entry.applications.ids) == (answer.headers["x-request-id"], ["A-1"])
    assert (entry.predictions.pds, entry.version, entry.output) == ([prediction["pd"]], 1, "full")
    assert entry.applications.values[0][0] == applications()[1]["loan_amnt"][0]
    assert text_of(entry.first) == prediction["decision_id"] == answer.headers["x-decision-id"]


def test_a_plain_request_is_answered_at_once_and_as_any_other(desk: Desk) -> None:
    body, kind = json.dumps({"dataframe_records": [{"id": "A-1", **ONE}]}).encode(), "application/json"
    assert desk.answers_inline(body, **{"content-type": kind})
    plain = desk.ask("POST", "/invocations", body, **{"content-type": kind, "x-request-id": "abc"})
    other = {"content-type": f"{kind}; charset=utf-8", "x-request-id": "abc"}
    assert not desk.answers_inline(body, **other)
    careful = desk.ask("POST", "/invocations", body, **other)
    assert plain.headers.keys() == careful.headers.keys()
    assert without_id(plain) == without_id(careful)
    desk.app.settle()
    assert [entry.request_id for entry in desk.log.entries][1:] == ["abc"] * 3
    wrong, many = json.dumps({"inputs": [{**ONE, "term": 3.61}]}), json.dumps({"inputs": [ONE] * 40})
    for odd in ("", "{", wrong, many):
        assert not desk.answers_inline(odd.encode(), **{"content-type": kind})


def test_a_canary_is_answered_and_not_logged(desk: Desk) -> None:
    canary = desk.production.model.canary  # type: ignore[union-attr]
    assert desk.score(canary.application).json["predictions"][0]["pd"] == pytest.approx(canary.pd, abs=1e-6)
    desk.app.settle()
    assert desk.log.entries == []


def test_an_answer_in_each_form(desk: Desk) -> None:
    full = desk.score(ONE).json["predictions"][0]
    assert desk.score(ONE, output="pd").json == {"predictions": [full["pd"]]}
    assert desk.score(ONE, output="label").json == {"predictions": [int(full["decision"] == "decline")]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"annual_inc": None}, "Row 1: annual_inc is missing"),
        ({"term": 3.61}, "Row 1: term '3.61' is outside of 6 to 120 months"),
        ({"term": "soon"}, "Row 1: term 'soon' is no number"),
        ({"int_rate": True}, "Row 1: int_rate 'True' is no number"),
        ({"grade": "H"}, "Row 1: grade 'H' is not one of A, B"),
        ({"colour": "red"}, "colour is no field of a loan application"),
        ({"dti": [1]}, "Row 1: dti '[1]' is no number"),
    ],
)
def test_an_application_that_is_not_allowed_is_told_why(desk: Desk, change: dict[str, Any], sentence: str) -> None:
    answer = desk.score(ONE, {**ONE, **change})
    assert answer.status == 400
    assert answer.json["error_code"] == "INVALID_PARAMETER_VALUE"
    assert sentence in answer.json["message"]
    desk.app.settle()
    assert not desk.log.entries


def test_a_field_left_out_is_missing(desk: Desk) -> None:
    without = {name: value for name, value in ONE.items() if name != "loan_amnt"}
    assert "loan_amnt is missing" in desk.score(without).json["message"]
    assert "no application" in desk.score().json["message"]


def test_before_a_version_is_promoted_it_says_so(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, ready=False)
    assert desk.ask("GET", "/ping").status == 200
    assert (desk.ask("GET", "/health").status, desk.ask("GET", "/health").json["status"]) == (503, "not ready")
    answer = desk.score(ONE)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_other_paths_and_methods(desk: Desk) -> None:
    assert desk.ask("GET", "/").status == 404
    refused = desk.ask("GET", "/invocations")
    assert (refused.status, refused.headers["allow"]) == (405, "POST")
    assert desk.ask("GET", "/version").body.startswith(b"3.")
    assert desk.ask("GET", "/health").json["version"] == 1
    head = desk.ask("HEAD", "/health")
    assert (head.status, desk.ask("POST", "/health").headers["allow"]) == (200, "GET, HEAD")


def tensors(**fields: Any) -> bytes:
    inputs = [
        {"name": name, "shape": [1], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value]}
        for name, value in fields.items()
    ]
    return json.dumps({"id": "7", "inputs": inputs}).encode()


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_tensors_are_scored_as_the_same_application_is(desk: Desk, version: str) -> None:
    usual = desk.score({"id": "A-1", **ONE}).json["predictions"][0]
    answer = desk.ask("POST", f"/v2/models/loan_default_model{version}/infer", tensors(id="A-1", **ONE))
    assert (answer.status, answer.headers["x-model-version"]) == (200, "1")
    assert (answer.json["model_name"], answer.json["model_version"], answer.json["id"]) == (
        "loan_default_model",
        "1",
        "7",
    )
    outputs = {output["name"]: output["data"] for output in answer.json["outputs"]}
    assert [outputs["pd"], outputs["score"], outputs["decision"]] == [
        [usual[name]] for name in ("pd", "score", "decision")
    ]
    assert [reason for reason in outputs["reasons"] if reason] == usual["reasons"]
    desk.app.settle()
    assert [entry.predictions.pds for entry in desk.log.entries] == [[usual["pd"]]] * 2


def test_tensors_are_answered_by_the_challenger_too(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, policy=ServingPolicy(challenger_share=1, shadow_share=0))
    answer = desk.ask("POST", "/v2/models/loan_default_model/infer", tensors(id="A-1", **ONE))
    assert (answer.status, answer.headers["x-model-version"]) == (200, "2")
    desk.app.close()
    assert [(entry.version, [*entry.applications.ids]) for entry in desk.log.entries] == [(2, ["A-1"])]


def test_many_tensors_are_read_in_a_thread(desk: Desk) -> None:
    inputs = [
        {"name": name, "shape": [400], "datatype": "BYTES" if isinstance(value, str) else "FP64", "data": [value] * 400}
        for name, value in ONE.items()
    ]
    answer = desk.ask("POST", "/v2/models/loan_default_model/infer", json.dumps({"inputs": inputs}).encode())
    assert answer.json["outputs"][0]["shape"] == [400]
    many = [{**tensor, "shape": [10_001]} for tensor in inputs]
    refused = desk.ask("POST", "/v2/models/loan_default_model/infer", json.dumps({"inputs": many}).encode())
    assert (refused.status, "at most 10,000" in refused.json["error"]) == (413, True)


def test_the_open_inference_protocol_describes_server_and_model(desk: Desk) -> None:
    assert desk.ask("GET", "/v2").json["name"] == "loan-default"
    assert desk.ask("GET", "/v2/health/live").json == {"live": True}
    assert desk.ask("GET", "/v2/health/ready").json == {"ready": True}
    metadata = desk.ask("GET", "/v2/models/loan_default_model").json
    assert (metadata["versions"], metadata["platform"]) == (["1"], "loan-default_xgboost")
    assert desk.ask("GET", "/v2/models/loan_default_model/versions/1/ready").json["ready"] is True
    for path in ("/v2/models/other", "/v2/models/loan_default_model/versions/2/ready"):
        refused = desk.ask("GET", path)
        assert refused.status == 404
        assert refused.json.keys() == {"error"}
    refused = desk.ask("POST", "/v2/models/loan_default_model/infer", tensors(**{**ONE, "term": 3.0}))
    assert "Row 0: term '3' is outside of 6 to 120 months" in refused.json["error"]
    text = desk.ask("GET", "/metrics").body.decode()
    assert 'code="404",route="/v2/models/{name}"} 1.0' in text


def test_a_refusal_is_a_problem_for_whoever_reads_those(desk: Desk) -> None:
    answer = desk.score({**ONE, "term": 3.61}, accept="application/problem+json, application/json")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json["status"], answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer.json["detail"] == desk.score({**ONE, "term": 3.61}, accept="*/*").json["message"]
    assert desk.ask("GET", "/nowhere", accept="application/problem+json").json["title"] == "Not Found"


def test_the_server_describes_itself(desk: Desk) -> None:
    document = desk.ask("GET", "/openapi.json").json
    assert document["info"]["x-model"] == {"name": "loan_default_model", "version": 1, "kind": "xgboost"}
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described - {("PARAMETERS", path) for path in document["paths"]} == desk.app._routes.keys()
    page = desk.ask("GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_callers_request_id_comes_back(desk: Desk) -> None:
    assert desk.score(ONE, **{"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert desk.score(ONE, **{"X-Request-Id": "a\nb"}).headers["x-request-id"] != "a\nb"


def test_too_many_applications_are_refused(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, limits=Limits(rows=3))
    assert "at most 3" in desk.score(*[{"term": 36}] * 4).json["message"]


def test_what_could_not_be_read_is_refused_counted_and_named(desk: Desk) -> None:
    request = Request("", "", b"", {}, "192.0.2.7")

    async def refuse() -> Reply:
        return desk.app.refuse(request, 400, "This is not HTTP.")

    reply = asyncio.run(refuse())
    assert (reply.status, json.loads(reply.body)["message"]) == (400, "This is not HTTP.")
    assert request.id
    text = desk.ask("GET", "/metrics").body.decode()
    assert 'loan_default_requests_total{code="400",route="other"} 1.0' in text
    assert "loan_default_malformed_requests_total 1.0" in text


def test_requests_that_need_a_thread_wait_for_it(
    models: dict[int, ServedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(models, tmp_path, limits=Limits(queue=QueueLimits(threads=1, waiting=1, work_seconds=0.5)))
    stuck = threading.Event()
    monkeypatch.setattr(ServedModel, "read", lambda *_, **__: stuck.wait(3) and [])
    body = json.dumps({"dataframe_records": [{"colour": 1}]}).encode()

    async def three() -> list[Answer]:
        kind = {"content-type": "application/json"}
        asking = [asyncio.create_task(desk.send_request("POST", "/invocations", body, kind)) for _ in range(3)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        ping = await desk.send_request("GET", "/ping", b"", {})
        assert ping.status == 200
        await asyncio.wait(asking[:1])
        stuck.set()
        return await asyncio.gather(*asking)

    answers = asyncio.run(three())
    sentences = [answer.json["message"].split(";")[0] for answer in answers]
    assert [answer.status for answer in answers] == [503, 500, 503]
    assert sentences[0] == "The answer took longer than 0.5 s"
    assert sentences[2] == "1 requests wait already"


def test_tokens_open_their_own_routes(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, tokens=Tokens({"one": "web", "two": "branch"}, {"chief": "risk"}))
    statuses = {"": 401, "Bearer ": 401, "Bearer chief": 401, "Bearer one": 200, "Bearer two": 200}
    for authorization, status in statuses.items():
        assert desk.score(ONE, authorization=authorization).status == status
    assert desk.ask("POST", "/admin/reload", authorization="Bearer one").status == 401
    assert desk.ask("POST", "/admin/reload", authorization="Bearer chief").status == 200
    assert (tmp_path / "reload").exists(), "the other workers are told"
    assert desk.ask("GET", "/health").status == 200


def test_a_token_counts_only_with_its_scheme_and_names_its_caller(
    models: dict[int, ServedModel], tmp_path: Path
) -> None:
    desk = desk_of(models, tmp_path, tokens=Tokens({"one": "web", "two": "branch"}, {"chief": "risk"}))
    for authorization in ("one", "Basic one", "Bearerone", "Bearer one two", "Bearer one, Bearer two"):
        answer = desk.score(ONE, authorization=authorization)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="loan-default"')
    for authorization in ("bearer one", "BEARER one", "Bearer  one "):
        assert desk.score(ONE, authorization=authorization).status == 200

    def caller(authorization: str) -> str:
        request = Request("POST", "/invocations", b"", {b"authorization": authorization.encode()}, "")
        desk.app.admit(request)
        return request.caller

    async def callers() -> list[str]:
        return [caller("Bearer one"), caller("Bearer two"), caller("Bearer three")]

    assert asyncio.run(callers()) == ["web", "branch", ""]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:5001"}, 200),
        ({"host": "localhost", "origin": "http://localhost:3000"}, 200),
        ({}, 200),
        ({"host": "evil.example:5001"}, 403),
        ({"host": "localhost", "origin": "https://evil.example"}, 403),
        ({"host": "localhost", "origin": "null"}, 403),
    ],
)
def test_without_tokens_a_page_of_the_web_is_refused(
    models: dict[int, ServedModel], tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    desk = desk_of(models, tmp_path)
    assert desk.score(ONE, **headers).status == status
    assert desk.ask("POST", "/admin/reload", b"", **headers).status == status
    assert desk.ask("GET", "/health", b"", **headers).status == status
    assert (tmp_path / "reload").exists() == (status == 200)
    guarded = desk_of(models, tmp_path, tokens=Tokens({"one": "web"}, {"chief": "risk"}))
    assert guarded.score(ONE, authorization="Bearer one", **headers).status == 200


def test_reloads_are_one_at_a_time(
    models: dict[int, ServedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(models, tmp_path, limits=Limits(queue=QueueLimits(threads=1)))
    looks, go = [], threading.Event()
    monkeypatch.setattr(Follower, "look", lambda *_, **__: looks.append(go.wait(10)))

    async def reload() -> list[Answer]:
        asking = [asyncio.create_task(desk.send_request("POST", "/admin/reload", b"", {})) for _ in range(12)]
        await asyncio.sleep(0.1)
        csv = await desk.send_request("POST", "/invocations", b"", {"content-type": "text/csv"})
        assert csv.status == 400, "the threads that read and score are free"
        go.set()
        return await asyncio.gather(*asking)

    assert {answer.status for answer in asyncio.run(reload())} == {200}
    assert len(looks) <= 2, "those that came while one was under way share the next"


def test_a_registry_that_hangs_is_told_of(
    models: dict[int, ServedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, go = desk_of(models, tmp_path), threading.Event()
    monkeypatch.setattr(app_module, "_RELOAD_SECONDS", 0.1)
    monkeypatch.setattr(Follower, "look", lambda *_, **__: go.wait(10))
    monkeypatch.setattr(Follower, "hang", "The registry has not answered for 12 s.")
    answer = desk.ask("POST", "/admin/reload")
    go.set()
    assert (answer.status, answer.json["trouble"]) == (503, "The registry has not answered for 12 s.")
    assert desk.ask("GET", "/health").json["trouble"] == "The registry has not answered for 12 s."


def test_each_row_has_its_id_whoever_decides_on_it(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, policy=ServingPolicy(challenger_share=0.5, shadow_share=0))
    answer = desk.score(*({**ONE, "id": f"loan-{number}"} for number in range(60)))
    desk.app.settle()
    logged = {
        loan_id: text_of(entry.first, row)
        for entry in desk.log.entries
        for loan_id, row in zip(
            entry.applications.ids, entry.positions or range(len(entry.applications.ids)), strict=True
        )
    }
    ids = [prediction["decision_id"] for prediction in answer.json["predictions"]]
    assert ids == [logged[f"loan-{number}"] for number in range(60)] == sorted({*ids})
    assert answer.headers["x-decision-id"] == ids[0]


def test_who_asked_and_in_what_trace_is_logged(desk: Desk) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    for sent, logged in {
        f"00-{trace}-{parent}-01": trace,
        "": "",
        f"00-{trace}": "",
        f"00-{trace.upper()}-{parent}-01": "",
    }.items():
        desk.score({"id": "a", **ONE}, output="pd", traceparent=sent)
        desk.app.settle()
        assert (desk.log.entries[-1].trace_id, desk.log.entries[-1].output) == (logged, "pd")


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"], ids=["at once", "later"])
def test_a_decision_that_has_to_be_durable_is_answered_when_it_is(
    models: dict[int, ServedModel], tmp_path: Path, kind: str
) -> None:
    desk = desk_of(models, tmp_path, limits=Limits(queue=QueueLimits(work_seconds=1.0)))
    desk.log.syncs_each = True
    assert desk.score({"id": "a", **ONE}, **{"content-type": kind}).status == 200
    for disk, sentence in {
        ("it is full",): "so there is none: it is full.",
        (): "is not recorded yet: the disk took longer than 1 s.",
    }.items():
        desk.log.disk = [*disk]
        refused = desk.score({"id": "a", **ONE}, **{"content-type": kind})
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert sentence in refused.json["message"]
        assert "x-decision-id" not in refused.headers
    desk.app.settle()
    assert len(desk.log.entries) == 3, "not once more when they are counted"
    desk.log.disk = []
    assert desk.score(desk.production.model.canary.application).status == 200  # type: ignore[union-attr]


@pytest.mark.integration
@pytest.mark.parametrize("syncs_each", [False, True], ids=["logged later", "logged first"])
def test_a_request_that_is_sent_again_is_one_decision(
    models: dict[int, ServedModel], tmp_path: Path, syncs_each: bool
) -> None:
    desk, key = desk_of(models, tmp_path), {"idempotency-key": "k1"}
    desk.log.syncs_each = syncs_each
    first = desk.score({"id": "a", **ONE}, **key)
    again = desk.score({"id": "a", **ONE}, **key)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["x-decision-id"] == first.headers["x-decision-id"]
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    desk.app.settle()
    assert [entry.applications.ids for entry in desk.log.entries] == [["a"]]
    assert desk.score({"id": "b", **ONE}, **key).status == 422
    assert desk.score({"id": "a", **ONE}, **{"idempotency-key": ""}).status == 400
    refused = {"idempotency-key": "k2"}
    assert desk.score({**ONE, "term": 3.61}, **refused).status == 400
    assert desk.score({"id": "c", **ONE}, **refused).status == 200, "what was refused is no decision"


@pytest.mark.integration
def test_a_decision_that_is_remembered_by_its_key_is_recorded_first(
    models: dict[int, ServedModel], tmp_path: Path
) -> None:
    desk, key = desk_of(models, tmp_path), {"idempotency-key": "k1"}
    desk.log.disk = ["it is full"]
    assert desk.score({"id": "a", **ONE}, **key).status == 503
    desk.log.disk = [None]
    again = desk.score({"id": "a", **ONE}, **key)
    assert (again.status, again.headers.get("idempotent-replayed")) == (200, None)


@pytest.mark.integration
@pytest.mark.parametrize("logged", [True, False], ids=["when it was logged", "before it was logged"])
def test_a_key_whose_worker_died_is_one_decision(
    models: dict[int, ServedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: bool
) -> None:
    """The worker dies between two steps: what it has written down by then stays, and nobody is answered."""
    desk, key = desk_of(models, tmp_path), {"idempotency-key": "k1"}

    async def die(*_: object) -> None:
        raise SystemExit

    def die_at_once(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(IdempotencyKeys, "release", die)
        patch.setattr(*((IdempotencyKeys, "finish", die) if logged else (Log, "append", die_at_once)))
        with pytest.raises(SystemExit):
            desk.score({"id": "a", **ONE}, **key)
    assert len(desk.log.entries) == logged
    with sqlite3.connect(tmp_path / "keys.db") as connection:
        connection.execute("UPDATE keys SET pid = ?", (2**30,))  # no system has so many
    again = desk.score({"id": "a", **ONE}, **key)
    assert (again.status, again.headers.get("idempotent-replayed")) == (200, "true" if logged else None)
    assert [text_of(entry.first) for entry in desk.log.entries] == [again.headers["x-decision-id"]]
    assert desk.score({"id": "a", **ONE}, **key).body == again.body


@pytest.mark.integration
def test_a_caller_that_goes_away_while_its_decision_is_logged_gets_the_same_again(
    models: dict[int, ServedModel], tmp_path: Path
) -> None:
    desk = desk_of(models, tmp_path)
    waiting: list[Callable[[str | None], None]] = []

    def append(entries: list[Entry], synced: Callable[[str | None], None]) -> None:
        desk.log.entries += entries
        waiting.append(synced)

    async def send() -> Answer:
        body = json.dumps({"dataframe_records": [{"id": "a", **ONE}]}).encode()
        headers = {"content-type": "application/json", "idempotency-key": "k1"}
        return await desk.send_request("POST", "/invocations", body, headers)

    async def send_twice() -> Answer:
        first = asyncio.ensure_future(send())
        while not waiting:
            await asyncio.sleep(0.01)
        first.cancel()
        again = asyncio.ensure_future(send())
        await asyncio.sleep(0.1)
        waiting.pop()(None)
        return await again

    desk.log.append = append  # type: ignore[method-assign, assignment]
    again = asyncio.run(send_twice())
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    assert [text_of(entry.first) for entry in desk.log.entries] == [again.headers["x-decision-id"]]


def test_a_decision_is_shown_to_who_may_see_it(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, tokens=Tokens({"one": "web"}, {"chief": "risk"}))

    def see(decision_id: str, token: str = "chief") -> Answer:
        return desk.ask("GET", f"/decisions/{decision_id}", authorization=f"Bearer {token}")

    assert see(FOUND, "one").status == 401
    assert see(FOUND).json == {
        **{"row": {"pd": 0.5, "scored_at": "2026-11-03T00:00:00+00:00"}, "verdict": "same"},
        **{"sentence": "It says the same.", "again": {"pd": 0.5}},
    }
    missing = text_of(DecisionIds().draw())
    assert (see(missing).status, see("loan-7").status, see(LOST).status) == (404, 400, 503)
    assert f"loan-default decision {LOST} tells: forbidden" in see(LOST).json["message"]
    assert 'route="/decisions/{decision_id}"' in desk.ask("GET", "/metrics").body.decode()


def test_a_request_waits_for_a_version_that_another_worker_has(desk: Desk, tmp_path: Path) -> None:
    model, desk.production.model = desk.production.model, None
    desk.app._ready_workers = ReadyWorkers(tmp_path / "ready")
    assert desk.score(ONE).status == 503, "nobody has one"
    ReadyWorkers(tmp_path / "ready").join()

    async def load_later() -> Answer:
        asyncio.get_running_loop().call_later(0.1, setattr, desk.production, "model", model)
        body = json.dumps({"inputs": [ONE]}).encode()
        return await desk.send_request("POST", "/invocations", body, {"content-type": "application/json"})

    assert asyncio.run(load_later()).status == 200
    assert desk.score(ONE).status == 200


def test_health_says_how_the_log_stands(desk: Desk) -> None:
    desk.log.status, desk.log.dropped, desk.log.lag_seconds = LogStatus("There is no room.", 3), 7, 90.0
    health = {"trouble": "There is no room.", "dropped_rows": 7, "damaged_rows": 3}
    assert desk.ask("GET", "/health").json["log"] == health
    figures = desk.ask("GET", "/metrics").body
    assert b"loan_default_log_lag_seconds 90.0" in figures
    assert b"loan_default_log_damaged_rows 3.0" in figures


def test_a_challenger_answers_for_its_share(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, policy=ServingPolicy(challenger_share=0.5, shadow_share=0))
    rows = [{**ONE, "id": f"loan-{number}"} for number in range(60)]
    answer = desk.score(*rows, output="pd")
    assert answer.headers["x-model-version"] == "1,2"
    desk.app.settle()
    by_version = {loan_id: entry.version for entry in desk.log.entries for loan_id in entry.applications.ids}
    assert 15 < sum(version == 2 for version in by_version.values()) < 45
    for row, pd in zip(rows, answer.json["predictions"], strict=True):
        assert desk.score(row).headers["x-model-version"] == str(by_version[row["id"]])
        model = models[by_version[row["id"]]]
        assert pd == pytest.approx(pd_of(model, row), abs=1e-6)


def test_a_version_without_value_and_hazards_answers_beside_one_that_has_them(
    models: dict[int, ServedModel], tmp_path: Path
) -> None:
    hazard = timed_scorer("xgboost").hazard
    assert hazard is not None
    full = replace(valued_scorer("xgboost"), hazard=hazard)
    quick = (hazard.default.margins, hazard.repayment.margins)
    valued = {**models, 1: replace(models[1], scorer=full, quick_hazards=quick)}
    desk = desk_of(valued, tmp_path, policy=ServingPolicy(challenger_share=0.5, shadow_share=0))
    answers = desk.score(*({**ONE, "id": f"loan-{number}"} for number in range(20))).json["predictions"]
    assert all({"expected_loss", "npv", "pd_12m", "pd_curve"} <= {*answer} for answer in answers)
    for name in ("npv", "pd_12m", "pd_curve"):
        assert 0 < sum(answer[name] is None for answer in answers) < 20


def test_a_challenger_that_cannot_read_an_application_leaves_it_to_production(
    models: dict[int, ServedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = desk_of(models, tmp_path, policy=ServingPolicy(challenger_share=1, shadow_share=0))
    read = ServedModel.read

    def picky(model: ServedModel, body: bytes, content_type: str, *, at_most: int, until: float) -> ParsedRequest:
        if model.version == 2:
            raise BadInput("Row 0: something else is missing.")
        return read(model, body, content_type, at_most=at_most, until=until)

    monkeypatch.setattr(ServedModel, "read", picky)
    answer = desk.score({**ONE, "id": "a"})
    assert (answer.status, answer.headers["x-model-version"]) == (200, "1")
    desk.app.close()
    assert [entry.version for entry in desk.log.entries] == [1]


def test_a_failure_of_ours_is_told_without_its_trace(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(ServedModel, "decide", broken)
    answer = desk.score(ONE)
    assert (answer.status, answer.json["error_code"]) == (500, "INTERNAL_ERROR")
    assert "inside" not in answer.json["message"]
    assert answer.headers["x-request-id"] in answer.json["message"]


# --- for whom and what for


def test_the_person_for_whom_a_caller_asks_is_logged(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path, tokens=Tokens({"one": "pages"}, {"chief": "risk"}))
    for person in ("anna", "Ann B. O'Hara-Smith", "anna@bank.example", ""):
        headers = {"X-On-Behalf-Of": person} if person else {}
        assert desk.score({"id": "A-1", **ONE}, authorization="Bearer one", **headers).status == 200
        desk.app.settle()
        assert (desk.log.entries[-1].caller, desk.log.entries[-1].on_behalf_of) == ("pages", person)


@pytest.mark.parametrize("person", ["", " anna", "a\nb", "x" * 101, "<b>", "é"])
def test_what_is_no_name_is_refused(models: dict[int, ServedModel], tmp_path: Path, person: str) -> None:
    answer = desk_of(models, tmp_path).score(ONE, **{"X-On-Behalf-Of": person})
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer.json["message"].startswith("X-On-Behalf-Of must be a name of 1 to 100 ASCII letters")


def test_a_question_is_answered_as_a_decision_and_decides_on_nobody(
    models: dict[int, ServedModel],
    tmp_path: Path,
) -> None:
    desk = desk_of(models, tmp_path)
    desk.log.syncs_each, desk.log.disk = True, ["the disk is full"]
    question = {"X-Purpose": "what-if"}
    answer = desk.score(ONE, ONE, **question)
    assert answer.status == 200, "it needs no disk"
    desk.log.disk = [None]
    (decided,) = desk.score({"id": "A-1", **ONE}).json["predictions"]
    assert "decision_id" in decided
    assert answer.json["predictions"] == [{name: decided[name] for name in decided if name != "decision_id"}] * 2
    assert answer.headers["x-model-version"] == "1"
    assert "x-decision-id" not in answer.headers
    inferred = desk.ask("POST", "/v2/models/loan_default_model/infer", tensors(**ONE), **question)
    assert "x-decision-id" not in inferred.headers
    metrics = desk.ask("GET", "/metrics").body.decode()
    assert len(desk.log.entries) == 1
    assert "loan_default_what_if_rows_total 3.0" in metrics
    assert 'loan_default_rows_total{version="1"} 1.0' in metrics


def test_another_purpose_is_refused(models: dict[int, ServedModel], tmp_path: Path) -> None:
    answer = desk_of(models, tmp_path).score(ONE, **{"X-Purpose": "audit"})
    assert answer.status == 400
    assert answer.json["message"] == "X-Purpose must be what-if; without it the request decides on applicants."


@pytest.mark.integration
def test_a_key_is_of_its_purpose(models: dict[int, ServedModel], tmp_path: Path) -> None:
    desk = desk_of(models, tmp_path)
    assert desk.score(ONE, **{"Idempotency-Key": "k"}).status == 200
    assert desk.score(ONE, **{"Idempotency-Key": "k", "X-Purpose": "what-if"}).status == 422
    assert desk.score(ONE, **{"Idempotency-Key": "k"}).headers["idempotent-replayed"] == "true"
