"""Describes the sentences by which a field is a reason of a decision.

Which of them a decision is given belongs in `model.reason_codes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter
from typing import Literal, get_args

from loan_default.risk.section import OneLine, Problem, Section

Side = Literal["high", "low", "missing", "level"]  # of a value, against the typical one


class Reasons(Section):
    """The sentences by which a field is a reason, one for each side of its value; `{value}` stands for the value.

    Attributes:
        high: where the value lies above that of the typical borrower.
        low: where it lies below.
        missing: where there is none.
        level: of a nominal field, whichever its level is.
    """

    high: OneLine | None = None
    low: OneLine | None = None
    missing: OneLine | None = None
    level: OneLine | None = None

    def problems(self) -> Iterator[Problem]:
        """Yield sentences that cannot be told."""
        for side in get_args(Side):
            sentence = getattr(self, side)
            if sentence is not None and (problem := sentence_problem(sentence, {"value"})):
                yield Problem(f"reasons.{side} {problem}", (side,))
        if self.missing and "{value}" in self.missing:
            yield Problem("reasons.missing holds {value}, and there is none; delete it", ("missing",))

    @property
    def sides(self) -> frozenset[Side]:
        """Return the sides that have a sentence."""
        return frozenset(side for side in get_args(Side) if getattr(self, side) is not None)


def sentence_problem(sentence: str, allowed: set[str]) -> str | None:
    """Say why a sentence cannot be told with what is `allowed` in braces."""
    try:
        strange = placeholders(sentence) - allowed
    except ValueError as error:
        return f"'{sentence}' cannot be told ({error}); write {{value}} for the value, and no other brace"
    if not strange:
        return None
    return f"'{sentence}' holds {{{min(strange)}}}, which stands for nothing; write {{value}}, or delete the braces"


def placeholders(sentence: str) -> set[str]:
    """Return what stands in braces in a sentence.

    Raises:
        ValueError: it is empty, or its braces are not matched.
    """
    if not sentence.strip():
        raise ValueError("a sentence is empty")
    names = ((name, spec, conversion) for _, name, spec, conversion in Formatter().parse(sentence) if name is not None)
    marks = (
        (name, f"!{conversion}" if conversion else "", f":{spec}" if spec else "") for name, spec, conversion in names
    )
    return {"".join(parts) for parts in marks}
