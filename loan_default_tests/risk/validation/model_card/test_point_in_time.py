"""What the card says of a back-test, and that it says nothing where there was none."""

from datetime import date
from types import SimpleNamespace
from typing import Any, cast

from loan_default.risk.validation.backtest import BackTestPoint, TermFigures
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.point_in_time import backtest


def paragraphs(record: dict[str, Any] | None) -> list[str]:
    return [*backtest(cast(ModelCardInputs, SimpleNamespace(backtest=record)))]


def test_a_back_test_is_tabulated_with_why_figures_are_absent() -> None:
    month = date(2013, 1, 1)
    points = [
        BackTestPoint(month, "matured", 9, 0, 150, 0.14, reason="9 loans had matured, of which 2 defaulted: too few."),
        BackTestPoint(
            month,
            "open",
            300,
            200,
            150,
            0.14,
            0.66,
            0.12,
            0.15,
            0.5,
            0.08,
            9e3,
            0.1,
            terms=(TermFigures(36, 100, 0.1, 0.11, 0.5, 7e3, 8e3),),
        ),
    ]
    record = {"tested_months": 12, "points": [point.to_dict() for point in points]}
    first, table, levels, _, terms, last = paragraphs(record)
    assert levels == "On average PDs of open were less than a point off at every month."
    assert "| 2013-01 | open |  | 36 | 100 | 10.0% | 11.0% | 50.0% | 7,000 | 8,000 |" in terms
    assert "tested on the loans of the 12 months after each" in first
    assert (
        "| 2013-01 | open |  | 300 | 150 | 0.6600 | 0.1200 | 15.0% | 14.0% | 50.0% | 8.0% | 10.0% |  | 9,000 |" in table
    )
    assert last.endswith("2013-01 matured: 9 loans had matured, of which 2 defaulted: too few.")


def test_without_a_back_test_nothing_is_said() -> None:
    assert paragraphs(None) == []
