"""Describes how and when loans end: outcome, term, the day on which a file was taken, and limits for a sound file.

Telling the outcomes of a file belongs in `data.outcomes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from loan_default.risk.contract.columns import AMOUNT, LAST_PAYMENT
from loan_default.risk.contract.field import LoanField
from loan_default.risk.contract.months import CENTURY, Formats, allowed_month, format_problem
from loan_default.risk.contract.spelling import alike
from loan_default.risk.section import Column, Problem, Section

Months = Annotated[int, Field(ge=1, le=1200)]
_AMOUNTS = (0.0, 1e15)  # beyond, an amount counts as missing


class OutcomeKnown(Section):
    """Says in which month an outcome was known: of a loan that is repaid, that of its last payment.

    Attributes:
        last_payment: column of the loan file with the month of the last payment; empty where nothing was paid. Without
            it outcome files, which tell month by month how loans stand, say it of the loans that they name.
        format: of its months, as of a field.
        century: with `%y`, as of a field.
        months_after_default: from the last payment, or from the issue where nothing was paid, until a default is known.
    """

    last_payment: Column | None = None
    format: Formats = Field(default=(), examples=['"%Y-%m"'])
    century: int = Field(default=CENTURY, ge=1900, le=2000)
    months_after_default: int = Field(default=5, ge=0, le=60)

    def problems(self) -> Iterator[Problem]:
        """Yield formats that read no month, or nothing at all."""
        if problem := format_problem(self.format, self.century):
            yield Problem(problem, ("format",))
        elif self.format and self.last_payment is None:
            yield Problem("format reads the column last_payment, and none is named; delete it", ("format",))

    @property
    def fields(self) -> tuple[LoanField, ...]:
        """Return the field of the last payment, which only loans with an outcome have, if the file has its column."""
        if self.last_payment is None:
            return ()
        return (
            LoanField(
                name=LAST_PAYMENT,
                column=self.last_payment,
                kind="month",
                role="support",
                description="The month of the last payment.",
                format=self.format,
                century=self.century,
            ),
        )


class Amounts(Section):
    """Names the columns of the loan file with what was lent, paid and recovered, in the money of the book."""

    funded: Column | None = Field(default=None, description="What was paid out to the borrower.")
    paid: Column | None = Field(default=None, description="All payments, among them what was recovered.")
    principal: Column | None = Field(default=None, description="Paid of the principal, without what was recovered.")
    interest: Column | None = Field(default=None, description="Paid of the interest.")
    fees: Column | None = Field(default=None, description="Paid as fees, for late payments above all.")
    recovered: Column | None = Field(default=None, description="Recovered after the default, before the cost of it.")
    cost: Column | None = Field(default=None, description="Cost of collecting what was recovered.")

    def problems(self) -> Iterator[Problem]:
        """Yield columns that two amounts name."""
        name_of: dict[str, str] = {}
        for name, column in self.columns.items():
            if (first := name_of.setdefault(column, name)) != name:
                yield Problem(f"{first} and {name} are both {column}; delete one", (name,))

    @cached_property
    def columns(self) -> dict[str, str]:
        """Map each amount that is named to its column."""
        return {name: column for name in type(self).model_fields if (column := getattr(self, name)) is not None}

    @property
    def fields(self) -> tuple[LoanField, ...]:
        """Return the fields of the amounts, which only loans with an outcome have."""
        return tuple(
            LoanField(
                name=AMOUNT + name,
                column=column,
                kind="number",
                role="support",
                description=str(type(self).model_fields[name].description),
                range=_AMOUNTS,
                outside="null",
            )
            for name, column in self.columns.items()
        )


class Outcome(Section):
    """Lists the texts of the status column that mean default (1), repayment (0) or neither yet (null).

    Attributes:
        column: of the loan file, with the status.
        definition: what a default is in the lender's operation, and why its horizon is what it is.
        grace_months: after its term, in which a default is still booked; then the outcome is known at last.
        defaulted: statuses that mean default.
        repaid: statuses that mean repayment.
        unresolved: statuses that mean neither yet.
        known: in which month the outcome was known; by default when the loan matures.
        amounts: columns of what was lent, paid and recovered.
    """

    column: Column = Field(examples=["loan_status"])
    definition: str | None = None
    grace_months: int = Field(default=0, ge=0, le=60)
    defaulted: tuple[str, ...] = Field(examples=["[Charged Off]"])
    repaid: tuple[str, ...] = Field(examples=["[Fully Paid]"])
    unresolved: tuple[str, ...] = ()
    known: OutcomeKnown | None = Field(default=None, examples=["{last_payment: last_pymnt_d}"])
    amounts: Amounts = Field(default=Amounts(), examples=["{funded: funded_amnt, paid: total_pymnt}"])

    def problems(self) -> Iterator[Problem]:
        """Yield what keeps a status from being told."""
        texts = [*self.defaulted, *self.repaid, *self.unresolved]
        for text in sorted({text for text in texts if texts.count(text) > 1}):
            key = "unresolved" if text in self.unresolved else "repaid"
            yield Problem(f"status {text} is listed twice; delete one", (key,))
        for key in ("defaulted", "repaid"):
            if not getattr(self, key):
                yield Problem(f"{key} lists no status; write those of the column that mean it", (key,))
        for text in (text for text in texts if text != text.strip()):
            yield Problem(f"status '{text}' begins or ends with a blank, and no value read does; cut it off")
        if "" in texts:
            yield Problem("an empty status is listed, and a row without one is rejected; write what the file says")
        for text, other in alike(self.label_of):
            yield Problem(f"statuses {text} and {other} are one, as a writer may write either; delete one")

    @cached_property
    def fields(self) -> tuple[LoanField, ...]:
        """Return the fields of the last payment and the amounts: written afterwards, and never seen by a model."""
        return (*(self.known.fields if self.known else ()), *self.amounts.fields)

    @property
    def is_told_by_files(self) -> bool:
        """Tell whether outcome files alone say since when outcomes were known."""
        return self.known is not None and self.known.last_payment is None

    @cached_property
    def label_of(self) -> dict[str, int | None]:
        """Map each status text to 1, 0 or None."""
        return {
            **dict.fromkeys(self.defaulted, 1),
            **dict.fromkeys(self.repaid, 0),
            **dict.fromkeys(self.unresolved),
        }


class Snapshot(Section):
    """Names the column in which a file says when it was taken.

    Attributes:
        column: of the loan file.
        format: of its months, as of a field.
        century: with `%y`, as of a field.
    """

    column: Column
    format: Formats = Field(default=(), examples=['"%Y-%m"'])
    century: int = Field(default=CENTURY, ge=1900, le=2000)

    @property
    def allowed(self) -> str:
        """Say what a value may be: for error messages."""
        return allowed_month(self.format)

    def problems(self) -> Iterator[Problem]:
        """Yield formats that read no month."""
        if problem := format_problem(self.format, self.century):
            yield Problem(problem, ("format",))


class ProductTerm(Section):
    """Gives the term by product.

    Attributes:
        by: the field whose levels are the products.
        months: the term of each level.
    """

    by: str
    months: Mapping[str, Months] = Field(min_length=1, examples=["{A: 36, B: 60}"])


class Horizon(Section):
    """Ends the watch over a loan that has no last payment: its outcome counts after so many months.

    Attributes:
        horizon: months from the month of issue.
    """

    horizon: Months


def _form_of_term(value: Any) -> str:
    if isinstance(value, ProductTerm) or (isinstance(value, dict) and {"by", "months"} & value.keys()):
        return "by product"
    return "horizon" if isinstance(value, dict | Horizon) else "months"


Term = Annotated[
    Annotated[Months, Tag("months")] | Annotated[ProductTerm, Tag("by product")] | Annotated[Horizon, Tag("horizon")],
    Discriminator(_form_of_term),
]


class Expectation(Section):
    """Limits within which a loan file is sound.

    Attributes:
        rejected_share_at_most: of its rows.
        default_rate_between: least and most, of the loans whose outcome is known.
    """

    rejected_share_at_most: float = Field(ge=0, le=1)
    default_rate_between: tuple[float, float] = Field(examples=["[0.01, 0.60]"])

    def problems(self) -> Iterator[Problem]:
        """Yield a band that no rate lies in."""
        least, most = self.default_rate_between
        if not 0 <= least < most <= 1:
            written = f"[{least:.10g}, {most:.10g}]"
            remedy = f"write [{most:.10g}, {least:.10g}]" if least > most else "write two shares of 0 to 1"
            yield Problem(f"default_rate_between {written} is no band; {remedy}", ("default_rate_between",))
