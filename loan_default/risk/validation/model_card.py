"""The model card: what a risk analyst reads before a model version is trusted, as one Markdown page.

Its parts follow M. Mitchell et al., Model Cards for Model Reporting, 2019, in a lender's words. Everything on it is
handed in or counted from what is; measuring is `evaluation`, deciding is `promotion`, pictures are `plots`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl

from loan_default.risk.contract import LoanField
from loan_default.risk.data.splitting import Splits
from loan_default.risk.evaluation import SHOWN_METRICS, Comparison, Evaluation, Interval, Segment
from loan_default.risk.markdown import EMPTY_CELL, markdown_table
from loan_default.risk.model.candidates.registry import candidate_class
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.validation.champion_challenger import VINTAGE
from loan_default.risk.validation.promotion import PromotionDecision

_LEVELS_SHOWN = 15
_PROBLEMS_SHOWN = 10
_MEANINGS = {
    "auc": ("AUC", "chance that a default ranks as riskier than a repaid loan"),
    "gini": ("Gini", "2 AUC - 1"),
    "ks": ("KS", "greatest distance between the scores of defaulted and repaid loans"),
    "pr_auc": ("PR-AUC", "average precision; the default rate is what chance reaches"),
    "brier": ("Brier score", "mean squared gap between PD and outcome; lower is better"),
    "log_loss": ("Log loss", "mean negative log-likelihood; lower is better"),
    "ece": (
        "Calibration error",
        "mean gap between PD and default rate over ten equal groups, less what chance alone makes; lower is better",
    ),
    "precision": ("Precision", "share of the flagged loans that default"),
    "recall": ("Recall", "share of the defaults that are flagged"),
    "f1": ("F1", "harmonic mean of precision and recall"),
}


@dataclass(frozen=True)
class ModelCardInputs:
    """All that a card tells of one model version.

    Attributes:
        scorer: the version itself, with its contract, calibration and cut-offs.
        parameters: what it was fitted with.
        cleaning: `CleaningReport.to_dict()` of the loan files.
        splits: the windows.
        leaderboard: all candidates, as `leaderboard` gives it.
        evaluation: the version on the test window; segments of field `VINTAGE` are shown as vintages.
        decisions: what the cut-offs do to the test loans, as `champion_challenger.decision_shares` gives it.
        groups: the test loans by PD, as `evaluation.pd_groups` gives it.
        importance: share of each field, as `plots.field_importance` gives it.
        seed: of every random choice in training.
        trained_at: when training ended.
        git_commit: of the code that trained, where known.
        libraries: name → version of what training ran on.
        version: number in the registry, where there is one already.
        comparison: against the version in production on the same loans, where there is one.
        promotion: what was decided, where it was already.
    """

    scorer: Scorer
    parameters: Mapping[str, float | int | str]
    cleaning: Mapping[str, Any]
    splits: Splits
    leaderboard: pl.DataFrame
    evaluation: Evaluation
    decisions: pl.DataFrame
    groups: pl.DataFrame
    importance: Mapping[str, float]
    seed: int
    trained_at: datetime
    git_commit: str | None
    libraries: Mapping[str, str]
    version: int | None = None
    comparison: Comparison | None = None
    promotion: PromotionDecision | None = None


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


def model_card(inputs: ModelCardInputs) -> str:
    """Write the card, as GitHub-flavoured Markdown."""
    version = f", version {inputs.version}" if inputs.version is not None else ""
    sections: dict[str, Iterator[str]] = {
        "In short": _summary(inputs),
        "Model details": _details(inputs),
        "Intended use": _use(inputs),
        "Data": _data(inputs),
        "Candidates": _candidates(inputs),
        "Results on the test window": _results(inputs),
        "Calibration": _calibration(inputs),
        "Vintages and segments": _segments(inputs.evaluation),
        "Decisions": _decisions(inputs),
        "Promotion": _promotion(inputs.promotion),
        "Fields": _fields(inputs),
        "Fair lending": _fairness(inputs),
        "Limits": _limits(inputs),
        "How to reproduce": _reproduction(inputs),
    }
    parts = [f"# Model card: loan default{version}"]
    for heading, paragraphs in sections.items():
        parts += [f"## {heading}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def _percent(share: float | None) -> str:
    return EMPTY_CELL if share is None else f"{share:.1%}"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _points(gap: float) -> str:
    """Format a gap between two shares in percentage points."""
    return f"{100 * gap:+z.1f}"


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _summary(inputs: ModelCardInputs) -> Iterator[str]:
    evaluation, test, metrics = inputs.evaluation, inputs.splits.window("test"), inputs.evaluation.metrics
    came = "after the training loans of their term" if evaluation.out_of_time else "of the same months as the training"
    approved, _, declined = inputs.decisions.iter_rows(named=True)
    sentences = [
        f"On {evaluation.rows:,} loans issued {test.first_month:%Y-%m} to {test.last_month:%Y-%m}, {came}, of which "
        f"{_percent(evaluation.defaults / evaluation.rows)} defaulted, it reaches AUC {metrics['auc']}.",
        f"Its PDs are off by {metrics['ece'].value:.2%} on average over ten equal groups, less what chance alone makes "
        "(calibration error).",
        f"At its cut-offs it approves {_percent(approved['share'])} of these loans, of which "
        f"{_percent(approved['default_rate'])} defaulted, and declines {_percent(declined['share'])}, of which "
        f"{_percent(declined['default_rate'])} did.",
    ]
    if inputs.promotion is not None:
        sentences.append(f"Promotion: **{inputs.promotion.verdict}**.")
    yield _bullets(sentences)


def _details(inputs: ModelCardInputs) -> Iterator[str]:
    scorer, calibration, trained_at = inputs.scorer, inputs.scorer.calibration, f"{inputs.trained_at:%Y-%m-%d %H:%M %Z}"
    sign = "-" if calibration.intercept < 0 else "+"
    yield _bullets(
        [
            f"Loan book: {scorer.contract.title}.",
            f"Kind: {candidate_class(scorer.kind).card_words.kind}, trained {trained_at.strip()}.",
            "It predicts whether a loan will be charged off or default before its term ends, from what is known when "
            "it is granted: a probability of default (PD).",
            f"PD = 1 / (1 + exp(-({calibration.slope:.4f} m {sign} {abs(calibration.intercept):.4f}))), where m is the "
            "model's log-odds (Platt scaling, fitted on the calibrate window). Loans are ranked by m.",
            f"Score: {scorer.policy.points_at_odds:g} points at {scorer.policy.odds:g} repaid loans to one default, "
            f"{scorer.policy.points_to_double_odds:g} points more each time these odds double.",
        ]
    )
    # as they were given: a learning rate of 0.02 is no measurement with four decimals
    rows = [
        (name, f"{value:g}" if isinstance(value, float) else str(value)) for name, value in inputs.parameters.items()
    ]
    yield markdown_table(["Parameter", "Value"], rows)


def _use(inputs: ModelCardInputs) -> Iterator[str]:
    yield "Meant for"
    yield _bullets(
        [
            "ranking applications for instalment loans like those it was trained on, and approving, reviewing or "
            "declining them at the cut-offs below;",
            "telling a declined applicant the main reasons;",
            "following the expected default rate of a portfolio.",
        ]
    )
    yield "Not meant for"
    yield _bullets(
        [
            f"products or populations other than those of {inputs.scorer.contract.title};",
            "setting the interest rate or the grade, where these are among its inputs;",
            "telling when a loan defaults, or how much is lost then;",
            "provisions or capital, which ask for a PD at a point in time or of a downturn;",
            "decisions that nobody can appeal against.",
        ]
    )


def _data(inputs: ModelCardInputs) -> Iterator[str]:
    cleaning, splits = inputs.cleaning, inputs.splits
    names = ", ".join(PurePath(name).name for name in cleaning["files"])
    loans = cleaning["kept"] + cleaning["rejected"]
    others = f" {cleaning['lines_not_loans']:,} lines are no loans." if cleaning["lines_not_loans"] else ""
    yield _bullets(
        [
            f"Files: {names} (fingerprint `{cleaning['fingerprint']}`), as of {splits.snapshot:%Y-%m}.{others}",
            f"Of {loans:,} loans {cleaning['kept']:,} were kept and {cleaning['rejected']:,} rejected.",
            f"The kept loans were issued {cleaning['first_month']} to {cleaning['last_month']}.",
            f"Fields that the files lack, or have empty throughout: {_named(cleaning['missing_fields']) or 'none'}.",
        ]
    )
    if cleaning["problems"]:
        problems = sorted(cleaning["problems"].items(), key=lambda entry: -entry[1])
        yield "Loans were rejected for:"
        yield markdown_table(["Problem", "Loans"], problems[:_PROBLEMS_SHOWN])
        if len(problems) > _PROBLEMS_SHOWN:
            yield f"and {len(problems) - _PROBLEMS_SHOWN:,} rarer problems."
    yield _maturity(splits, inputs.scorer.contract.outcome.grace_months)
    yield _windows(splits)
    yield from splits.remarks
    if not splits.out_of_time:
        yield (
            "**The loans span too few months to be cut by month**: every window holds loans of the same months, so "
            "the results below say nothing about loans that come later."
        )


def _maturity(splits: Splits, grace: int) -> str:
    used = sum(window.rows for window in splits.windows)
    rule = (
        f"Only matured loans are used: those of which the last payment was due{_before(grace)} "
        f"{splits.snapshot:%Y-%m}. Of younger loans only the early payers and early defaulters are resolved, so their "
        "default rate is not that of their vintage. "
    )
    if not splits.immature + splits.unresolved:
        return f"{rule}All {used:,} loans are matured."
    return (
        f"{rule}The rule leaves {used:,} loans; it sets aside {splits.immature:,} that are resolved but not matured, "
        f"beside {splits.unresolved:,} that are not resolved. The youngest vintages are therefore in no window; each "
        "term is cut by its own months, as loans of long terms mature later."
    )


def _before(grace: int) -> str:
    return f" {grace} months or more before" if grace else " by"


def _windows(splits: Splits) -> str:
    rows = [
        (name, term, f"{w.first_month:%Y-%m} to {w.last_month:%Y-%m}", w.rows, w.defaults, _percent(w.default_rate))
        for name, term, w in splits.parts
    ]
    return markdown_table(["Window", "Term", "Issued", "Loans", "Defaults", "Default rate"], rows)


def _candidates(inputs: ModelCardInputs) -> Iterator[str]:
    yield (
        "Each candidate is fitted on the train window, calibrated and compared on the calibrate window, then fitted "
        "again on both. The best there by AUC is chosen; the test window is shown but does not choose."
    )
    table = inputs.leaderboard
    rows = [(f"**{kind}**" if kind == inputs.scorer.kind else kind, *rest) for kind, *rest in table.iter_rows()]
    yield markdown_table(["Candidate", *(_heading(column) for column in table.columns[1:])], rows)


def _heading(column: str) -> str:
    """Name a metric for people: `test_pr_auc` → `PR-AUC, test`."""
    window, _, metric = column.partition("_")
    return f"{_MEANINGS[metric][0]}, {window}" if metric in _MEANINGS else column


def _results(inputs: ModelCardInputs) -> Iterator[str]:
    evaluation = inputs.evaluation
    yield f"Flagged means a PD of {_percent(evaluation.cutoff)} or more. Low and high span the 95% bootstrap interval."
    rows = []
    for name, interval in evaluation.metrics.items():
        label, meaning = _MEANINGS.get(name, (name, ""))
        rows.append((label, interval.value, interval.low, interval.high, meaning))
    yield markdown_table(["Metric", "Value", "Low", "High", "What it says"], rows)
    others = list(_others(inputs))
    if others:
        yield "Against others on the same loans (a rise in AUC and a fall in Brier score are better):"
        yield markdown_table(["Against", "AUC changes by", "Brier score changes by"], others)


def _others(inputs: ModelCardInputs) -> Iterator[tuple[str, str, str | None]]:
    evaluation, comparison = inputs.evaluation, inputs.comparison
    if evaluation.opinion_auc is not None:
        gain = evaluation.metrics["auc"].value - evaluation.opinion_auc
        yield f"the lender's opinion alone (AUC {evaluation.opinion_auc:.4f})", f"{gain:+.4f}", None
    if comparison is not None:
        gained = comparison.auc_gain
        change = f"{gained.value:+.4f} ({gained.low:+.4f} to {gained.high:+.4f})"
        yield "the version in production", change, f"{comparison.brier_rise.value:+.4f}"


def _calibration(inputs: ModelCardInputs) -> Iterator[str]:
    evaluation = inputs.evaluation
    mean = np.average(inputs.groups["mean_pd"], weights=inputs.groups["loans"])
    yield (
        f"On the test window the mean PD is {_percent(float(mean))} and the default rate "
        f"{_percent(evaluation.defaults / evaluation.rows)}. "
        "By groups of equally many loans, safest first; the gap is in percentage points:"
    )
    rows = [
        (str(group), loans, _percent(mean_pd), _percent(rate), _points(mean_pd - rate))
        for group, loans, mean_pd, rate in inputs.groups.iter_rows()
    ]
    yield markdown_table(["Group", "Loans", "Mean PD", "Default rate", "Gap"], rows)


def _segments(evaluation: Evaluation) -> Iterator[str]:
    yield (
        "All on the test window. The gap is mean PD less default rate in percentage points: above zero the model is "
        "too careful, below zero not careful enough. Levels of few loans scatter widely; AUC is empty where all loans "
        "ended alike."
    )
    by_field: dict[str, list[Segment]] = {}
    for segment in evaluation.segments:
        by_field.setdefault(segment.field, []).append(segment)
    vintages = by_field.pop(VINTAGE, [])
    if vintages:
        yield "By issue year:"
        yield _segment_table("Issue year", vintages)
    for field, segments in by_field.items():
        yield f"By `{field}`:"
        yield _segment_table("Level", segments)


def _segment_table(heading: str, segments: Sequence[Segment]) -> str:
    largest = sorted(segments, key=lambda segment: -segment.rows)[:_LEVELS_SHOWN]
    rows = [
        (
            s.level,
            s.rows,
            _percent(s.default_rate),
            _percent(s.mean_pd),
            _points(s.gap),
            s.auc,
            s.brier,
        )
        for s in segments
        if s in largest
    ]
    table = markdown_table([heading, "Loans", "Default rate", "Mean PD", "Gap", "AUC", "Brier score"], rows)
    left_out = len(segments) - len(largest)
    return f"{table}\n\nand {left_out:,} smaller levels." if left_out else table


def _decisions(inputs: ModelCardInputs) -> Iterator[str]:
    policy = inputs.scorer.policy
    yield (
        f"A PD below {_percent(policy.approve_below)} is approved, from {_percent(policy.decline_from)} on declined, "
        f"and a person reviews what lies between. An applicant who is not approved gets up to {policy.reasons_at_most} "
        "reasons: the groups of fields that raise this applicant's risk most (exact SHAP values), each told by the "
        "field that adds most and the side of its value against the typical loan of development. On the test window:"
    )
    shares = inputs.decisions.iter_rows()
    rows = [(decision, loans, _percent(share), _percent(rate)) for decision, loans, share, rate in shares]
    yield markdown_table(["Decision", "Loans", "Share of loans", "Default rate"], rows)


def _promotion(decision: PromotionDecision | None) -> Iterator[str]:
    if decision is None:
        yield "Not decided when this card was written."
        return
    over = "no version was in production" if decision.champion is None else f"version {decision.champion} in production"
    yield f"**{decision.verdict.capitalize()}** version {decision.candidate}; {over}."
    rows = [("passed" if f.passed else "**failed**", f.rule, f.sentence) for f in decision.findings]
    yield markdown_table(["Finding", "Rule", "What was found"], rows)


def _fields(inputs: ModelCardInputs) -> Iterator[str]:
    words, importance = candidate_class(inputs.scorer.kind).card_words, inputs.importance
    fields = sorted(inputs.scorer.contract.features, key=lambda field: -importance.get(field.name, 0.0))
    first = [field.name for field in fields[:5]]
    yield (
        f"{len(fields)} fields, all known when the loan is granted. The most important are {_named(first)}: together "
        f"{_percent(sum(importance.get(name, 0.0) for name in first))} of the importance ({words.importance}). "
        + (
            "Where the table says that PD rises or falls with a field, the model cannot go against it."
            if words.monotone
            else "That PD rises or falls with a field is expected; this kind of model is not bound to it."
        )
    )
    missing = inputs.cleaning["missing_fields"]
    rows = [_field_row(field, importance.get(field.name), field.name in missing) for field in fields]
    yield markdown_table(["Field", "Importance", "What it is", "Allowed", "PD with it", "Group of reasons"], rows)
    contract = inputs.scorer.contract
    opinions = [name for name in contract.feature_names if name in contract.opinions]
    if opinions:
        yield (
            f"The lender's own opinion, or derived from it: {_named(opinions)}. "
            + (
                "The policy decides without it: the model does not see it."
                if _without_opinion(inputs)
                else "It is told as a reason like any other."
            )
        )


def _without_opinion(inputs: ModelCardInputs) -> bool:
    return inputs.scorer.policy.decide_without_opinion


def _field_row(field: LoanField, importance: float | None, missing: bool) -> tuple[object, ...]:
    what = field.description + (" **Not in the files.**" if missing else "")
    direction = {"rising": "rises", "falling": "falls", None: None}[field.risk]
    return f"`{field.name}`", _percent(importance), what, field.allowed, direction, field.group


def _fairness(inputs: ModelCardInputs) -> Iterator[str]:
    reported = _named(field.name for field in inputs.scorer.contract.with_role("segment"))
    yield _bullets(
        [
            "The Equal Credit Opportunity Act forbids using race, colour, religion, national origin, sex, marital "
            "status, age (beyond narrow exceptions) and receipt of public assistance. None of them may be a field; the "
            "table above is complete.",
            f"Read for reports only, never features: {reported or 'none'}. Where a borrower lives can stand in for "
            "race or national origin.",
            "Other fields can stand in for a forbidden one too, such as the length of the credit history for age. "
            "Without protected characteristics in the files disparate impact cannot be measured here: have it tested "
            "before the model decides on its own.",
            "Regulation B (12 CFR 1002.9) asks for the specific principal reasons of a decline. Those given come from "
            "the model's own calculation, before calibration, for that applicant.",
        ]
    )


def _limits(inputs: ModelCardInputs) -> Iterator[str]:
    lacking = len(inputs.cleaning["missing_fields"])
    empty_fields = (
        f"The model has never seen a value of {lacking} fields (see Data): they carry no weight."
        if lacking
        else "No field is empty throughout."
    )
    yield _bullets(
        [
            "**Accepted loans only.** The files hold loans that were granted. How rejected applicants would have paid "
            "is not known and was not inferred (no reject inference): PDs of applicants whom the lender would have "
            "turned away are extrapolated, and probably too low.",
            f"**Matured loans only.** The newest loans behind these figures were issued in "
            f"{inputs.splits.window('test').last_month:%Y-%m}. What changed in the economy or in lending since then is "
            "not in them; watch drift, and the default rates of younger loans as they mature.",
            f"**Missing values.** {empty_fields} A field may be empty for some vintages only; a missing value then "
            "partly tells the vintage.",
            *(
                [
                    "**The lender's opinion is inside.** The model inherits the rules by which it was formed, and must "
                    "be trained again when those change."
                ]
                if inputs.scorer.contract.opinions and not _without_opinion(inputs)
                else []
            ),
        ]
    )


def _reproduction(inputs: ModelCardInputs) -> Iterator[str]:
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(inputs.libraries.items()))
    yield _bullets(
        [
            f"Code: git commit `{inputs.git_commit or 'not known'}`.",
            f"Data: fingerprint `{inputs.cleaning['fingerprint']}`, windows `{inputs.splits.fingerprint}`.",
            f"Seed: {inputs.seed}.",
            f"Libraries: {libraries}.",
            "The parameters are those above; the contract and the cut-offs are stored with the model version.",
        ]
    )
