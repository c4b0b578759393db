"""Describes a field of a loan: its kind, role, values and sentences, and which of them contradict each other.

What fields say against each other belongs in `consistency`, reading a value in `data.field_values`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from loan_default.risk.contract.earlier import earlier_expression
from loan_default.risk.contract.months import CENTURY, Formats, allowed_month, format_problem
from loan_default.risk.contract.reasons import Reasons, Side
from loan_default.risk.contract.spelling import alike
from loan_default.risk.section import Column, OneLine, Problem, Section
from loan_default.risk.text import shorten_number

NAME = r"^[a-z][a-z0-9_]{0,62}$"  # a longer one fits no table, and beyond 255 bytes no folder
_LISTED_LEVELS = 60  # of more, some are named
_CLAUSE_END = re.compile(r"[.;](?:\s|$)")
_SINGULAR = re.compile(r"(?<=\w)s\b(?= a | per |$)")  # of a unit: months, dollars a year

Kind = Literal["number", "ordered", "nominal", "month", "text"]
# Which way an applicant, or the terms of the loan, can change a value: a number down or up, or to one of these values;
# a level to any other, or to one of these.
ApplicantCan = Literal["lower", "raise", "change"] | tuple[float | str, ...]
Role = Literal["id", "time", "feature", "segment", "support", "protected", "cohort"]


def list_levels(levels: Sequence[str]) -> str:
    """Say that a value is one of these; of a great many, how many they are and the first of them."""
    if len(levels) <= _LISTED_LEVELS:
        return "one of " + ", ".join(levels)
    return f"one of {len(levels):,} levels, such as {', '.join(levels[: _LISTED_LEVELS // 3])}"


class LoanField(Section):
    """One field of a loan; `conf/contract.yaml` explains the keys with examples.

    Attributes:
        name: the platform's, of the field.
        column: of the loan file; by default the name.
        kind: a number, levels with an order (safest first) or without, a month, or a text.
        role: what it is for. `support` is read for derived fields and not kept; `segment` and `protected` are for
            reports and never a feature or a reason; a `cohort` cuts a book without a date.
        description: what it holds, as people read it.
        unit: what a number counts.
        range: least and most that are allowed.
        outside: what happens to a value outside of range or levels: its row is rejected, or it becomes missing, or the
            nearest bound.
        levels: the texts that it knows.
        labels: what people read for a level whose own spelling says little.
        required: whether a file without the column is refused.
        nullable: whether a row may lack the value; by default where it is not required.
        strip: letters to cut off a number's text.
        parts: the letters behind each part of a number that is written in several, with how many of the file's number
            one of it is.
        format: of a month: directives of Python's strptime, several that differ on no text, or a count since a day.
        century: with `%y`: the hundred years that it means begin in this one.
        scale: the unit's number is the file's times this.
        words: texts that stand for a level, for a number, or for nothing (`null`).
        derived: an expression over other fields, by which it is computed where the file lacks the column.
        risk: how PD moves with it, where lending practice leaves no doubt.
        missing: `informative`: that a loan lacks it is a feature of its own, with which PD may only rise.
        group: fields that say the same thing share a group and are one reason; by default its own name.
        applicant_can: which way an applicant can change it, or the values that can be had; by default no way.
        opinion: whether it is the lender's own opinion of the applicant.
        reasons: sentences for an applicant who is declined or reviewed, one for each side of the value.
    """

    advice: ClassVar[Mapping[tuple[str, str], str]] = {
        ("reason", ""): "reason is now reasons, a sentence for each side; write reasons: {high: …, low: …}",
        ("role", "outcome"): (
            "there is no role outcome, as the key outcome of the contract names the column; delete this field"
        ),
        ("kind", "date"): "date is no kind; write month, which reads a date too",
        ("kind", "integer"): "integer is no kind; write number",
        ("kind", "float"): "float is no kind; write number",
        ("kind", "categorical"): "categorical is no kind; write nominal, or ordered where its levels have an order",
        ("kind", "category"): "category is no kind; write nominal, or ordered where its levels have an order",
        ("kind", "boolean"): 'boolean is no kind; write nominal with levels: ["True", "False"]',
    }
    stand_ins: ClassVar[Mapping[str, Any]] = {"kind": "text", "role": "support"}

    name: str = Field(pattern=NAME)
    column: Column = ""
    kind: Kind
    role: Role
    description: OneLine
    unit: str | None = None
    range: tuple[float, float] | None = Field(default=None, examples=["[0, 1000000]"])
    outside: Literal["reject", "null", "clip"] = "reject"
    levels: tuple[str, ...] = ()
    labels: Mapping[str, OneLine] = Field(default={}, examples=["{RENT: a rented home}"])
    required: bool = False
    nullable: bool = True
    strip: str = ""
    parts: Mapping[str, Annotated[float, Field(gt=0)]] = Field(default={}, examples=["{yrs: 12, mon: 1}"])
    format: Formats = Field(default=(), examples=['"%Y-%m"'])
    century: int = Field(default=CENTURY, ge=1900, le=2000)
    scale: float = Field(default=1.0, gt=0)
    words: Mapping[str, str | float | None] = {}
    derived: str | None = None
    risk: Literal["rising", "falling"] | None = None
    missing: Literal["informative"] | None = None
    group: str = Field(default="", pattern=NAME)
    opinion: bool = False
    applicant_can: ApplicantCan | None = None
    reasons: Reasons = Reasons()

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        name = data.get("name", "")
        return {"column": name, "group": name, "nullable": not data.get("required", False), **data}

    @field_validator("derived", mode="before")
    @classmethod
    def _is_expression(cls, derived: Any) -> Any:
        if isinstance(derived, dict):
            expression = earlier_expression(derived, in_units=True)
            raise ValueError(f"it is now an expression; write derived: {expression}")  # noqa: TRY004
        return derived

    @property
    def caption(self) -> str:
        """Return what people call it."""
        return f"field {self.name}"

    @property
    def ignores_units(self) -> bool:
        """Tell whether it is derived of numbers as they are, whatever their units: never, but in old packages."""
        return False

    def problems(self) -> Iterator[Problem]:
        """Yield what its kind or its role cannot have."""
        if not self.description.strip():
            empty = "description says nothing, and people read it as a reason and on the model card; write what it is"
            yield Problem(empty, ("description",))
        yield from self._number_problems()
        yield from self._level_problems()
        yield from self._role_problems()
        for name, problem in (
            ("format", self._format_problem()),
            ("reasons", self._reasons_problem()),
            ("missing", self._missing_problem()),
            ("applicant_can", self._change_problem()),
        ):
            if problem:
                yield Problem(problem, (name,))

    def _number_problems(self) -> Iterator[Problem]:
        is_number = self.kind == "number"
        if is_number and self.role == "feature" and (self.unit is None or self.range is None):
            lacks = "unit" if self.unit is None else "range"
            yield Problem("a number needs a unit and a range; write unit: dollars, range: [0, 1000000]", (lacks,))
        if not is_number:
            for key in (key for key in ("derived", "unit", "range", "scale", "strip", "parts") if self._says(key)):
                yield Problem(
                    f"{key} is of numbers alone, and its kind is {self.kind}; write kind: number, or delete {key}",
                    (key,),
                )
        elif self.range is not None and not self.range[0] < self.range[1]:
            remedy = (
                f"; write [{self.range[1]:.10g}, {self.range[0]:.10g}]"
                if self.range[0] > self.range[1]
                else "; widen it"
            )
            written = f"[{self.range[0]:.10g}, {self.range[1]:.10g}]"
            yield Problem(f"range {written} is empty{remedy}", ("range",))
        if cut := re.search(r"[-+\d]", self.strip):
            problem = f"strip holds {cut[0]}, which would be cut off numbers too; write the letters beside them"
            yield Problem(problem, ("strip",))
        if self.strip and self.parts:
            yield Problem("strip and parts say both what letters a number has; delete strip", ("strip",))
        for letters in (letters for letters in self.parts if re.search(r"\d|^\W*$", letters)):
            problem = f"parts: '{letters}' is no letters behind a number; write those of the file, as yrs or mon"
            yield Problem(problem, ("parts",))
        if self.outside == "clip" and self.range is None:
            yield Problem("only a number with a range can be clipped; delete outside", ("outside",))
        if self.outside == "null" and not self.nullable:
            yield Problem("outside may only be null where the field is nullable; write nullable: true", ("outside",))
        if self.outside == "null" and self.range is None and not self.levels:
            yield Problem("nothing is outside, as it has neither range nor levels; delete outside", ("outside",))

    def _level_problems(self) -> Iterator[Problem]:
        if (self.kind in ("ordered", "nominal")) != bool(self.levels):
            remedy = "delete levels, or write kind: nominal" if self.levels else "write levels: [a, b]"
            yield Problem(f"levels go with kinds ordered and nominal, and only with them; {remedy}", ("levels",))
        for level in sorted({level for level in self.levels if self.levels.count(level) > 1}):
            yield Problem(f"level {level} is listed twice; delete one", ("levels",))
        for level in (level for level in (*self.levels, *self.words) if level != level.strip() or not level):
            yield Problem(f"'{level}' begins or ends with a blank, and no value read does; cut it off", ("levels",))
        for word, other in alike({level: level for level in self.levels} | dict(self.words)):
            problem = f"{word} and {other} are one, as a writer may write either; delete one"
            yield Problem(problem, ("levels" if other in self.levels else "words",))
        for level, label in self.labels.items():
            if level not in self.levels:
                yield Problem(f"labels name {level}, which is no level of it; write one of its levels", ("labels",))
            elif not label.strip():
                yield Problem(
                    f"the label of {level} says nothing; write what people call it, or delete it", ("labels",)
                )
        for word, meaning in self.words.items():
            is_number = self.kind == "number" and isinstance(meaning, int | float)
            if not (meaning is None or meaning in self.levels or is_number):
                remedy = "one of its levels" if self.levels else "a number" if self.kind == "number" else "null"
                text = f"{meaning:g}" if isinstance(meaning, float) else meaning
                yield Problem(f"word {word} stands for {text}, which is no value of it; write {remedy}", ("words",))
            elif meaning is not None and self.kind in ("text", "month"):
                yield Problem(
                    f"word {word} stands for {meaning:g}, and no {self.kind} is read by words; write null", ("words",)
                )
            elif is_number and self.outside == "reject" and not self._is_in_range(meaning):
                yield Problem(
                    f"word {word} stands for {meaning:g}, and what is outside of {self.allowed} is rejected; write "
                    "null, or what is within",
                    ("words",),
                )
            elif word in self.levels:
                yield Problem(f"{word} is a level and a word at once; delete it from one", ("words",))

    def _is_in_range(self, value: Any) -> bool:
        return self.range is None or self.range[0] <= value <= self.range[1]

    def _role_problems(self) -> Iterator[Problem]:
        if self.role == "feature" and self.kind in ("month", "text"):
            remedy = "derive a number from it" if self.kind == "month" else "write kind: nominal and its levels"
            yield Problem(f"a {self.kind} cannot be a feature; write role: support, or {remedy}", ("role",))
        kinds: dict[str, tuple[str, ...]] = {
            "id": ("text",), "time": ("month",), "cohort": ("number", "ordered", "text")
        }  # fmt: skip
        if self.kind not in kinds.get(self.role, (self.kind,)):
            allowed = " or ".join(kinds[self.role])
            yield Problem(f"a {self.kind} cannot be the {self.role}; write kind: {allowed}", ("kind",))
        for key, says in (("opinion", self.opinion), ("risk", self.risk), ("reasons", self.reasons.sides)):
            if self.role == "protected" and says:
                yield Problem(f"what is protected is never a feature nor a reason; delete {key}", (key,))
        for key, says in (("risk", self.risk and self.role != "protected"), ("group", self.group != self.name)):
            if self.role != "feature" and says:
                yield Problem(
                    f"only a feature has a {key}, and its role is {self.role}; delete {key}", (key,), ("name",)
                )
        if self.opinion and self.role == "feature" and self.kind == "number" and not self.risk and not self.derived:
            problem = "a number that is the lender's opinion needs risk: rising or falling, as it is not known else"
            yield Problem(f"{problem} which way the lender means it", ("risk",))
        if self.risk and self.kind not in ("number", "ordered"):
            yield Problem(f"a {self.kind} has no high and no low; delete risk", ("risk",))

    def _missing_problem(self) -> str | None:
        """Say why its absence can tell nothing, or needs not be told."""
        if self.missing is None:
            return None
        if self.role != "feature" or not self.nullable:
            why = "no loan may lack it" if self.role == "feature" else f"its role is {self.role}"
            return f"missing: informative is of a feature that a loan may lack, and {why}; delete missing"
        if self.risk is None:
            return "missing: informative goes with a risk, as a model sees any other field's absence; delete missing"
        return None

    def _change_problem(self) -> str | None:
        """Say why no applicant can change it so, or why that would help nobody."""
        way = self.applicant_can
        if way is None:
            return None
        if self.role != "feature" or self.derived or self.opinion:
            why = "derived from others" if self.derived else "the lender's opinion" if self.opinion else "no feature"
            return f"applicant_can is of features that an applicant can change, and it is {why}; delete applicant_can"
        if isinstance(way, tuple):
            strange = [value for value in way if not self._has_value(value)]
            written = [f"{value:.10g}" if isinstance(value, int | float) else value for value in strange]
            return f"applicant_can lists {written[0]}, which it cannot be; write values of it" if strange else None
        if (way == "change") == (self.kind == "number"):
            return f"applicant_can: {way} is not of a {self.kind}; write " + (
                "lower or raise, or the values that are offered" if self.kind == "number" else "change, or the levels"
            )
        if (self.risk, way) in (("rising", "raise"), ("falling", "lower")):
            helps = "lower" if way == "raise" else "raise"
            return f"applicant_can: {way} would only add to the risk, which is {self.risk}; write {helps}"
        return None

    def _has_value(self, value: float | str) -> bool:
        """Tell whether an applicant's value may be this."""
        if self.kind != "number":
            return value in self.levels
        return isinstance(value, int | float) and (self.range is None or self.range[0] <= value <= self.range[1])

    def _format_problem(self) -> str | None:
        """Say why its formats read no month."""
        if self.kind != "month":
            key = next((key for key in ("format", "century") if self._says(key)), None)
            return key and f"{key} is of months alone, and its kind is {self.kind}; delete {key}"
        return format_problem(self.format, self.century)

    def _reasons_problem(self) -> str | None:
        """Say which sentence is for a side that the field does not have, or whose direction is not known."""
        if self.role == "protected":
            return None
        if self.reasons.sides and self.role != "feature":
            return f"only a feature has reasons; its role is {self.role}"
        sides = self.reasons.sides - {"missing"}
        if self.kind == "nominal":
            allowed, rule = ({"level"},), "a nominal field has no high and no low; write level (and missing)"
        elif self.risk:
            side = "high" if self.risk == "rising" else "low"
            allowed, rule = ({side},), f"risk is {self.risk}; write {side} (and missing) and no other"
        else:
            allowed = ({"high", "low"},)
            rule = (
                "a directional sentence where the side is not known, as it has no risk; write both high and low (and "
                "missing), or neither, or say risk: rising or falling"
            )
        return f"reasons are {', '.join(sorted(sides))}: {rule}" if sides and sides not in allowed else None

    def say(self, value: float | str) -> str:
        """Say a value for people: `10+ years`, `24,000 dollars`, `12.74 percent a year`, `a small business`.

        At an end of a range to which values beyond it are clipped, it is that much `or more`, or `or less`.

        Args:
            value: a number in the field's unit, or a level.
        """
        if isinstance(value, str):
            return self.labels.get(value, value)
        word = self._word_of.get(value)
        if word is not None:
            return word
        number = shorten_number(value)
        unit = self._unit_words
        return number + (_SINGULAR.sub("", unit, count=1) if number == "1" else unit) + self._beyond(value)

    @property
    def _unit_words(self) -> str:
        return "" if self.unit in (None, "count") else f" {self.unit}"

    def _beyond(self, value: float) -> str:
        if self.outside != "clip" or self.range is None:
            return ""
        least, most = self.range
        return " or more" if value >= most else " or less" if value <= least and least else ""

    @cached_property
    def _word_of(self) -> dict[float, str]:
        """Return the words that stand for numbers."""
        return {float(value): word for word, value in self.words.items() if isinstance(value, int | float)}

    def reason(self, side: Side, value: float | str | None) -> str:
        """Return the contract's sentence for a side, or else a neutral fact: what the field is, and its value.

        Args:
            side: of the value, against the typical one.
            value: as `say` takes it; None where it is missing.
        """
        sentence: str | None = getattr(self.reasons, side)
        text = "not known" if value is None else self.say(value)
        return sentence.replace("{value}", text) if sentence else f"{self.short}: {text}."

    @cached_property
    def short(self) -> str:
        """Return the description up to the end of its first sentence or a semicolon."""
        return _CLAUSE_END.split(self.description, maxsplit=1)[0]

    @property
    def allowed(self) -> str:
        """Say what a value may be: for error messages and the model card."""
        if self.range is not None:
            return f"{self.range[0]:z,.10g} to {self.range[1]:z,.10g}{self._unit_words}"
        if self.levels:
            return list_levels(self.levels)
        return {"month": allowed_month(self.format), "number": "a number"}.get(self.kind, "any text")
