"""Writes which loans a version was made of and tested on: files, windows, what they lack, and what they cover."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.outcome import Horizon
from loan_default.risk.data.splits import Splits
from loan_default.risk.evaluation import LEAST_ROWS
from loan_default.risk.markdown import markdown_table
from loan_default.risk.text import percent, plural
from loan_default.risk.validation.examination.data_quality import FieldQuality
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.wording import NOT_MEASURED, bullets, level_of, named

_PROBLEMS_SHOWN, _YEARS_SHOWN = 10, 12
_MOSTLY_ZERO, _UNEVEN = 0.5, 0.5


def _outcome_files(cleaning: Mapping[str, Any]) -> Iterator[str]:
    """Say of how many loans outcome files told more than the loan files do."""
    if fingerprint := cleaning.get("outcomes_fingerprint"):  # a record of before lacks it
        yield (
            f"Outcome files tell more of {cleaning['told_by_files']:,} of these loans: when they ran and how they "
            f"ended, or what was owed at a default (fingerprint `{fingerprint}`)."
        )


def data(inputs: ModelCardInputs) -> Iterator[str]:
    """Count the loans of the files, and show the windows."""
    cleaning, splits = inputs.cleaning, inputs.splits
    names = ", ".join(PurePath(name).name for name in cleaning["files"])
    loans = cleaning["kept"] + cleaning["rejected"]
    as_of = f", as of {splits.snapshot:%Y-%m}" if splits.snapshot else ""
    no_loans = cleaning["lines_not_loans"]
    others = f" {plural(no_loans, 'line')} {'is no loan' if no_loans == 1 else 'are no loans'}." if no_loans else ""
    yield bullets(
        [
            f"Files: {names} (fingerprint `{cleaning['fingerprint']}`){as_of}.{others}",
            *_outcome_files(cleaning),
            f"Of {loans:,} loans {cleaning['kept']:,} were kept and {cleaning['rejected']:,} rejected."
            if cleaning["rejected"]
            else f"All {loans:,} loans were kept.",
            f"The kept loans were issued {cleaning['first_month']} to {cleaning['last_month']}."
            if cleaning["first_month"]
            else "The book does not say when its loans were issued.",
            f"Fields that the files lack, or have empty throughout: {named(cleaning['missing_fields']) or 'none'}.",
        ]
    )
    if cleaning["problems"]:
        problems = sorted(cleaning["problems"].items(), key=lambda entry: -entry[1])
        yield "Loans were rejected for:"
        yield markdown_table(["Problem", "Loans"], problems[:_PROBLEMS_SHOWN])
        if len(problems) > _PROBLEMS_SHOWN:
            yield f"and {plural(len(problems) - _PROBLEMS_SHOWN, 'rarer problem')}."
    yield _maturity(splits, inputs.scorer.contract)
    yield from _transformed(cleaning["layouts"], inputs.scorer.contract)
    if len({(cut.calibrate_from, cut.test_from) for cut in splits.cuts}) > 1:
        yield "Each term is cut by its own months, as loans of long terms mature later."
    yield _windows(splits)
    yield from splits.remarks
    if not splits.out_of_time and not splits.cut_by:
        yield (
            "**The loans span too few months to be cut by month**: every window holds loans of the same months, so "
            "the results below say nothing about loans that come later."
        )


def _maturity(splits: Splits, contract: Contract) -> str:
    used, grace = sum(window.rows for window in splits.windows), contract.outcome.grace_months
    if contract.outcomes_are_final:
        return _finality(splits, used)
    due = f"{grace} months or more before" if grace else "by"
    if isinstance(contract.term, Horizon):
        ended, young = f"the horizon of {contract.term.horizon} months was over", "Younger loans may still default"
    else:
        ended = "the last payment was due"
        young = "Of younger loans only the early payers and early defaulters are resolved"
    rule = (
        f"{'A version is judged by matured loans only' if splits.open_loans else 'Only matured loans are used'}: those "
        f"of which {ended} {due} {splits.snapshot:%Y-%m}. {young}, so their default rate is not that of their vintage. "
    )
    if not splits.immature + splits.unresolved:
        return f"{rule}All {used:,} loans are matured."
    return (
        f"{rule}The rule leaves {used:,} loans; it sets aside {splits.immature:,} that are resolved but not matured, "
        f"beside {splits.unresolved:,} that are not resolved."
    )


def _transformed(names: Collection[str], contract: Contract) -> Iterator[str]:
    """Say what files of another layout leave open: the month of a year, and loans that had not ended."""
    for layout in contract.layouts:
        if layout.name not in names:
            continue
        if layout.year:
            early = 12 - layout.year.month
            yield (
                f"Files of layout {layout.name} give only the year of `{layout.year.field}`; its month "
                f"{layout.year.month} stands for it, so months of issue and maturity are not the loans' own"
                + (f": loans of later months count as matured up to {plural(early, 'month')} early." if early else ".")
            )
        if layout.holds_ended_loans_only(contract.outcome):
            yield (
                f"Files of layout {layout.name} hold only loans that had ended when they were taken: how many were due "
                "and had no outcome is not known of them."
            )


def _finality(splits: Splits, used: int) -> str:
    """Say which loans count where no loan has to mature."""
    unresolved = f"{splits.unresolved:,} without one are in no window" if splits.unresolved else "every loan has one"
    unordered = f", and {splits.immature:,} that have one do not say when they began" if splits.immature else ""
    return f"By the contract all outcomes are final: the {used:,} loans with an outcome count; {unresolved}{unordered}."


def _windows(splits: Splits) -> str:
    span = {None: ["Issued"], "cohort": [f"`{splits.cohort}`"], "draw": []}[splits.cut_by]
    term = ["Term"] if len(splits.parts) > len(splits.windows) else []
    rows = [
        (
            name,
            *([part] if term else []),
            *([window.span] if span else []),
            window.rows,
            window.defaults,
            percent(window.default_rate),
        )
        for name, part, window in splits.parts
    ]
    return markdown_table(["Window", *term, *span, "Loans", "Defaults", "Default rate"], rows)


def quality(inputs: ModelCardInputs) -> Iterator[str]:
    """Show what fields lack, in all and by the year of issue."""
    if inputs.examination is None:
        yield NOT_MEASURED
        return
    measured = inputs.examination.quality
    years = sorted({year for field in measured for year in field.missing_by_year})[-_YEARS_SHOWN:]
    lacking = [field for field in measured if field.missing_share]
    contract = inputs.scorer.contract
    period = "year of issue" if contract.has_time else f"`{contract.order_name}`"
    newest = f", the newest {_YEARS_SHOWN}" if len(years) == _YEARS_SHOWN else ""
    by = f", in all and by the {period} (those of {LEAST_ROWS} loans or more{newest})" if years else ""
    full, fields = len(measured) - len(lacking), plural(len(measured), "field")
    have = f"{full:,} have" if full > 1 else "1 has" if full else "none has"
    have = f"Of {fields}, {have}" if lacking or full == 1 else f"All {fields} have"
    yield (
        f"{have} a value in every kept loan, whatever its outcome."
        + (f" The {'others' if full else 'fields'}, by the share of loans that lack them{by}:" if lacking else "")
    )
    if lacking:
        yield markdown_table(["Field", "All", *years], [_quality_row(field, years) for field in lacking])
    uneven = [field.field for field in lacking if _spread(field) >= _UNEVEN]
    if uneven:
        yield (
            f"Of {named(uneven)} the share that is missing differs by {_UNEVEN:.0%} or more between "
            f"{'years' if contract.has_time else 'cohorts'}: a missing value partly tells when a loan was issued."
        )
    zeros = [(f"`{f.field}`", percent(f.zero_share)) for f in measured if (f.zero_share or 0) >= _MOSTLY_ZERO]
    if zeros:
        yield f"Zero in {_MOSTLY_ZERO:.0%} of the loans or more; whether a zero stands for nothing is not known here:"
        yield markdown_table(["Field", "Zero"], zeros)


def _spread(field: FieldQuality) -> float:
    shares = field.missing_by_year.values()
    return max(shares, default=0.0) - min(shares, default=0.0)


def _quality_row(field: FieldQuality, years: list[str]) -> tuple[str, ...]:
    return (
        f"`{field.field}`",
        percent(field.missing_share),
        *(percent(field.missing_by_year.get(year)) for year in years),
    )


def coverage(inputs: ModelCardInputs) -> Iterator[str]:
    """Show how much of what is sold now the test window holds."""
    covered = inputs.evaluation.coverage
    if covered is None:
        yield NOT_MEASURED
        return
    least, contract = inputs.policy.promotion.recent_share_at_least, inputs.scorer.contract
    if covered.empty:
        yield f"No loan has a value of {named(covered.empty)}."
    if not covered.levels:
        yield "The book has no other field by which loans are divided, so it was not measured what is sold."
        return
    yield (
        f"What {covered.recent_loans}, whatever their outcome, consist of, and how many loans of it test the version; "
        f"levels of {percent(least)} or more of them:"
    )
    rows = [
        (f"`{level.field}`", level_of(contract, level.field, level.level), percent(level.recent_share), level.test_rows)
        for level in covered.levels
        if level.recent_share >= least
    ]
    if not covered.levels:
        yield "The policy and the contract name no segments by which this could be told."
        return
    newest = "newest loans" if covered.first_month or covered.cohorts else "all loans"
    yield markdown_table(["Field", "Level", f"Share of {newest}", "Test loans"], rows)
