"""Evidently's report: it counts as drifted what the verdict counts, says what it is of, and speaks to nobody."""

import json
import re
import socket
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loan_default.risk.monitoring.drift import (
    ReferenceProfile,
    build_profile,
    feature_drift,
    judge_drift,
    profile_batch,
)
from loan_default.risk.monitoring.reference_profile import Reference
from loan_default.risk.policy import DriftPolicy

pytestmark = pytest.mark.integration
MODULE = "loan_default.risk.monitoring.evidently_report"
NUMERIC, CATEGORICAL, SCORE = ["income", "dti", "constant"], ["grade", "<rare>"], "raw_score"
POLICY = DriftPolicy(
    feature_psi_limit=0.25, score_psi_limit=0.2, drifted_share_limit=0.3, least_rows=100, report_sample_rows=100
)


def loans(rows: int, seed: int = 0, moved: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "income": np.exp(rng.normal(11 + moved, 0.6, rows)).round(),
            "dti": np.where(rng.random(rows) < 0.1, np.inf, rng.gamma(4, 5, rows)),
            "constant": np.full(rows, 3.0),
            "grade": rng.choice(list("ABC"), rows, p=[0.5 - moved / 3, 0.3, 0.2 + moved / 3]),
            "<rare>": np.full(rows, "x"),
            SCORE: rng.normal(-2 + moved, 0.7, rows),
        }
    )
    present = {"grade": 0.9, "<rare>": 0.01}
    return frame.with_columns(
        pl.when(pl.Series(rng.random(rows) < p)).then(name).alias(name) for name, p in present.items()
    )


REFERENCE = loans(3_000)
PROFILE = build_profile(REFERENCE, numeric=NUMERIC, categorical=CATEGORICAL, score=SCORE)


def record_of(batch: pl.DataFrame, reference: pl.DataFrame = REFERENCE) -> dict[str, Any]:
    profile = build_profile(reference, numeric=NUMERIC, categorical=CATEGORICAL, score=SCORE)
    table = feature_drift(profile, profile_batch(batch, profile), POLICY)
    return {
        "batch": "2018-10",
        "model_version": 3,
        "scored_at": "2018-11-02T05:00:00+00:00",
        "months": ("2018-10", "2018-10"),
        "reference": {"rows": 48_000, "months": ("2014-01", "2017-06")},
        "limits": POLICY.model_dump(),
        **judge_drift(table, batch.height, POLICY).to_dict(),
        "features": table.to_dicts(),
    }


def draw_report(
    record: dict[str, Any], sample: pl.DataFrame, batch: pl.DataFrame, profile: ReferenceProfile | None = None
) -> Any:
    """Draw a report, and only here load Evidently: that takes seconds, of each process that collects tests."""
    return import_module(MODULE).draw_report(record, Reference(profile or PROFILE, sample), batch)


def counted(report: Any) -> dict[str, float]:
    values = [m["value"] for m in report.dict()["metrics"] if "DriftedColumnsCount" in m["metric_name"]]
    return values[0] if values else {"count": 0, "share": 0.0}


@given(
    st.integers(0, 10_000),
    st.sampled_from([40, 150, 600]),
    st.floats(0, 0.9),
    st.sets(st.sampled_from(NUMERIC + CATEGORICAL)),
)
@settings(max_examples=5)
def test_evidently_counts_what_the_verdict_counts(seed: int, rows: int, moved: float, emptied: set[str]) -> None:
    batch = loans(rows, seed, moved).with_columns(pl.lit(None, REFERENCE.schema[name]).alias(name) for name in emptied)
    record = record_of(batch)
    report = draw_report(record, REFERENCE.sample(100, seed=seed), batch.sample(min(rows, 100), seed=seed))
    assert counted(report) == {"count": len(record["drifted_features"]), "share": pytest.approx(record["share"])}
    page = report.dumps()
    features_moved = record["verdict"] == "drifted" and record["share"] >= POLICY.drifted_share_limit
    assert f"Dataset Drift is {'detected' if features_moved else 'NOT detected'}." in page
    score = next(line for line in record["features"] if line["feature"] == SCORE)
    assert ("Data drift detected. Drift" in page) == (score["drifted"] and record["verdict"] == "drifted")


def test_a_report_names_batch_version_dates_and_samples_and_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a report spoke to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    report = draw_report(record_of(loans(300, seed=1)), REFERENCE.head(90), loans(80))
    page = import_module(MODULE).report_page(report)
    for text in ("Batch 2018-10 and version 3: stable", "300 applications of 2018-10, scored on 2018-11-02"):
        assert text in page
    for text in ("48,000 loans of 2014-01 to 2017-06", "80 applications and 90 loans"):
        assert text in page
    assert "by a fit that had learned them" in page, "versions of before have the scores of all loans"
    unseen = draw_report(record_of(loans(300, seed=1)), REFERENCE.head(90), loans(80), PROFILE.with_score(SCORE, [1.0]))
    assert "by a fit that had not seen it" in unseen.dumps()
    assert report.get_name() == "2018-10: stable"
    assert counted(report)["count"] == 0
    assert "#ed0400" not in report.dumps(), "the colour of an alarm"
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", page)


def test_a_batch_without_rows_and_a_reference_without_values_leave_the_heading() -> None:
    for reference, batch in (
        (REFERENCE, REFERENCE.head(0)),
        (REFERENCE.select(pl.lit(None, dtype).alias(name) for name, dtype in REFERENCE.schema.items()), REFERENCE),
    ):
        report = draw_report(record_of(batch, reference), reference.head(90), batch.head(80))
        assert counted(report)["count"] == 0
        assert "Batch 2018-10 and version 3" in report.dumps()


def test_features_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from evidently.metrics import column_statistics

    drawings: list[str] = []
    draw = column_statistics.plot_distr_with_perc_button

    def count_and_draw(**options: Any) -> Any:
        drawings.append(options["yaxis_name"])
        return draw(**options)

    monkeypatch.setattr(column_statistics, "plot_distr_with_perc_button", count_and_draw)

    record = record_of(loans(300, seed=1))
    record["features"] = [line for line in record["features"] if line["feature"] in ("dti", SCORE)]

    def widgets() -> str:
        report = draw_report(record, REFERENCE.head(90), loans(80))
        return re.sub(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", "id", str(json.loads(report.dumps())["widgets"]))

    ours = widgets()
    assert len(drawings) == 1, "the score"
    monkeypatch.setattr(f"{MODULE}._columns_drawn_once", nullcontext)
    assert widgets() == ours
    assert len(drawings) == 1 + 2
