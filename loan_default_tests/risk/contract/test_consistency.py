"""Parts of a contract that contradict each other are refused, and fields that say how a loan ended."""

# ruff: noqa: E501 - sentences stand as they are told

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import RESERVED
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.cleaning import clean_application_file
from loan_default.risk.errors import BadInput
from loan_default_tests.risk.contract.drafts import CONTRACT, Change, Fields, LoadChanged, mistakes, mistakes_of_field

# Every column of the published file that is written after the loan was granted.
AFTERWARDS = """
    loan_status pymnt_plan out_prncp out_prncp_inv total_pymnt total_pymnt_inv total_rec_prncp total_rec_int
    total_rec_late_fee recoveries collection_recovery_fee last_pymnt_d last_pymnt_amnt next_pymnt_d last_credit_pull_d
    last_fico_range_high last_fico_range_low hardship_flag hardship_type hardship_reason hardship_status
    deferral_term hardship_amount hardship_start_date hardship_end_date payment_plan_start_date hardship_length
    hardship_dpd hardship_loan_status orig_projected_additional_accrued_interest hardship_payoff_balance_amount
    hardship_last_payment_amount debt_settlement_flag debt_settlement_flag_date settlement_status settlement_date
    settlement_amount settlement_percentage settlement_term debt_settlement_flag_Y
""".split()  # noqa: SIM905


def test_what_is_written_after_the_loan_was_granted_is_known_afterwards(contract: Contract) -> None:
    assert [column for column in AFTERWARDS if not contract.is_known_afterwards(column)] == []


@pytest.mark.parametrize("column", ["loan_status", "recoveries", "debt_settlement_flag_Y"])
def test_no_field_may_read_what_is_known_afterwards(changed: LoadChanged, column: str) -> None:
    with pytest.raises(BadInput, match=rf"dti: column {column} is written after the loan was granted"):
        changed(lambda data, field: field["dti"].update(column=column))


def test_a_field_may_be_named_otherwise_but_not_read_the_outcome(changed: LoadChanged) -> None:
    def read_outcome(data: dict[str, Any], field: Fields) -> None:
        data["known_afterwards"].remove("loan_status")
        field["grade"]["column"] = "loan_status"

    with pytest.raises(BadInput, match="loan_status is written after"):
        changed(read_outcome)


OF_FILE = {  # the last lines of a contract: its mistakes
    "time: none": [
        "8: field issued: time: none says that the book has no date, and this has the role time; delete one of the two",
        "12: time: none: without a date no loan can be said to have matured; write outcomes: final if all are known",
    ],
    "term: {by: jobb, months: {A: 36}}": [
        "9: field term: term is the name of the months after which a loan ends; name it otherwise: name: its_term, column: term",
        "12: term: by: jobb is no field with levels; write one",
    ],
    "term: {by: job, months: {A: 36, C: 3}}": [
        "9: field term: term is the name of the months after which a loan ends; name it otherwise: name: its_term, column: term",
        "12: term: months: B of job is not said; add it",
        "12: term: months: C is no level of job; those are A, B",
    ],
    "groups: {debts: All debts.}": [
        "12: groups: debts is the group of no feature; delete it, or write one of term, amount, job"
    ],
    "not_loans: ['(Total']": [
        "12: not_loans: (Total is no pattern: missing ), unterminated subpattern at position 0; write \\( for a bracket "
        "that is meant as such, and so on"
    ],
    r"not_loans: ['x', '\Z', '(?#c)x', '[[:alpha:]]', 'a{1000000}']": [
        r"12: not_loans: \Z is no pattern: unrecognized escape sequence, where columns are searched; write it otherwise",
        "12: not_loans: (?#c)x is no pattern: unrecognized flag, where columns are searched; write it otherwise",
        "12: not_loans: a{1000000} is no pattern: it is too large, where columns are searched; write it otherwise",
    ],
    "not_loans: ['']": ["12: not_loans:  is no pattern: it fits an empty text, and so every line; delete it"],
    "not_loans: ['(?!a)b']": ["12: not_loans: (?!a)b is no pattern: (?! is not supported; write it without"],
    "layouts:\n  - {name: l, recognised_by: [y], year: {column: z, field: nope, month: 12}}": [
        "13: layout l: year: field: nope is the column of no month field; delete it, or write the column of one",
        "13: layout l: year reads z, by which the layout is not recognised; add it to recognised_by",
    ],
    "layouts:\n  - name: l\n    recognised_by: [y]\n    log1p: [amont, job]\n"
    "    texts: {job: {'1': C}, jobs: {'1': A}, status: {'0': fine}}\n    snapshot_month: 2019-13": [
        "15: layout l: log1p: amont is the column of no number field; write amount",
        "15: layout l: log1p: job is the column of no number field; delete it, or write the column of one",
        "16: layout l: texts: job: C is no value of it; those are A, B",
        "16: layout l: texts: jobs is the column of no field, nor that of the outcome; write job",
        "16: layout l: texts: status: fine is no value of it; those are bad, good",
        "17: layout l: snapshot_month: 2019-13 is no month; write it as 2018-12",
    ],
    "layouts:\n  - {name: l, recognised_by: [y]}\n  - {name: l, recognised_by: [z]}": [
        "14: layout l: l is described twice; delete one"
    ],
}


@pytest.mark.parametrize("lines", OF_FILE)
def test_mistakes_of_a_contract(tmp_path: Path, lines: str) -> None:
    assert mistakes(tmp_path, CONTRACT + lines) == OF_FILE[lines]


OF_FIELD = {  # the keys of a field more: its mistakes
    "column: job, kind: text, role: protected, description: d": [
        "field job: column job is protected by the field a; delete this field"
    ],
    "column: late_fees, kind: text, role: segment, description: d": [
        "field a: column late_fees is written after the loan was granted, as outcome or known_afterwards says; delete the "
        "field"
    ],
    "kind: nominal, role: cohort, levels: [A], description: d": [
        "field a: a nominal cannot be the cohort; write kind: number or ordered or text",
        "field a: a book with a date is cut by it; write role: segment instead of cohort",
    ],
    "kind: number, role: id, description: d": [
        "field a: id has the role id too, and exactly one field must have the role id; write role: support",
        "field a: a number cannot be the id; write kind: text",
    ],
}


@pytest.mark.parametrize("keys", OF_FIELD)
def test_mistakes_of_a_field(tmp_path: Path, keys: str) -> None:
    assert mistakes_of_field(tmp_path, keys) == sorted(OF_FIELD[keys])


WRONG: dict[str, tuple[Change, str]] = {
    "twice": (lambda data, field: data["fields"].append(field["dti"]), "field dti: dti is described twice"),
    "source": (
        lambda data, field: field["loan_to_income"].update(derived="loan_amnt / yearly(annual_income)"),
        "field loan_to_income: derived: annual_income is no field; write annual_inc",
    ),
    "units": (
        lambda data, field: field["loan_to_income"].update(derived="loan_amnt / annual_inc"),
        "field loan_to_income: derived: loan_amnt / annual_inc measures months, and the unit percent measures a share; write",
    ),
    "circle": (
        lambda data, field: field["loan_to_income"].update(derived="loan_to_income + dti"),
        "field loan_to_income: derived: loan_to_income would be derived from itself; read one from the file",
    ),
    "no id": (
        lambda data, field: field["id"].update(role="support"),
        "field id: id is the name of the loan's number, so of a field with the role id; name it otherwise: name: its_id",
    ),
    "two times": (
        lambda data, field: field["earliest_cr_line"].update(role="time"),
        "exactly one field must have the role time",
    ),
    "no term": (lambda data, field: field["term"].update(unit="years"), "field term with the unit months is needed"),
    "mixed group": (
        lambda data, field: field["term"].update(group="assigned_terms"),
        "field int_rate: int_rate is the lender's opinion and term of the same group assigned_terms is none; give int_rate a",
    ),
    "derived opinion": (
        lambda data, field: field["payment_to_income"].update(group="loan_size"),
        r"payment_to_income is the lender's opinion \(derived from loan_amnt, int_rate, .*\) and loan_amnt",
    ),
    "no group": (lambda data, field: data["groups"].update(grades="Grades."), "grades is the group of no feature"),
    "group's value": (
        lambda data, field: data["groups"].update(assigned_terms="The rate: {value}."),
        "the sentence of assigned_terms tells of the whole group",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contract_that_contradicts_itself_is_refused(changed: LoadChanged, name: str) -> None:
    change, sentence = WRONG[name]
    with pytest.raises(BadInput, match=sentence):
        changed(change)


@pytest.mark.parametrize("name", [*RESERVED, "status"])
def test_no_field_is_named_as_a_column_that_the_platform_writes(tmp_path: Path, name: str) -> None:
    (mistake,) = mistakes(tmp_path, CONTRACT.replace("name: job", f"name: {name}, column: job"))
    assert mistake.startswith(f"11: field {name}: {name} is the name of ")
    assert mistake.endswith(f"; name it otherwise: name: its_{name}, column: job")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("name: job", "name: id", "11: field id: id is the name of the loan's number, so of a field with the role id;"),
        ("name: id", "name: month", "7: field month: month is the name of a column of outcomes that are read later;"),
        (
            "name: issued",
            "name: term",
            "8: field term: term is the name of the months after which a loan ends; name it",
        ),
        (
            "title: X",
            "title: X\nterm: {by: job, months: {A: 1, B: 2}}",
            "10: field term: term is the name of the months",
        ),
    ],
)
def test_a_name_may_be_a_columns_of_the_platform_in_some_role(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert any(mistake.startswith(sentence) for mistake in mistakes(tmp_path, CONTRACT.replace(old, new)))


def test_a_book_whose_files_number_no_loan_needs_no_field_for_the_number(tmp_path: Path) -> None:
    path = tmp_path / "contract.yaml"
    path.write_text(re.sub(r"  - {name: id,.*\n", "", CONTRACT), encoding="utf-8")
    contract = load_contract(path)
    assert (contract.id_name, contract.fields[-1].role) == ("id", "id")
    pl.DataFrame({"issued": ["2015-12"] * 3, "term": [36.0] * 3, "amount": [1.0, 2.0, 3.0]}).write_csv(
        tmp_path / "loans.csv"
    )
    cleaned = tmp_path / "cleaned.parquet"
    clean_application_file(tmp_path / "loans.csv", contract, cleaned=cleaned, rejected=tmp_path / "rejected.parquet")
    assert pl.read_parquet(cleaned)["id"].to_list() == ["loans-1", "loans-2", "loans-3"]
