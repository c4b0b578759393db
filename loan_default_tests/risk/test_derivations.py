"""Derived fields: one expression gives one value on every way, its units are checked, and nothing else gets in."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.applications import clean_applications
from loan_default.risk.data.cleaning import clean_application_file, clean_loans
from loan_default.risk.data.synthetic import make_loans
from loan_default.risk.derivations import FUNCTIONS, Operand, compile_expression
from loan_default.risk.errors import BadInput
from loan_default.risk.expressions import NUMBER_FUNCTIONS, Expression
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.online_features import QuickReader, check
from loan_default.risk.reviewed_file import CONF

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"
UNITS = {
    "loan": "dollars",
    "balance": "dollars",
    "income": "dollars a year",
    "wage": "dollars a month",
    "debt": "thousand dollars",
    "rate": "percent a year",
    "term": "months",
    "years": "years",
    "used": "percent",
    "late": "count",
    "accounts": "count",
    "fico": "FICO points",
    "bare": None,
}
FIELDS = {name: Operand("number", unit) for name, unit in UNITS.items()}
FIELDS |= {"born": Operand("month", None), "first": Operand("month", None), "issued": Operand("month", None)}
FIELDS |= {"grade": Operand("ordered", None), "state": Operand("text", None)}
VALUES = {
    "loan": 10_000.0,
    "balance": 4_000.0,
    "income": 60_000.0,
    "wage": 5_000.0,
    "debt": 3.0,
    "rate": 12.0,
    "term": 36.0,
    "years": 3.0,
    "used": 25.0,
    "late": 3.0,
    "accounts": 12.0,
    "fico": 700.0,
    "born": 0.0,
    "first": 1_000.0,
    "issued": 1_006.0,
}


def compiled(text: str, unit: str | None) -> Expression:
    return compile_expression(text, unit, FIELDS, time="issued")


# --- units ----------------------------------------------------------------------------------------------------

PAYMENT = 332.1431  # of 10,000 at 1 % a month over 36 months
BY_HAND: dict[tuple[str, str], float] = {
    ("loan / yearly(income)", "percent"): 100 / 6,
    ("loan / yearly(wage)", "percent"): 100 / 6,
    ("loan / monthly(income)", "percent"): 200,
    ("loan / income", "months"): 2,
    ("loan / income", "years"): 1 / 6,
    ("payment(loan, rate, term) / income", "percent"): 100 * PAYMENT / 5_000,
    ("payment(loan, rate, term) / wage", "percent"): 100 * PAYMENT / 5_000,
    ("payment(loan, rate, years) / wage", "share"): PAYMENT / 5_000,
    ("payment(loan, 12, 36)", "dollars a year"): 12 * PAYMENT,
    ("payment(loan, 0 * rate, term)", "dollars a month"): 10_000 / 36,
    ("balance + debt", "dollars"): 7_000,
    ("debt - balance", "dollars"): -1_000,
    ("debt - 1", "thousand dollars"): 2,
    ("debt", "dollars"): 3_000,
    ("max(income - wage, 1)", "dollars a year"): 1,
    ("max(income - wage, wage, 1)", "dollars a month"): 5_000,
    ("min(wage, income)", "dollars a year"): 60_000,
    ("100 - used", "percent"): 75,
    ("used * loan", "dollars"): 2_500,
    ("late / accounts", "percent"): 25,
    ("loan / accounts", "dollars"): 10_000 / 12,
    ("12 * late", "count"): 36,
    ("months_between(first, issued)", "months"): 6,
    ("months_between(first, issued)", "years"): 0.5,
    ("years_between(first, issued) - 1", "years"): -0.5,
    ("age(born)", "years"): 1_006 / 12,
    ("bins(fico, 600, 650, 700, 750)", "band"): 3,
    ("bins(fico, 600, 650, 700, 750)", "count"): 3,
    ("log(income)", "log dollars"): np.log(60_000),
    ("log1p(late)", "count"): np.log(4),
    ("sqrt(fico - 675)", "count"): 5,
    ("abs(balance - loan)", "dollars"): 6_000,
    ("-(balance - loan)", "dollars"): 6_000,
    ("loan / fico", "dollars a FICO point"): 10_000 / 700,
}


@pytest.mark.parametrize(("text", "unit"), BY_HAND)
def test_a_value_is_in_the_units_of_its_fields_and_of_its_own(text: str, unit: str) -> None:
    expression = compiled(text, unit)
    value = expression.of_row(*(VALUES[name] for name in expression.of))
    assert value == pytest.approx(BY_HAND[text, unit], rel=1e-6)


MISTAKES: dict[tuple[str, str | None], str] = {
    ("loan / income", "percent"): (
        "loan / income measures months, and the unit percent measures a share; write yearly(income) for what comes in "
        "a year, or monthly(income), in place of income"
    ),
    ("100 * loan / yearly(income)", "percent"): (
        "the units convert by themselves; leave 100 out of 100 * loan / yearly(income)"
    ),
    ("loan / (yearly(income) * 0.01)", "percent"): "leave 0.01 out",
    ("12 * payment(loan, rate, term) / income", "percent"): "leave 12 out",
    ("months_between(first, issued) / 12", "years"): "leave 12 out",
    ("loan + income", "dollars"): (
        "loan measures dollars and income dollars a month, and only like can be added or compared; write yearly(income)"
    ),
    ("late + used", "count"): "late measures count and used a share, and only like can be added or compared; correct",
    ("max(loan, term)", "dollars"): "only like can be added or compared; correct the expression, or the units (loan do",
    ("late", "percent"): "late measures count, and the unit percent measures a share; correct",
    ("loan / balance", "dollars"): "loan / balance measures a share, and the unit dollars measures dollars; correct",
    ("payment(loan, used, term)", "dollars a month"): (
        "payment takes a rate a year or a month as the second, and used measures a share; write unit: percent a year"
    ),
    ("payment(loan, rate, late)", "dollars a month"): "and late measures count; write unit: months where that is what",
    ("yearly(loan)", "dollars"): (
        "yearly takes what comes by the month or the year, and loan measures dollars; write unit: dollars a month"
    ),
    ("loan / balance", None): "its unit is not said; write unit: a share, or one that measures the same",
    ("bare * 2", "count"): "bare has no unit; write what it counts in its unit (count, if it is a plain number)",
    ("issued - first", "months"): "issued is a month; write it in months_between, years_between or age",
    ("months_between(first, term)", "months"): "months_between takes months, and term is none; write months_between(f",
    ("grade + 1", "count"): "grade is ordered; only numbers and months can stand in an expression",
    ("incom / 2", "dollars a year"): "incom is no field; write income",
    ("zzz / 2", "dollars a year"): "zzz is no field of this contract; describe it as one, or write another",
    ("percent_of(loan, balance)", "percent"): "there is no function percent_of; those that there are: months_between,",
    ("payment(loan)", "dollars"): "payment(loan) has 1 arguments; write payment(amount, rate, months)",
    ("max(loan)", "dollars"): "max(loan) has 1 arguments; write max(x, y, …)",
    ("bins(fico, 700, 600)", "count"): "bins of fico takes numbers that rise as its edges; write bins(x, edge, edge",
    ("bins(fico, late)", "count"): "bins of fico takes numbers that rise as its edges",
    ("log(10)", "count"): "log(10) names no field; write its value",
    ("2 * 3", "count"): "2 * 3 names no field",
    ("1 / 0", "count"): "1 / 0 is no finite number",
}  # fmt: skip


@pytest.mark.parametrize(("text", "unit"), MISTAKES)
def test_a_mistake_is_refused_with_what_to_write(text: str, unit: str | None) -> None:
    with pytest.raises(ValueError, match=re.escape(MISTAKES[text, unit])):
        compiled(text, unit)


def test_an_age_needs_a_date_of_issue() -> None:
    with pytest.raises(ValueError, match="the book has none; write years_between"):
        compile_expression("age(born)", "years", FIELDS, time=None)


HOSTILE = {
    "power": ("loan ** 9 ** 9", "is a power"),
    "call": ("__import__('os').system('true')", "cannot stand"),
    "attribute": ("loan.__class__", "cannot stand"),
    "built-in": ("eval(loan)", "no function eval"),
    "keyword": ("max(loan, balance, key=abs)", "cannot stand"),
    "star": ("max(*loan, balance)", "cannot stand"),
    "text": ("'a' * loan", "cannot stand"),
    "truth": ("True + loan", "cannot stand"),
    "complex": ("1j * loan", "cannot stand"),
    "condition": ("loan if late else 2", "cannot stand"),
    "comparison": ("loan > 5", r"write bins\(loan, edge\)"),
    "lambda": ("(lambda: loan)()", "cannot stand"),
    "list": ("[loan for loan in (1, 2)]", "cannot stand"),
    "format": ("f'{loan}'", "cannot stand"),
    "index": ("loan[0]", "cannot stand"),
    "remainder": ("loan % 2", "cannot stand"),
    "walrus": ("(loan := 2)", "cannot stand"),
    "statement": ("import os", "import is a word of Python's"),
    "two": ("loan; balance", "cannot be read"),
    "nothing": ("", "cannot be read"),
    "null": ("loan\0", "cannot be read"),
    "infinity": ("1e999 * loan", "no finite number"),
    "great": ("9" * 400 + " * loan", "no finite number"),
    "brackets": ("(" * 400 + "loan" + ")" * 400, "cannot be read"),
    "signs": ("-" * 900 + "loan", "nested in more than 30 levels"),
    "sums": ("+".join(["loan"] * 100), "nested in more than 30 levels"),
    "calls": ("abs(" * 60 + "loan" + ")" * 60, "nested in more than 30 levels"),
    "length": (" + ".join(["loan"] * 10_000), "write at most 1,000"),
    "thousands": ("loan - 1,000", "cannot stand"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_expression_is_refused(name: str) -> None:
    text, sentence = HOSTILE[name]
    with pytest.raises(ValueError, match=sentence):
        compiled(text, "dollars")


# --- one value on every way ---------------------------------------------------------------------------------------

OPERAND = Operand("number", "count")
NUMBER_NAMES = ("loan", "balance", "income", "used")
NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1_000_000))
MONTHS = st.one_of(st.none(), st.dates(date(1920, 1, 1), date(2079, 12, 1)).map(lambda day: f"{day:%b-%Y}"))


def combined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Combine texts so that no difference of what is nearly equal makes a rounding large."""
    binary = st.tuples(parts, st.sampled_from("*/"), parts).map(lambda drawn: f"({drawn[0]} {drawn[1]} {drawn[2]})")
    calls = st.tuples(st.sampled_from(["min", "max"]), parts, parts).map("{0[0]}({0[1]}, {0[2]})".format)
    return st.one_of(binary, calls, parts.map("abs({})".format), parts.map("-({})".format))


NAMES = st.sampled_from(NUMBER_NAMES)
LEAVES = st.one_of(
    NAMES,
    st.tuples(NAMES, st.sampled_from("+-"), NAMES).map("({0[0]} {0[1]} {0[2]})".format),
    st.tuples(st.floats(0.25, 50), st.sampled_from("+-*"), NAMES).map("({0[0]!r} {0[1]} {0[2]})".format),
    st.tuples(NAMES, st.floats(0.25, 50)).map("({0[0]} / {0[1]!r})".format),
    NAMES.map("bins({}, 0.5, 1, 1000)".format),
    st.tuples(st.sampled_from([*NUMBER_FUNCTIONS]), NAMES).map("{0[0]}({0[1]})".format),
    NAMES.map("payment(100, {0} * 0, {0})".format),
    st.tuples(NAMES, NAMES, NAMES).map("payment({0[0]}, max({0[1]} / 1e7, 1e-3), {0[2]} / 1e4)".format),
)


@example(text="payment(used, used / 1e7, loan)", rows=[(None, None, None, 1e-119)])
@example(text="payment(100, 0.01, loan)", rows=[(36.0, None, None, None)])
@example(text="payment(loan, 0.01, 36)", rows=[(float(number), None, None, None) for number in range(1, 50)])
@example(text="(loan / 12.0)", rows=[(float(number), None, None, None) for number in range(1, 50)])
@example(text="min((loan / (-(used))), income)", rows=[(1.0, None, 2.0, 0.0)])  # by -0.0
@example(text="payment(100, loan, 36)", rows=[(0.01, None, None, None)])
@example(text="payment(loan, max(loan / 1e7, 1e-3), used / 1e4)", rows=[(1.0, None, None, 0.125)])
@given(
    text=st.recursive(LEAVES, combined, max_leaves=5),
    rows=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5),
)
def test_any_expression_gives_columns_arrays_and_floats_the_same_value(text: str, rows: list[Any]) -> None:
    hold_to_one_value(text, rows)


@pytest.mark.parametrize("name", NUMBER_FUNCTIONS)
def test_each_function_of_one_number_gives_the_same_value(name: str) -> None:
    numbers = (0.0, 0.1, 1.0, 2.0, 7.0, 1e-300, 1e300, -0.5, -3.0, None)
    hold_to_one_value(f"{name}(loan)", [(number, None, None, None) for number in numbers])


def hold_to_one_value(text: str, rows: list[Any]) -> None:
    """Compute an expression of columns, arrays and floats, which must agree to the bit."""
    fields = dict.fromkeys(NUMBER_NAMES, OPERAND)
    expression = compile_expression(text, None, fields, as_numbers=True)
    table = pl.DataFrame(rows, schema=dict.fromkeys(NUMBER_NAMES, pl.Float64), orient="row")
    computed = table.select(expression.columns(*map(pl.col, expression.of)).fill_nan(None).alias("value"))
    columns = computed["value"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    values = [table[name].fill_null(np.nan).to_numpy() for name in expression.of]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.broadcast_to(expression.arrays(*values), columns.shape), columns)
    for row, expected in enumerate(columns):
        sources = [float(value[row]) for value in values]
        if not np.isnan(sources).any():  # a missing source is never computed with
            np.testing.assert_array_equal(expression.of_row(*sources), expected)


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("rows", [1, 2, 3, 1_000])
def test_a_quotient_by_what_all_rows_share_is_exact(rows: int, engine: Literal["in-memory", "streaming"]) -> None:
    """Polars would multiply by the reciprocal, of a number as of a column that holds one number alone."""
    loans = np.linspace(1_000, 40_000, rows)
    table = pl.LazyFrame({"loan": loans}).with_columns(balance=pl.lit(7.0))
    for text, divisor in (("loan / 12", 12), ("loan / balance", 7)):
        expression = compile_expression(text, None, {"loan": OPERAND, "balance": OPERAND}, as_numbers=True)
        column = table.select(expression.columns(*map(pl.col, expression.of))).collect(engine=engine).to_series()
        np.testing.assert_array_equal(column.to_numpy(), loans / divisor)


CHAIN = {
    "months_between(first, issue_d)": "months",
    "age(first)": "years",
    "loan / yearly(income)": "percent",
    "payment(loan, rate, term) / income": "percent",
    "max(balance - loan, 0) / (loan + balance)": "share",
    "log1p(income)": "log dollars",
    "bins(used, 10, 50, 90)": "count",
    "100 - min(value6, 3)": "count",  # of a derived field
    "value7 * loan / value2": "dollars",
}


def book(derived: Mapping[str, str], **keys: Any) -> Contract:
    """Make a contract with `UNITS` as support and the derived fields `value0`, `value1` … as features."""
    shipped = load_contract()
    own = [shipped.by_name[name].model_dump() for name in ("id", "issue_d", "term")]
    sources = [
        {"name": name, "kind": "number", "role": "support", "unit": unit, "description": "A source."}
        for name, unit in UNITS.items()
        if name != "term"
    ]
    first = {"name": "first", "kind": "month", "role": "support", "description": "A month."}
    values = [
        {
            "name": f"value{number}",
            "kind": "number",
            "role": "feature",
            "unit": unit,
            "range": (-1e300, 1e300),
            "outside": "null",
            "derived": text,
            "description": "Computed.",
            **keys,
        }
        for number, (text, unit) in enumerate(derived.items())
    ]
    fields = [*own, *reversed(values), *sources, first]
    own_keys: dict[str, Any] = {"groups": {}, "layouts": (), "fields": fields, "bureau_score": None, "pricing": None}
    return Contract.model_validate({**shipped.model_dump(), **own_keys})


@cache
def chained() -> tuple[Contract, QuickReader]:
    contract = book(CHAIN)
    return contract, QuickReader(FeatureSpace(contract))


def without_term(rows: Sequence[Sequence[float]] | Floats) -> list[list[float]]:
    return [[float(value) for value in row][1:] for row in rows]


@given(data=st.data())
def test_columns_batches_and_single_rows_give_the_same_value(data: st.DataObject) -> None:
    contract, reader = chained()
    names = ["term", "loan", "balance", "income", "rate", "used", "issue_d", "first", "value1"]
    numbers = [NUMBERS] * 5
    rows = data.draw(st.lists(st.tuples(st.just(36.0), *numbers, MONTHS, MONTHS, NUMBERS), min_size=2, max_size=6))
    careful = without_term(check(names, rows, contract).values)
    many = reader.read(names, rows)
    assert many is not None
    for computed, expected in zip(without_term(many.values), careful, strict=True):
        np.testing.assert_array_equal(computed, expected)
    for row, expected in zip(rows, careful, strict=True):
        single = reader.read(names, [row])
        assert single is not None
        np.testing.assert_array_equal(without_term(single.values)[0], expected)


# --- books ----------------------------------------------------------------------------------------------------


def cleaned(folder: Path, contract: Contract, **columns: Sequence[Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clean a file of these columns, and return the loans and the rejected rows."""
    rows = len(next(iter(columns.values())))
    filled = {"id": [f"{row}" for row in range(rows)], "issue_d": ["Jan-2016"] * rows, "term": [36.0] * rows}
    pl.DataFrame({**filled, **columns}).write_parquet(folder / "loans.parquet")
    paths = {"cleaned": folder / "cleaned.parquet", "rejected": folder / "rejected.parquet"}
    clean_application_file(folder / "loans.parquet", contract, **paths)
    return pl.read_parquet(paths["cleaned"]), pl.read_parquet(paths["rejected"])


def cleaned_loans(folder: Path, contract: Contract) -> pl.DataFrame:
    """Clean `loans.parquet` of the folder by a contract, and return the loans."""
    path = folder / "cleaned.parquet"
    clean_loans([folder / "loans.parquet"], contract, cleaned=path, rejected=folder / "rejected.parquet")
    return pl.read_parquet(path)


@pytest.mark.parametrize("name", ["income", "wage"])
def test_a_payment_takes_the_same_share_of_a_monthly_and_of_a_yearly_income(name: str, tmp_path: Path) -> None:
    contract = book({f"payment(loan, rate, term) / {name}": "percent"})
    income = {"income": 60_000.0, "wage": 5_000.0}[name]
    loans, _ = cleaned(tmp_path, contract, loan=[10_000.0], rate=[12.0], **{name: [income]})
    assert loans["value0"].item() == pytest.approx(100 * PAYMENT / 5_000, rel=1e-6)


def test_a_derived_field_follows_from_another_that_the_file_gives_or_not(tmp_path: Path) -> None:
    contract = book({"2 * value1": "dollars", "loan - balance": "dollars"})
    loans, _ = cleaned(tmp_path, contract, loan=[5.0, 5.0, None], balance=[3.0, 3.0, 3.0], value1=[None, 7.0, None])
    assert loans.select("value0", "value1").rows() == [(4.0, 2.0), (14.0, 7.0), (None, None)]
    assert contract.sources == {"value0": {"value1", "loan", "balance"}, "value1": {"loan", "balance"}}


def test_a_derived_field_follows_from_values_as_they_are_kept(tmp_path: Path) -> None:
    contract = book({"2 * loan": "dollars", "3 * value0": "dollars"}, range=(0, 50), outside="clip")
    fields = [
        field.model_copy(update={"range": (0, 100), "outside": "null"}) if field.name == "loan" else field
        for field in contract.fields
    ]
    contract = contract.model_copy(update={"fields": tuple(fields)})
    contract = Contract.model_validate(contract.model_dump())
    loans, _ = cleaned(tmp_path, contract, loan=[5.0, 20.0, 101.0])
    expected = [(10.0, 30.0), (40.0, 50.0), (None, None)]
    assert loans.select("value0", "value1").rows() == expected
    reader = QuickReader(FeatureSpace(contract))
    names, rows = ("term", "loan"), [(36.0, 5.0), (36.0, 20.0), (36.0, 101.0)]
    many, singles = reader.read(names, rows), [reader.read(names, [row]) for row in rows]
    assert many is not None
    position = [contract.feature_names.index(name) for name in ("value0", "value1")]
    for values, single, row in zip(many.values, singles, expected, strict=True):
        assert single is not None
        computed = pytest.approx([np.nan if value is None else value for value in row], nan_ok=True)
        assert [values[index] for index in position] == computed
        assert [single.values[0][index] for index in position] == computed


def test_a_required_derived_field_must_result(tmp_path: Path) -> None:
    contract = book({"loan / balance": "percent"}, required=True, outside="reject")
    loans, rejected = cleaned(tmp_path, contract, loan=[5.0, 5.0, None], balance=[4.0, None, 1.0])
    assert loans["value0"].to_list() == [125.0]
    assert rejected["problem"].to_list() == ["value0: missing"] * 2
    with pytest.raises(BadInput, match="lacks the column balance; add it"):
        cleaned(tmp_path, contract, loan=[5.0])
    loans, _ = cleaned(tmp_path, contract, value0=[7.0])
    assert loans["value0"].to_list() == [7.0]


def test_an_application_without_what_a_required_field_is_derived_from_is_refused() -> None:
    contract = book({"loan / balance": "percent"}, required=True, outside="reject")
    reader = QuickReader(FeatureSpace(contract))
    for names, row, sentence in (
        (("term", "loan"), (36.0, 5.0), "Row 0: balance is missing"),
        (("term", "loan", "balance"), (36.0, 5.0, None), "Row 0: value0 is missing"),
    ):
        assert reader.read(names, [row]) is None
        assert reader.read(names, [row, row]) is None
        with pytest.raises(BadInput, match=sentence):
            clean_applications(pl.DataFrame([row], schema=dict.fromkeys(names, pl.Float64), orient="row"), contract)
    read = reader.read(("term", "value0"), [(36.0, 50.0)])
    assert read is not None


REFUSED_BOOKS: dict[str, tuple[Mapping[str, str], str]] = {
    "zero": ({"loan / (1 - 1)": "dollars"}, r"field value0: derived: loan / \(1 - 1\) divides by zero"),
    "circle": (
        {"value1 + loan": "dollars", "value0 + loan": "dollars"},
        "value[01] and value[01] would be derived from themselves",
    ),
    "itself": ({"value0 + loan": "dollars"}, "field value0: derived: value0 would be derived from itself"),
    "units": ({"loan / income": "percent"}, "field value0: derived: loan / income measures months, and the unit"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED_BOOKS)
def test_a_book_whose_derivations_do_not_hold_is_refused(name: str) -> None:
    derived, sentence = REFUSED_BOOKS[name]
    with pytest.raises(ValueError, match=sentence):
        book(derived)


def test_no_feature_is_derived_from_what_is_protected() -> None:
    contract = book({"2 * value1": "dollars", "loan - balance": "dollars"})
    data = contract.model_dump()
    next(field for field in data["fields"] if field["name"] == "loan")["role"] = "protected"
    with pytest.raises(ValueError, match=r"field value[01]: a feature cannot be derived from loan, which is protected"):
        Contract.model_validate(data)


@pytest.mark.parametrize("role", ["protected", "cohort"])
def test_no_field_of_applications_is_derived_from_what_they_lack(role: str) -> None:
    data = book({"2 * loan": "dollars"}).model_dump() | {"time": "none", "outcomes": "final", "snapshot": None}
    data["outcome"] |= {"grace_months": 0, "unresolved": (), "known": None}
    data["fields"] = [{**field, "role": "support"} if field["role"] == "time" else field for field in data["fields"]]
    by_name = {field["name"]: field for field in data["fields"]}
    by_name["loan"]["role"], by_name["value0"]["role"] = role, "segment"
    with pytest.raises(ValueError, match="field value0: a segment cannot be derived from loan, which"):
        Contract.model_validate(data)


# --- the recipe of docs/recipes.md ----------------------------------------------------------------------------


def recipe() -> str:
    """Return the recipe "Add a derived field"."""
    return RECIPES.read_text(encoding="utf-8").split("## Add a derived field\n", 1)[1].split("\n## ", 1)[0]


def test_a_field_added_by_the_recipe_cleans_files_and_scores_single_applications(tmp_path: Path) -> None:
    (added,) = re.findall(r"```yaml\n(.*?)```", recipe(), re.DOTALL)
    path = tmp_path / "contract.yaml"
    path.write_text((CONF / "contract.yaml").read_text(encoding="utf-8").rstrip() + "\n" + added, encoding="utf-8")
    extended = load_contract(path)
    (field,) = [field for field in extended.fields if field.name not in load_contract().by_name]
    loans = make_loans(200, seed=4)
    loans.write_parquet(tmp_path / "loans.parquet")
    from_file = cleaned_loans(tmp_path, extended)[field.name].to_list()
    expected = (loans["total_bc_limit"] - loans["revol_bal"]) / loans["annual_inc"] * 100
    assert from_file == pytest.approx([max(value, 0) for value in expected], rel=1e-12)
    sources = ["loan_amnt", "term", "int_rate", "annual_inc", "dti", *extended.expressions[field.name].of]
    names = list(dict.fromkeys(sources))
    term = pl.col("term").str.extract(r"(\d+)").cast(pl.Float64)
    rows = loans.with_columns(term, pl.col("dti").fill_null(0)).select(names).rows()
    reader, position = QuickReader(FeatureSpace(extended)), extended.feature_names.index(field.name)
    for row, value in zip(rows, from_file, strict=True):
        read = reader.read(names, [row])
        assert read is not None
        assert np.asarray(read.values)[0, position] == pytest.approx(value, rel=1e-12)


def test_the_recipe_names_every_function() -> None:
    assert not [name for name in FUNCTIONS if f"`{name}(" not in recipe()]
