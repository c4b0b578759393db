"""The reference population: the same however it is cut, and what is typical of it."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.compute import FrameTable, JoinedTable, LocalEngine, Table
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.applications import clean_applications
from loan_default.risk.monitoring.drift import feature_drift, judge_drift
from loan_default.risk.monitoring.reference_profile import (
    drift_columns,
    example_application,
    merge_references,
    profile_of,
    reference_part,
    scored_features,
    with_scores,
)
from loan_default.risk.policy import load_policy
from loan_default_tests.conftest import Cleaned
from loan_default_tests.packages import contract, scorer

MONTHS = ("2015-01", "2015-02")


class Cut(LocalEngine):
    """As the distributed engine cuts tables, in this process."""

    rows_each: int

    def __init__(self, rows: int) -> None:
        object.__setattr__(self, "rows_each", rows)

    def parts(self, table: Table) -> list[Table]:
        starts = range(0, table.rows, self.rows_each)
        return [table.part(start, min(self.rows_each, table.rows - start)) for start in starts]


@pytest.mark.parametrize(("height", "rows"), [(20, 1), (100, 9), (400, 399)])
@pytest.mark.slow
def test_a_verdict_does_not_depend_on_how_the_batch_is_cut(cleaned: Cleaned, height: int, rows: int) -> None:
    loans, model, policy = pl.read_parquet(cleaned.path), scorer("xgboost"), load_policy().drift
    learned = loans.head(600)
    reference = with_scores(reference_part(contract(), MONTHS, 0.1, learned), model.score(learned)["raw_score"]).profile
    features = scored_features(model, loans.tail(height).with_columns(pl.col("dti") * 1.5))
    raw, names = FrameTable(features.select("raw_score").lazy()), tuple(features.drop("raw_score").columns)
    batch = JoinedTable(((FrameTable(features.lazy()), names), (raw, ("raw_score",))))
    undivided, parts = (profile_of(engine, batch, reference) for engine in (LocalEngine(), Cut(rows)))
    tables = [feature_drift(reference, profile, policy) for profile in (undivided, parts)]
    assert tables[0].equals(tables[1])
    assert judge_drift(tables[0], undivided.rows, policy) == judge_drift(tables[1], parts.rows, policy)


def test_the_reference_of_parts_is_that_of_the_whole(cleaned: Cleaned) -> None:
    loans = pl.read_parquet(cleaned.path).head(300)
    undivided = reference_part(contract(), MONTHS, 0.5, loans)
    pieces = [loans[start : start + 90] for start in range(0, 300, 90)]
    parts = merge_references([reference_part(contract(), MONTHS, 0.5, piece) for piece in pieces], 150)
    assert parts.profile.to_json() == undivided.profile.to_json()
    assert parts.sample.height == undivided.sample.height == 150


def test_scores_are_those_of_other_loans_than_the_features(cleaned: Cleaned) -> None:
    loans, scores = pl.read_parquet(cleaned.path).head(300), np.array([-2.0, 0.5])
    reference = with_scores(reference_part(contract(), MONTHS, 0.1, loans), scores)
    column = reference.profile.columns["raw_score"]
    assert (reference.profile.rows, reference.profile.score, column.present) == (300, "raw_score", 2)
    assert sorted(reference.sample["raw_score"]) == [*[-2.0] * 15, *[0.5] * 15]


def test_drift_watches_every_feature_once() -> None:
    numeric, categorical = drift_columns(contract())
    assert {"dti", "annual_inc"} <= set(numeric)
    assert {"grade", "purpose"} <= set(categorical)
    assert sorted([*numeric, *categorical]) == sorted(contract().feature_names)


def test_scored_features_are_the_features_and_the_margin(cleaned: Cleaned) -> None:
    loans, model = pl.read_parquet(cleaned.path).head(50), scorer("xgboost")
    scored = scored_features(model, loans)
    assert scored.columns == [*contract().feature_names, "raw_score"]
    assert np.array_equal(scored["raw_score"], model.score(loans)["raw_score"])


def test_an_example_application_is_typical_and_nobodys(cleaned: Cleaned) -> None:
    loans = pl.read_parquet(cleaned.path)
    loans = loans.with_columns(pl.lit(None, dtype=loans["revol_util"].dtype).alias("revol_util"))
    profile = reference_part(contract(), ("2015-01", "2015-02"), 0.1, loans).profile
    example = example_application(profile, contract())
    assert example["annual_inc"] == loans["annual_inc"].median()
    assert example["purpose"] == loans["purpose"].mode().sort()[0]
    derived = {field.name for field in contract().features if field.derived}
    assert set(example) == set(contract().feature_names) - derived - {"revol_util"}
    assert clean_applications(pl.DataFrame([example]), contract()).height == 1


def test_an_example_application_has_what_applications_need_and_models_do_not_see(cleaned: Cleaned) -> None:
    term: dict[str, Any] = {"role": "support", "reasons": {}, "risk": None, "group": "term", "applicant_can": None}
    support = {"term": term, "earliest_cr_line": {}, "zip_code": {}}
    data = contract().model_dump()
    for field in data["fields"]:
        if field["name"] in support:
            field |= {"required": True, "nullable": False, **support[field["name"]]}
    changed = Contract.model_validate(data)
    profile = reference_part(contract(), ("2015-01", "2015-02"), 0.1, pl.read_parquet(cleaned.path)).profile
    example = example_application(profile, changed)
    assert {name: example[name] for name in support} == {
        "term": 6,
        "earliest_cr_line": "2000-01",
        "zip_code": "2000-01",
    }
    assert clean_applications(pl.DataFrame([example]), changed).height == 1


def test_an_example_application_has_a_derived_field_that_must_have_a_value(cleaned: Cleaned) -> None:
    data = contract().model_dump()
    history = next(field for field in data["fields"] if field["name"] == "credit_history_months")
    history |= {"required": True, "nullable": False}
    changed = Contract.model_validate(data)
    loans = pl.read_parquet(cleaned.path)
    profile = reference_part(contract(), ("2015-01", "2015-02"), 0.1, loans).profile
    example = example_application(profile, changed)
    assert example["credit_history_months"] == loans["credit_history_months"].median()
    assert clean_applications(pl.DataFrame([example]), changed).height == 1
