"""Comparisons and segments by hand, and the record of an evaluation read again, one of before too."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from loan_default.risk.estimates import recalibrate
from loan_default.risk.evaluation import BlankedField, Comparison, Evaluation, Looks, by_segment, compare
from loan_default.risk.metrics import (
    Bootstrap,
    Interval,
    auc_of,
)
from loan_default_tests.risk.drawn_loans import CUTOFF, loans, measured


def test_identical_models_differ_by_exactly_nothing() -> None:
    outcomes, pds, raw = loans()
    same = compare(outcomes, (pds, raw), (pds, raw), bootstrap=Bootstrap(0))
    assert same == Comparison(Interval(0, 0, 0), Interval(0, 0, 0))


def test_comparison_is_candidate_less_champion_on_paired_resamples() -> None:
    outcomes, pds, raw = loans()
    worse = raw + np.random.default_rng(1).normal(0, 0.3, len(raw))
    blurred = np.clip(pds + 0.1, 0, 1)
    comparison = compare(outcomes, (blurred, worse), (pds, raw), bootstrap=Bootstrap(0, 100))
    assert comparison.auc_gain.value == pytest.approx(auc_of(outcomes, worse) - auc_of(outcomes, raw))
    assert comparison.auc_gain.low < comparison.auc_gain.value < comparison.auc_gain.high < 0
    expected = sk.brier_score_loss(outcomes, blurred) - sk.brier_score_loss(outcomes, pds)
    assert comparison.brier_rise.value == pytest.approx(expected)
    assert 0 < comparison.brier_rise.low < expected < comparison.brier_rise.high
    alone = measured(resamples=100)["auc"]  # pairing takes out what both share
    assert comparison.auc_gain.high - comparison.auc_gain.low < (alone.high - alone.low) / 2
    assert comparison == compare(outcomes, (blurred, worse), (pds, raw), bootstrap=Bootstrap(0, 100))


def test_segments_are_measured_within_each_level() -> None:
    outcomes, pds, raw = loans(1_000)
    home = np.resize(["RENT", "OWN", None, "RENT"], 1_000)
    levels = pl.DataFrame({"home": pl.Series(home, dtype=pl.Enum(["RENT", "OWN"])), "term": np.resize([36.0], 1_000)})
    segments = by_segment(outcomes, pds, raw, levels)
    assert [(s.field, s.level, s.rows) for s in segments] == [
        ("home", "OWN", 250),
        ("home", "RENT", 500),
        ("home", "missing", 250),
        ("term", "36.0", 1_000),
    ]
    rent, of_rent = segments[1], home == "RENT"
    assert rent.default_rate == pytest.approx(outcomes[of_rent].mean())
    assert rent.mean_pd == pytest.approx(pds[of_rent].mean())
    assert rent.gap == pytest.approx(pds[of_rent].mean() - outcomes[of_rent].mean())
    assert rent.auc == pytest.approx(sk.roc_auc_score(outcomes[of_rent], raw[of_rent]))
    assert rent.brier == pytest.approx(sk.brier_score_loss(outcomes[of_rent], pds[of_rent]))


def test_small_segments_are_left_out_and_those_of_one_outcome_have_no_auc() -> None:
    outcomes = np.r_[np.zeros(30), np.ones(5), np.zeros(24)]
    levels = pl.DataFrame({"purpose": ["car"] * 30 + ["house"] * 29})
    (only,) = by_segment(outcomes, np.full(59, 0.1), np.arange(59), levels)
    assert (only.level, only.rows, only.auc, only.default_rate) == ("car", 30, None, 0)
    assert [s.level for s in by_segment(outcomes, np.full(59, 0.1), np.arange(59), levels, least_rows=29)] == [
        "car",
        "house",
    ]


def test_evaluation_survives_json() -> None:
    outcomes, pds, raw = loans()
    segments = by_segment(outcomes, pds, raw, pl.DataFrame({"term": np.resize([36, 60], len(raw))}))
    months = np.resize(np.arange(12), len(raw))
    evaluation = Evaluation(
        rows=len(raw),
        defaults=int(outcomes.sum()),
        out_of_time=True,
        cutoff=CUTOFF,
        metrics=measured(),
        opinion_auc=0.66,
        segments=segments,
        opinion_gain=Interval(0.01, 0.0, 0.02),
        recalibration=recalibrate(outcomes, pds, months),
        looks=Looks(3, 1),
        blanked=(BlankedField("dti", 400, 0.25, 0.5, approved_without=0.625, mean_pd=0.2, mean_pd_without=0.1),),
    )
    record = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert Evaluation.from_dict(record) == evaluation
    assert [(s["level"], s["ks"], s["z"]) for s in record["within_term"]] == [(s.level, s.ks, s.z) for s in segments]
    assert record["worst_segments"][0]["z"] == max((s.z for s in segments if s.z), key=abs)


def test_an_evaluation_of_before_is_read_and_says_what_it_lacks() -> None:
    segment = {"field": "term", "level": "36", "rows": 90, "default_rate": 0.2, "mean_pd": 0.1, "auc": None, "brier": 1}
    record = {
        "rows": 90,
        "defaults": 18,
        "out_of_time": True,
        "cutoff": 0.3,
        "metrics": {"auc": {"value": 0.7, "low": 0.6, "high": 0.8}},
        "grade_auc": 0.66,
        "segments": [segment],
    }
    evaluation = Evaluation.from_dict(record)
    assert evaluation.opinion_auc == 0.66
    assert (evaluation.recalibration, evaluation.looks, evaluation.worst_segments) == (None, None, ())
    assert evaluation.blanked is None
    assert evaluation.within_term[0].z is None
    gain = {"value": 0.01, "low": 0.0, "high": 0.02}
    before = Comparison.from_dict({"auc_gain": gain, "brier_rise": -0.001})
    assert before.brier_rise.value == -0.001
    assert not before.brier_rise.high < 0  # a fall that nobody proved


def test_the_worst_segments_are_ten_of_all_by_z() -> None:
    outcomes, pds, raw = loans(6_000)
    levels = pl.DataFrame({"purpose": np.resize(np.arange(15), 6_000), "home": np.resize([1, 1, 2], 6_000)})
    segments = by_segment(outcomes, pds, raw, levels)
    worst = Evaluation(6_000, 9, True, CUTOFF, measured(), None, segments).worst_segments
    assert [s.z for s in worst] == sorted((s.z for s in segments if s.z), key=abs, reverse=True)[:10]
