"""The logged models behind a real `mlflow models serve`, tree and linear, where nothing of ours can be imported."""

from __future__ import annotations

import gzip
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loan_default.risk.data.applications import clean_applications
from loan_default.risk.errors import BadInput
from loan_default.serving.protocol import Refused, encode
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import applications, contract, package, scorer
from loan_default_tests.serving.test_app import desk_of
from loan_default_tests.stores import log_model, new_run, new_tracking, started_server

pytestmark = pytest.mark.integration

KINDS = ("xgboost", "logistic_regression")
# As few fields as the contract allows, as integers where a client's JSON has them so.
SHORT = {"loan_amnt": 12_000, "term": 36, "int_rate": 13, "annual_inc": 65_000, "dti": 18}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The address of a server for each kind of model, in an empty folder; `loan_default` there only raises."""
    folder = tmp_path_factory.mktemp("served")
    nothing_of_ours = folder / "poison" / "loan_default"
    nothing_of_ours.mkdir(parents=True)
    (nothing_of_ours / "__init__.py").write_text("raise ImportError('not what the model carries')")
    stores = {kind: new_tracking(folder / kind) for kind in KINDS}
    for kind, tracking in stores.items():
        run_id = new_run(tracking)
        tracking.promote(tracking.register(run_id, log_model(tracking, run_id, kind), {}).version, {})
    arguments = ["models", "serve", "-m", "models:/loan_default_model@production", "--env-manager", "local"]

    def server(kind: str) -> Any:
        env = {"MLFLOW_TRACKING_URI": stores[kind].tracking_uri, "PYTHONPATH": str(nothing_of_ours.parent)}
        return started_server(arguments, folder / f"empty_{kind}", env)

    with server(KINDS[0]) as tree, server(KINDS[1]) as linear:
        tree.wait()
        linear.wait()
        yield {KINDS[0]: tree.url, KINDS[1]: linear.url}


@pytest.fixture
def served(servers: Mapping[str, str]) -> str:
    """The server of the boosted trees."""
    return servers["xgboost"]


def post(url: str, body: object, content_type: str = "application/json") -> tuple[int, Any]:
    data = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(f"{url}/invocations", data.encode(), {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def answers(kind: str = "xgboost") -> list[dict[str, Any]]:
    """Return what the model itself says of the applications, PDs to within 1e-9."""
    scores = scorer(kind).score(applications()[1]).drop("raw_score").to_dicts()
    return [{**row, "pd": pytest.approx(row["pd"], abs=1e-9)} for row in scores]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["dataframe_records", "dataframe_split", "inputs", "instances"])
def test_every_json_form_gets_what_the_scorer_says(servers: Mapping[str, str], kind: str, form: str) -> None:
    sent: Any = applications()[0]
    if form == "dataframe_split":
        split = pl.DataFrame(sent)
        sent = {"columns": split.columns, "data": [list(row) for row in split.rows()]}
    status, answer = post(servers[kind], {form: sent})
    assert status == 200, answer
    assert answer["predictions"] == answers(kind)


def test_applications_are_approved_and_declined() -> None:
    decisions = {row["decision"] for kind in KINDS for row in answers(kind)}
    assert decisions == {"approve", "review", "decline"}


def test_csv_gets_what_the_scorer_says(served: str) -> None:
    status, answer = post(served, pl.DataFrame(applications()[0]).write_csv(), "text/csv")
    assert status == 200, answer
    assert answer["predictions"] == answers()


@pytest.mark.parametrize("kind", KINDS)
def test_parameter_chooses_the_answer(servers: Mapping[str, str], kind: str) -> None:
    def predictions_as(output: str) -> list[Any]:
        body = {"dataframe_records": applications()[0], "params": {"output": output}}
        predictions: list[Any] = post(servers[kind], body)[1]["predictions"]
        return predictions

    full = answers(kind)
    assert predictions_as("full") == full
    assert predictions_as("pd") == [row["pd"] for row in full]
    assert predictions_as("label") == [int(row["decision"] == "decline") for row in full]


def test_integers_and_absent_optional_fields_are_scored(served: str) -> None:
    as_floats = {name: float(value) for name, value in SHORT.items()}
    forms: list[dict[str, object]] = [{"dataframe_records": [row]} for row in (SHORT, as_floats)]
    forms += [{form: [{**SHORT, "grade": None}]} for form in ("dataframe_records", "inputs", "instances")]
    (status, first), *others = [post(served, body) for body in forms]
    assert status == 200, first
    assert others == [(200, first)] * 4


def test_field_that_the_signature_does_not_know_is_dropped_by_mlflow(served: str) -> None:
    plain, extended = (post(served, {"dataframe_records": [row]}) for row in (SHORT, {**SHORT, "fico": 300}))
    assert plain == extended


@pytest.mark.parametrize(
    "change",
    [{"term": 3.61}, {"term": None}, {"home_ownership": "YACHT"}, {"issue_d": "yesterday"}],
    ids=str,
)
def test_value_that_is_not_allowed_is_the_callers_mistake_in_cleanings_sentence(
    served: str, change: Mapping[str, Any]
) -> None:
    row = {**SHORT, **change}
    with pytest.raises(BadInput) as refused:
        clean_applications(pl.DataFrame([row]), contract())
    status, answer = post(served, {"dataframe_records": [row]})
    assert status == 400
    assert str(refused.value).startswith(f"Row 0: {next(iter(change))} ")
    assert answer["message"].endswith(f"Error: {refused.value}")


def test_field_that_is_absent_is_named(served: str) -> None:
    misspelt = {("anual_inc" if name == "annual_inc" else name): value for name, value in SHORT.items()}
    status, answer = post(served, {"dataframe_records": [misspelt]})
    assert status == 400
    sentence = "Model is missing inputs ['annual_inc']. Note that there were extra inputs: ['anual_inc']."
    assert answer["message"].endswith(f"Error: {sentence}")


def test_output_that_there_is_not_is_named(served: str) -> None:
    status, answer = post(served, {"dataframe_records": [SHORT], "params": {"output": "odds"}})
    assert status == 400
    sentence = "The parameter output is 'odds'; it must be 'full', 'pd', 'label' or 'offers'."
    assert answer["message"].endswith(f"Error: {sentence}")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """The same model as our own server has it."""
    return ServedModel.load(package(tmp_path_factory.mktemp("ours")), 1)


def said_by(model: ServedModel, body: bytes) -> tuple[int, Any]:
    try:
        read = model.read(body, "application/json", at_most=10)
    except (BadInput, Refused):
        return 400, None
    return 200, json.loads(encode(model.predict(read.applications), read.output))["predictions"]


# Ours reads a text for a number as a file's, so that "" is missing and "36 months" a term, which MLflow refuses.
ODD = st.sampled_from([None, "x", "36", "3.61", 3.61, -1, 10**9, 1e300, "YACHT", "2018-10-01"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_our_server_and_mlflows_say_the_same(served: str, ours: ServedModel, data: st.DataObject) -> None:
    rows = [dict(row) for row in applications()[0][: data.draw(st.integers(1, 3), label="rows")]]
    for name in data.draw(st.lists(st.sampled_from(sorted(rows[0])), max_size=3, unique=True)):
        field = contract().by_name[name]
        allowed = st.floats(*field.range) if field.range else st.sampled_from([*field.levels, "Dec-2015"])
        rows[-1][name] = data.draw(st.one_of(allowed, allowed, ODD), label=name)
    body = {"dataframe_records": rows}
    status, answer = post(served, body)
    expected, predictions = said_by(ours, json.dumps(body).encode())
    assert status == expected, answer
    if status == 200:
        assert predictions == answer["predictions"]


class Sent(NamedTuple):
    """A request as it is sent to both servers."""

    body: bytes
    content_type: str | None = "application/json"
    method: str = "POST"
    path: str = "/invocations"
    encoding: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"content-type": self.content_type, "content-encoding": self.encoding}
        return {name: value for name, value in headers.items() if value is not None}


def body_of(form: str, content: object, **more: object) -> bytes:
    return json.dumps({form: content, **more}).encode()


RECORD = body_of("inputs", [SHORT])
CSV = pl.DataFrame([SHORT]).write_csv().encode()
COLUMNS, VALUES = [*SHORT], [*SHORT.values()]
OTHERWISE = {  # by the first column of the table in the documentation
    "a field that the contract does not know": Sent(body_of("inputs", [{**SHORT, "fico": 300}])),
    "one of several applications lacks a required field": Sent(
        body_of("inputs", [SHORT, {name: value for name, value in SHORT.items() if name != "dti"}])
    ),
    "a name twice in one object": Sent(RECORD.replace(b'"term"', b'"term": 60, "term"')),
    "`Infinity` as a number": Sent(body_of("inputs", [{**SHORT, "dti": float("inf")}])),
    "`inputs` that is one object of plain values": Sent(body_of("inputs", SHORT)),
    "another name beside the form, as `signature_name`": Sent(body_of("instances", [SHORT], signature_name="x")),
    "a parameter that there is not": Sent(body_of("inputs", [SHORT], params={"temperature": 1})),
    'a number with its unit, as `"36 months"`': Sent(body_of("inputs", [{**SHORT, "term": "36 months"}])),
    "an empty text for a number": Sent(body_of("inputs", [{**SHORT, "dti": ""}])),
    "CSV with a comma at the end of each row": Sent(CSV.strip() + b",\n", "text/csv"),
    "`Content-Encoding: gzip`": Sent(gzip.compress(RECORD), encoding="gzip"),
    "`Content-Type: APPLICATION/JSON`": Sent(RECORD, "APPLICATION/JSON"),
    "no `Content-Type`": Sent(RECORD, None),
    "`HEAD /ping`": Sent(b"", None, "HEAD", "/ping"),
}
ALIKE = [
    *[Sent(body_of(form, [SHORT])) for form in ("dataframe_records", "inputs", "instances")],
    *[Sent(body_of(form, {name: [value] for name, value in SHORT.items()})) for form in ("inputs", "instances")],
    Sent(body_of("dataframe_split", {"columns": COLUMNS, "index": [0], "data": [VALUES]})),
    Sent(body_of("dataframe_split", {"columns": COLUMNS[::-1], "data": [VALUES[::-1]]})),
    Sent(body_of("inputs", [SHORT], params=None)),
    Sent(body_of("inputs", [SHORT, {**SHORT, "grade": "B"}])),
    Sent(body_of("inputs", [{**SHORT, "dti": float("nan")}])),
    Sent(body_of("inputs", [{**SHORT, "dti": "18"}, {**SHORT, "id": 7}])),
    *[Sent(bytes_, kind) for bytes_, kind in ((b"\xef\xbb\xbf" + RECORD, "application/json"), (CSV, "text/csv"))],
    Sent(RECORD, "application/json; charset=utf-8"),
    # refused by both
    *[Sent(body) for body in (b"", b"{", b"{}", b"[]", body_of("inputs", []), body_of("inputs", 5))],
    Sent(body_of("inputs", [SHORT], instances=[SHORT])),
    Sent(body_of("inputs", [VALUES])),
    Sent(body_of("inputs", [SHORT], params=[1])),
    Sent(body_of("inputs", [{**SHORT, "loan_amnt": "many"}])),
    Sent(body_of("inputs", [{**SHORT, "loan_amnt": [1]}])),
    Sent(body_of("dataframe_split", {"columns": [*COLUMNS, COLUMNS[0]], "data": [[*VALUES, VALUES[0]]]})),
    Sent(body_of("dataframe_split", {"columns": COLUMNS, "data": [VALUES[:-1]]})),
    *[Sent(RECORD, kind) for kind in ("text/plain", "application/json; charset=latin-1", "application/json; x=y")],
    *[Sent(body, "text/csv") for body in (b"", CSV.splitlines()[0], CSV.replace(b",", b";"))],
    Sent(b"PAR1", "application/vnd.apache.parquet"),
    *[Sent(b"", None, method, path) for method, path in (("GET", "/invocations"), ("POST", "/ping"), ("GET", "/none"))],
    *[Sent(b"", None, "GET", path) for path in ("/ping", "/health", "/version")],
]


def test_the_documentation_says_what_our_server_answers_otherwise_than_mlflows(
    served: str, ours: ServedModel, tmp_path: Path
) -> None:
    desk = desk_of({1: ours, 2: ours}, tmp_path)

    def statuses(sent: Sent) -> tuple[int, int]:
        answer = desk.ask(sent.method, sent.path, sent.body, **sent.headers)
        connection = http.client.HTTPConnection(urlsplit(served).netloc, timeout=60)
        connection.request(sent.method, sent.path, sent.body, sent.headers)
        response = connection.getresponse()
        theirs = response.read()
        connection.close()
        if answer.status == response.status == 200 and sent.path == "/invocations":
            predictions = answer.json["predictions"]
            for prediction in predictions:
                del prediction["decision_id"]
            assert predictions == json.loads(theirs)["predictions"]
        return answer.status, response.status

    text = Path(__file__).parents[2].joinpath("docs", "scoring.md").read_text(encoding="utf-8")
    table = text.partition("## Beside `mlflow models serve`")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if "| " in line][2:]
    documented = {what: (int(here), int(under_mlflow)) for what, here, under_mlflow, _ in rows}
    assert {what: statuses(sent) for what, sent in OTHERWISE.items()} == documented
    assert all(here != under_mlflow for here, under_mlflow in documented.values())
    assert [sent for sent in ALIKE if len({*statuses(sent)}) > 1] == []
    desk.app.settle()
