"""Judges cleaned loans, a trained candidate, a batch's fields and its predictions before anything follows from them.

Each gate returns findings, a sentence each; whoever asked stops where one failed. The gate before production is in
`promotion`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from loan_default.risk.contract import MATURES, OUTCOME, WRITTEN_AFTERWARDS, Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Finding, PromotionPolicy

if TYPE_CHECKING:  # definitions read the rules' names in every process: what is measured on is imported when measured
    import polars as pl

    from loan_default.risk.data.cleaning_report import CleaningReport
    from loan_default.risk.data.population import Population
    from loan_default.risk.model.training import Candidate

CLEANING_RULES = (
    "columns_match_contract",
    "ids_unique",
    "rejected_share_within_limit",
    "default_rate_in_band",
    "nothing_from_after_the_loan_was_granted",
)
NO_LEAK = "not_too_good_to_be_true"
TRAINING_RULES = ("better_than_the_grade_alone", NO_LEAK, "calibrated")
NO_FIELD_LOST = "no_field_of_development_is_empty"
PREDICTION_RULES = (NO_FIELD_LOST, "one_row_per_application", "every_pd_between_0_and_1")
_CHANCE = 0.001


def failures(findings: Iterable[Finding]) -> str:
    """Return the sentences of what failed, as one text; empty where all passed."""
    return " ".join(finding.sentence for finding in findings if not finding.passed)


def judge_cleaning(report: CleaningReport, loans: pl.LazyFrame, contract: Contract) -> tuple[Finding, ...]:
    """Hold cleaned loans against the contract and what it expects of a file."""
    import polars as pl

    names = loans.collect_schema().names()
    expected = [field.name for field in contract.fields if field.role != "support"] + [OUTCOME, MATURES]
    ids = loans.select(pl.col(contract.id_name).n_unique()).collect().item()
    afterwards = [name for name in names if contract.is_known_afterwards(name)]
    share, limit = report.rejected_share, contract.expect.rejected_share_at_most
    low, high = contract.expect.default_rate_between
    rate = report.default_rate
    verdicts = (
        (names == expected, f"The columns are {'those' if names == expected else 'not those'} of the contract."),
        (ids == report.kept, f"{report.kept:,} loans have {ids:,} ids."),
        (share <= limit, f"{share:.2%} of the rows were rejected{_most_frequent(report)}; {limit:.0%} is allowed."),
        (
            rate is not None and low <= rate <= high,
            f"{_default_rate(rate)}; {low:.0%} to {high:.0%} is expected.",
        ),
        (not afterwards, f"Columns {WRITTEN_AFTERWARDS}: {', '.join(afterwards) or 'none'}."),
    )
    return tuple(Finding(rule, *verdict) for rule, verdict in zip(CLEANING_RULES, verdicts, strict=True))


def _most_frequent(report: CleaningReport) -> str:
    top = ", ".join(f"{problem} {count:,}" for problem, count in list(report.problems.items())[:3])
    return f" ({top})" if top else ""


def _default_rate(rate: float | None) -> str:
    if rate is None:
        return "No loan has matured, so there is no default rate"
    return f"{rate:.1%} of the matured loans defaulted"


def judge_candidate(best: Candidate, grade_auc: float | None, policy: PromotionPolicy) -> tuple[Finding, ...]:
    """Judge the best candidate on the calibrate window, which its first fit had not seen."""
    auc, ece = best.metrics["auc"], best.metrics["ece"]
    leak = judge_leak(auc.value, policy)
    gain = None if grade_auc is None else auc.value - grade_auc
    verdicts = (
        (
            gain is None or gain >= policy.gain_over_grade_at_least,
            "No loan has a grade to compare with."
            if gain is None
            else f"AUC {auc.value:.4f} against {grade_auc:.4f} of the lender's grade alone.",
        ),
        (leak.passed, leak.sentence),
        (ece.value <= policy.ece_at_most, f"Calibration error {ece.value:.4f}; {policy.ece_at_most:.2f} is allowed."),
    )
    return tuple(Finding(rule, *verdict) for rule, verdict in zip(TRAINING_RULES, verdicts, strict=True))


def judge_leak(auc: float, policy: PromotionPolicy) -> Finding:
    """Suspect a field that knows the outcome where the AUC is above what is honest on this book, or is NaN."""
    limit = policy.suspect_leak_above_auc
    return Finding(NO_LEAK, auc <= limit, f"AUC {auc:.4f}; above {limit:.2f} a leak is suspected.")


def judge_fields(
    applications: pl.LazyFrame, population: Population, contract: Contract, accepted: Collection[str] = ()
) -> Finding:
    """Judge whether a batch has the fields that the loans of development had, before it is scored.

    A field is lost where no application has a value of it, unless so many loans lacked it that this comes about by
    chance in one of a thousand such batches, or more often. One that is derived is lost with what it is derived from.

    Args:
        applications: of the batch (n rows).
        population: of the loans that the version was developed on.
        contract: of the version.
        accepted: fields that may be lost.

    Raises:
        BadInput: one of `accepted` is no field.
    """
    import polars as pl

    for name in accepted:
        if name not in contract.by_name:
            features = ", ".join(contract.feature_names)
            raise BadInput(f"{name}, which may be missing, is no field; the fields are {features}.")
    known = {name: share for name, share in population.missing_share.items() if share < 1}
    missing = applications.select(pl.len().alias(":rows"), pl.col(known).null_count()).collect().row(0, named=True)
    rows = missing.pop(":rows")
    lost = {name for name, count in missing.items() if count == rows and known[name] ** rows < _CHANCE}
    causes = [name for name in known if name in lost - {*accepted} and not _derives(contract, name, {*lost, *accepted})]
    if causes:
        shares = ", or ".join(f"{name}, which {1 - known[name]:.1%} of the loans of development had" for name in causes)
        options = " ".join(f"--accept-missing {name}" for name in causes)
        sentence = (
            f"No application of the batch has {shares}; correct the file, or have it scored without by {options} "
            "(in Dagster: accept_missing of predictions)."
        )
    elif lost:
        sentence = f"No application of the batch has {', '.join(sorted(lost))}, which was accepted."
    else:
        sentence = "Some application of the batch has each field that loans of development had."
    return Finding(NO_FIELD_LOST, not causes, sentence)


def _derives(contract: Contract, name: str, sources: Collection[str]) -> bool:
    derived = contract.by_name[name].derived
    return derived is not None and any(source in sources for source in derived.of)


def judge_predictions(predictions: pl.LazyFrame, applications: int) -> tuple[Finding, ...]:
    """Hold a batch's predictions against its applications."""
    import polars as pl

    pd = pl.col("pd")
    rows, sound = predictions.select(pl.len(), pd.is_between(0, 1).fill_null(False).sum()).collect().row(0)
    verdicts = (
        (rows == applications, f"{rows:,} predictions for {applications:,} applications."),
        (sound == rows, f"{sound:,} of {rows:,} PDs lie between 0 and 1."),
    )
    return tuple(Finding(rule, *verdict) for rule, verdict in zip(PREDICTION_RULES[1:], verdicts, strict=True))
