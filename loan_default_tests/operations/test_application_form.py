"""The form of an application: made from the contract, filled by hand, by paste or from a batch."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.adapters import storage
from loan_default.operations.application_form import (
    carried_values,
    make_form,
    read_form,
    read_pasted,
    read_stored,
    show_value,
    words_of,
)
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.packages import applications
from loan_default_tests.risk.small_books import make_contract

CONTRACT = load_contract()
NEEDED = {"loan_amnt": "12,000", "term": "36 months", "int_rate": "13.5%", "annual_inc": "$60 000", "dti": ""}


def test_each_field_stands_in_the_form_once_but_what_is_computed() -> None:
    sections = make_form(CONTRACT)
    names = [field.name for section in sections for field in section.fields]
    expected = {field.name for field in CONTRACT.application_fields if not field.derived} - {"issue_d"}
    assert sorted(names) == sorted(expected)
    assert [section.title for section in sections[:3]] == [
        "The application",
        "The lender's assessment",
        "The applicant",
    ]
    assert "Late payments" in [section.title for section in sections]


def test_a_field_has_the_contracts_label_unit_and_range() -> None:
    fields = {field.name: field for section in make_form(CONTRACT) for field in section.fields}
    amount = fields["loan_amnt"]
    assert (amount.label, amount.unit, amount.required) == ("Amount asked for", "dollars", True)
    assert amount.allowed == "100 to 1,000,000 dollars"
    assert not fields["dti"].required
    assert ("debt_consolidation", "Paying off other debts") in fields["purpose"].choices
    assert fields["delinq_2yrs"].unit == ""


def test_the_form_of_another_book_is_made_from_its_contract() -> None:
    book = make_contract(time="none", outcomes="final")
    names = {field.name for section in make_form(book) for field in section.fields}
    assert names == {field.name for field in book.application_fields}


def test_numbers_are_read_as_people_write_them_and_what_is_empty_is_left_out() -> None:
    filled = read_form(CONTRACT, {**NEEDED, "emp_length": "10+ years", "purpose": "car", "unknown": "x"})
    assert filled.mistakes == {}
    assert filled.application == {
        **{"loan_amnt": 12_000.0, "term": 36.0, "int_rate": 13.5, "annual_inc": 60_000.0, "dti": None},
        **{"emp_length": 10.0, "purpose": "car"},
    }


def test_each_mistake_is_said_at_its_field() -> None:
    filled = read_form(CONTRACT, {**NEEDED, "loan_amnt": "", "term": "long", "annual_inc": "5"})
    assert filled.mistakes == {
        "loan_amnt": "This is needed.",
        "term": "long cannot be read; it must be 6 to 120 months.",
        "annual_inc": "5 is not allowed; it must be 100 to 100,000,000 dollars a year.",
    }
    assert read_form(CONTRACT, {**NEEDED, "dti": "nan", "revol_bal": "inf"}).mistakes.keys() == {"dti", "revol_bal"}


@pytest.mark.parametrize(
    "text",
    [
        '{"loan_amnt": 12000, "term": " 36 months", "other": 1}',
        '[{"loan_amnt": 12000, "term": "36"}]',
        '{"dataframe_records": [{"loan_amnt": 12000.0, "term": 36}]}',
        "loan_amnt,term,other\n12000,36 months,x\n",
        'loan_amnt;term\n"12000";36\n999;60\n',
        "\n loan_amnt\tterm \n12000\t36\n",
    ],
)
def test_a_pasted_application_fills_the_form(text: str) -> None:
    assert read_pasted(CONTRACT, text) == {"loan_amnt": "12000", "term": "36"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "^The text is no JSON"),
        ("[" * 100_000, "^The text is no JSON: maximum recursion depth exceeded"),
        ("[]", "^The JSON must be an object"),
        ("loan_amnt,term", "^Paste two lines"),
        ("loan_amnt,term\n1", "^The first line names 2 columns, and the second has 1 values"),
        ("a,b\n1,2", "^The text holds no field of an application; its first line must name some, as loan_amnt, term"),
    ],
)
def test_what_is_no_application_is_said(text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read_pasted(CONTRACT, text)


def test_what_a_client_sends_is_what_the_filled_form_sends() -> None:
    sent = next(record for record in applications()[0])
    texts = {name: show_value(CONTRACT, name, value) for name, value in sent.items()}
    filled = read_form(CONTRACT, texts)
    assert filled.mistakes == {}
    for name, value in filled.application.items():
        if CONTRACT.by_name[name].kind == "month":
            assert value == show_value(CONTRACT, name, sent[name])
        else:
            assert value == (pytest.approx(sent[name], abs=0.005) if isinstance(value, float) else sent[name])


def test_a_row_of_a_stored_batch_fills_the_form(tmp_path: Path) -> None:
    settings = Settings(tmp_path)
    path = Path(str(settings.layout.batch_table("application_batch", "2018-10")))
    path.parent.mkdir(parents=True)
    pl.DataFrame({"id": ["7", "8"], "loan_amnt": [1.0, 2_500.5], "term": [36, None], "pd": [0.1, 0.2]}).write_parquet(
        path
    )
    assert read_stored(settings, CONTRACT, "2018-10", "")["id"] == "7"
    assert read_stored(settings, CONTRACT, "2018-10", "8") == {"id": "8", "loan_amnt": "2500.5", "term": ""}
    with pytest.raises(BadInput, match="The batch 2018-10 holds no application '9'"):
        read_stored(settings, CONTRACT, "2018-10", "9")
    other = settings.layout.batch_table("predictions", "2018-10")
    storage.write_text(other, "not to be read by a form")
    for absent in ("2018-11", "../predictions/2018-10", "x" * 3_000):
        with pytest.raises(BadInput, match=f"There is no stored batch '{absent[:60]}'"):
            read_stored(settings, CONTRACT, absent, "8")


def test_what_a_batch_keeps_and_the_form_cannot_compute_is_carried_along() -> None:
    stored = {**NEEDED, "credit_history_months": "361.25", "loan_to_income": "20.0"}
    assert carried_values(CONTRACT, stored) == {"credit_history_months": "361.25"}
    application = read_form(CONTRACT, stored).application
    assert application["credit_history_months"] == 361.25
    assert "loan_to_income" not in application
    filled = {**stored, "earliest_cr_line": "2003-08"}  # somebody has written it into the form
    assert carried_values(CONTRACT, filled) == {}
    assert "credit_history_months" not in read_form(CONTRACT, filled).application
    assert show_value(CONTRACT, "credit_history_months", 1 / 3) == str(1 / 3)
    assert show_value(CONTRACT, "dti", 1 / 3) == "0.33"


def test_months_stand_in_the_form_as_its_inputs_take_them() -> None:
    for written in ("Aug-2001", "2001-08", "2001-08-31", date(2001, 8, 1)):
        assert show_value(CONTRACT, "earliest_cr_line", written) == "2001-08"
    assert show_value(CONTRACT, "earliest_cr_line", "soon") == "soon"
    assert show_value(CONTRACT, "earliest_cr_line", None) == ""


def test_names_become_words() -> None:
    assert (words_of("late_payments"), words_of("RENT"), words_of("")) == ("Late payments", "RENT", "")
