"""Finds what the parts of a contract say against each other, and what the platform needs of every book.

A section's own contradictions are its `problems`; units of a derived field belong in `derivations`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from loan_default.risk.contract.columns import LOAN_ID, RESERVED, TERM
from loan_default.risk.contract.outcome import ProductTerm
from loan_default.risk.contract.pricing import pricing_problems
from loan_default.risk.contract.reasons import sentence_problem
from loan_default.risk.section import Location, Problem

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract
    from loan_default.risk.contract.field import LoanField

WRITTEN_AFTERWARDS = "written after the loan was granted"  # of what no field may read: it tells how the loan ended


def contradictions(contract: Contract) -> Iterator[Problem]:
    """Yield what fields, outcome, layouts and groups say against each other."""
    if not contract.title.strip():
        yield Problem("title says nothing; write what people call the book", ("title",))
    yield from _name_problems(contract)
    yield from _role_problems(contract)
    yield from _time_problems(contract)
    yield from _bureau_problems(contract)
    yield from pricing_problems(contract)
    yield from _term_problems(contract)
    yield from _maturity_problems(contract)
    yield from _leak_problems(contract)
    yield from _derivation_problems(contract)
    for number, pattern in enumerate(contract.not_loans):
        if problem := _pattern_problem(pattern):
            yield Problem(f"not_loans: {pattern} is no pattern: {problem}", ("not_loans", number))
    yield from _layout_problems(contract)
    yield from _group_problems(contract)


def _bureau_problems(contract: Contract) -> Iterator[Problem]:
    """Yield why no credit score of a bureau can be told."""
    name = contract.bureau_score
    field = contract.by_name.get(name or "")
    if name and (field is None or field.kind != "number" or field.role != "feature"):
        what = "is no field" if field is None else f"is a {field.kind} with the role {field.role}"
        problem = f"bureau_score names {name}, which {what}; write the field with the score, a number and a feature"
        yield Problem(problem, ("bureau_score",), ("name",))


def _name_problems(contract: Contract) -> Iterator[Problem]:
    names = [field.name for field in contract.fields]
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Problem(f"{name} is described twice; delete one, or name it otherwise", ("fields", number))
        if what := _column_of_name(contract, contract.fields[number]):
            remedy = f"name it otherwise: name: its_{name}, column: {contract.fields[number].column}"
            yield Problem(f"{name} is the name of {what}; {remedy}", ("fields", number, "name"), ("role", "term"))
    layouts = [layout.name for layout in contract.layouts]
    for name in sorted({name for name in layouts if layouts.count(name) > 1}):
        later = len(layouts) - 1 - layouts[::-1].index(name)
        yield Problem(f"{name} is described twice; delete one", ("layouts", later))


def _column_of_name(contract: Contract, field: LoanField) -> str | None:
    """Say which column beside those of fields has the field's name."""
    if field.name == LOAN_ID and field.role != "id":
        return "the loan's number, so of a field with the role id"
    if field.name == contract.outcome.column:
        return "the column of the outcome in the book's files"
    if field.name == TERM and (isinstance(contract.term, ProductTerm) or field.role in ("id", "time")):
        return "the months after which a loan ends"
    if field.name in ("status", "month") and field.role == "id":
        return "a column of outcomes that are read later"
    return RESERVED.get(field.name)


def _role_problems(contract: Contract) -> Iterator[Problem]:
    for role in ("id", "time") if contract.has_time else ("id",):
        several = [number for number, field in enumerate(contract.fields) if field.role == role]
        if not several and role == "time":
            example = "{name: issued, kind: month, role: time, description: …}, or time: none above"
            problem = f"no field has the role {role}, and exactly one field must have it; write {example}"
            yield Problem(problem, ("fields",), ("role", "fields"))
        for number in several[1:]:
            first = contract.fields[several[0]].name
            problem = f"{first} has the role {role} too, and exactly one field must have the role {role}"
            yield Problem(f"{problem}; write role: support", ("fields", number, "role"))
    sources = {*contract.feature_names}.union(*(contract.sources.get(name, ()) for name in contract.feature_names))
    for number, field in enumerate(contract.fields):
        if field.opinion and field.name not in sources and field.role != "protected":
            problem = f"no feature is derived from it and its role is {field.role}, so no model sees this opinion"
            yield Problem(f"{problem}; delete opinion", ("fields", number, "opinion"), ("role", "derived"))
    if not contract.features:
        problem = "no field has the role feature, so a model would see nothing; write role: feature"
        yield Problem(problem, ("fields",), ("role", "fields"))


def _time_problems(contract: Contract) -> Iterator[Problem]:
    """Yield what is wrong with the fields by which loans are put in order."""
    cohorts = [number for number, field in enumerate(contract.fields) if field.role == "cohort"]
    for number in cohorts if contract.has_time else cohorts[1:]:
        why = "a book with a date is cut by it" if contract.has_time else "a book is cut by one field"
        yield Problem(f"{why}; write role: segment instead of cohort", ("fields", number, "role"))
    if contract.has_time:
        return
    for number, field in enumerate(contract.fields):
        if field.role == "time":
            problem = "time: none says that the book has no date, and this has the role time; delete one of the two"
            yield Problem(problem, ("fields", number, "role"))
    if not contract.outcomes_are_final:
        problem = "without a date no loan can be said to have matured; write outcomes: final if all are known"
        yield Problem(f"time: none: {problem}", ("time",), ("outcomes",))


def _term_problems(contract: Contract) -> Iterator[Problem]:
    """Yield what keeps the contract from saying when a loan matures."""
    if isinstance(contract.term, ProductTerm):
        product = contract.by_name.get(contract.term.by)
        levels, months = product.levels if product else (), contract.term.months
        if product is None or not levels:
            yield Problem(f"term: by: {contract.term.by} is no field with levels; write one", ("term", "by"), ("name",))
        elif product.role == "protected":
            problem = f"term: by: {product.name} is protected, and no application has it; write another field"
            yield Problem(problem, ("term", "by"), ("role",))
        elif absent := [level for level in levels if level not in months]:
            yield Problem(
                f"term: months: {', '.join(absent)} of {product.name} is not said; add it", ("term", "months")
            )
        for level in months if levels else ():
            if level not in levels:
                problem = f"{level} is no level of {contract.term.by}; those are {', '.join(levels)}"
                yield Problem(f"term: months: {problem}", ("term", "months", level))
    number, field = next(((n, f) for n, f in enumerate(contract.fields) if f.name == TERM), (None, None))
    if isinstance(contract.term, int) and field is not None and not _never_matures(contract):
        says = f"term: {contract.term} says that all loans have one term, and this field is the term of each"
        yield Problem(f"{says}; delete one of the two", ("fields", number or 0), ("term", "name"))
    if contract.term is not None or contract.outcomes_are_final:
        return
    if field is None:
        problem = "a number field term with the unit months is needed, as it says when a loan matures"
        yield Problem(
            f"{problem}; write it, or term: 36 above, or outcomes: final", ("fields",), ("name", "term", "outcomes")
        )
    elif field.kind != "number" or field.unit != "months" or field.role in ("id", "time"):
        problem = "a number field term with the unit months is needed, as it says when a loan matures"
        yield Problem(
            f"{problem}; write kind: number, unit: months here, or term: 36 above, or outcomes: final",
            ("fields", number or 0, "kind"),
            ("term", "unit", "outcomes"),
        )


def _never_matures(contract: Contract) -> bool:
    """Tell whether no loan has to mature, as the book says so or as it has no date."""
    return contract.outcomes_are_final or not contract.has_time


def _maturity_problems(contract: Contract) -> Iterator[Problem]:
    """Yield what says when loans mature, where none has to."""
    if not _never_matures(contract):
        return
    why = "outcomes: final says that every outcome is known" if contract.outcomes_are_final else "a book has no date"
    other = ", or outcomes: final where loans still run" if contract.has_time else ""
    keys: list[tuple[Location, bool]] = [
        (("term",), contract.term is not None),
        (("outcome", "grace_months"), contract.outcome.grace_months > 0),
        (("outcome", "known"), contract.outcome.known is not None),
        (("snapshot",), contract.snapshot is not None),
        *((("layouts", n, "snapshot_month"), bool(each.snapshot_month)) for n, each in enumerate(contract.layouts)),
    ]
    for location, is_written in keys:
        if is_written:
            name = ".".join(part for part in location if isinstance(part, str) and part != "layouts")
            problem = f"{name}: {why}, so none has to mature and this is never read"
            yield Problem(f"{problem}; delete {location[-1]}{other}", location)
    if contract.outcome.unresolved:
        listed = f"outcome.unresolved: {why}, and {_some(contract.outcome.unresolved)} tells none"
        yield Problem(
            f"{listed}; leave such loans out of the files and delete unresolved{other}", ("outcome", "unresolved")
        )


def _some(words: Sequence[str]) -> str:
    """Name the first of several words."""
    return words[0] if len(words) == 1 else f"{words[0]} with {len(words) - 1} more"


def _leak_problems(contract: Contract) -> Iterator[Problem]:
    """Yield fields that read what is written later, or what is protected."""
    protected = {field.column: field.name for field in contract.with_role("protected")}
    for number, field in enumerate(contract.fields):
        if contract.is_known_afterwards(field.column):
            problem = f"column {field.column} is {WRITTEN_AFTERWARDS}, as outcome or known_afterwards says"
            yield Problem(
                f"{problem}; delete the field",
                ("fields", number, "column"),
                ("outcome", "known_afterwards", "role"),
            )
        if field.role != "protected" and field.column in protected and not field.derived:
            problem = f"column {field.column} is protected by the field {protected[field.column]}; delete this field"
            yield Problem(problem, ("fields", number, "column"))


def _layout_problems(contract: Contract) -> Iterator[Problem]:
    """Yield names in layouts that the contract does not have."""
    of_column = {field.column: field for field in contract.fields}
    numbers = [column for column, field in of_column.items() if field.kind == "number"]
    for number, layout in enumerate(contract.layouts):
        for name in layout.log1p:
            if name not in numbers:
                problem = f"log1p: {name} is the column of no number field{_near(name, numbers)}"
                yield Problem(problem, ("layouts", number, "log1p"), ("column", "name"))
        for name, texts in layout.texts.items():
            location = ("layouts", number, "texts", name)
            if name == contract.outcome.column:
                values = list(contract.outcome.label_of)
            elif name in of_column:
                values = [*of_column[name].levels, *of_column[name].words]
            else:
                problem = f"texts: {name} is the column of no field, nor that of the outcome{_near(name, of_column)}"
                yield Problem(problem, location, ("column", "name", "outcome"))
                continue
            for text in texts.values() if values else ():
                if text not in values:
                    problem = f"texts: {name}: {text} is no value of it; those are {', '.join(values)}"
                    yield Problem(problem, location, ("outcome", "levels"))
        if layout.year and (layout.year.field not in of_column or of_column[layout.year.field].kind != "month"):
            months = {field.column: field for field in contract.fields if field.kind == "month"}
            problem = f"year: field: {layout.year.field} is the column of no month field"
            problem += _near(layout.year.field, months)
            yield Problem(problem, ("layouts", number, "year", "field"), ("column", "name"))


def _group_problems(contract: Contract) -> Iterator[Problem]:
    """Yield what is wrong with the groups and their sentences."""
    members: dict[str, list[LoanField]] = {}
    for field in contract.features:
        members.setdefault(field.group, []).append(field)
    for group, fields in members.items():
        opinions = [field.name for field in fields if field.name in contract.opinions]
        if len(opinions) not in (0, len(fields)):
            other = next(field.name for field in fields if field.name not in opinions)
            yield Problem(
                f"{opinions[0]} is the lender's opinion{_by_derivation(contract, opinions[0])} and {other} of "
                f"the same group {group} is none; give {opinions[0]} a group of its own",
                ("fields", [field.name for field in contract.fields].index(opinions[0]), "group"),
                ("opinion", "derived", "role"),
            )
    for group, sentence in contract.groups.items():
        if members and group not in members:  # where there is no feature, that is told
            problem = f"groups: {group} is the group of no feature; delete it, or write one of {', '.join(members)}"
            yield Problem(problem, ("groups", group), ("group", "name", "role"))
        if sentence_problem(sentence, set()):
            problem = f"groups: the sentence of {group} tells of the whole group, so it can hold no {{value}}"
            yield Problem(problem, ("groups", group))


def _by_derivation(contract: Contract, name: str) -> str:
    derived = name in contract.expressions and not contract.by_name[name].opinion
    return f" (derived from {', '.join(contract.expressions[name].of)})" if derived else ""


def _derivation_problems(contract: Contract) -> Iterator[Problem]:
    """Yield what is wrong with the derived fields."""
    numbers = {field.name: number for number, field in enumerate(contract.fields)}
    for name, sentence in contract.derivation_mistakes:
        presumes = ("name", "kind", "role", "unit")
        yield Problem(f"derived: {sentence}", ("fields", numbers[name], "derived"), presumes)
    for name, sources in contract.sources.items():
        field = contract.by_name[name]
        for source in sorted(sources) if field in contract.application_fields else ():
            role = contract.by_name[source].role
            if role in ("protected", "cohort"):
                why = "is protected; write role: protected" if role == "protected" else "no application has; delete it"
                problem = f"a {field.role} cannot be derived from {source}, which {why}"
                yield Problem(problem, ("fields", numbers[name], "derived"), ("role",))


_ABSENT_IN_POLARS = re.compile(r"\(\?(?:=|!|<=|<!|>|P=)|\\[1-9]")


def _pattern_problem(pattern: str) -> str | None:
    """Say why a regular expression cannot be used on columns of texts."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of what Python may read otherwise one day
            re.compile(pattern)
    except re.error as error:
        return f"{error}; write \\( for a bracket that is meant as such, and so on"
    strange = _ABSENT_IN_POLARS.search(pattern)
    if strange:
        return f"{strange[0]} is not supported; write it without"
    try:
        fits_empty = pl.select(pl.lit("").str.contains(pattern)).item()
    except pl.exceptions.ComputeError as error:
        cause = re.search("^error: (.*)", str(error), re.MULTILINE)
        return f"{cause[1] if cause else 'it is too large'}, where columns are searched; write it otherwise"
    return "it fits an empty text, and so every line; delete it" if fits_empty else None


def _near(name: str, names: Iterable[str]) -> str:
    """Say what was probably meant."""
    from difflib import get_close_matches  # needed by nobody whose contract is right

    near = get_close_matches(name, list(names), 1)
    return f"; write {near[0]}" if near else "; delete it, or write the column of one"
