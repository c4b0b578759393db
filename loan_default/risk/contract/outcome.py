"""Describes how and when loans end: outcome, term, the day on which a file was taken, and limits for a sound file.

Telling the outcomes of a file belongs in `data.outcomes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from loan_default.risk.contract.months import CENTURY, Formats, allowed_month, format_problem
from loan_default.risk.contract.spelling import alike
from loan_default.risk.section import Problem, Section

Months = Annotated[int, Field(ge=1, le=1200)]


class Outcome(Section):
    """Lists the texts of the status column that mean default (1), repayment (0) or neither yet (null).

    Attributes:
        column: of the loan file, with the status.
        definition: what a default is in the lender's operation, and why its horizon is what it is.
        grace_months: after its term, in which a default is still booked; then the outcome is known at last.
        defaulted: statuses that mean default.
        repaid: statuses that mean repayment.
        unresolved: statuses that mean neither yet.
    """

    column: str = Field(examples=["loan_status"])
    definition: str | None = None
    grace_months: int = Field(default=0, ge=0, le=60)
    defaulted: tuple[str, ...] = Field(examples=["[Charged Off]"])
    repaid: tuple[str, ...] = Field(examples=["[Fully Paid]"])
    unresolved: tuple[str, ...] = ()

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

    column: str
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
