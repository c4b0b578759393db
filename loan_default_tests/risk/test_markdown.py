"""Markdown tables: figures, gaps and texts as people read them, and never a broken table."""

import pytest

from loan_default.risk.markdown import markdown_table


def test_table_is_github_markdown_with_figures_to_the_right() -> None:
    assert markdown_table(["Window", "Loans", "Note"], [("train", 1234567, "first"), ("test", 10, "last")]) == (
        "| Window | Loans | Note |\n| --- | ---: | --- |\n| train | 1,234,567 | first |\n| test | 10 | last |"
    )


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (0, "0"),
        (-1234, "-1,234"),
        (0.7, "0.7000"),
        (-9.87654, "-9.8765"),
        (-0.00001, "0.0000"),
        (12345.678, "12,345.7"),
        (None, "–"),
        (float("nan"), "–"),
        (True, "yes"),
        (False, "no"),
        ("a|b", r"a\|b"),
        ("two\nlines ", "two lines"),
    ],
)
def test_each_kind_of_value_has_one_form(value: object, cell: str) -> None:
    assert markdown_table(["x"], [[value]]).splitlines()[-1] == f"| {cell} |"


def test_first_column_and_texts_stay_to_the_left_and_gaps_do_not_count() -> None:
    rules = markdown_table(["a", "b", "c", "d"], [(1, None, "x", None), (2, "+3.1%", 4, None)]).splitlines()[1]
    assert rules == "| --- | ---: | --- | --- |"


def test_table_without_rows_is_its_heading() -> None:
    assert markdown_table(["a|z", "b"], []) == "| a\\|z | b |\n| --- | --- |"


def test_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"row of 1 values \(x\) in a table of 2 columns"):
        markdown_table(["a", "b"], [["x"]])
