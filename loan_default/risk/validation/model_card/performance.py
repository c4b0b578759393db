"""Writes how good a version is on the test window: beside other candidates, within groups of loans, and calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.estimates import Estimate
from loan_default.risk.evaluation import LEAST_ROWS, Segment
from loan_default.risk.markdown import EMPTY_CELL, markdown_table
from loan_default.risk.metrics import SHOWN_METRICS, Interval
from loan_default.risk.model.candidates.registry import CANDIDATES
from loan_default.risk.text import percent, plural
from loan_default.risk.validation.alternatives import (
    ANOTHER_SEED,
    ON_MATURED,
    ON_SAMPLE,
    SAMPLED_AT_MOST,
    WITH_OPINION,
    WITHOUT_OPINION,
)
from loan_default.risk.validation.champion_challenger import QUARTER, VINTAGE
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.wording import NOT_MEASURED, bullets, change, level_of, points

_LEVELS_SHOWN = 15
_BEYOND_TWO = 0.0455  # share of a standard normal
_MEANINGS = {
    "auc": ("AUC", "chance that a default ranks as riskier than a repaid loan"),
    "gini": ("Gini", "2 AUC - 1"),
    "ks": ("KS", "greatest distance between the shares of defaulted and of repaid loans that score above a value"),
    "pr_auc": ("PR-AUC", "average precision; the default rate is what chance reaches"),
    "brier": ("Brier score", "mean squared gap between PD and outcome; lower is better"),
    "log_loss": ("Log loss", "mean negative log-likelihood; lower is better"),
    "ece": (
        "Calibration error",
        "mean gap between PD and default rate over ten groups by PD, less what chance alone makes; lower is better",
    ),
    "precision": ("Precision", "share of the flagged loans that default"),
    "recall": ("Recall", "share of the defaults that are flagged"),
    "f1": ("F1", "harmonic mean of precision and recall"),
}


def leaderboard(
    on_calibrate: Mapping[str, Mapping[str, Interval]], on_test: Mapping[str, Mapping[str, Interval]]
) -> pl.DataFrame:
    """Set candidates beside each other, best on the calibrate window first.

    Args:
        on_calibrate: kind → metrics on the calibrate window, as in `Candidate.metrics`.
        on_test: the same of the test window; a candidate that is absent was not measured there.

    Returns:
        A row for each candidate: `kind`, then AUC, KS, Brier score and calibration error as `calibrate_auc`,
        `test_auc`, …; null where not measured.
    """
    rows = []
    for kind, metrics in sorted(on_calibrate.items(), key=lambda entry: -entry[1]["auc"].value):
        row: dict[str, str | float | None] = {"kind": kind}
        for name in SHOWN_METRICS:
            row[f"calibrate_{name}"] = metrics[name].value
            row[f"test_{name}"] = on_test[kind][name].value if kind in on_test else None
        rows.append(row)
    return pl.DataFrame(rows).with_columns(pl.exclude("kind").cast(pl.Float64))


def candidates(inputs: ModelCardInputs) -> Iterator[str]:
    """Show every candidate on both windows, and which was chosen by which."""
    table = inputs.leaderboard
    kinds = table["kind"].to_list()
    first = next(candidate.name for candidate in CANDIDATES if candidate.name in kinds)
    unless = f"{first} is chosen unless another's AUC there is higher by more than chance"
    rule = unless if len(kinds) > 1 else "There is one alone"
    loans = "loans among those" if inputs.splits.open_loans else "the loans"
    yield (
        "Each candidate is fitted on the train window, calibrated and measured on the calibrate window, then fitted "
        f"again on both. {rule}; the test window is shown but does not choose. Brier score and calibration error on "
        f"the calibrate window are of {loans} that the calibration was fitted on."
    )
    rows = [(f"**{kind}**" if kind == inputs.scorer.kind else kind, *rest) for kind, *rest in table.iter_rows()]
    yield markdown_table(["Candidate", *(_heading(column) for column in table.columns[1:])], rows)


def _heading(column: str) -> str:
    """Name a metric for people: `test_pr_auc` → `PR-AUC, test`."""
    window, _, metric = column.partition("_")
    return f"{_MEANINGS[metric][0]}, {window}" if metric in _MEANINGS else column


def results(inputs: ModelCardInputs) -> Iterator[str]:
    """Show every metric on the test window, within each term and each decision, and against others."""
    evaluation = inputs.evaluation
    caught = evaluation.metrics["recall"].value
    none = "" if caught else " No test loan that defaulted is, so precision, recall and F1 are 0."
    yield (
        f"Flagged means a PD of {percent(evaluation.cutoff)} or more.{none} Low and high span the 95% bootstrap "
        "interval."
    )
    rows = []
    for name, interval in evaluation.metrics.items():
        label, meaning = _MEANINGS.get(name, (name, ""))
        rows.append((label, interval.value, interval.low, interval.high, meaning))
    yield markdown_table(["Metric", "Value", "Low", "High", "What it says"], rows)
    parts = [("term", segment) for segment in evaluation.within_term]
    parts += [("decision", segment) for segment in (inputs.examination.by_decision if inputs.examination else ())]
    if parts:
        decided = f"that one decision is made on, as far as there are {LEAST_ROWS} or more:"
        yield f"Within loans {'of one term, and within those ' if evaluation.within_term else ''}{decided}"
        yield _within_table(parts)
    others = list(_others(inputs))
    if others:
        yield "Against others on the same loans (a rise in AUC and a fall in Brier score are better):"
        yield markdown_table(["Against", "AUC changes by", "Brier score changes by"], others)


def _within_table(parts: Sequence[tuple[str, Segment]]) -> str:
    rows = [(name, s.level, s.rows, percent(s.default_rate), percent(s.mean_pd), s.auc, s.ks) for name, s in parts]
    return markdown_table(["Within", "Level", "Loans", "Default rate", "Mean PD", "AUC", "KS"], rows)


def _others(inputs: ModelCardInputs) -> Iterator[tuple[str, str, str | None]]:
    evaluation, comparison = inputs.evaluation, inputs.comparison
    if evaluation.opinion_auc is not None:
        gain = evaluation.opinion_gain
        gain_text = (
            f"{evaluation.metrics['auc'].value - evaluation.opinion_auc:+z.4f}"
            if gain is None
            else change(gain.value, gain.low, gain.high)
        )
        yield f"the lender's opinion alone (AUC {evaluation.opinion_auc:.4f})", gain_text, None
    if comparison is not None:
        gained, risen = comparison.auc_gain, comparison.brier_rise
        bounded = np.isfinite([risen.low, risen.high]).all()
        rise = change(risen.value, risen.low, risen.high) if bounded else f"{risen.value:+z.4f}"
        on = f", on the {inputs.comparable.rows:,} it was not developed on" if inputs.comparable else ""
        yield f"the version in production{on}", change(gained.value, gained.low, gained.high), rise


def alternatives(inputs: ModelCardInputs) -> Iterator[str]:
    """Show what other models would do on the same loans, among them simpler ones, by pairs."""
    if inputs.examination is None:
        yield NOT_MEASURED
        return
    yield (
        "On the same test loans. The changes are this version's less the other's, with paired 95% intervals: where an "
        "interval holds 0 the loans do not tell which is better. None of them was chosen by these figures."
    )
    rows = [
        (
            _alternative_name(line.name, inputs),
            line.auc,
            change(line.auc_gain.value, line.auc_gain.low, line.auc_gain.high),
            line.brier,
            change(line.brier_rise.value, line.brier_rise.low, line.brier_rise.high),
            percent(line.approved),
        )
        for line in inputs.examination.alternatives
    ]
    yield markdown_table(["Model", "AUC", "AUC gained", "Brier score", "Brier score changes by", "Approves"], rows)


def _alternative_name(name: str, inputs: ModelCardInputs) -> str:
    share = inputs.splits.share_of(SAMPLED_AT_MOST)
    sample = f", fitted on {percent(share)} of the loans" if share < 1 else ""
    names = {
        ANOTHER_SEED: f"the same with seed {inputs.seed + 1} instead of {inputs.seed}{sample}",
        ON_SAMPLE: f"the same{sample}",
        ON_MATURED: f"the same, learned from matured loans alone{sample}",
        WITHOUT_OPINION: f"the same without the lender's opinion{sample}",
        WITH_OPINION: f"the same with the lender's opinion{sample}",
        **{model.name: model.card_words.kind for model in CANDIDATES},
    }
    return names.get(name, name)


def calibration(inputs: ModelCardInputs) -> Iterator[str]:
    """Hold PDs against outcomes: in the large, by slope, by ten groups and by quarter of issue if there is one."""
    evaluation = inputs.evaluation
    mean = np.average(inputs.groups["mean_pd"], weights=inputs.groups["loans"])
    yield (
        f"On the test window the mean PD is {percent(float(mean))} and the default rate "
        f"{percent(evaluation.defaults / evaluation.rows)}."
    )
    fitted = evaluation.recalibration
    if fitted is not None:
        lines = [
            f"In the large, {_span(fitted.intercept)} would have to be added to all log-odds (0 is right; by Firth's "
            "estimate)."
        ]
        if fitted.slope is not None:
            lines.append(
                f"Slope {_span(fitted.slope)} (1 is right; below it high PDs are too high and low ones too low)."
            )
        yield bullets(lines)
    yield (
        "By ten groups by PD, safest first, of as many loans each as far as loans of the same PD, which share a group, "
        "allow it; the gap is in percentage points:"
    )
    rows = [
        (str(group), loans, percent(mean_pd), percent(rate), points(mean_pd - rate))
        for group, loans, mean_pd, rate in inputs.groups.iter_rows()
    ]
    yield markdown_table(["Group", "Loans", "Mean PD", "Default rate", "Gap"], rows)
    quarters = [segment for segment in evaluation.segments if segment.field == QUARTER]
    if quarters:
        yield (
            f"By quarter of issue, those of {LEAST_ROWS} loans or more; the error is what to add to the log-odds of "
            "the PDs, with its 95% interval, and z counts it in standard errors:"
        )
        yield _error_table(["Quarter"], [((segment.level,), segment) for segment in quarters])


def _z(segment: Segment) -> str:
    return EMPTY_CELL if segment.z is None else f"{segment.z:+z.1f}"


def _span(estimate: Estimate) -> str:
    return f"{estimate.value:+z.3f} ({estimate.low:+z.3f} to {estimate.high:+z.3f})"


def _error_table(headings: Sequence[str], rows: Sequence[tuple[tuple[str, ...], Segment]]) -> str:
    cells = [
        (
            *names,
            segment.rows,
            percent(segment.default_rate),
            percent(segment.mean_pd),
            points(segment.gap),
            _span(segment.calibration) if segment.calibration else EMPTY_CELL,
            _z(segment),
        )
        for names, segment in rows
    ]
    return markdown_table([*headings, "Loans", "Default rate", "Mean PD", "Gap", "Error", "z"], cells)


def segments(inputs: ModelCardInputs) -> Iterator[str]:
    """Show the version by vintage and segment, the worst first."""
    evaluation, contract = inputs.evaluation, inputs.scorer.contract
    worst = evaluation.worst_segments
    yield (
        f"All on the test window, levels of {LEAST_ROWS} loans or more. The gap is mean PD less default rate in "
        "percentage points: above zero PDs are too high, below zero too low. AUC is empty where all loans ended alike."
    )
    if worst:
        count = sum(segment.z is not None for segment in evaluation.segments)
        yield (
            f"The {len(worst)} that are furthest off by z, of {plural(count, 'level')} measured. The error is what to "
            "add to the log-odds of the PDs, with its 95% interval, and z counts it in standard errors. Were all PDs "
            f"right, chance alone would put about {_BEYOND_TWO * count:.1f} of these levels above 2 or below -2:"
        )
        yield _error_table(
            ["Field", "Level"], [((f"`{s.field}`", level_of(contract, s.field, s.level)), s) for s in worst]
        )
    by_field: dict[str, list[Segment]] = {}
    for segment in evaluation.segments:
        by_field.setdefault(segment.field, []).append(segment)
    by_field.pop(QUARTER, None)
    vintages = by_field.pop(VINTAGE, [])
    if vintages:
        yield "By issue year:"
        yield _segment_table("Issue year", vintages, contract)
    for field, levels in by_field.items():
        yield f"By `{field}`:"
        yield _segment_table("Level", levels, contract)


def _segment_table(heading: str, levels: Sequence[Segment], contract: Contract) -> str:
    largest = sorted(levels, key=lambda segment: -segment.rows)[:_LEVELS_SHOWN]
    rows = [
        (
            level_of(contract, s.field, s.level),
            s.rows,
            percent(s.default_rate),
            percent(s.mean_pd),
            points(s.gap),
            _z(s),
            s.auc,
            s.brier,
        )
        for s in levels
        if s in largest
    ]
    table = markdown_table([heading, "Loans", "Default rate", "Mean PD", "Gap", "z", "AUC", "Brier score"], rows)
    left_out = len(levels) - len(largest)
    return f"{table}\n\nand {plural(left_out, 'smaller level')}." if left_out else table
