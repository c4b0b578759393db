"""Decisions as the journal keeps them: written, read, and made a table of."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import DECISIONS, Predictions
from loan_default.serving.decision_id import text_of
from loan_default.serving.decision_records import (
    BRIEF,
    DecidingVersion,
    Decisions,
    brief_table,
    encode,
    log_schema,
    read_records,
    records_of,
    table_of,
)
from loan_default_tests.packages import contract, scorer
from loan_default_tests.serving.logged_entries import FEATURES, entry


def written_and_read(*records: Decisions) -> list[Decisions]:
    return [record for record in read_records(encode(records)) if isinstance(record, Decisions)]


@pytest.mark.parametrize("counts", [(1,), (3,), (1, 2, 1), (250,), (250, 1, 250, 3)])
def test_values_come_back_to_the_bit(counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    numeric = [index for index, field in enumerate(FEATURES) if field.kind == "number"]
    expected_rows: dict[str, Any] = {}
    entries = []
    for rows in counts:
        values, pds = np.ones((rows, len(FEATURES))), rng.random(rows)
        values[:, numeric] = rng.random((rows, len(numeric))) * 1e6
        decisions = [DECISIONS[row % 3] for row in range(rows)]
        applications = Applications(["a"] * rows, values.tolist() if rows == 1 else np.asfortranarray(values))
        predictions = Predictions(pds.tolist(), [*range(rows)], decisions, [[]] * rows, [[]] * rows)
        entries.append(entry(applications=applications, predictions=predictions))
        for row in range(rows):
            decided = (pds[row], row, decisions[row], *values[row, numeric])
            expected_rows[text_of(entries[-1].first, row)] = decided
    frame = table_of(DecidingVersion.of(3, scorer("xgboost")), written_and_read(*records_of(entries)))
    names = ["pd", "score", "decision", *(FEATURES[index].name for index in numeric)]
    assert dict(zip(frame["decision_id"], frame.select(names).rows(), strict=True)) == expected_rows
    assert frame.schema == log_schema(contract())


def test_a_brief_table_has_some_of_the_columns_of_the_whole() -> None:
    logged = [entry("r1", caller="los"), entry("r2", count=2, on_behalf_of="Ann B."), entry("r3", positions=[7])]
    records = written_and_read(*records_of(logged))
    brief = brief_table(3, records)
    assert brief.equals(table_of(DecidingVersion.of(3, scorer("xgboost")), records).select(*BRIEF))
    assert brief["decision_id"].to_list() == [
        text_of(logged_entry.first, row)
        for logged_entry, rows in zip(logged, ([0], [0, 1], [7]), strict=True)
        for row in rows
    ]


def test_a_request_of_many_rows_has_a_record_of_its_own() -> None:
    few, many = entry("few"), entry("many", count=100)
    assert [len(record.id) for record in records_of([few, many, few])] == [2, 100]


def test_the_version_that_decided_comes_back() -> None:
    deciding = DecidingVersion.of(3, scorer("xgboost"))
    assert read_records(encode([deciding])) == [deciding]


def test_columns_are_what_was_answered_and_then_the_features() -> None:
    schema = log_schema(contract())
    before = ["request_id", "scored_at", "id", "pd", "score", "decision", "reason_codes", "model_version"]
    assert {*before, "shadow_version", "shadow_pd"} < schema.keys(), "as in files of earlier releases"
    assert list(schema)[-len(FEATURES) :] == list(contract().feature_names)
    assert [schema[name] for name in ("scored_at", "loan_amnt", "grade", "purpose")] == [
        pl.Datetime("us", "UTC"), pl.Float64(), pl.String(), pl.String(),
    ]  # fmt: skip
