"""Writes what a version's cut-offs earn: by its PDs and by value, what was expected of it and what came.

Tested in `risk/value/test_strategy_report.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loan_default.risk.markdown import markdown_table
from loan_default.risk.text import percent
from loan_default.risk.validation.backtest import deciles_of, rules_of
from loan_default.risk.validation.model_card.inputs import ModelCardInputs

_RULES = {"pd": "lowest PD", "npv": "highest net present value of a unit lent"}
_THOUSAND = 1_000


def value(inputs: ModelCardInputs) -> Iterator[str]:
    """Say what approved loans of the test window were expected to earn and earned, by either rule."""
    report = inputs.strategy
    if report is None:
        return
    if "problem" in report:
        yield report["problem"]
        return
    yield from _present(report)
    yield from _past((inputs.backtest or {"points": ()})["points"])


def _present(report: Mapping[str, Any]) -> Iterator[str]:
    """Say what the loans of the test window earned."""
    costs, unit = report["policy"], report["unit"]
    yield (
        f"Values are in {unit}, by the policy's costs: {percent(costs['funding_rate'])} a year for funding, "
        f"{percent(costs['servicing_cost'])} a year of what is owed for servicing, and "
        f"{percent(costs['origination_cost'])} of the amount at the grant. Realised values rest on "
        f"{report['loans']:,} loans of the test window that have ended; of applicants who were declined nobody knows "
        "what they would have paid. A loan's totals do not say what was paid in between: level payments are taken, and "
        "the rest for its last month."
    )
    yield "As many loans as it approves, by either rule (sums in thousands):"
    yield markdown_table(
        ["Approved by", "Loans", "Lent", "Default rate", "Expected loss", "Lost", "Expected NPV", "NPV", "Return"],
        [_line(_RULES[rule], each) for rule, each in report["equal_number"].items()],
    )
    deciles = report["deciles"]
    inside = sum(group["is_inside"] for group in deciles)
    yield (
        f"By tenths of what was expected, what was realised lies in {inside} of {len(deciles)} in the interval around "
        "that in which it is 19 times of 20, as loans and months differ. The return is the net present value a year, "
        f"over the lender's own capital ({percent(costs['capital_share'])} of what is owed)."
    )
    yield markdown_table(
        ["Term", "Defaults", "Lost of what was owed (LGD)", "Owed of what was lent (EAD)"],
        [
            (f"{each['term']} months", each["defaults"], _span(each["loss"]), _span(each["exposure"]))
            for each in report["losses"]
        ],
    )


def _past(points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say the same of models that were developed as of past months, where there was a back-test."""
    if past := [*rules_of(points)]:
        yield (
            "The same as of past months, of models that were developed on what was known then, with what was expected "
            "by that, on the loans of the months after each (`present`: what the policy's cut-offs approve):"
        )
        yield markdown_table(
            ["As of", "Label", "Approved by", "Loans", "Lent", "Default rate", "Expected loss", "Lost", "Expected NPV",
             "NPV", "Return"],
            [(point["month"], point["label"], *_line(_RULES.get(rule, rule), each)) for point, rule, each in past],
        )  # fmt: skip
    if tenths := [*deciles_of(points)]:
        yield (
            "By tenths of what those models expected of each loan: in how many what was realised lies in the interval "
            "around that in which it is 19 times of 20, as loans and months differ; that the level of PDs may be wrong "
            "is not counted:"
        )
        yield markdown_table(
            ["As of", "Label", "Inside", "Expected of a loan of the lowest tenth", "Realised",
             "Expected of one of the highest", "Realised"],
            [(point["month"], point["label"], *_ends(groups)) for point, groups in tenths],
        )  # fmt: skip


def _line(name: str, each: Mapping[str, Any]) -> tuple[Any, ...]:
    sums = (f"{each[key] / _THOUSAND:z,.0f}" for key in ("expected_loss", "loss", "expected_npv", "npv"))
    volume, rate, realised = f"{each['volume'] / _THOUSAND:,.0f}", each["default_rate"], each["realised_return"]
    return (name, each["loans"], volume, percent(rate), *sums, percent(realised))


def _ends(groups: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Write how many tenths are as expected, and what was expected and realised of a loan of the outermost two."""
    values = [f"{groups[end][name]:z,.0f}" for end in (0, -1) for name in ("expected", "realised")]
    return (f"{sum(group['is_inside'] for group in groups)} of {len(groups)}", *values)


def _span(figure: Mapping[str, float]) -> str:
    return f"{percent(figure['value'])} ({percent(figure['low'])} to {percent(figure['high'])})"
