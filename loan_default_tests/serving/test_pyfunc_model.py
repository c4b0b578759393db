"""The logged models behind a real `mlflow models serve`, tree and linear, where nothing of ours can be imported."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loan_default.risk.data.applications import clean_applications
from loan_default.risk.errors import BadInput
from loan_default.serving.protocol import Refused, encode
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import applications, contract, package, scorer
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
