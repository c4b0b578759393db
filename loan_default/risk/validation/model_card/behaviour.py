"""Writes what a version looks at and how it behaves: fields, what repeats, what moves PDs, what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField, list_levels
from loan_default.risk.evaluation import BlankedField
from loan_default.risk.markdown import markdown_table
from loan_default.risk.model.candidates.registry import candidate_class
from loan_default.risk.text import percent, plural
from loan_default.risk.validation.examination.repeated_fields import CORRELATED_FROM, repeated_sets
from loan_default.risk.validation.examination.sensitivity import Response
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.wording import NOT_MEASURED, level_of, named, points

_FIRST, _PAIRS_SHOWN, _BLANKED_SHOWN, _SHIFTS_SHOWN = 5, 15, 10, 10


def fields(inputs: ModelCardInputs) -> Iterator[str]:
    """Show every field: how much it is used, what it is, and how PD moves with it."""
    words, importance = candidate_class(inputs.scorer.kind).card_words, inputs.importance
    chosen = sorted(inputs.scorer.contract.features, key=lambda field: -importance.get(field.name, 0.0))
    first = [field.name for field in chosen[:_FIRST]]
    yield (
        f"{plural(len(chosen), 'field')}, of which the contract says that they are known on the day of the "
        f"decision. The most important are {named(first)}: together "
        f"{percent(sum(importance.get(name, 0.0) for name in first))} of the importance ({words.importance}). "
        + _directions(inputs.scorer.contract, monotone=words.monotone)
    )
    missing, contract = inputs.cleaning["missing_fields"], inputs.scorer.contract
    rows = [_field_row(contract, field, importance.get(field.name), field.name in missing) for field in chosen]
    yield markdown_table(["Field", "Importance", "What it is", "Allowed", "PD with it", "Group of reasons"], rows)
    if inputs.opinions:
        yield (
            f"The lender's own opinion, or derived from it: {named(inputs.opinions)}. "
            + (
                "It is told as a reason like any other."
                if inputs.opinions_used
                else "The policy decides without it: the model does not see it."
            )
        )


def _directions(contract: Contract, *, monotone: bool) -> str:
    if not any(field.risk for field in contract.fields):
        return "The contract does not say of any field how PD moves with it."
    if monotone:
        return "Where the table says that PD rises or falls with a field, the model cannot go against it."
    return "That PD rises or falls with a field is expected; this kind of model is not bound to it."


def _field_row(contract: Contract, field: LoanField, importance: float | None, missing: bool) -> tuple[object, ...]:
    derived = f" Where it is not given, `{' '.join(field.derived.split())}`." if field.derived else ""
    what = field.description + derived + (" **Not in the files.**" if missing else "")
    levels = [level_of(contract, field.name, level) for level in field.levels]
    allowed = list_levels(levels) if levels else field.allowed
    direction = {"rising": "rises", "falling": "falls", None: None}[field.risk]
    return f"`{field.name}`", percent(importance), what, allowed, direction, field.group


def repetition(inputs: ModelCardInputs) -> Iterator[str]:
    """Show which fields repeat one another, and how much of the importance they share."""
    if inputs.examination is None:
        yield NOT_MEASURED
        return
    pairs, importance = inputs.examination.repeated, inputs.importance
    if not pairs:
        yield f"No two fields have ranks that correlate by {CORRELATED_FROM:g} or more, either way."
        return
    yield (
        f"On {inputs.examination.rows:,} test loans. Fields whose ranks correlate by {CORRELATED_FROM:g} or "
        "more, either way, with another of their set say nearly the same:"
    )
    sets = [(named(names), percent(sum(importance.get(name, 0.0) for name in names))) for names in repeated_sets(pairs)]
    yield markdown_table(["Fields", "Importance together"], sets)
    rows = [(f"`{p.field}`", f"`{p.other}`", f"{p.correlation:+z.3f}", p.loans) for p in pairs[:_PAIRS_SHOWN]]
    yield markdown_table(["Field", "Other", "Rank correlation", "Loans with both"], rows)
    if len(pairs) > _PAIRS_SHOWN:
        yield f"and {plural(len(pairs) - _PAIRS_SHOWN, 'weaker pair')}."


def sensitivity(inputs: ModelCardInputs) -> Iterator[str]:
    """Show how PDs answer to one field at a time, also beyond what loans have, and to many at once."""
    if inputs.examination is None:
        yield NOT_MEASURED
        return
    measured = inputs.examination.sensitivity
    yield (
        f"On {measured.rows:,} test loans: all of them are given one value of a field, and all else stays, "
        "also what is computed from it. * marks an end of what is allowed that none of these loans reaches."
    )
    rows = [
        (f"`{line.field}`", f"{line.value}{' *' if line.beyond else ''}", *_response(line.response))
        for line in measured.fields
    ]
    yield markdown_table(["Field", "Value", *_HEADINGS], [("as they are", None, *_response(measured.base)), *rows])
    if not any(field.risk and field.kind == "number" for field in inputs.scorer.contract.fields):
        yield "The contract gives no number a direction, so none was made worse."
        return
    yield "All numbers whose direction the contract gives, made worse at once by a share of their value:"
    stresses = [(f"{stress.worse_by:.0%} worse", *_response(stress.response)) for stress in measured.stresses]
    yield markdown_table(["Stress", *_HEADINGS], [("as they are", *_response(measured.base)), *stresses])


_HEADINGS = ("Mean PD", "Approved", "Declined")


def _response(response: Response) -> tuple[str, ...]:
    return percent(response.mean_pd), percent(response.approved), percent(response.declined)


def missingness(inputs: ModelCardInputs) -> Iterator[str]:
    """Show what leaving out each field does to decisions and PDs."""
    typical = inputs.scorer.population.typical
    filled = named(f.name for f in inputs.scorer.space.features if f.risk and typical.get(f.name) is not None)
    if filled:
        yield (
            f"A missing value of {filled} counts as the typical one of development, so it cannot be safer than that. "
            "Other fields stay missing."
        )
    if informative := named(f.name for f in inputs.scorer.space.features if f.missing):
        yield f"That {informative} is missing is a feature of its own, with which PD can only rise."
    measured = inputs.evaluation.blanked
    if measured is None:
        yield NOT_MEASURED
        return
    blanked = [field for field in measured if field.missing_share < 1]
    if not blanked:
        yield "No field that a test loan has can be left out."
        return
    worst = sorted(blanked, key=lambda field: -field.approvals_rise)[:_BLANKED_SHOWN]
    barred = sum(field.approved_without == 0 < field.approved for field in blanked)
    yield (
        f"On {worst[0].rows:,} test loans each field that some have and can leave out was left out, and with it "
        f"what is computed from it. {_barred(barred, blanked)} The {len(worst)} that raise approvals most, or "
        "lower them least:"
    )
    rows = [
        (
            f"`{field.field}`",
            percent(field.missing_share),
            percent(field.approved),
            percent(field.approved_without),
            points(field.approvals_rise),
            percent(field.mean_pd),
            percent(field.mean_pd_without),
        )
        for field in worst
    ]
    headings = ["Field", "Missing before", "Approved", "Approved without", "Points", "Mean PD", "Mean PD without"]
    yield markdown_table(headings, rows)


def _barred(barred: int, blanked: Sequence[BlankedField]) -> str:
    if not any(field.approved for field in blanked):
        return "Nobody is approved as they are, so approvals can only rise."
    if not barred:
        return "Whichever of them is left out, some are still approved."
    if barred == len(blanked):
        return "Nobody is approved who lacks any one of them."
    return f"Of these {len(blanked):,} fields there are {barred:,} without which nobody is approved."


def shifts(inputs: ModelCardInputs) -> Iterator[str]:
    """Show which fields moved from development to test."""
    if inputs.examination is None:
        yield NOT_MEASURED
        return
    measured = inputs.examination.shifts
    comparable = [shift for shift in measured if shift.psi is not None]
    drifted = [shift.field for shift in measured if shift.drifted]
    empty = [shift.field for shift in measured if shift.psi is None]
    scores = "".join(
        f"`{shift.field}`, in log-odds, is held against {shift.against}. " for shift in measured if shift.against
    )
    yield (
        "PSI of the test window's loans against those of development, less what chance makes: the largest of that of "
        "the values in equal bins from the least to the greatest of both, in deciles of development, and of the "
        f"missing share. {scores}By more than the policy's limits, and than chance explains, "
        f"{named(drifted) or 'none'} moved. The "
        f"{min(len(comparable), _SHIFTS_SHOWN)} that moved most:"
    )
    strongest = sorted(comparable, key=lambda shift: -(shift.psi or 0.0))[:_SHIFTS_SHOWN]
    yield markdown_table(["Field", "PSI"], [(f"`{shift.field}`", f"{shift.psi:.3f}") for shift in strongest])
    if empty:
        yield f"Not compared, as development holds no value: {named(empty)}."


def parity(inputs: ModelCardInputs) -> Iterator[str]:
    """Say whether the scoring server answers as the version itself does."""
    measured = inputs.examination.parity if inputs.examination else None
    if measured is None:
        yield NOT_MEASURED
        return
    apart = f"differ by {measured.difference:.1e} at most" if measured.difference else "are the same"
    yield (
        f"The scoring server's form of the model (`{measured.form}`) was asked for {measured.rows:,} test "
        f"loans one at a time, and the version itself, which scores batches, for all of them together: PDs {apart}, "
        f"{plural(measured.decisions, 'decision')} and {plural(measured.reasons, 'list')} of reasons differ."
    )
