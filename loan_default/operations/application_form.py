"""The form of an application, made from the contract, and what a person wrote into it, as an application to score.

Which values are allowed is the contract's, and the scoring server has the last word; how the form looks is `web`'s.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from loan_default.adapters.file_listing import list_files
from loan_default.adapters.parquet_table import scan_table
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.applications import required_fields
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings

_FORMS = ("dataframe_records", "inputs", "instances")  # of a request whose first application is meant
_SEPARATORS = "\t;,|"
_CENTS = 2
_LETTERS_TOLD = 60  # of a name that somebody typed
_HARDLY_A_LIMIT = 1e7  # the upper end of a range that tells a person nothing


@dataclass(frozen=True)
class FormField:
    """One input: its label, what it counts and may be; `choices` has values with their labels, where there are some."""

    name: str
    label: str
    kind: str
    unit: str
    allowed: str
    required: bool
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class FormSection:
    """Inputs under one heading."""

    title: str
    fields: tuple[FormField, ...]


@dataclass(frozen=True)
class FilledForm:
    """An application as it was written: values to score by field, and the sentence on each that cannot be one."""

    application: Mapping[str, Any]
    mistakes: Mapping[str, str] = field(default_factory=dict)


def make_form(contract: Contract) -> tuple[FormSection, ...]:
    """Make the form: what is needed first, then what the lender thinks, then the rest by the contract's groups.

    What is computed of other fields is not asked for, nor the month in which an application is made.
    """
    required = _required(contract)
    inputs = [each for each in contract.application_fields if _is_input(each, contract)]
    sections: dict[str, list[FormField]] = {"The application": [], "The lender's assessment": [], "The applicant": []}
    members: dict[str, int] = {}
    for each in inputs:
        members[each.group] = members.get(each.group, 0) + 1
    for each in inputs:
        if each.opinion:
            title = "The lender's assessment"
        elif each.name in required:
            title = "The application"
        else:
            title = words_of(each.group) if members[each.group] > 1 else "The applicant"
        sections.setdefault(title, []).append(_form_field(each, required=each.name in required))
    return tuple(FormSection(title, tuple(fields)) for title, fields in sections.items() if fields)


def read_form(contract: Contract, values: Mapping[str, str]) -> FilledForm:
    """Return the application that texts by field stand for; what is empty is left out.

    A number may have thousands parted by commas, and a word that the contract knows stands for what it means.
    """
    application: dict[str, Any] = {}
    mistakes: dict[str, str] = {}
    sent, required = _sent(contract), _required(contract)
    for each in contract.application_fields:
        text = values.get(each.name, "").strip()
        if not text:
            if each.name in required:
                mistakes[each.name] = "This is needed."
            elif each.name in sent:
                application[each.name] = None
            continue
        value = _read(each, text)
        if value is None:
            mistakes[each.name] = f"{text[:40]} cannot be read; it must be {each.allowed}."
        elif each.kind == "number" and each.outside == "reject" and not _is_within(each, value):
            mistakes[each.name] = f"{text[:40]} is not allowed; it must be {each.allowed}."
        else:
            application[each.name] = value
    extra, by_name = carried_values(contract, values), contract.by_name
    application = {name: value for name, value in application.items() if name in extra or not by_name[name].derived}
    return FilledForm(application, mistakes)


def carried_values(contract: Contract, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts by field of what was computed before, and cannot be again from the other texts.

    A stored batch keeps what is derived, and not what it was derived from. The form has no input for it.
    """
    present = {name for name, text in texts.items() if text} | contract.left_out_by_applicants
    return {
        each.name: texts[each.name]
        for each in contract.application_fields
        if each.derived and texts.get(each.name) and contract.lacking([each], present - {each.name})
    }


def read_pasted(contract: Contract, text: str) -> dict[str, str]:
    """Return the texts by field of a pasted application: a JSON object, or a header with a row of values below.

    Columns may be named as the fields or as those of the loan file; others are left out.

    Raises:
        BadInput: it is neither, or no field of the contract is in it.
    """
    record = _record_of_json(text) if text.lstrip().startswith(("{", "[")) else _record_of_row(text)
    names = {each.column: each.name for each in contract.application_fields}
    names |= {each.name: each.name for each in contract.application_fields}
    texts = {names[key]: show_value(contract, names[key], value) for key, value in record.items() if key in names}
    if not any(texts.values()):
        some = ", ".join(each.name for each in contract.features[:3])
        raise BadInput(f"The text holds no field of an application; its first line must name some, as {some}.")
    return texts


def read_stored(settings: Settings, contract: Contract, batch: str, loan_id: str) -> dict[str, str]:
    """Return the texts by field of an application of a stored batch, of its first one where no number is given.

    Raises:
        BadInput: there is no such batch, or no such application in it.
    """
    import polars as pl

    stored = {file.name: file for file in list_files(settings.layout.batches("application_batch"))}
    file = stored.get(f"{batch}.parquet")
    if file is None:
        raise BadInput(f"There is no stored batch {batch[:_LETTERS_TOLD]!r}; choose one that was scored.")
    rows = scan_table(file.path, settings.staging, file.generation)
    if loan_id:
        rows = rows.filter(pl.col(contract.id_name).cast(pl.String) == loan_id)
    application = rows.head(1).collect()
    if not application.height:
        raise BadInput(f"The batch {batch} holds no application {loan_id!r}; look into its file for the number.")
    row = application.row(0, named=True)
    names = {each.name for each in contract.application_fields}
    return {name: show_value(contract, name, value) for name, value in row.items() if name in names}


def show_value(contract: Contract, name: str, value: Any) -> str:
    """Return a value as it stands in the form: a plain number, a level, a month; empty where there is none."""
    each = contract.by_name[name]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if each.kind == "month":
        return _month(each, value)
    number = _read(each, str(value)) if each.kind == "number" else None
    if each.derived:
        return str(value if number is None else number)  # no person reads it
    return f"{round(number, _CENTS):z.10g}" if isinstance(number, float) else str(value)


def words_of(name: str) -> str:
    """Return a group's or a level's name as words: `late_payments` → `Late payments`."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def level_words(field: LoanField, level: str) -> str:
    """Return what people call a level: the contract's label, or else its name as words."""
    return words_of(field.labels.get(level, level))


def _sent(contract: Contract) -> set[str]:
    """Return the names of the fields that an application must have, though some of them may say nothing."""
    return {each.name for each in required_fields(contract)} - contract.left_out_by_applicants


def _month(each: LoanField, value: Any) -> str:
    """Return a month, of a day or a text of any form that the contract reads, as a form's input has it."""
    import polars as pl

    from loan_default.risk.data.parsing import read_month

    column = pl.Series("month", [value])
    month = column.to_frame().select(read_month(pl.col("month"), column.dtype, each.format, each.century)).item()
    return str(value) if month is None else f"{month:%Y-%m}"


def _required(contract: Contract) -> set[str]:
    return {name for name in _sent(contract) if not contract.by_name[name].nullable}


def _is_input(each: LoanField, contract: Contract) -> bool:
    return not (each.derived or each.role == "time" or each.name in contract.left_out_by_applicants)


def _form_field(each: LoanField, *, required: bool) -> FormField:
    choices = tuple((level, level_words(each, level)) for level in each.levels)
    allowed = each.allowed if each.range and each.range[1] < _HARDLY_A_LIMIT else ""
    return FormField(each.name, each.short, each.kind, _unit(each), allowed, required, choices)


def _unit(each: LoanField) -> str:
    return "" if each.unit in (None, "count") else str(each.unit)


def _read(each: LoanField, text: str) -> float | str | None:
    """Return the value of a text; None where it is none."""
    if each.kind != "number":
        return text
    if isinstance(meaning := each.words.get(text), int | float):
        return float(meaning)
    plain = text.removesuffix("%").strip(f"{each.strip} $").replace(",", "").replace(" ", "")
    try:
        number = float(plain)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_within(each: LoanField, value: Any) -> bool:
    return each.range is None or each.range[0] <= value <= each.range[1]


def _record_of_json(text: str) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"The text is no JSON: {error}.") from error
    if isinstance(content, dict):
        content = next((content[form] for form in _FORMS if form in content), content)
    if isinstance(content, list):
        content = content[0] if content else None
    if not isinstance(content, dict):
        raise BadInput("The JSON must be an object of fields with their values, or a list of such.")
    return content


def _record_of_row(text: str) -> Mapping[str, Any]:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) < 2:
        raise BadInput("Paste two lines, the names of the columns and the values, or a JSON object.")
    separator = max(_SEPARATORS, key=lines[0].count)
    header, row = csv.reader(StringIO("\n".join(lines[:2])), delimiter=separator)
    if len(header) != len(row):
        raise BadInput(f"The first line names {len(header)} columns, and the second has {len(row)} values.")
    return dict(zip(map(str.strip, header), map(str.strip, row), strict=True))
