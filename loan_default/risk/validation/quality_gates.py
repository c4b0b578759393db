"""Judges cleaned loans, a trained candidate, a batch's fields and its predictions before anything follows from them.

Each gate returns findings, a sentence each; whoever asked stops where one failed. The gate before production is in
`promotion`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.consistency import WRITTEN_AFTERWARDS
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Finding, PromotionPolicy

if TYPE_CHECKING:  # definitions read the rules' names in every process: what is measured on is imported when measured
    import polars as pl

    from loan_default.risk.data.cleaning_report import CleaningReport
    from loan_default.risk.estimates import Estimate, Recalibration
    from loan_default.risk.metrics import Bootstrap, Interval
    from loan_default.risk.model.features import FeatureSpace
    from loan_default.risk.model.training import CalibrateWindow, Candidate

# Each rule of a gate, and what it asks.
CLEANING_RULES = {
    "columns_match_contract": "The cleaned columns are those of the contract, in its order.",
    "ids_unique": "No two loans have the same number.",
    "rejected_share_within_limit": "No larger share of the rows was rejected than the contract expects.",
    "default_rate_in_band": "The default rate lies where the contract expects it.",
    "nothing_from_after_the_loan_was_granted": "No column holds what is known only after a loan was granted.",
}
NO_LEAK, BETTER_THAN_OPINION = "not_too_good_to_be_true", "better_than_the_opinion"
TRAINING_RULES = {
    "auc_floor": "The best candidate ranks loans better than the floor of the policy.",
    BETTER_THAN_OPINION: "It ranks them better than the lender's own opinion does.",
    NO_LEAK: "It is not so good that a field must know the outcome; else the run stops.",
    "calibrated": "Its PDs agree with the outcomes, within the tolerance of the policy.",
}
NO_FIELD_LOST = "no_field_of_development_is_empty"
_OF_PREDICTIONS = {
    "one_row_per_application": "There is one prediction for each application.",
    "every_pd_between_0_and_1": "Every PD is a probability.",
}
PREDICTION_RULES = {
    NO_FIELD_LOST: "No field that loans of development had is missing from the whole batch.",
    **_OF_PREDICTIONS,
}
LEAK_REMEDY = (
    "Look for a field that was written after the decision; if there is none, raise "
    "promotion.suspect_leak_above_auc in the policy beside the book's contract."
)
_CHANCE = 0.001
_FEW_FIELDS = 2  # of more, a sentence that repeats an option for each is no sentence


def failures(findings: Iterable[Finding]) -> str:
    """Return the sentences of what failed, as one text; empty where all passed."""
    return " ".join(finding.sentence for finding in findings if not finding.passed)


def judge_cleaning(report: CleaningReport, loans: pl.LazyFrame, contract: Contract) -> tuple[Finding, ...]:
    """Hold cleaned loans against the contract and what it expects of a file."""
    import polars as pl

    names = loans.collect_schema().names()
    expected = [field.name for field in contract.stored] + contract.labels
    ids = loans.select(pl.col(contract.id_name).n_unique()).collect().item()
    afterwards = [name for name in names if name not in expected and contract.is_known_afterwards(name)]
    share, limit = report.rejected_share, contract.expect.rejected_share_at_most
    low, high = contract.expect.default_rate_between
    rate = report.default_rate
    verdicts = (
        (names == expected, f"The columns are {'those' if names == expected else 'not those'} of the contract."),
        (ids == report.kept, f"{report.kept:,} loans have {ids:,} ids."),
        (
            share <= limit,
            f"{share:.2%} of the rows were rejected{_most_frequent(report)}; {limit:.0%} is allowed."
            f"{_first(report) if share > limit else ''}",
        ),
        (
            rate is not None and low <= rate <= high,
            _no_rate(report, contract)
            if rate is None
            else f"{_defaulted(rate, report, contract)}; {low:.0%} to {high:.0%} is expected.",
        ),
        (not afterwards, f"Columns {WRITTEN_AFTERWARDS}: {', '.join(afterwards) or 'none'}."),
    )
    return tuple(Finding(rule, *verdict) for rule, verdict in zip(CLEANING_RULES, verdicts, strict=True))


def _most_frequent(report: CleaningReport) -> str:
    top = ", ".join(f"{problem} {count:,}" for problem, count in list(report.problems.items())[:3])
    return f" ({top})" if top else ""


def _first(report: CleaningReport) -> str:
    return f" The first: {report.first_rejection}" if report.first_rejection else ""


def _defaulted(rate: float, report: CleaningReport, contract: Contract) -> str:
    loans = "loans with an outcome" if contract.outcomes_are_final else "matured loans"
    return f"{rate:.1%} of the {loans} defaulted" if rate else f"None of the {report.matured:,} {loans} defaulted"


def _no_rate(report: CleaningReport, contract: Contract) -> str:
    """Say why no outcome counts: there is none, nothing says when loans mature, or none has."""
    month = "" if report.snapshot is None else f" by the snapshot month {report.snapshot:%Y-%m}"
    if not report.resolved:
        column, statuses = contract.outcome.column, [*contract.outcome.defaulted, *contract.outcome.repaid]
        why = f"No loan has an outcome: {column} is never {', '.join(statuses)}"
        remedy = "give loans that ended, or list the statuses of the file in the contract"
    elif report.first_month is None:
        why = f"No date was read: no loan has {contract.time_name}, so none is known to have matured"
        remedy = "name its column in the contract, or say time: none and outcomes: final"
    elif not report.with_term:
        why = f"No term was read: no loan has {contract.term_source}, so none is known to have matured"
        remedy = "name its column in the contract, or give the term that all loans have"
    else:
        why = f"No loan has matured{month}"
        remedy = "give older loans, or the month in which the file was taken if that was later"
    return f"{why}, so there is no default rate; {remedy}."


def judge_candidate(
    best: Candidate, calibrate: CalibrateWindow, policy: PromotionPolicy, *, bootstrap: Bootstrap
) -> tuple[Finding, ...]:
    """Judge the best candidate on the calibrate window, which its first fit had not seen.

    Its calibration is judged as it will be used: fitted on the window's earlier months, held against its later ones.

    Args:
        best: the candidate, with the margins of its first fit.
        calibrate: the loans of these margins.
        policy: the limits.
        bootstrap: of the gain over the opinion.
    """
    from loan_default.risk.estimates import recalibrate_forward
    from loan_default.risk.metrics import auc_gain, auc_of
    from loan_default.risk.model.calibration import fit_calibration

    auc, outcomes, opinion = best.metrics["auc"], calibrate.outcomes, calibrate.opinion
    gain = None if opinion is None else auc_gain(outcomes, best.margins, opinion, bootstrap=bootstrap)
    forward = recalibrate_forward(outcomes, best.margins, fit_calibration, calibrate.months)
    return (
        judge_auc_floor(auc, policy),
        judge_opinion(auc, None if opinion is None else auc_of(outcomes, opinion), gain, policy),
        judge_leak(auc.value, policy),
        judge_calibration(forward, policy, policy.calibration_size),
    )


def judge_auc_floor(auc: Interval, policy: PromotionPolicy) -> Finding:
    """Ask that the model tells loans apart."""
    floor = policy.auc_at_least
    return Finding("auc_floor", auc.low >= floor, f"AUC {auc}; its lower end must be at least {floor:.2f}.")


def judge_opinion(auc: Interval, opinion_auc: float | None, gain: Interval | None, policy: PromotionPolicy) -> Finding:
    """Ask for a proven gain over ranking by the lender's own opinion."""
    if opinion_auc is None:
        return Finding(
            BETTER_THAN_OPINION,
            True,
            "No loan has an opinion of the lender by which loans could be ranked.",
        )
    limit = policy.gain_over_opinion_at_least
    if gain is None:
        return Finding(BETTER_THAN_OPINION, False, "The gain over the lender's opinion alone was not measured.")
    return Finding(
        BETTER_THAN_OPINION,
        gain.low > limit,
        f"The lender's opinion alone reaches AUC {opinion_auc:.4f}, the model {auc.value:.4f}: it gains "
        f"{gain.value:+z.4f} ({gain.low:+z.4f} to {gain.high:+z.4f}), and the interval must lie above {limit:g}.",
    )


def judge_calibration(recalibration: Recalibration | None, policy: PromotionPolicy, size: float) -> Finding:
    """Hold PDs whose error in the large, or whose slope, is beyond its tolerance and more than chance explains.

    A model whose PDs are right is held with a chance of at most `size`; what cannot be told is held.
    """
    if recalibration is None:
        return Finding("calibrated", False, "Calibration was not tested; evaluate the version again.")
    large, slope = recalibration.intercept, recalibration.slope
    if slope is None:
        return Finding("calibrated", False, "All loans have the same PD, or PDs and outcomes agree without a fault.")
    each, tolerance, slope_tolerance = size / 2, policy.calibration_tolerance, policy.slope_tolerance
    reach, allowed = slope.reach(slope_tolerance, each), f"{1 - slope_tolerance:.2f} to {1 + slope_tolerance:.2f}"
    slope_fits, slope_verdict = _against_limit(slope, 1, slope_tolerance, each, allowed)
    value = f"{slope.value:z.{_decimals(slope, 1, slope_tolerance)}f} ({slope.low:z.2f} to {slope.high:z.2f})"
    return Finding(
        "calibrated",
        fits_in_the_large(large, tolerance, each) and slope_fits,
        f"{in_the_large(large, tolerance, each)}; the slope of their log-odds is {value}, {slope_verdict}, and "
        f"{1 - reach:z.2f} or {1 + reach:.2f} would have been seen.",
    )


def fits_in_the_large(error: Estimate, tolerance: float, size: float) -> bool:
    """Tell whether what PDs of all loans lack to be right is tolerated, or no more than chance explains."""
    return _against_limit(error, 0, tolerance, size, "")[0]


def in_the_large(error: Estimate, tolerance: float, size: float) -> str:
    """Say what PDs of all loans lack to be right, and how large an error a test of this size would have seen."""
    _, verdict = _against_limit(error, 0, tolerance, size, f"{tolerance:.2f} either way")
    value = f"{error.value:+z.{_decimals(error, 0, tolerance)}f} ({error.low:+z.2f} to {error.high:+z.2f})"
    return (
        f"In the large {value} would have to be added to the log-odds of the PDs, {verdict}, and an error of "
        f"{error.reach(tolerance, size):.2f} would have been seen 19 times of 20"
    )


def _against_limit(estimate: Estimate, truth: float, tolerance: float, size: float, allowed: str) -> tuple[bool, str]:
    """Judge an estimate, which fails where it is beyond its tolerance by more than chance explains; say so."""
    if abs(estimate.value - truth) <= tolerance:
        return True, f"where {allowed} is allowed"
    p = estimate.p_value(truth)
    by_chance = p > size
    written = "p below 0.0001" if p < 0.0001 else f"p = {p:.2g}"
    chance = f"by {'no more' if by_chance else 'more'} than chance explains ({written})"
    return by_chance, f"beyond the {allowed} that is allowed, {chance}"


def _decimals(estimate: Estimate, truth: float, tolerance: float) -> int:
    """Return how many decimals, two or more, tell on which side of its limit an estimate is."""
    value = estimate.value
    is_tolerated = abs(value - truth) <= tolerance
    sides = {number: abs(round(value, number) - truth) <= tolerance + 1e-9 for number in range(2, 9)}
    return next((number for number, side in sides.items() if side is is_tolerated), 9)


def judge_leak(auc: float, policy: PromotionPolicy) -> Finding:
    """Suspect a field that knows the outcome where the AUC is above what is honest on this book, or is NaN."""
    limit = policy.suspect_leak_above_auc
    limit_text = f"{limit:.2f}" if round(limit, 2) == limit else f"{limit:g}"
    sentence = f"AUC {auc:.4f}; above {limit_text} a leak is suspected."
    return Finding(NO_LEAK, auc <= limit, sentence if auc <= limit else f"{sentence} {LEAK_REMEDY}")


def judge_fields(applications: pl.LazyFrame, space: FeatureSpace, accepted: Collection[str] = ()) -> Finding:
    """Judge whether a batch has the fields that the loans of development had, before it is scored.

    A field is lost where no application has a value of it, unless so many loans lacked it that this comes about by
    chance in one of a thousand such batches, or more often. One that is derived is lost with what it is derived from.

    Args:
        applications: of the batch (n rows).
        space: the fields that the version sees, and the population of the loans that it was developed on.
        accepted: fields that may be lost.

    Raises:
        BadInput: one of `accepted` is no field.
    """
    import polars as pl

    contract = space.contract
    for name in accepted:
        if name not in contract.by_name:
            features = ", ".join(contract.feature_names)
            raise BadInput(f"{name}, which may be missing, is no field; the fields are {features}.")
    shares = {field.name: space.population.missing_share.get(field.name, 1.0) for field in space.features}
    baseline = {name: share for name, share in shares.items() if share < 1}
    missing = applications.select(pl.len().alias(":rows"), pl.col(baseline).null_count()).collect().row(0, named=True)
    rows = missing.pop(":rows")
    lost = {name for name, count in missing.items() if count == rows and baseline[name] ** rows < _CHANCE}
    causes = [
        name for name in baseline if name in lost - {*accepted} and not _derives(contract, name, {*lost, *accepted})
    ]
    return Finding(NO_FIELD_LOST, not causes, _lost_fields(lost, {name: 1 - baseline[name] for name in causes}))


def _lost_fields(lost: Collection[str], causes: Mapping[str, float]) -> str:
    """Say which fields a batch has lost; `causes` are those that were not accepted, each with its share before."""
    if causes:
        *names, last = causes
        low, high = (f"{share:.1%}" for share in (min(causes.values()), max(causes.values())))
        each = " ".join(f"--accept-missing {name}" for name in causes)
        options = each if len(causes) <= _FEW_FIELDS else "--accept-missing FIELD for each of them"
        return (
            f"No application of the batch has {', '.join(names)}{' or ' if names else ''}{last}, which "
            f"{high if low == high else f'{low} to {high}'} of the loans of development had; correct the file, or have "
            f"it scored without by {options} (in Dagster: accept_missing of predictions)."
        )
    if lost:
        return f"No application of the batch has {', '.join(sorted(lost))}, which was accepted."
    return "Some application of the batch has each field that loans of development had."


def _derives(contract: Contract, name: str, sources: Collection[str]) -> bool:
    return not contract.sources.get(name, frozenset()).isdisjoint(sources)


def judge_predictions(predictions: pl.LazyFrame, applications: int) -> tuple[Finding, ...]:
    """Hold a batch's predictions against its applications."""
    import polars as pl

    pd = pl.col("pd")
    rows, sound = predictions.select(pl.len(), pd.is_between(0, 1).fill_null(False).sum()).collect().row(0)
    verdicts = (
        (rows == applications, f"{rows:,} predictions for {applications:,} applications."),
        (sound == rows, f"{sound:,} of {rows:,} PDs lie between 0 and 1."),
    )
    return tuple(Finding(rule, *verdict) for rule, verdict in zip(_OF_PREDICTIONS, verdicts, strict=True))
