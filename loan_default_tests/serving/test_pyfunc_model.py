"""The logged model: as an object over a fake scorer, and behind a real `mlflow models serve`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from loan_default_tests.adapters.test_tracking import (
    fake_scorer,
    free_port,
    log_fake_model,
    new_run,
    new_tracking,
    running_server,
    write_fake_code,
)

pytestmark = pytest.mark.integration

SAFE = {"pd": 0.01, "score": 845, "decision": "approve", "reasons": ["purpose car"]}
RISKY = {"pd": 0.25, "score": 725, "decision": "decline", "reasons": ["purpose unknown"]}
APPLICATIONS = [
    {"loan_amount": 1000, "annual_income": None, "purpose": "car"},
    {"loan_amount": 25_000, "annual_income": 1, "purpose": None},
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The production version behind MLflow's own server, in an empty folder, where nothing of ours is installed."""
    folder = tmp_path_factory.mktemp("served")
    tracking = new_tracking(folder / "store")
    run_id = new_run(tracking)
    version = tracking.register(run_id, log_fake_model(tracking, run_id, folder), {})
    tracking.promote(version.version, {})
    arguments = ["models", "serve", "-m", "models:/loan_default_model@production", "--env-manager", "local"]
    env = {"MLFLOW_TRACKING_URI": tracking.tracking_uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    with running_server(arguments, free_port(), env, folder / "empty") as url:
        yield url


def post(url: str, body: object, content_type: str = "application/json") -> tuple[int, dict]:
    data = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(f"{url}/invocations", data.encode(), {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": APPLICATIONS},
        {"dataframe_split": pd.DataFrame(APPLICATIONS, dtype=object).to_dict("split")},
        {"inputs": APPLICATIONS},
        {"instances": APPLICATIONS},
    ],
    ids=lambda body: next(iter(body)),
)
def test_every_json_form_gets_the_full_answer(served: str, body: object) -> None:
    assert post(served, body) == (200, {"predictions": [SAFE, RISKY]})


def test_csv_gets_the_full_answer(served: str) -> None:
    csv = "loan_amount,annual_income,purpose\n1000,,car\n25000,1,\n"
    assert post(served, csv, "text/csv") == (200, {"predictions": [SAFE, RISKY]})


@pytest.mark.parametrize(("output", "answer"), [("pd", [0.01, 0.25]), ("label", [0, 1]), ("full", [SAFE, RISKY])])
def test_parameter_chooses_the_answer(served: str, output: str, answer: list) -> None:
    body = {"dataframe_records": APPLICATIONS, "params": {"output": output}}
    assert post(served, body) == (200, {"predictions": answer})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            {"dataframe_records": [{"loan_amount": -5}]},
            "Row 1: loan_amount is -5.0; give more than 0 dollars.",
        ),
        (
            {"dataframe_records": [{"loan_amount": 1}], "params": {"output": "odds"}},
            "The parameter output is 'odds'; it must be 'full', 'pd' or 'label'.",
        ),
        ({"dataframe_records": [{"purpose": "car"}]}, "Model is missing inputs ['loan_amount']."),
    ],
)
def test_bad_input_is_the_callers_mistake_in_one_sentence(served: str, body: object, sentence: str) -> None:
    status, answer = post(served, body)
    assert status == 400
    assert answer["message"].endswith(f"Error: {sentence}")


def test_optional_fields_may_be_absent(served: str) -> None:
    assert post(served, {"dataframe_records": [{"loan_amount": 25_000}]}) == (200, {"predictions": [RISKY]})


def test_missing_values_become_nulls_and_other_objects_text(tmp_path: Path) -> None:
    with fake_scorer(write_fake_code(tmp_path)):
        from loan_default.serving.pyfunc_model import _to_polars

        frame = _to_polars(
            pd.DataFrame(
                {
                    "amount": [1.0, float("nan")],
                    "count": [1, 2],
                    "purpose": ["car", None],
                    "served": ["None", "car"],  # what MLflow makes of a null text in `inputs`
                    "term": [36, "60 months"],
                }
            )
        )
    assert frame.to_dict(as_series=False) == {
        "amount": [1.0, None],
        "count": [1.0, 2.0],
        "purpose": ["car", None],
        "served": [None, "car"],
        "term": ["36", "60 months"],
    }
    assert frame.dtypes == [pl.Float64, pl.Float64, pl.String, pl.String, pl.String]
