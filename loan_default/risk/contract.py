"""Describes what a loan is: the typed form of `conf/contract.yaml`, checked when it is loaded.

Descriptions belong here, and the words of the leak rule: a field is known when the loan is granted. Reading a file by
the contract belongs in `data.loan_files` and `data.field_values`, making a matrix of features in `model.features`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, field_validator, model_validator

from loan_default.risk.derivations import Expression, Operand, compile_expression, in_order
from loan_default.risk.reviewed_file import load_reviewed
from loan_default.risk.section import Problem, Section

OUTCOME = "outcome"  # column of cleaned loans: 1 defaulted, 0 repaid, null unresolved
TERM = "term"  # field that every contract has: months from the first payment to the last
WRITTEN_AFTERWARDS = "written after the loan was granted"  # of what no field may read: it tells how the loan ended
# Names of the columns that are written beside those of fields, which no field can have.
RESERVED: Mapping[str, str] = {
    OUTCOME: "the column of outcomes in cleaned loans",
    "matures": "the column of cleaned loans by which month an outcome is known",
    "window": "the column of splits that says which window a loan is in",
    **dict.fromkeys(("vintage", "quarter", "champion", "unseen_by_champion"), "a column of comparisons"),
    **dict.fromkeys(("pd", "raw_score", "score", "decision", "reasons", "reason_codes"), "a column of predictions"),
    **dict.fromkeys(
        ("request_id", "scored_at", "model_version", "shadow_version", "shadow_pd"), "a column of the prediction log"
    ),
}
MATURES = "matures"  # column of cleaned loans: month by which its outcome is known, the term and the grace being over

CONF = Path(__file__).resolve().parent.parent / "conf"

# Words that say that there is no value, in any letter case.
NOTHING = ("", "n/a", "NA", "nan", "null", "None", "<NA>", "#N/A", r"\N", "NaT", "-")

_NAME = r"^[a-z][a-z0-9_]*$"
_CLAUSE_END = re.compile(r"[.;](?:\s|$)")
_SINGULAR = re.compile(r"(?<=\w)s\b(?= a | per |$)")  # of a unit: months, dollars a year

Kind = Literal["number", "ordered", "nominal", "month", "text"]
Role = Literal["id", "time", "feature", "segment", "support", "protected", "cohort"]
Months = Annotated[int, Field(ge=1, le=1200)]
Side = Literal["high", "low", "missing", "level"]  # of a value, against the typical one


class FileFormat(Section):
    """Says how the files of a book are written; `conf/contract.yaml` explains each key."""

    separator: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    thousands: str | None = None
    currency: tuple[str, ...] = ()
    negative_in_brackets: bool = False
    nothing: tuple[str, ...] = NOTHING

    @field_validator("quote", "thousands", mode="before")
    @classmethod
    def _none_is_none(cls, sign: Any) -> Any:
        return None if sign == "none" else sign

    @property
    def label(self) -> str:
        """Return the key of the contract."""
        return "files"

    def problems(self) -> Iterator[Problem]:
        """Yield signs that no file can be read by."""
        for key in ("separator", "quote", "decimal", "thousands"):
            sign = getattr(self, key)
            if sign is not None and (len(sign) != 1 or sign.isalnum() or sign in "\n\r\0"):
                yield Problem(f"{key} {sign!r} is not one sign; write one, in quotes", (key,))
            elif sign is not None and not sign.isascii() and key in ("separator", "quote"):
                yield Problem(f"{key} {sign} is no sign of ASCII, and a file is divided by one", (key,))
        if self.quote in (self.separator, self.decimal):
            yield Problem(
                f"quote and another sign are both {self.quote}; write the sign that the files have", ("quote",)
            )
        if self.decimal == self.thousands:
            yield Problem(f"decimal and thousands are both {self.decimal}; write two signs", ("thousands",))
        if "" in self.currency:
            yield Problem("currency holds an empty text; delete it", ("currency",))
        try:
            text_encoding = codecs.lookup(self.encoding)._is_text_encoding
        except LookupError:
            text_encoding = False
        if not text_encoding:
            problem = f"encoding {self.encoding} is none that Python knows; write utf-8, cp1252, latin-1 or utf-16"
            yield Problem(problem, ("encoding",))


def _as_formats(formats: Any) -> Any:
    return (formats,) if isinstance(formats, str) else formats


Formats = Annotated[  # of a month: one, or several in order of trial
    tuple[str, ...],
    BeforeValidator(_as_formats),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
FirstOfMonth = Annotated[date, WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d{2}(-01)?$"})]


class Reasons(Section):
    """The sentences by which a field is a reason, one for each side of its value; `{value}` stands for the value."""

    high: str | None = None
    low: str | None = None
    missing: str | None = None
    level: str | None = None

    def problems(self) -> Iterator[Problem]:
        """Yield sentences that cannot be told."""
        for side in get_args(Side):
            sentence = getattr(self, side)
            if sentence is not None and (problem := _sentence_problem(sentence, {"value"})):
                yield Problem(f"reasons.{side} {problem}", (side,))
        if self.missing and "{value}" in self.missing:
            yield Problem("reasons.missing holds {value}, and there is none", ("missing",))

    @property
    def sides(self) -> frozenset[Side]:
        """Return the sides that have a sentence."""
        return frozenset(side for side in get_args(Side) if getattr(self, side) is not None)


def _sentence_problem(sentence: str, allowed: set[str]) -> str | None:
    """Say why a sentence cannot be told with what is `allowed` in braces."""
    try:
        strange = placeholders(sentence) - allowed
    except ValueError as error:
        return f"cannot be told: {error}"
    return f"'{sentence}' holds more than text and {{value}}" if strange else None


def placeholders(sentence: str) -> set[str]:
    """Return what stands in braces in a sentence.

    Raises:
        ValueError: it is empty, or its braces are not matched.
    """
    if not sentence.strip():
        raise ValueError("a sentence is empty")
    names = ((name, spec, conversion) for _, name, spec, conversion in Formatter().parse(sentence) if name is not None)
    return {name if not (spec or conversion) else f"{name}!{conversion}:{spec}" for name, spec, conversion in names}


def _allowed_month(formats: Iterable[str]) -> str:
    """Say how a month may be written: for error messages."""
    examples = (f"{date(2015, 12, 31):{form}} ({form})" if "%" in form else f"the {form}" for form in formats)
    return "a month, as " + (" or ".join(examples) or "Dec-2015 or 2015-12")


_DIRECTIVE = re.compile(r"%-?([A-Za-z%])")
_SINCE = re.compile(r"(?:months|days|seconds) since (\d{4}-\d{2})(-\d{2})?")
_YEARS, _MONTHS = set("YyFDGs"), set("mbBhFDjs")  # directives that say the year, and the month


def format_problem(formats: Iterable[str], *, with_century: bool) -> str | None:
    """Say why months cannot be read by one of these formats, or why a century beside them says nothing."""
    for format_ in formats:
        directives = set(_DIRECTIVE.findall(format_))
        if since := _SINCE.fullmatch(format_):
            try:
                date.fromisoformat(since[1] + (since[2] or "-01"))
            except ValueError:
                return f"format {format_} counts from a day that there is not; write days since 1899-12-30"
        elif not (directives & _YEARS and directives & _MONTHS):
            return f"format {format_} says no year and month; write %Y-%m, %b-%y, … or days since 1899-12-30"
        elif strange := directives - set("YymbBhdejHMSfpIFTDRzZaAs%G"):
            return (
                f"format {format_} holds %{min(strange)}, which is not read; write %Y, %y, %m, %b, %B, %d, %H, %M, %S"
            )
    if with_century and not any("%y" in format_ or "%D" in format_ for format_ in formats):
        return "century is of years in two digits, and no format holds %y; delete century"
    return None


class LoanField(Section):
    """One field of a loan; `conf/contract.yaml` explains each key."""

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

    name: str = Field(pattern=_NAME)
    column: str = ""
    kind: Kind
    role: Role
    description: str
    unit: str | None = None
    range: tuple[float, float] | None = Field(default=None, examples=["[0, 1000000]"])
    outside: Literal["reject", "null", "clip"] = "reject"
    levels: tuple[str, ...] = ()
    required: bool = False
    nullable: bool = True
    strip: str = ""
    format: Formats = ()
    century: int = Field(default=1970, ge=1900, le=2000)
    scale: float = Field(default=1.0, gt=0)
    words: Mapping[str, str | float | None] = {}
    derived: str | None = None
    derived_as_numbers: bool = False
    risk: Literal["rising", "falling"] | None = None
    group: str = Field(default="", pattern=_NAME)
    opinion: bool = False
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
            expression = _earlier_expression(derived, in_units=True)
            raise ValueError(f"it is now an expression; write derived: {expression}")  # noqa: TRY004
        return derived

    @property
    def label(self) -> str:
        """Return what people call it."""
        return f"field {self.name}"

    def problems(self) -> Iterator[Problem]:
        """Yield what its kind or its role cannot have."""
        yield from self._number_problems()
        yield from self._level_problems()
        yield from self._role_problems()
        for name, problem in (("format", self._format_problem()), ("reasons", self._reasons_problem())):
            if problem:
                yield Problem(problem, (name,))

    def _number_problems(self) -> Iterator[Problem]:
        is_number = self.kind == "number"
        if is_number and self.role == "feature" and (self.unit is None or self.range is None):
            lacks = "unit" if self.unit is None else "range"
            yield Problem("a number needs a unit and a range; write unit: dollars, range: [0, 1000000]", (lacks,))
        if not is_number:
            for key in (key for key in ("derived", "range", "scale", "strip") if self._says(key)):
                yield Problem(f"{key} is of numbers alone, and its kind is {self.kind}; delete {key}", (key,))
        elif self.range is not None and not self.range[0] < self.range[1]:
            remedy = (
                f"; write [{self.range[1]:.10g}, {self.range[0]:.10g}]"
                if self.range[0] > self.range[1]
                else "; widen it"
            )
            written = f"[{self.range[0]:.10g}, {self.range[1]:.10g}]"
            yield Problem(f"range {written} is empty{remedy}", ("range",))
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
        for word, meaning in self.words.items():
            if not (meaning is None or (meaning in self.levels if self.levels else isinstance(meaning, int | float))):
                remedy = "one of its levels" if self.levels else "a number" if self.kind == "number" else "null"
                yield Problem(f"word {word} stands for {meaning}, which is no value of it; write {remedy}", ("words",))
            elif word in self.levels:
                yield Problem(f"{word} is a level and a word at once; delete it from one", ("words",))

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
        if self.opinion and self.role == "feature" and self.kind == "number" and not self.risk and not self.derived:
            problem = (
                "a number that is the lender's opinion needs risk: rising or falling, as it is not known else which"
            )
            yield Problem(f"{problem} which way the lender means it", ("risk",))
        if self.risk and self.kind not in ("number", "ordered"):
            yield Problem(f"a {self.kind} has no high and no low; delete risk", ("risk",))

    def _format_problem(self) -> str | None:
        """Say why its formats read no month."""
        if self.kind != "month":
            said = next((key for key in ("format", "century") if self._says(key)), None)
            return said and f"{said} is of months alone, and its kind is {self.kind}; delete {said}"
        return format_problem(self.format, with_century=self._says("century"))

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
        """Say a value for people: `10+ years`, `24,000 dollars`, `12.74 percent a year`, `small_business`.

        At an end of a range to which values beyond it are clipped, it is that much `or more`, or `or less`.

        Args:
            value: a number in the field's unit, or a level.
        """
        if isinstance(value, str):
            return value
        word = self._word_of.get(value)
        if word is not None:
            return word
        digits = f"{value:,.2f}" if abs(value) >= 0.01 else f"{value:.2g}"
        number = digits.rstrip("0").rstrip(".") if "." in digits and "e" not in digits else digits
        unit = "" if self.unit in (None, "count") else f" {self.unit}"
        return number + (_SINGULAR.sub("", unit, count=1) if number == "1" else unit) + self._beyond(value)

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
            return f"{self.range[0]:,.10g} to {self.range[1]:,.10g} {self.unit or ''}".strip()
        if self.levels:
            return "one of " + ", ".join(self.levels)
        return {"month": _allowed_month(self.format), "number": "a number"}.get(self.kind, "any text")


class Outcome(Section):
    """Lists the texts of the status column that mean default (1), repayment (0) or neither yet (null).

    `definition` says in a sentence what a default is in the lender's operation, and why its horizon is what it is.
    `grace_months` after its term a loan's outcome is known at last: a default is booked later than it happens.
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

    @cached_property
    def label_of(self) -> dict[str, int | None]:
        """Map each status text to 1, 0 or None."""
        return {
            **dict.fromkeys(self.defaulted, 1),
            **dict.fromkeys(self.repaid, 0),
            **dict.fromkeys(self.unresolved),
        }


class Snapshot(Section):
    """Names the column in which a file says when it was taken, with `format` and `century` as a field of it has."""

    column: str
    format: Formats = ()
    century: int = Field(default=1970, ge=1900, le=2000)

    @property
    def allowed(self) -> str:
        """Say what a value may be: for error messages."""
        return _allowed_month(self.format)

    def problems(self) -> Iterator[Problem]:
        """Yield formats that read no month."""
        if problem := format_problem(self.format, with_century=self._says("century")):
            yield Problem(problem, ("format",))


class ProductTerm(Section):
    """Gives the term by product: the months of each level of the field that `by` names."""

    by: str
    months: Mapping[str, Months] = Field(min_length=1, examples=["{A: 36, B: 60}"])


class Horizon(Section):
    """Ends the watch over a loan that has no last payment: it counts whether it defaults within so many months."""

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
    """Limits within which a loan file is sound."""

    rejected_share_at_most: float = Field(ge=0, le=1)
    default_rate_between: tuple[float, float]

    def problems(self) -> Iterator[Problem]:
        """Yield a band that no rate lies in."""
        least, most = self.default_rate_between
        if not 0 <= least < most <= 1:
            written = f"[{least:.10g}, {most:.10g}]"
            remedy = f"write [{most:.10g}, {least:.10g}]" if least > most else "write two shares of 0 to 1"
            yield Problem(f"default_rate_between {written} is no band; {remedy}", ("default_rate_between",))


class YearOnly(Section):
    """A layout that publishes only the year of a month field: `month` (1-12) completes it."""

    column: str
    field: str
    month: int = Field(ge=1, le=12)


class FileLayout(Section):
    """Another form of the same loans, recognised by columns of its header and turned back into natural units."""

    name: str
    recognised_by: tuple[str, ...]
    log1p: tuple[str, ...] = ()
    texts: Mapping[str, Mapping[str, str]] = {}
    year: YearOnly | None = None
    snapshot_month: FirstOfMonth | None = None

    def holds_ended_loans_only(self, outcome: Outcome) -> bool:
        """Tell whether all of its statuses say how a loan ended: loans without an outcome are not in such files."""
        statuses = {*self.texts.get(outcome.column, {}).values()}
        return bool(statuses) and not statuses & {*outcome.unresolved}

    @field_validator("snapshot_month", mode="before")
    @classmethod
    def _first_of_month(cls, value: Any) -> Any:
        is_month = isinstance(value, str) and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])(-01)?", value)
        return date.fromisoformat(f"{value[:7]}-01") if is_month else value

    @property
    def label(self) -> str:
        """Return what people call it."""
        return f"layout {self.name}"

    def problems(self) -> Iterator[Problem]:
        """Yield what keeps the layout from being recognised or turned back."""
        if not self.recognised_by:
            yield Problem(
                "recognised_by names no column; write those of its header that others lack", ("recognised_by",)
            )
        elif self.year and self.year.column not in self.recognised_by:
            problem = f"year reads {self.year.column}, by which the layout is not recognised; add it to recognised_by"
            yield Problem(problem, ("year", "column"))


_ABSENT_IN_POLARS = re.compile(r"\(\?(?:=|!|<=|<!|>|P=)|\\[1-9]")


def _pattern_problem(pattern: str) -> str | None:
    """Say why a regular expression cannot be used on columns of texts."""
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{error}; write \\( for a bracket that is meant as such, and so on"
    strange = _ABSENT_IN_POLARS.search(pattern)
    return f"{strange[0]} is not supported; write it without" if strange else None


def _near(name: str, names: Iterable[str]) -> str:
    """Say what was probably meant."""
    from difflib import get_close_matches  # needed by nobody whose contract is right

    near = get_close_matches(name, list(names), 1)
    return f"; write {near[0]}" if near else "; delete it, or write the column of one"


class Contract(Section):
    """A loan book: its fields, outcome, snapshot and layouts; `selection` says who is in its files and who is not.

    Raises (from loading, as `BadInput`): a field that names a column written after the loan was granted, two
    fields of one name, a derived field of fields that its function cannot take, an absent id, time or `term` field,
    a sentence for a side that is not known, a group of which only some fields are the lender's opinion.
    """

    name: str = Field(pattern=_NAME, examples=["lendingclub"])
    title: str
    selection: str | None = None
    known_afterwards: tuple[str, ...] = Field(examples=["[last_*, recoveries]"])
    files: FileFormat = FileFormat()
    time: Literal["none"] | None = None
    outcomes: Literal["final"] | None = None
    term: Term | None = None
    outcome: Outcome = Field(examples=["{column: loan_status, defaulted: [Charged Off], repaid: [Fully Paid]}"])
    snapshot: Snapshot | None = Field(default=None, examples=["{column: last_credit_pull_d}"])
    not_loans: tuple[str, ...] = ()
    expect: Expectation = Field(examples=["{rejected_share_at_most: 0.05, default_rate_between: [0.01, 0.60]}"])
    layouts: tuple[FileLayout, ...] = ()
    groups: Mapping[str, str] = {}
    fields: tuple[LoanField, ...] = Field(examples=["[{name: …, kind: …, role: …, description: …}]"])

    @property
    def label(self) -> str:
        """Return nothing: there is one contract."""
        return ""

    def problems(self) -> Iterator[Problem]:
        """Yield what fields, outcome, layouts and groups say against each other."""
        yield from self._name_problems()
        yield from self._role_problems()
        yield from self._time_problems()
        yield from self._term_problems()
        yield from self._leak_problems()
        yield from self._derivation_problems()
        for number, pattern in enumerate(self.not_loans):
            if problem := _pattern_problem(pattern):
                yield Problem(f"not_loans: {pattern} is no pattern: {problem}", ("not_loans", number))
        yield from self._layout_problems()
        yield from self._group_problems()

    def _name_problems(self) -> Iterator[Problem]:
        names = [field.name for field in self.fields]
        for number, name in enumerate(names):
            if name in names[:number]:
                yield Problem(f"{name} is described twice; delete one, or name it otherwise", ("fields", number))
            what = RESERVED.get(name)
            if name == "id" and self.fields[number].role == "feature":
                what = "the loan's number in the prediction log"
            elif name == self.outcome.column:
                what = "the column of the outcome in the book's files"
            if what:
                remedy = f"name it otherwise: name: its_{name}, column: {self.fields[number].column}"
                yield Problem(f"{name} is the name of {what}; {remedy}", ("fields", number, "name"))
        layouts = [layout.name for layout in self.layouts]
        for name in sorted({name for name in layouts if layouts.count(name) > 1}):
            later = len(layouts) - 1 - layouts[::-1].index(name)
            yield Problem(f"{name} is described twice; delete one", ("layouts", later))

    def _role_problems(self) -> Iterator[Problem]:
        needed = {"id": "{name: id, kind: text, role: id, description: …}"}
        if self.has_time:
            needed["time"] = "{name: issued, kind: month, role: time, description: …}, or time: none above"
        for role, example in needed.items():
            several = [number for number, field in enumerate(self.fields) if field.role == role]
            if not several:
                problem = f"no field has the role {role}, and exactly one field must have it; write {example}"
                yield Problem(problem, ("fields",), ("role", "fields"))
            for number in several[1:]:
                first = self.fields[several[0]].name
                problem = f"{first} has the role {role} too, and exactly one field must have the role {role}"
                yield Problem(f"{problem}; write role: support", ("fields", number, "role"))
        if not self.features:
            problem = "no field has the role feature, so a model would see nothing; write role: feature"
            yield Problem(problem, ("fields",), ("role", "fields"))

    def _time_problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the fields by which loans are put in order."""
        cohorts = [number for number, field in enumerate(self.fields) if field.role == "cohort"]
        for number in cohorts if self.has_time else cohorts[1:]:
            why = "a book with a date is cut by it" if self.has_time else "a book is cut by one field"
            yield Problem(f"{why}; write role: segment instead of cohort", ("fields", number, "role"))
        if self.has_time:
            return
        for number, field in enumerate(self.fields):
            if field.role == "time":
                problem = "time: none says that the book has no date, and this has the role time; delete one of the two"
                yield Problem(problem, ("fields", number, "role"))
        if not self.outcomes_are_final:
            problem = "without a date no loan can be said to have matured; write outcomes: final if all are known"
            yield Problem(f"time: none: {problem}", ("time",), ("outcomes",))

    def _term_problems(self) -> Iterator[Problem]:
        """Yield what keeps the contract from saying when a loan matures."""
        if isinstance(self.term, ProductTerm):
            product = self.by_name.get(self.term.by)
            levels, months = product.levels if product else (), self.term.months
            if product is None or not levels:
                yield Problem(f"term: by: {self.term.by} is no field with levels; write one", ("term", "by"), ("name",))
            elif absent := [level for level in levels if level not in months]:
                yield Problem(
                    f"term: months: {', '.join(absent)} of {product.name} is not said; add it", ("term", "months")
                )
            for level in months if levels else ():
                if level not in levels:
                    problem = f"{level} is no level of {self.term.by}; those are {', '.join(levels)}"
                    yield Problem(f"term: months: {problem}", ("term", "months", level))
        if self.term is not None or self.outcomes_are_final:
            return
        number, field = next(((n, f) for n, f in enumerate(self.fields) if f.name == TERM), (None, None))
        if field is None:
            problem = "a number field term with the unit months is needed, as it says when a loan matures"
            yield Problem(
                f"{problem}; write it, or term: 36 above, or outcomes: final", ("fields",), ("name", "term", "outcomes")
            )
        elif field.kind != "number" or field.unit != "months" or field.role in ("id", "time"):
            problem = "a number field term with the unit months is needed, as it says when a loan matures"
            yield Problem(
                f"{problem}; write kind: number, unit: months here, or term: 36 above, or outcomes: final",
                ("fields", number or 0, "kind"),
                ("term", "unit", "outcomes"),
            )

    def _leak_problems(self) -> Iterator[Problem]:
        """Yield fields that read what is written later, or what is protected."""
        protected = {field.column: field.name for field in self.with_role("protected")}
        for number, field in enumerate(self.fields):
            if self.is_known_afterwards(field.column):
                problem = f"column {field.column} is {WRITTEN_AFTERWARDS}, as outcome or known_afterwards says"
                yield Problem(
                    f"{problem}; delete the field",
                    ("fields", number, "column"),
                    ("outcome", "known_afterwards", "role"),
                )
            if field.role != "protected" and field.column in protected and not field.derived:
                problem = (
                    f"column {field.column} is protected by the field {protected[field.column]}; delete this field"
                )
                yield Problem(problem, ("fields", number, "column"))

    def _layout_problems(self) -> Iterator[Problem]:
        """Yield names in layouts that the contract does not have."""
        of_column = {field.column: field for field in self.fields}
        for number, layout in enumerate(self.layouts):
            for name in layout.log1p:
                if name not in of_column or of_column[name].kind != "number":
                    problem = f"log1p: {name} is the column of no number field{_near(name, of_column)}"
                    yield Problem(problem, ("layouts", number, "log1p"), ("column", "name"))
            for name, texts in layout.texts.items():
                location = ("layouts", number, "texts", name)
                if name == self.outcome.column:
                    values = list(self.outcome.label_of)
                elif name in of_column:
                    values = [*of_column[name].levels, *of_column[name].words]
                else:
                    problem = (
                        f"texts: {name} is the column of no field, nor that of the outcome{_near(name, of_column)}"
                    )
                    yield Problem(problem, location, ("column", "name", "outcome"))
                    continue
                for text in texts.values() if values else ():
                    if text not in values:
                        problem = f"texts: {name}: {text} is no value of it; those are {', '.join(values)}"
                        yield Problem(problem, location, ("outcome", "levels"))
            if layout.year and (layout.year.field not in of_column or of_column[layout.year.field].kind != "month"):
                months = {field.column: field for field in self.fields if field.kind == "month"}
                problem = f"year: field: {layout.year.field} is the column of no month field"
                problem += _near(layout.year.field, months)
                yield Problem(problem, ("layouts", number, "year", "field"), ("column", "name"))

    def _group_problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the groups and their sentences."""
        members: dict[str, list[LoanField]] = {}
        for field in self.features:
            members.setdefault(field.group, []).append(field)
        for group, fields in members.items():
            opinions = [field.name for field in fields if field.name in self.opinions]
            if len(opinions) not in (0, len(fields)):
                other = next(field.name for field in fields if field.name not in opinions)
                yield Problem(
                    f"field {opinions[0]} is the lender's opinion{self._by_derivation(opinions[0])} and {other} of the "
                    f"same group {group} is none; give {opinions[0]} a group of its own",
                    ("fields", [field.name for field in self.fields].index(opinions[0]), "group"),
                    ("opinion", "derived", "role"),
                )
        for group, sentence in self.groups.items():
            if group not in members:
                problem = f"groups: {group} is the group of no feature; those are {', '.join(members)}"
                yield Problem(problem, ("groups", group), ("group", "name", "role"))
            if _sentence_problem(sentence, set()):
                problem = f"groups: the sentence of {group} tells of the whole group, so it can hold no {{value}}"
                yield Problem(problem, ("groups", group))

    def _by_derivation(self, name: str) -> str:
        derived = name in self.expressions and not self.by_name[name].opinion
        return f" (derived from {', '.join(self.expressions[name].of)})" if derived else ""

    def _derivation_problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the derived fields."""
        numbers = {field.name: number for number, field in enumerate(self.fields)}
        for name, sentence in self._derivations[1]:
            presumes = ("name", "kind", "role", "unit")
            yield Problem(f"derived: {sentence}", ("fields", numbers[name], "derived"), presumes)
        for name, sources in self.sources.items():
            for source in sorted(sources):
                if self.by_name[name].role == "feature" and self.by_name[source].role == "protected":
                    problem = f"a feature cannot be derived from {source}, which is protected; write role: protected"
                    yield Problem(problem, ("fields", numbers[name], "derived"), ("role",))

    @cached_property
    def _derivations(self) -> tuple[dict[str, Expression], list[tuple[str, str]]]:
        """Compile the derived fields, each after those that it is derived from, and say which cannot be, and why."""
        operands = {field.name: Operand(field.kind, field.unit) for field in self.fields}
        time = next((field.name for field in self.with_role("time")), None)
        compiled: dict[str, Expression] = {}
        problems: list[tuple[str, str]] = []
        for field in self.fields:
            if field.derived is None:
                continue
            try:
                compiled[field.name] = compile_expression(
                    field.derived, field.unit, operands, time=time, as_numbers=field.derived_as_numbers
                )
            except ValueError as error:
                problems.append((field.name, str(error)))
        try:
            return in_order(compiled), problems
        except ValueError as error:
            name, _, sentence = str(error).removeprefix("field ").partition(": ")
            return {}, [*problems, (name, sentence)]

    @property
    def expressions(self) -> Mapping[str, Expression]:
        """Map each derived field to how it is computed, after the fields that it is derived from."""
        compiled, _ = self._derivations
        return compiled

    @cached_property
    def sources(self) -> Mapping[str, frozenset[str]]:
        """Map each derived field to all fields that it follows from, also by way of others."""
        sources: dict[str, frozenset[str]] = {}
        for name, expression in self.expressions.items():
            sources[name] = frozenset(expression.of).union(*(sources.get(source, ()) for source in expression.of))
        return sources

    def lacking(self, needed: Iterable[LoanField], present: Collection[str]) -> list[LoanField]:
        """Return which fields, needed or what they are derived from, are neither present nor can be computed."""
        absent: dict[str, LoanField] = {}
        for field in needed:
            if field.name not in present:
                expression = self.expressions.get(field.name)
                missing = (
                    self.lacking((self.by_name[name] for name in expression.of), present) if expression else [field]
                )
                absent |= {each.name: each for each in missing}
        return [*absent.values()]

    def is_known_afterwards(self, column: str) -> bool:
        """Tell whether the column is written after the loan was granted, and so can never be a feature."""
        return any(fnmatchcase(column, pattern) for pattern in (self.outcome.column, *self.known_afterwards))

    @cached_property
    def by_name(self) -> dict[str, LoanField]:
        """Map each name to its field."""
        return {field.name: field for field in self.fields}

    def with_role(self, *roles: Role) -> tuple[LoanField, ...]:
        """Return the fields of these roles, in the contract's order."""
        return tuple(field for field in self.fields if field.role in roles)

    @cached_property
    def stored(self) -> tuple[LoanField, ...]:
        """Return the fields that cleaned loans have: all but support, and what says when a loan matures always."""
        return tuple(field for field in self.fields if field.role != "support" or field.name == self.term_source)

    @cached_property
    def features(self) -> tuple[LoanField, ...]:
        """Return the fields that a model may see."""
        return self.with_role("feature")

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of `features`, in the contract's order."""
        return tuple(field.name for field in self.features)

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """Return the names of the fields by whose levels loans are judged: the term, and the nominal features."""
        term = [TERM] if TERM in self.by_name else []
        return (*term, *(field.name for field in self.features if field.kind == "nominal" and field.name != TERM))

    @cached_property
    def opinions(self) -> frozenset[str]:
        """Return the names of the fields that are the lender's opinion, or derived from one."""
        own = {field.name for field in self.fields if field.opinion}
        return frozenset(own | {name for name, sources in self.sources.items() if own & sources})

    @cached_property
    def id_name(self) -> str:
        """Return the name of the field that identifies a loan."""
        return self.with_role("id")[0].name

    @cached_property
    def natural(self) -> Contract:
        """Return the contract of applications that a system sends: natural units, plain numbers, usual months.

        The words for nothing, and those of each field, are the book's.
        """
        fields = tuple(field.model_copy(update={"format": (), "century": 1970, "scale": 1.0}) for field in self.fields)
        files = FileFormat(nothing=self.files.nothing)
        if (fields, files) == (self.fields, self.files):
            return self
        said = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**said, "fields": fields, "files": files})

    @property
    def has_time(self) -> bool:
        """Tell whether the book says when its loans were granted."""
        return self.time is None

    @property
    def outcomes_are_final(self) -> bool:
        """Tell whether the outcome of every loan is known, so that no loan has to mature."""
        return self.outcomes == "final"

    @cached_property
    def time_name(self) -> str:
        """Return the name of the field that orders loans in time.

        Raises:
            LookupError: the book has none (`has_time`).
        """
        if not self.has_time:
            raise LookupError(f"The book {self.name} has no date of issue.")
        return self.with_role("time")[0].name

    @property
    def snapshot_column(self) -> str | None:
        """Return the column in which a file says when it was taken, if it does."""
        return self.snapshot.column if self.snapshot else None

    @cached_property
    def cohort_name(self) -> str | None:
        """Return the name of the field by which older and newer loans are told apart where there is no date."""
        return next((field.name for field in self.with_role("cohort")), None)

    @property
    def order_name(self) -> str | None:
        """Return the name of the field that puts loans in order: the time, or else the cohort; None without either."""
        return self.time_name if self.has_time else self.cohort_name

    @cached_property
    def term_source(self) -> str | None:
        """Return the name of the field that says when a loan matures, if one does and loans mature."""
        if self.outcomes_are_final or isinstance(self.term, int | Horizon):
            return None
        return self.term.by if self.term else TERM

    @property
    def labels(self) -> list[str]:
        """Return the columns of cleaned loans that say how a loan ended, and by when that had to be known."""
        return [OUTCOME] if self.outcomes_are_final else [OUTCOME, MATURES]

    @cached_property
    def left_out_by_applicants(self) -> frozenset[str]:
        """Return the names of the time, and of a term that tells when a loan matures and nothing else."""
        term = self.by_name.get(self.term_source or "")
        names = {self.time_name} if self.has_time else set()
        return frozenset(names | ({term.name} if term and term.role == "support" else set()))

    @cached_property
    def application_fields(self) -> tuple[LoanField, ...]:
        """Return the fields that are read of an application: no protected one, and no cohort, which only files have."""
        return tuple(field for field in self.fields if field.role not in ("protected", "cohort"))


def load_contract(path: Path | None = None) -> Contract:
    """Load the contract in `path`, by default the one that the package ships.

    Raises:
        BadInput: the file is absent, is no YAML, or contradicts itself.
    """
    return load_reviewed(path or CONF / "contract.yaml", Contract)


def load_packaged_contract(path: Path) -> Contract:
    """Load a contract of a model package, also of an earlier release, by the rules by which it was accepted.

    Raises:
        BadInput: the file is absent, or is no contract that this release reads.
    """
    return load_reviewed(path, Contract, upgrade=_upgraded)


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Say what earlier releases wrote as this one reads it."""
    return {**data, "fields": [_with_sides(_with_expression(field)) for field in data["fields"]]}


def _with_expression(field: dict[str, Any]) -> dict[str, Any]:
    """Compute a field as the function did that it names, whatever the units of its arguments (before format 3)."""
    if not isinstance(field.get("derived"), dict):
        return field
    return {**field, "derived": _earlier_expression(field["derived"], in_units=False), "derived_as_numbers": True}


def _earlier_expression(derived: Mapping[str, Any], *, in_units: bool) -> str:
    """Write one of the three functions that there were as an expression, of units or of mere numbers."""
    arguments = [*derived.get("of", ()), *("…",) * 4]
    first, second, third, fourth, *_ = arguments
    of_units = {
        "months_between": f"months_between({first}, {second})",
        "percent_of": f"{first} / {second} (or yearly({second}), where that is what comes in a year or a month)",
        "payment_to_income": f"payment({first}, {second}, {third}) / {fourth}",
    }
    of_numbers = {
        **of_units,
        "percent_of": f"100 * {first} / {second}",
        "payment_to_income": f"payment(1200 * {first}, {second} / 1200, {third}) / {fourth}",
    }
    return (of_units if in_units else of_numbers).get(derived.get("function", ""), "an expression over fields")


def _with_sides(field: dict[str, Any]) -> dict[str, Any]:
    """Give the sentence of format 1 the side that the field's direction says, or the level, or drop it for neither."""
    if "reason" not in field:
        return field
    sentence = field.pop("reason")
    side = "level" if field["kind"] == "nominal" else {"rising": "high", "falling": "low"}.get(field["risk"])
    return {**field, "reasons": {side: sentence}} if side and sentence else field
