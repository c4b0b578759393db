"""A drafted contract can be loaded as it is, reads the table that it was drafted from, and marks what was guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import polars as pl
import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.contract_draft import Draft, StatusGuess, draft_contract, guess_outcome, normalise
from loan_default.risk.data.table_profile import labels, profile_table
from loan_default.risk.model.file_schemas import schema_texts

ROWS = 200


def loans() -> pl.DataFrame:
    """Make a table of every kind of column that a draft knows."""
    rng = np.random.default_rng(3)
    bad = rng.random(ROWS) < 0.3
    months = [f"{1 + month % 12:02d}/{2012 + month // 12}" for month in rng.integers(0, 48, ROWS).tolist()]
    columns = {
        "LoanID": [f"{number:06d}" for number in range(ROWS)],
        "IssueDate": [f"{month[3:]}-{month[:2]}-15" for month in months],
        "loan_status": np.where(bad, "Charged Off", "Fully Paid").tolist(),
        "AnnualIncome": [f"${value:,.0f}" for value in rng.uniform(10_000, 200_000, ROWS)],
        "int_rate": [f"{value:.2f}" for value in rng.uniform(0.05, 0.3, ROWS)],
        "term": rng.choice([" 36 months", " 60 months"], ROWS).tolist(),
        "Gender": rng.choice(["M", "F"], ROWS).tolist(),
        "home": rng.choice(["RENT", "OWN"], ROWS).tolist(),
        "education_code": rng.choice(["1", "2", "3"], ROWS).tolist(),
        "recoveries": np.where(bad, "100", "0").tolist(),
        "collector": np.where(bad, "yes", "no").tolist(),
        "note": [f"text {number}" for number in range(ROWS)],
        "outcome": rng.choice(["x", "y", "z"], ROWS).tolist(),
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


RUNNING = loans().with_columns(loan_status=pl.Series(["Current", "Default", "Fully Paid", "Late"] * (ROWS // 4)))


def load_draft(draft: Draft, folder: Path) -> Contract:
    path = folder / "book.yaml"
    path.write_text(draft.text, encoding="utf-8")
    return load_contract(path)


def drafted(table: pl.DataFrame) -> Draft:
    status = guess_outcome(profile_table(table))
    outcome = labels(table[status.column], status.defaulted, status.repaid) if status else None
    return draft_contract(profile_table(table, outcome), status, name="book", file="book.csv")


@pytest.fixture(scope="module")
def draft() -> Draft:
    return drafted(loans())


@pytest.fixture(scope="module")
def contract(draft: Draft, tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return load_draft(draft, tmp_path_factory.mktemp("draft"))


def test_the_draft_names_the_schema_that_ships(draft: Draft) -> None:
    """An editor finds it wherever the draft is written."""
    address = draft.text.splitlines()[0].partition("$schema=")[2]
    with urlopen(address) as schema:
        assert json.load(schema) == json.loads(schema_texts()["contract.schema.json"])


def test_outcome_time_and_id_are_found(draft: Draft, contract: Contract) -> None:
    assert (draft.outcome, draft.time, draft.id) == ("loan_status", "IssueDate", "LoanID")
    assert (contract.outcome.defaulted, contract.outcome.repaid) == (("Charged Off",), ("Fully Paid",))
    assert contract.by_name[contract.time_name].column == "IssueDate"


def test_what_tells_the_outcome_is_no_field(draft: Draft, contract: Contract) -> None:
    assert draft.suspects == {
        "recoveries": "its name speaks of what comes after the loan was granted",
        "collector": "its name speaks of what comes after the loan was granted",
    }
    assert contract.is_known_afterwards("recoveries")
    renamed = drafted(loans().rename({"collector": "shade"}))
    assert renamed.suspects["shade"] == "alone it tells how a loan ended with an AUC of 1.00"


def test_kinds_units_and_scales_are_guessed(contract: Contract) -> None:
    income, rate, term = (contract.by_name[name] for name in ("annual_income", "int_rate", "term"))
    assert (income.unit, contract.files.currency, contract.files.thousands) == ("dollars a year", ("$",), ",")
    assert (rate.unit, rate.scale, rate.opinion, rate.risk) == ("percent a year", 100, True, "rising")
    assert (term.unit, term.kind, term.strip) == ("months", "number", " months")
    assert contract.by_name["gender"].role == "protected"
    assert contract.by_name["home"].levels == ("RENT", "OWN") or set(contract.by_name["home"].levels) == {"RENT", "OWN"}
    assert contract.by_name["education_code"].levels == ("1", "2", "3")
    assert contract.by_name["note"].role == "segment"
    assert all("GUESS" not in field.description for field in contract.fields)


@pytest.mark.parametrize(
    ("sign", "unit"),
    [
        ("$", "dollars"),
        ("R$ ", "reais"),
        ("€", "euros"),
        ("Rs. ", "rupees"),
        ("TL ", "lira"),
        ("Ksh", "shillings"),
        ("руб. ", "rubles"),
        ("", "units of money"),
        ("kr ", "units of money"),
    ],
)
def test_money_is_counted_in_the_currency_of_the_file(sign: str, unit: str, tmp_path: Path) -> None:
    """`$` was guessed of any country's book."""
    incomes = pl.Series([f"{sign}{20_000 + 10 * number}" for number in range(ROWS)])
    draft = drafted(loans().rename({"AnnualIncome": "income"}).with_columns(income=incomes))
    fields = load_draft(draft, tmp_path).by_name
    assert fields["income"].unit == f"{unit} a year"
    assert (": name the currency" in draft.text) is (unit == "units of money")
    monthly = drafted(loans().rename({"AnnualIncome": "Dochód miesięczny netto"}))
    assert "unit: dollars a month" in monthly.text


def test_a_column_with_a_currency_is_money_and_one_named_percent_is_not(tmp_path: Path) -> None:
    table = loans().with_columns(
        pl.Series("Existing EMIs", ["₹ 1,200", "₹ 0"] * (ROWS // 2)),
        pl.Series("Down Payment %", ["20.5", "31"] * (ROWS // 2)),
        AnnualIncome=pl.Series(["₹ 1,20,000", "₹ 3,45,600"] * (ROWS // 2)),
    )
    by_column = {field.column: field for field in load_draft(drafted(table), tmp_path).fields}
    assert [by_column[name].unit for name in ("Existing EMIs", "Down Payment %")] == ["rupees a month", "percent"]


def test_a_bureaus_score_is_no_opinion_of_the_lender(tmp_path: Path) -> None:
    table = loans().with_columns(
        pl.Series("CIBIL Score", ["700", "650.5"] * (ROWS // 2)), pl.Series("app_score", ["70", "65.5"] * (ROWS // 2))
    )
    contract = load_draft(drafted(table), tmp_path)
    bureau, own = contract.by_name["cibil_score"], contract.by_name["app_score"]
    assert (bureau.unit, bureau.risk, bureau.opinion) == ("points", "falling", False)
    assert (own.unit, own.risk, own.opinion) == ("points", "falling", True)


_PAID = ("Interest Paid", "last_emi", "Valor Pago", "monto_pagado", "Dias de atraso")


def test_what_was_paid_came_afterwards() -> None:
    table = loans().with_columns(pl.Series(name, ["100", "200.5"] * (ROWS // 2)) for name in _PAID)
    assert set(_PAID) <= set(drafted(table).suspects)


def test_names_that_are_glued_together_are_read_as_their_words(tmp_path: Path) -> None:
    draft = drafted(
        loans()
        .rename({"LoanID": "systemloanid"})
        .with_columns(
            customerid=pl.Series([f"c{number}" for number in range(ROWS)]),
            loannumber=pl.Series([str(1 + number % 30) for number in range(ROWS)]),
            loanamount=pl.Series(["10000", "20000"] * (ROWS // 2)),
            termdays=pl.Series(["15", "30", "60", "90"] * (ROWS // 4)),
            birthdate=pl.Series([f"19{60 + number % 40}-0{1 + number % 9}-15" for number in range(ROWS)]),
        )
        .select("customerid", pl.exclude("customerid"))
    )
    fields = load_draft(draft, tmp_path).by_name
    assert draft.id == "systemloanid"
    assert (fields["customer_id"].kind, fields["customer_id"].role) == ("text", "segment")
    assert (fields["birth_date"].kind, fields["birth_date"].role) == ("month", "protected")
    assert [(fields[name].kind, fields[name].unit) for name in ("loan_number", "loan_amount", "term_days")] == [
        ("number", "count"),
        ("number", "dollars"),
        ("number", "days"),
    ]


def test_a_table_without_dates_or_numbers_of_loans_is_a_book_without_time(tmp_path: Path) -> None:
    draft = drafted(loans().drop("LoanID", "IssueDate", "note"))
    assert (draft.time, draft.id) == (None, None)
    contract = load_draft(draft, tmp_path)
    assert not contract.has_time
    assert contract.outcomes_are_final


def test_codes_for_no_value_are_left_out_of_the_range_and_named() -> None:
    months = pl.Series([str(number % 50) for number in range(ROWS - 3)] + ["-9", "-8", "-9"])
    changes = pl.Series([str(number % 50) for number in range(ROWS - 2)] + ["-9", "-12"])
    draft = drafted(loans().with_columns(since_trade=months, change=changes))
    (field,) = (part for part in draft.text.split("\n\n") if "- name: since_trade" in part)
    assert "0 to 49, beside -9, -8" in field
    assert "range: [0, 500]" in field
    assert 'outside: "null"  # GUESS: -9, -8: no value, and read as missing' in field
    (other,) = (part for part in draft.text.split("\n\n") if "- name: change" in part)
    assert "-12 to 49" in other
    assert "read as missing" not in other


def test_codes_constants_and_counted_days_are_no_plain_numbers(tmp_path: Path) -> None:
    draft = drafted(
        loans().with_columns(
            ApprovalDate=pl.Series([str(15_074 + number) for number in range(ROWS)]),
            Zip=pl.Series([str(90_000 + number) for number in range(ROWS)]),
            NAICS=pl.Series(["5311100", "5324901"] * (ROWS // 2)),
            Balance=pl.Series(["0"] * ROWS),
        )
    )
    fields = load_draft(draft, tmp_path).by_name
    assert (fields["zip"].kind, fields["zip"].role) == ("text", "segment")
    assert fields["naics"].levels == ("5311100", "5324901")
    assert (fields["balance"].kind, fields["balance"].role) == ("text", "segment")
    assert "role: segment  # it holds the same in each row: leave it out" in draft.text
    assert 'format: "days since 1960-01-01" (SAS): 2001-04 to 2001-10' in draft.text


def test_words_beside_numbers_are_read_as_missing_and_other_tongues_are_known(tmp_path: Path) -> None:
    incomes = ["k.A." if number % 20 == 0 else str(1_000 + number) for number in range(ROWS)]
    columns = {
        "Einkommen": incomes,
        "Beschäftigung": ["Beamter", "Rentner"] * (ROWS // 2),
        "Geschlecht": ["m", "w"] * (ROWS // 2),
        "Cinsiyet": ["Kadın", "Erkek"] * (ROWS // 2),
        "Пол": ["Ж", "М"] * (ROWS // 2),
        "性別": ["男", "女"] * (ROWS // 2),
    }
    draft = drafted(loans().with_columns(pl.Series(*column) for column in columns.items()))
    fields = load_draft(draft, tmp_path).by_name
    assert draft.text.count("# DECIDE: its name was not read. Is it protected") == 1
    assert fields["einkommen"].words == {"k.A.": None}
    assert fields["beschaftigung"].description == "Beschäftigung."
    assert {fields[name].role for name in ("geschlecht", "cinsiyet", "pol")} == {"protected"}


def test_where_loans_still_run_outcomes_count_after_their_terms(contract: Contract) -> None:
    assert contract.outcomes_are_final
    running = drafted(RUNNING)
    assert "outcomes: final" not in running.text.replace("(outcomes: final", "")
    assert "GUESS: some loans still run" in running.text
    assert 'unresolved: ["Current", "Late"]' in running.text or 'unresolved: ["Late", "Current"]' in running.text


def test_loans_that_still_run_have_a_term_to_decide_on_where_no_column_is_one(tmp_path: Path) -> None:
    term = pl.Series(np.random.default_rng(1).choice(["three years", "five years"], ROWS).tolist())
    draft = drafted(RUNNING.with_columns(term=term))
    contract = load_draft(draft, tmp_path)
    assert (contract.term, set(contract.outcome.unresolved)) == (36, {"Current", "Late"})
    assert contract.by_name["its_term"].column == "term"
    assert "term: 36  # DECIDE: of all loans, in months" in draft.text


@pytest.mark.parametrize(
    ("column", "is_term"),
    [("Tenure", True), ("loan_duration_months", True), ("Vade (ay)", True), ("customer_tenure", False)],
)
def test_a_term_is_known_by_its_other_names(column: str, is_term: bool, tmp_path: Path) -> None:
    table = RUNNING.drop("term").with_columns(pl.Series(column, ["12", "24", "24", "36"] * (ROWS // 4)))
    draft = drafted(table)
    assert ("term" in load_draft(draft, tmp_path).by_name) == is_term
    assert ("\nterm: 36  # DECIDE" in draft.text) != is_term


@pytest.mark.parametrize(
    ("column", "months"), [("Prazo (semanas)", 4 * 7 * 48 / 1461), ("loan_term_days", 4 * 48 / 1461), ("Plazo", 4)]
)
def test_a_term_in_weeks_or_days_is_scaled_to_months(column: str, months: float, tmp_path: Path) -> None:
    table = RUNNING.drop("term").with_columns(pl.Series(column, ["4", "16", "16", "52"] * (ROWS // 4)))
    term = load_draft(drafted(table), tmp_path).by_name["term"]
    assert term.unit == "months"
    assert 4 * term.scale == pytest.approx(months, rel=1e-4)


@pytest.mark.parametrize(
    ("column", "unit"),
    [("SIM Age (days)", "days"), ("vehicle_age", "years"), ("Daily Rate", "percent a day"), ("Loan Cycle", "count")],
)
def test_ages_of_things_rates_a_day_and_cycles_are_what_they_say(column: str, unit: str, tmp_path: Path) -> None:
    table = loans().with_columns(pl.Series(column, [f"{0.5 * number:.0f}" for number in range(ROWS)]))
    field = load_draft(drafted(table), tmp_path).by_name[normalise(column)]
    assert (field.role, field.unit) == ("feature", unit)
    assert field.range and field.range[0] == 0


def test_neither_a_birth_nor_a_last_payment_dates_loans(tmp_path: Path) -> None:
    """Of a file whose times had a zone the applicants' birth was drafted as the date of the loans."""
    times = [f"20{12 + number % 8}-0{1 + number % 9}-05 03:19:05 UTC" for number in range(ROWS)]
    names = ("Date of Birth", "Last Repayment At", "Disbursed At (UTC)")
    table = loans().drop("IssueDate").with_columns(pl.Series(name, times) for name in names)
    contract = load_draft(draft := drafted(table), tmp_path)
    assert (contract.time_name, draft.time) == ("disbursed_at_utc", "Disbursed At (UTC)")
    assert contract.by_name["date_of_birth"].role == "protected"
    assert "Last Repayment At" in draft.suspects
    assert drafted(table.drop("Disbursed At (UTC)")).time is None


def test_levels_that_are_true_and_false_are_listed_once(tmp_path: Path) -> None:
    table = loans().with_columns(listed=pl.Series(["TRUE", "True", "false", "FALSE"] * (ROWS // 4)))
    assert sorted(load_draft(drafted(table), tmp_path).by_name["listed"].levels) == ["false", "true"]


def test_an_interest_a_month_is_no_interest_a_year(tmp_path: Path) -> None:
    names = {"Juros a.m.": "percent a month", "tasa de interés mensual": "percent a month", "Taux": "percent a year"}
    table = loans().with_columns(pl.Series(name, [f"{2 + n / 100:.2f}%" for n in range(ROWS)]) for name in names)
    fields = {field.column: field for field in load_draft(drafted(table), tmp_path).fields}
    assert {name: fields[name].unit for name in names} == names
    assert {(fields[name].opinion, fields[name].risk) for name in names} == {(True, "rising")}


def test_without_a_date_loans_that_still_run_are_left_out(tmp_path: Path) -> None:
    draft = drafted(RUNNING.drop("IssueDate", "note"))
    contract = load_draft(draft, tmp_path)
    assert (contract.has_time, contract.outcome.unresolved) == (False, ())
    assert "above, or leave such loans out of the file:" in draft.text
    assert "unresolved" not in draft.text


def test_a_table_without_an_outcome_says_so() -> None:
    draft = drafted(loans().select("LoanID", "AnnualIncome", "home"))
    assert draft.outcome is None
    assert draft.suspects == {}
    assert "DECIDE: no column was found that tells how a loan ended" in draft.text


@pytest.mark.parametrize(
    ("name", "values", "guess"),
    [
        ("BAD", ["0", "0", "0", "1"], StatusGuess("BAD", ("1",), ("0",), (), is_sure=False)),
        ("credit_risk", ["1", "1", "0", "1"], StatusGuess("credit_risk", ("0",), ("1",), (), is_sure=False)),
        ("default", ["False", "True", "False", "False"], StatusGuess("default", ("true",), ("false",), (), False)),
        ("default", ["FALSE", "True", "false", "TRUE"], StatusGuess("default", ("true",), ("false",), (), False)),
        (
            "status",
            ["Repaid", "Repaid", "Repaid", "Repaid late", "Repaid late", "Unpaid", "Unpaid", "Late"],
            StatusGuess("status", ("Unpaid",), ("Repaid", "Repaid late"), ("Late",), is_sure=True),
        ),
        (
            "Situação",
            ["Liquidado", "Liquidado", "Liquidado", "Inadimplente"],
            StatusGuess("Situação", ("Inadimplente",), ("Liquidado",), (), is_sure=True),
        ),
        (
            "Situação",
            ["Liquidado", "Liquidado", "Liquidado", "Prejuízo", "Prejuízo", "Em dia", "Atraso 1-30 dias"],
            StatusGuess("Situação", ("Prejuízo",), ("Liquidado",), ("Em dia", "Atraso 1-30 dias"), is_sure=True),
        ),
        (
            "Durum",
            ["Kapandı", "Kapandı", "Kapandı", "Takipte", "Takipte", "Açık"],
            StatusGuess("Durum", ("Takipte",), ("Kapandı",), ("Açık",), is_sure=True),
        ),
        (
            "stav",
            ["splaceno", "splaceno", "splaceno", "nesplaceno", "nesplaceno", "aktivní"],
            StatusGuess("stav", ("nesplaceno",), ("splaceno",), ("aktivní",), is_sure=True),
        ),
        (
            "status",
            ["Paid", "Paid", "Paid", "Default", "Default", "Current"],
            StatusGuess("status", ("Default",), ("Paid",), ("Current",), is_sure=True),
        ),
        (
            "Статус",
            ["Погашен", "Погашен", "Досрочно погашен", "Действующий", "Не погашен", "Дефолт"],
            StatusGuess(
                "Статус",
                ("Не погашен", "Дефолт"),
                ("Погашен", "Досрочно погашен"),
                ("Действующий",),
                is_sure=True,
            ),
        ),
        (  # where a foreclosure is a loan that was repaid before its time
            "status",
            ["CLOSED", "CLOSED", "CLOSED", "WRITTEN_OFF", "WRITTEN_OFF", "FORECLOSED"],
            StatusGuess("status", ("WRITTEN_OFF",), ("CLOSED",), ("FORECLOSED",), is_sure=False),
        ),
    ],
)
def test_statuses_are_guessed_by_their_words(name: str, values: list[str], guess: StatusGuess) -> None:
    table = pl.DataFrame({"amount": [str(10.5 * number) for number in range(len(values))], name: values})
    assert guess_outcome(profile_table(table)) == guess


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("LoanAmount", "loan_amount"),
        ("loanamount", "loan_amount"),
        ("Birthdate", "birth_date"),
        ("corporate", "corporate"),
        ("term", "term"),
        ("PAY_0", "pay_0"),
        ("% used", "used"),
        ("2nd", "field_2nd"),
        ("Płeć", "plec"),
        ("Größe", "grosse"),
        ("Семейное положение", "semeinoe_polozhenie"),
        ("Щедрый Ёж", "shchedryi_ezh"),
        ("Οικογενειακή κατάσταση", "oikogeneiaki_katastasi"),
        ("性別", "field"),
        ("amount " * 40, "amount_amount_amount_amount_amount_amount_amount_a"),
    ],
)
def test_columns_become_names_of_fields(column: str, name: str) -> None:
    assert normalise(column) == name


def test_what_texts_speak_of_is_protected_whatever_its_column_is_called(tmp_path: Path) -> None:
    """India's castes stood as a feature in a column named category; a grade may have the letters m and f."""
    table = loans().with_columns(
        category=pl.Series(["GEN", "OBC", "SC", "ST"] * (ROWS // 4)),
        applicant=pl.Series(["Male", "Female"] * (ROWS // 2)),
        band=pl.Series([*"ABCDEFGHIM"] * (ROWS // 10)),
    )
    roles = {field.name: field.role for field in load_draft(drafted(table), tmp_path).fields}
    assert [roles[name] for name in ("category", "applicant", "band")] == ["protected", "protected", "feature"]


def test_nil_is_nought_and_other_words_beside_numbers_are_missing(tmp_path: Path) -> None:
    debts = pl.Series("other_debt", [*map(str, range(ROWS - 2)), "NIL", "refused"])
    contract = load_draft(drafted(loans().with_columns(debts)), tmp_path)
    assert contract.by_name["other_debt"].words == {"NIL": 0, "refused": None}


def test_a_duration_of_years_and_months_is_months(tmp_path: Path) -> None:
    """As in books of India: they stood as texts, for reports alone."""
    ages = pl.Series("AVERAGE.ACCT.AGE", [f"{number % 9}yrs {number % 12}mon" for number in range(ROWS)])
    contract = load_draft(drafted(loans().with_columns(ages)), tmp_path)
    field = next(field for field in contract.fields if field.column == ages.name)
    assert (field.kind, field.unit, field.parts) == ("number", "months", {"yrs": 12, "mon": 1})


def test_the_month_of_the_last_payment_is_proposed(tmp_path: Path) -> None:
    """Of loans that still run, an outcome is known by it before the term is over."""
    table = RUNNING.with_columns(pl.Series("Last EMI Paid On", ["31-Mar-2021", "01-Apr-2021"] * (ROWS // 2)))
    draft = drafted(table)
    comment = '# known: {last_payment: "Last EMI Paid On", format: "%d-%b-%Y", months_after_default: 5}'
    assert comment in draft.text
    decided = draft.text.replace(comment, comment.removeprefix("# "))
    contract = load_draft(replace(draft, text=decided), tmp_path)
    assert contract.outcome.known is not None
    assert "# known:" not in drafted(loans()).text


def test_statuses_that_neither_run_nor_speak_are_for_a_person(tmp_path: Path) -> None:
    """Those without a word that is known stood among the loans that run, and nobody was asked."""
    statuses = pl.Series("loan_status", ["Running", "Written-off", "Closed", "Settled", "Restructured"] * (ROWS // 5))
    text = drafted(RUNNING.with_columns(statuses)).text
    questions = [line for line in text.splitlines() if "may be a default, or ended without one" in line]
    assert [line.split()[2] for line in questions] == ["Settled", "Restructured"]


def test_fields_are_described_as_their_columns_are_written_for_people(tmp_path: Path) -> None:
    names = {"AnnualIncome": "Monthly Income (net)", "int_rate": "ROI", "term": "Tenor (Months)", "home": "score"}
    contract = load_draft(drafted(RUNNING.rename(names)), tmp_path)
    described = {field.column: field.description for field in contract.fields}
    assert [described[name] for name in names.values()] == [
        "Monthly Income (net).",
        "ROI.",
        "Term of the loan.",
        "Score.",
    ]
    assert described["education_code"] == "Education code."


def test_words_of_brazilian_books(tmp_path: Path) -> None:
    """The number of instalments stood as names of categories, so all loans had a term of 36 months."""
    table = RUNNING.drop("term").with_columns(
        pl.Series("nº parcelas", [*["12"] * 4, *["24"] * 4] * (ROWS // 8)),
        pl.Series("taxa mensal (%)", [f"{2 + number / 100:.2f}" for number in range(ROWS)]),
        pl.Series("score Serasa", [str(400 + number) for number in range(ROWS)]),
        pl.Series("tempo de emprego (meses)", [str(number) for number in range(ROWS)]),
        pl.Series("dias em atraso", [str(number % 7) for number in range(ROWS)]),
    )
    draft = drafted(table)
    fields = {field.column: field for field in load_draft(draft, tmp_path).fields}
    units = {"nº parcelas": "months", "taxa mensal (%)": "percent a month", "tempo de emprego (meses)": "months"}
    assert {column: fields[column].unit for column in units} == units
    assert fields["nº parcelas"].name == "term"
    assert (fields["taxa mensal (%)"].opinion, fields["score Serasa"].opinion) == (True, False)
    assert fields["tempo de emprego (meses)"].description == "Tempo de emprego (meses)."
    assert "dias em atraso" in draft.suspects
