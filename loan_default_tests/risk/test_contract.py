"""The contract: the shipped one agrees with what is known of the data, and one that contradicts itself is refused."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from loan_default.risk.contract import CONF, Contract, Side, load_contract
from loan_default.risk.data.synthetic_tables import PUBLISHED_COLUMNS
from loan_default.risk.errors import BadInput

SHIPPED = yaml.safe_load((CONF / "contract.yaml").read_text(encoding="utf-8"))
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
# All statuses of the published file.
STATUSES = {
    "Fully Paid": 0,
    "Charged Off": 1,
    "Default": 1,
    "Current": None,
    "Issued": None,
    "In Grace Period": None,
    "Late (16-30 days)": None,
    "Late (31-120 days)": None,
    "Does not meet the credit policy. Status:Fully Paid": 0,
    "Does not meet the credit policy. Status:Charged Off": 1,
}


Fields = dict[str, dict[str, Any]]
Change = Callable[[dict[str, Any], Fields], object]
LoadChanged = Callable[[Change], Contract]


@pytest.fixture
def changed(tmp_path: Path) -> LoadChanged:
    """Return a function that loads the shipped contract after a change to it."""

    def load(change: Change) -> Contract:
        data = deepcopy(SHIPPED)
        change(data, {field["name"]: field for field in data["fields"]})
        path = tmp_path / "contract.yaml"
        path.write_text(json.dumps(data), encoding="utf-8")  # JSON is YAML too, and written in less time
        return load_contract(path)

    return load


@pytest.mark.parametrize("column", AFTERWARDS)
def test_no_field_may_read_what_is_known_afterwards(changed: LoadChanged, contract: Contract, column: str) -> None:
    assert contract.is_known_afterwards(column)
    with pytest.raises(BadInput, match=rf"dti: column {column} is written after the loan was granted"):
        changed(lambda data, field: field["dti"].update(column=column))


def test_the_fingerprint_changes_with_what_a_contract_says_and_not_with_a_key_left_out(changed: LoadChanged) -> None:
    def define(data: dict[str, Any], field: Fields) -> None:
        data["outcome"]["definition"] = "Ninety days past due."

    def say_the_default(data: dict[str, Any], field: Fields) -> None:
        field["term"]["outside"] = "reject"

    assert re.fullmatch(r"[0-9a-f]{16}", load_contract().fingerprint)
    assert changed(define).fingerprint != load_contract().fingerprint
    assert changed(say_the_default).fingerprint == load_contract().fingerprint


def test_a_field_may_be_named_otherwise_but_not_read_the_outcome(changed: LoadChanged) -> None:
    def read_outcome(data: dict[str, Any], field: Fields) -> None:
        data["known_afterwards"].remove("loan_status")
        field["grade"]["column"] = "loan_status"

    with pytest.raises(BadInput, match="loan_status is written after"):
        changed(read_outcome)


def test_the_shipped_fields_are_published_columns_or_derived(contract: Contract) -> None:
    for field in contract.fields:
        assert field.column in PUBLISHED_COLUMNS or field.derived, field.name


def test_the_statuses_are_complete(contract: Contract) -> None:
    assert STATUSES.items() <= contract.outcome.label_of.items()


def test_what_is_required_is_what_the_platform_needs(contract: Contract) -> None:
    required = {field.name for field in contract.fields if field.required}
    assert required == {"loan_amnt", "term", "int_rate", "annual_inc", "dti", "issue_d"}
    assert {field.name for field in contract.fields if not field.nullable} == required - {"dti"}


def test_the_lenders_own_opinion_is_what_it_says_and_what_is_derived_from_it(contract: Contract) -> None:
    assert contract.opinions == {"grade", "sub_grade", "int_rate", "payment_to_income"}
    assert {field.name for field in contract.features if field.group == "assigned_terms"} == {
        "grade",
        "sub_grade",
        "int_rate",
    }
    assert contract.groups == {"assigned_terms": "The rate and grade assigned to this application."}


SAID = {
    ("emp_length", 10.0): "10+ years",
    ("emp_length", 0.0): "< 1 year",
    ("emp_length", 1.0): "1 year",
    ("annual_inc", 54321.456): "54,321.46 dollars a year",
    ("annual_inc", 1.0): "1 dollar a year",
    ("int_rate", 12.7): "12.7 percent a year",
    ("dti", 0.004): "0.004 percent",
    ("dti", 0.0): "0 percent",
    ("dti", 99.9): "99.9 percent",
    ("dti", 100.0): "100 percent or more",  # higher ones are clipped to it
    ("term", 120.0): "120 months",  # higher ones are rejected
    ("pub_rec", 2.0): "2",
    ("fico_range_low", 700.0): "700 FICO points",
    ("grade", "C"): "C",
    ("application_type", "Joint App"): "Joint App",
}


@pytest.mark.parametrize(("name", "value"), SAID)
def test_a_value_is_said_for_people(contract: Contract, name: str, value: float | str) -> None:
    assert contract.by_name[name].say(value) == SAID[name, value]


def test_lower_values_that_are_clipped_are_said_too(contract: Contract) -> None:
    field = contract.by_name["dti"].model_copy(update={"range": (-100.0, 100.0)})
    assert [field.say(value) for value in (-100.0, -99.0)] == ["-100 percent or less", "-99 percent"]


def test_a_reason_is_the_sentence_of_its_side_or_else_a_fact(contract: Contract) -> None:
    sides: list[tuple[str, Side, float | str | None]] = [
        ("dti", "high", 31.5),
        ("dti", "low", 3.0),
        ("dti", "missing", None),
        ("purpose", "level", "small_business"),
        ("mths_since_last_record", "level", 70.0),
        ("revol_util", "missing", None),
    ]
    assert {(name, side): contract.by_name[name].reason(side, value) for name, side, value in sides} == {
        ("dti", "high"): "Existing debt payments take more of the income than typical: 31.5 percent.",
        ("dti", "low"): (
            "Monthly debt payments, without mortgage and this loan, as a share of monthly income: 3 percent."
        ),
        ("dti", "missing"): "The share of income that existing debt payments take is not known.",
        ("purpose", "level"): "The purpose of the loan: small_business.",
        ("mths_since_last_record", "level"): "Months since the last public record: 70 months.",
        ("revol_util", "missing"): "Revolving balance as a share of the revolving limit: not known.",
    }


def test_every_sentence_names_its_side(contract: Contract) -> None:
    """A sentence that compares does so with the typical value; one of the other side does not say the same."""
    words = {"high": ("more", "higher", "larger", "longer", "older"), "low": ("less", "fewer", "lower", "smaller")}
    words["low"] += ("shorter", "younger", "more recent")
    for field in contract.features:
        for side, comparatives in words.items():
            sentence = getattr(field.reasons, side)
            if sentence and "typical" in sentence:
                assert any(word in sentence.lower().split("typical")[0] for word in comparatives), sentence
        sentences = [sentence for sentence in field.reasons.model_dump().values() if sentence]
        assert len(set(sentences)) == len(sentences)
        assert all(sentence.endswith(".") for sentence in sentences)
        assert "{value}" not in field.reason("missing", None)


def test_people_and_places_are_no_features(contract: Contract) -> None:
    assert {field.name for field in contract.with_role("segment")} == {"addr_state", "zip_code"}
    assert not {"addr_state", "zip_code", "id", "issue_d"} & set(contract.feature_names)
    assert (contract.id_name, contract.time_name) == ("id", "issue_d")


def test_allowed_values_in_words(contract: Contract) -> None:
    allowed = {name: contract.by_name[name].allowed for name in ("annual_inc", "grade", "issue_d", "zip_code")}
    assert allowed == {
        "annual_inc": "100 to 100,000,000 dollars a year",
        "grade": "one of A, B, C, D, E, F, G",
        "issue_d": "a month, as Dec-2015 or 2015-12",
        "zip_code": "any text",
    }


def test_a_contract_does_not_change_after_loading(contract: Contract) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        contract.by_name["dti"].required = False  # type: ignore[misc]


WRONG: dict[str, tuple[Change, str]] = {
    "unknown key": (
        lambda data, field: field["dti"].update(colour="red"),
        "dti: colour: there is no such key; write column",
    ),
    "twice": (lambda data, field: data["fields"].append(field["dti"]), "field dti: dti is described twice"),
    "no unit": (lambda data, field: field["dti"].pop("unit"), "dti: a number needs a unit and a range"),
    "empty range": (lambda data, field: field["dti"].update(range=[9, 9]), r"dti: range \[9, 9\] is empty"),
    "range of texts": (
        lambda data, field: field["zip_code"].update(range=[1, 9]),
        "zip_code: range is of numbers alone",
    ),
    "no levels": (lambda data, field: field["grade"].pop("levels"), "grade: levels go with kinds ordered and nominal"),
    "levels": (lambda data, field: field["dti"].update(levels=["a"]), "dti: levels go with kinds ordered and nominal"),
    "clip": (
        lambda data, field: field["grade"].update(outside="clip"),
        "grade: only a number with a range can be clipped",
    ),
    "null": (lambda data, field: field["term"].update(outside="null"), "term: outside may only be null where"),
    "text": (lambda data, field: field["zip_code"].update(role="feature"), "zip_code: a text cannot be a feature"),
    "word": (lambda data, field: field["application_type"].update(words={"x": "Two"}), "word x stands for Two"),
    "number word": (lambda data, field: field["emp_length"].update(words={"x": "ten"}), "word x stands for ten"),
    "source": (
        lambda data, field: field["loan_to_income"].update(derived="loan_amnt / yearly(annual_income)"),
        "field loan_to_income: derived: annual_income is no field; write annual_inc",
    ),
    "units": (
        lambda data, field: field["loan_to_income"].update(derived="loan_amnt / annual_inc"),
        "field loan_to_income: derived: loan_amnt / annual_inc measures months and the unit percent a share; write",
    ),
    "circle": (
        lambda data, field: field["loan_to_income"].update(derived="loan_to_income + dti"),
        "field loan_to_income: derived: loan_to_income would be derived from itself; read one from the file",
    ),
    "function": (
        lambda data, field: field["loan_to_income"].update(derived={"function": "percent_of", "of": ["dti", "dti"]}),
        "field loan_to_income: derived: it is now an expression; write derived: dti / dti",
    ),
    "derived text": (
        lambda data, field: field["zip_code"].update(derived="dti / 2"),
        "zip_code: derived is of numbers alone",
    ),
    "no id": (
        lambda data, field: field["id"].update(role="support"),
        "no field has the role id, and exactly one field must",
    ),
    "two times": (
        lambda data, field: field["earliest_cr_line"].update(role="time"),
        "exactly one field must have the role time",
    ),
    "no term": (lambda data, field: field["term"].update(unit="years"), "field term with the unit months is needed"),
    "status": (lambda data, field: data["outcome"]["repaid"].append("Default"), "status Default is listed twice"),
    "share": (
        lambda data, field: data["expect"].update(rejected_share_at_most=5),
        "expect.rejected_share_at_most: 5 is",
    ),
    "reason": (
        lambda data, field: field["dti"].update(reason="Bad."),
        "dti: reason: reason is now reasons, a sentence",
    ),
    "other side": (
        lambda data, field: field["dti"]["reasons"].update(low="Low."),
        "dti: reasons are high, low: risk is rising; write high",
    ),
    "wrong side": (
        lambda data, field: field["annual_inc"].update(reasons={"high": "High."}),
        "annual_inc: reasons are high: risk is falling; write low",
    ),
    "one side": (
        lambda data, field: field["emp_length"]["reasons"].pop("high"),
        "emp_length: reasons are low: a directional sentence where the side is not known",
    ),
    "level of a number": (
        lambda data, field: field["emp_length"].update(reasons={"level": "Employed."}),
        "emp_length: reasons are level: a directional sentence where the side is not known",
    ),
    "side of a level": (
        lambda data, field: field["purpose"]["reasons"].update(high="High."),
        "purpose: reasons are high, level: a nominal field has no high and no low; write level",
    ),
    "reasons of a segment": (
        lambda data, field: field["addr_state"].update(reasons={"missing": "No state."}),
        "addr_state: only a feature has reasons; its role is segment",
    ),
    "placeholder": (
        lambda data, field: field["dti"]["reasons"].update(high="It is {amount}."),
        r"'It is \{amount\}.' holds more than text and \{value\}",
    ),
    "format": (
        lambda data, field: field["dti"]["reasons"].update(high="It is {value:.2f}."),
        "holds more than text and",
    ),
    "braces": (lambda data, field: field["dti"]["reasons"].update(high="It is {value."), "expected '}'"),
    "empty": (lambda data, field: field["dti"]["reasons"].update(high=" "), "a sentence is empty"),
    "missing value": (
        lambda data, field: field["dti"]["reasons"].update(missing="It is {value}."),
        "dti: reasons.missing holds {value}, and there is none",
    ),
    "mixed group": (
        lambda data, field: field["term"].update(group="assigned_terms"),
        "field int_rate is the lender's opinion and term of the same group assigned_terms is none; give int_rate a",
    ),
    "derived opinion": (
        lambda data, field: field["payment_to_income"].update(group="loan_size"),
        r"payment_to_income is the lender's opinion \(derived from loan_amnt, int_rate, .*\) and loan_amnt",
    ),
    "opinion without direction": (
        lambda data, field: field["int_rate"].pop("risk"),
        "int_rate: a number that is the lender's opinion needs risk: rising or falling",
    ),
    "no group": (lambda data, field: data["groups"].update(grades="Grades."), "grades is the group of no feature"),
    "group's value": (
        lambda data, field: data["groups"].update(assigned_terms="The rate: {value}."),
        "the sentence of assigned_terms tells of the whole group",
    ),
    "month": (
        lambda data, field: data["layouts"][0]["year"].update(month=13),
        "layout selected_features: year.month: 13 is",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contract_that_contradicts_itself_is_refused(changed: LoadChanged, name: str) -> None:
    change, sentence = WRONG[name]
    with pytest.raises(BadInput, match=sentence):
        changed(change)
