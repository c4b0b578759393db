"""Units: what each text measures, and how large it is in base units."""

from fractions import Fraction

import pytest

from loan_default.risk.units import unit_of

SIZES = {
    "dollars": ("dollars", Fraction(1)),
    "Thousand dollars": ("dollars", Fraction(1_000)),
    "millions of euros": ("euros", Fraction(1_000_000)),
    "dollars a year": ("dollars a month", Fraction(1, 12)),
    "dollars per month": ("dollars a month", Fraction(1)),
    "dollars/quarter": ("dollars a month", Fraction(1, 3)),
    "percent": ("a share", Fraction(1, 100)),
    "percent of income": ("a share", Fraction(1, 100)),
    "percent of a year's income": ("a share", Fraction(1, 100)),
    "%": ("a share", Fraction(1, 100)),
    "fraction": ("a share", Fraction(1)),
    "basis points": ("a share", Fraction(1, 10_000)),
    "percent a year": ("a share a month", Fraction(1, 1200)),
    "months": ("months", Fraction(1)),
    "months since the last inquiry": ("months", Fraction(1)),
    "years": ("months", Fraction(12)),
    "days": ("months", Fraction(48, 1461)),
    "count": ("count", Fraction(1)),
    "count of accounts": ("count", Fraction(1)),
    "count a year": ("count a month", Fraction(1, 12)),
    "FICO  points": ("fico points", Fraction(1)),
    "dollars a FICO point": ("dollars a fico point", Fraction(1)),
}


@pytest.mark.parametrize("text", SIZES)
def test_what_a_unit_measures_and_its_size(text: str) -> None:
    unit = unit_of(text)
    assert (unit.measures, unit.size) == SIZES[text]


def test_a_year_is_as_long_in_days_as_in_months() -> None:
    assert unit_of("years").size == 4 * unit_of("quarters").size == unit_of("days").size * Fraction(1461, 4)


def test_products_and_ratios_of_units() -> None:
    dollars, income, rate = map(unit_of, ("dollars", "dollars a year", "percent a year"))
    assert dollars / income == unit_of("years")
    assert income * unit_of("months") == unit_of("dollars") * unit_of("months") / unit_of("years")
    assert (dollars * rate).measures == "dollars a month"
    assert (dollars * dollars).measures == "dollars × dollars"
    assert (dollars / dollars) == unit_of("share")
    assert (income.power("months"), income.power("dollars"), income.power("euros")) == (-1, 1, 0)
