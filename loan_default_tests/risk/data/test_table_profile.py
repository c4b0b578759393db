"""Columns of texts are profiled: numbers as lenders write them, dates of many forms, levels, gaps, and single AUCs."""

from __future__ import annotations

import polars as pl
import pytest

from loan_default.risk.data.table_profile import NumberStyle, labels, number_style, profile_table, to_numbers


def table(**columns: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


@pytest.mark.parametrize(
    ("values", "style", "numbers"),
    [
        (["$60,000.00 ", "$1,200"], NumberStyle(".", ",", ("$",)), [60000.0, 1200.0]),
        (["12.345,67", "1,5"], NumberStyle(",", "."), [12345.67, 1.5]),
        (["(1,200)", "10"], NumberStyle(".", ",", (), True), [-1200.0, 10.0]),
        (["12.5%", " 3 "], NumberStyle(), [12.5, 3.0]),
        (["100 EUR", "2 EUR"], NumberStyle(".", None, ("EUR",)), [100.0, 2.0]),
        (["R$ 1.234,56", "-R$ 2,50"], NumberStyle(",", ".", ("R$",)), [1234.56, -2.5]),
        (["1 234,50 kr", "12,5"], NumberStyle(",", " ", ("kr",)), [1234.5, 12.5]),
        (["₹ 1,500", "$ 2"], NumberStyle(".", ",", ("$", "₹")), [1500.0, 2.0]),
        (["1’234.50", "1'000"], NumberStyle(".", "'"), [1234.5, 1000.0]),
        (["LN0001", "A1"], NumberStyle(), [None, None]),
        (["1e3", "-.5"], NumberStyle(), [1000.0, -0.5]),
    ],
)
def test_numbers_are_read_as_they_are_written(
    values: list[str | None], style: NumberStyle, numbers: list[float | None]
) -> None:
    frame = table(x=values)
    assert number_style(frame) == style
    assert to_numbers(frame["x"], style).to_list() == numbers


def test_thousands_are_those_of_all_columns() -> None:
    """A rate, which has none, fits each sign alike, and the first was taken: no amount was then a number."""
    frame = table(rate=["13,76%", "8,87%"], amount=["7 800,00", "10 500,00"], month=["22.06.2016", "11.04.2017"])
    assert number_style(frame) == NumberStyle(",", " ")


@pytest.mark.parametrize(
    ("values", "formats"),
    [
        (["Dec-2015", "Jan-2016"], ("%b-%Y",)),
        (["2015-12", "2016-01"], ("%Y-%m",)),
        (["201512", "201601"], ("%Y%m",)),
        (["31.12.2015", "1.1.2016"], ("%d.%m.%Y",)),
        (["03/04/2015", "05/06/2016"], ("%d/%m/%Y", "%m/%d/%Y")),
        (["03/31/2015", "05/06/2016"], ("%m/%d/%Y",)),
        (["2015-12-31T10:00:00", "2016-01-01 11:12:13"], ("%Y-%m-%d",)),
        (["2015-12-31T10:00:00.000Z", "2016-01-01 11:12:13 UTC", "2016-01-01T11:12+03:00"], ("%Y-%m-%d",)),
        (["Dec-15", "Jan-16"], ("%b-%y",)),
        (["31-Mar-2021", "1-APR-2021"], ("%d-%b-%Y",)),
        (["31 March 2021", "1 May 2021"], ("%d %B %Y",)),
        (["Mar 31, 2021", "May 1, 2021"], ("%b %d, %Y",)),
        (["31/03/21 10:00:00", "01/04/21 9:05:00"], ("%d/%m/%y %H:%M:%S",)),
        (["3/31/2021 12:00:00 AM", "4/1/2021 1:00:00 PM"], ("%m/%d/%Y %I:%M:%S %p",)),
        (["2021/3/31", "2021/04/01"], ("%Y/%m/%d",)),
        (["03/2021", "4/2021"], ("%m/%Y",)),
        (["March 2021", "May 2021"], ("%B %Y",)),
        (["12.1234", "11.9876"], ()),
        (["2015", "2016"], ()),
    ],
)
def test_formats_of_months_are_found_and_two_where_they_cannot_be_told_apart(
    values: list[str | None], formats: tuple[str, ...]
) -> None:
    (column,) = profile_table(table(x=values)).columns
    assert column.formats == formats


def test_gaps_levels_and_ranges_are_counted() -> None:
    profile = profile_table(
        table(
            id=["a1", "a2", "a3", "a4"],
            n=["1", " 2 ", "NA", "-"],
            level=["x", "x", "y", None],
            rate=["5%", "7.5%", "1%", ""],
            term=[" 36 months", " 60 months", "1 month", None],
        )
    )
    by_name = profile.by_name
    assert by_name["id"].is_unique
    assert (by_name["n"].missing, by_name["n"].numbers, by_name["n"].integral) == (2, (1.0, 2.0), True)
    assert by_name["level"].levels == ("x", "y")
    assert by_name["level"].missing_share == 0.25
    assert (by_name["term"].suffix, by_name["term"].numbers) == ("months", (1.0, 60.0))
    assert (by_name["rate"].percent, by_name["rate"].integral) == (True, False)


def test_a_column_that_tells_the_outcome_has_an_auc_of_one_whichever_way_it_tells() -> None:
    status = [*["bad"] * 20, *["good"] * 60]
    outcome = labels(pl.Series(status), ["bad"], ["good"])
    profile = profile_table(
        table(
            rising=[str(number) for number in range(80)],
            falling=[str(-number) for number in range(80)],
            gap=[*[None] * 20, *["1"] * 60],
            word=[*["late"] * 20, *["early"] * 60],
            nothing=["1", "2"] * 40,
        ),
        outcome,
    )
    areas = {column.name: column.auc for column in profile.columns}
    assert areas == {"rising": 1.0, "falling": 1.0, "gap": 1.0, "word": 1.0, "nothing": 0.5}
    assert labels(pl.Series(["open", None]), ["bad"], ["good"]).to_list() == [None, None]


def test_a_few_words_beside_many_numbers_are_named_and_padded_figures_are_no_numbers() -> None:
    count = 40
    profile = profile_table(
        table(
            income=[*map(str, range(1_000, 1_000 + count)), *["k.A."] * 3, "on request"],
            level=[*["1", "2"] * 20, *["x"] * 4],
            postal=[f"{number:05d}" for number in range(9_980, 9_980 + count + 4)],
            amount=[str(number) for number in range(9_980, 9_980 + count + 4)],
        )
    )
    income, level, postal, amount = profile.columns
    assert (income.words, income.numbers) == (("k.A.", "on request"), (1_000.0, 1_039.0))
    assert (level.numbers, level.words) == (None, ())
    assert (postal.numbers, amount.numbers) == (None, (9_980.0, 10_023.0))


def test_minus_one_stands_for_no_value_beside_many_numbers_and_not_in_a_list_of_few() -> None:
    """A bureau's score of -1 is of somebody without a history; a status of -1 is one of its codes."""
    score, status, change = profile_table(
        table(
            score=["-1", *map(str, range(600, 629))],
            status=["-1", "0", "1"] * 10,
            change=[str(number) for number in range(-15, 15)],
        )
    ).columns
    assert (score.codes, score.numbers) == (("-1",), (600.0, 628.0))
    assert (status.codes, change.codes) == ((), ())
