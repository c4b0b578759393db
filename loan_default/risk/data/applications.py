"""Cleans single applications that a system sends, with the same expressions as rows of a file.

It decides what is allowed. The scoring server's quick path, which reads what is plainly right without a frame,
belongs in `model.online_features`.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.data.delimited import ROW
from loan_default.risk.data.field_values import parse_table
from loan_default.risk.data.loan_files import LoanTable, holds_values
from loan_default.risk.data.rejections import any_broken, rejection_lines
from loan_default.risk.errors import BadInput

_BROKEN = ":broken"  # column; no field is named so
_OR_IGNORE = ", or set serving.unknown_fields to ignore in the policy"


def clean_applications(records: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return the features of applications, in the contract's order, then what else the prediction log keeps of them.

    Args:
        records: a row for each application, columns named as the contract's fields; optional ones may be absent.
        contract: what a loan is.

    Raises:
        BadInput: no row, a column that is no field, a required one that is absent, or a value that is not
            allowed; names row (from 0), field, value and what is allowed.
    """
    _refuse_columns(records, contract)
    contract = contract.natural
    frame = records.with_row_index(ROW).lazy()
    table = LoanTable(Path("request"), "request", frame, dict(frame.collect_schema()), None)
    parsed, rules = parse_table(table, contract, with_outcome=False)
    rules = [
        rule for rule in rules if rule.field not in contract.left_out_by_applicants or "missing" not in rule.problem
    ]
    names = [field.name for field in contract.logged_fields]
    applications = parsed.select(*names, any_broken(rules).alias(_BROKEN)).collect()
    if applications[_BROKEN].any():
        line = rejection_lines(parsed.filter(any_broken(rules)), rules, table, contract).head(1).collect()
        raise BadInput(f"Row {line['row'].item()}: {line['reason'].item()}.")
    return applications.drop(_BROKEN)


def refuse_unknown(name: str, contract: Contract) -> None:
    """Refuse a name that is no field of an application.

    Raises:
        BadInput: always; says what to write instead, if there is anything.
    """
    if name in contract.by_name:
        role = contract.by_name[name].role
        raise BadInput(f"{name} is {role} and not read of an application; leave it out{_OR_IGNORE}.")
    for field in contract.application_fields:
        if field.column == name:
            raise BadInput(f"{name} is a column of the loan file; in a request the field is called {field.name}.")
        if field.name.lower() == name.strip().lower():
            raise BadInput(f"{name!r} is no field of a loan application; send {field.name!r}{_OR_IGNORE}.")
    names = ", ".join(sorted(field.name for field in contract.application_fields))
    subject = name or "A column without a name"
    raise BadInput(f"{subject} is no field of a loan application; the fields are {names}; leave it out{_OR_IGNORE}.")


def required_fields(contract: Contract, names: Collection[str] = ()) -> list[LoanField]:
    """Return the fields that an application must have and that are not among the names, though they may be null."""
    return contract.lacking((field for field in contract.features if field.required), names)


def refuse_incomplete(row: int, names: Collection[str], contract: Contract) -> None:
    """Refuse an application that has these fields alone, where it must have more.

    Raises:
        BadInput: names the row and the first field that is absent.
    """
    for field in required_fields(contract, names):
        raise BadInput(f"Row {row}: {field.name} is missing; it must be {field.allowed}.")


def _refuse_columns(records: pl.DataFrame, contract: Contract) -> None:
    """Refuse what can be seen without reading a value: no row, unknown, absent and nested columns."""
    if records.is_empty():
        raise BadInput("There is no application in the request; send at least one row.")
    names = {field.name for field in contract.application_fields}
    for name in records.columns:
        if name not in names:
            refuse_unknown(name, contract)
    refuse_incomplete(0, records.columns, contract)
    for name, dtype in records.schema.items():
        if not holds_values(dtype):
            row = records[name].is_not_null().arg_max() or 0
            value = str(records[name].to_list()[row])[:60]
            raise BadInput(f"Row {row}: {name} {value!r} is {dtype}; it must be {contract.by_name[name].allowed}.")
