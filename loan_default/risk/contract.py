"""Describes what a loan is: the typed form of `conf/contract.yaml`, checked when it is loaded.

Descriptions belong here, and the words of the leak rule: a field is known when the loan is granted. Reading a file by
the contract belongs in `data.loan_files` and `data.field_values`, making a matrix of features in `model.features`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from loan_default.risk.derivations import Expression, Operand, compile_expression, in_order
from loan_default.risk.errors import BadInput

OUTCOME = "outcome"  # column of cleaned loans: 1 defaulted, 0 repaid, null unresolved
TERM = "term"  # field that every contract has: months from the first payment to the last
WRITTEN_AFTERWARDS = "written after the loan was granted"  # of what no field may read: it tells how the loan ended
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


class Section(BaseModel):
    """A part of a reviewed file: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with what the section says; a key that it may have does not count
        until it is written.
        """
        said = self.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


_File = TypeVar("_File", bound=Section)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, much faster, where PyYAML was built with it


def load_reviewed(path: Path, kind: type[_File], *, upgrade: Callable[[Any], Any] | None = None) -> _File:
    """Read a YAML file, or a JSON file in much less time, into `kind`.

    Args:
        path: the file.
        kind: what it describes.
        upgrade: makes of what an earlier release wrote as JSON what this one reads.

    Raises:
        BadInput: the file is absent, is no YAML, or says something that `kind` does not allow; names the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if upgrade:
            return kind.model_validate(upgrade(json.loads(text)))
        if path.suffix == ".json":
            return kind.model_validate_json(text)
        return kind.model_validate(yaml.load(text, Loader=_LOADER))
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist.") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{path}: {key}: {first['msg']}.") from error


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

    @model_validator(mode="after")
    def _be_clear(self) -> FileFormat:
        signs = {key: getattr(self, key) for key in ("separator", "quote", "decimal", "thousands")}
        for key, sign in signs.items():
            if sign is not None and len(sign) != 1:
                raise ValueError(f"files: {key} {sign!r} is not one character")
        if self.quote == self.separator:
            raise ValueError(f"files: separator and quote are both {self.quote}")
        if self.decimal == self.thousands:
            raise ValueError(f"files: decimal and thousands are both {self.decimal}")
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise ValueError(f"files: encoding {self.encoding} is no text encoding that Python knows") from error
        return self


def _as_formats(formats: Any) -> Any:
    return (formats,) if isinstance(formats, str) else formats


Formats = Annotated[tuple[str, ...], BeforeValidator(_as_formats)]  # of a month: one, or several in order of trial


class Reasons(Section):
    """The sentences by which a field is a reason, one for each side of its value; `{value}` stands for the value."""

    high: str | None = None
    low: str | None = None
    missing: str | None = None
    level: str | None = None

    @field_validator("*")
    @classmethod
    def _is_sentence(cls, sentence: str | None) -> str | None:
        if sentence is not None and not placeholders(sentence) <= {"value"}:
            raise ValueError(f"'{sentence}' holds more than text and {{value}}")
        return sentence

    @property
    def sides(self) -> frozenset[Side]:
        """Return the sides that have a sentence."""
        return frozenset(side for side in get_args(Side) if getattr(self, side) is not None)


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


class LoanField(Section):
    """One field of a loan; `conf/contract.yaml` explains each key."""

    name: str = Field(pattern=_NAME)
    column: str = ""
    kind: Kind
    role: Role
    description: str
    unit: str | None = None
    range: tuple[float, float] | None = None
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
        if "reason" in data:
            raise ValueError(f"field {name}: reason is now reasons, a sentence for each side: {{high: …, low: …}}")
        if isinstance(data.get("derived"), dict):
            expression = _earlier_expression(data["derived"], in_units=True)
            raise ValueError(f"field {name}: derived is now an expression; write derived: {expression}")  # noqa: TRY004
        return {"column": name, "group": name, "nullable": not data.get("required", False), **data}

    @model_validator(mode="after")
    def _agree_with_kind(self) -> LoanField:
        if self.kind == "number" and self.role == "feature" and (self.unit is None or self.range is None):
            raise ValueError(f"field {self.name}: a number needs a unit and a range")
        if self.range is not None and (self.kind != "number" or not self.range[0] < self.range[1]):
            raise ValueError(f"field {self.name}: range {list(self.range)} is empty, or not of a number")
        if (self.kind in ("ordered", "nominal")) != bool(self.levels):
            raise ValueError(f"field {self.name}: levels go with kinds ordered and nominal, and only with them")
        if self.outside == "null" and not self.nullable:
            raise ValueError(f"field {self.name}: outside may only be null where the field is nullable")
        for word, meaning in self.words.items():
            if not (meaning is None or (meaning in self.levels if self.levels else isinstance(meaning, int | float))):
                raise ValueError(f"field {self.name}: word {word} stands for {meaning}, which is no value of it")
        if self.derived and self.kind != "number":
            raise ValueError(f"field {self.name}: only a number can be derived")
        if self.outside == "clip" and self.kind != "number":
            raise ValueError(f"field {self.name}: only a number can be clipped")
        if self.opinion and self.role == "feature" and self.kind == "number" and not self.risk and not self.derived:
            raise ValueError(
                f"field {self.name}: a number that is the lender's opinion needs risk: rising or falling, as it is not "
                "known else which way the lender means it"
            )
        if self.role == "feature" and self.kind in ("month", "text"):
            raise ValueError(f"field {self.name}: a {self.kind} cannot be a feature")
        if self.format and self.kind != "month":
            raise ValueError(f"field {self.name}: only a month has a format")
        if self.scale != 1 and self.kind != "number":
            raise ValueError(f"field {self.name}: only a number has a scale")
        if self.role == "cohort" and self.kind not in ("number", "ordered", "text"):
            raise ValueError(f"field {self.name}: a {self.kind} cannot be a cohort; a number, ordered or text can")
        return self

    @model_validator(mode="after")
    def _give_reasons_of_known_sides(self) -> LoanField:
        """Refuse a sentence for a side that the field does not have, or whose direction is not known."""
        if self.reasons.sides and self.role != "feature":
            raise ValueError(f"field {self.name}: only a feature has reasons; its role is {self.role}")
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
        if sides and sides not in allowed:
            raise ValueError(f"field {self.name}: reasons are {', '.join(sorted(sides))}: {rule}")
        if self.reasons.missing and "{value}" in self.reasons.missing:
            raise ValueError(f"field {self.name}: reasons.missing holds {{value}}, and there is none")
        return self

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

    column: str
    definition: str | None = None
    grace_months: int = Field(default=0, ge=0, le=60)
    defaulted: tuple[str, ...]
    repaid: tuple[str, ...]
    unresolved: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _be_clear(self) -> Outcome:
        texts = [*self.defaulted, *self.repaid, *self.unresolved]
        for text in sorted({text for text in texts if texts.count(text) > 1}):
            raise ValueError(f"status {text} is listed twice")
        return self

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


class ProductTerm(Section):
    """Gives the term by product: the months of each level of the field that `by` names."""

    by: str
    months: Mapping[str, Months] = Field(min_length=1)


class Horizon(Section):
    """Ends the watch over a loan that has no last payment: it counts whether it defaults within so many months."""

    horizon: Months


class Expectation(Section):
    """Limits within which a loan file is sound."""

    rejected_share_at_most: float = Field(ge=0, le=1)
    default_rate_between: tuple[float, float]


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
    snapshot_month: date | None = None

    def holds_ended_loans_only(self, outcome: Outcome) -> bool:
        """Tell whether all of its statuses say how a loan ended: loans without an outcome are not in such files."""
        statuses = {*self.texts.get(outcome.column, {}).values()}
        return bool(statuses) and not statuses & {*outcome.unresolved}

    @field_validator("snapshot_month", mode="before")
    @classmethod
    def _first_of_month(cls, value: Any) -> Any:
        return f"{value}-01" if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}", value) else value


class Contract(Section):
    """A loan book: its fields, outcome, snapshot and layouts; `selection` says who is in its files and who is not.

    Raises (from loading, as `BadInput`): a field that names a column written after the loan was granted, two
    fields of one name, a derived field whose expression or units are wrong, an absent id, time or `term` field,
    a sentence for a side that is not known, a group of which only some fields are the lender's opinion.
    """

    name: str
    title: str
    selection: str | None = None
    known_afterwards: tuple[str, ...]
    files: FileFormat = FileFormat()
    time: Literal["none"] | None = None
    outcomes: Literal["final"] | None = None
    term: Months | ProductTerm | Horizon | None = None
    outcome: Outcome
    snapshot: Snapshot | None = None
    not_loans: tuple[str, ...] = ()
    expect: Expectation
    layouts: tuple[FileLayout, ...] = ()
    groups: Mapping[str, str] = {}
    fields: tuple[LoanField, ...]

    @model_validator(mode="after")
    def _hold_together(self) -> Contract:
        names = [field.name for field in self.fields]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"field {name} is described twice")
        for field in self.fields:
            if self.is_known_afterwards(field.column):
                raise ValueError(f"field {field.name}: column {field.column} is {WRITTEN_AFTERWARDS}")
        for role in ("id", *(["time"] if self.has_time else [])):
            if sum(field.role == role for field in self.fields) != 1:
                raise ValueError(f"exactly one field must have the role {role}")
        for problem in (*self._time_problems(), *self._term_problems(), *self._derivation_problems()):
            raise ValueError(problem)
        for problem in self._group_problems():
            raise ValueError(problem)
        return self

    def _time_problems(self) -> Iterator[str]:
        """Yield what is wrong with the fields by which loans are put in order."""
        if len(self.with_role("cohort")) > 1:
            yield "more than one field has the role cohort"
        if self.has_time:
            issued = self.with_role("time")[0]
            if issued.kind != "month":
                yield f"field {issued.name}: the time is a month, and its kind is {issued.kind}"
            return
        for field in self.with_role("time"):
            yield f"field {field.name} has the role time although time: none says that the book has no date"
        if not self.outcomes_are_final:
            yield "time: none needs outcomes: final, as without a date no loan can be said to have matured"

    def _term_problems(self) -> Iterator[str]:
        """Yield what keeps the contract from saying when a loan matures."""
        if isinstance(self.term, ProductTerm):
            product = self.by_name.get(self.term.by)
            if product is None or not product.levels:
                yield f"term: by names {self.term.by}, which is no field with levels"
            elif absent := [level for level in product.levels if level not in self.term.months]:
                yield f"term: months of {', '.join(absent)} are not said"
            elif unknown := [level for level in self.term.months if level not in product.levels]:
                yield f"term: {', '.join(unknown)} is no level of {product.name}"
        if self.term is None and not self.outcomes_are_final:
            field = self.by_name.get(TERM)
            if field is None or field.kind != "number" or field.unit != "months":
                yield "a number field term with the unit months is needed: it says when a loan matures"

    def _group_problems(self) -> Iterator[str]:
        """Yield what is wrong with the groups and their sentences."""
        members: dict[str, list[LoanField]] = {}
        for field in self.features:
            members.setdefault(field.group, []).append(field)
        for group, fields in members.items():
            opinions = [field.name for field in fields if field.name in self.opinions]
            if len(opinions) not in (0, len(fields)):
                other = next(field.name for field in fields if field.name not in opinions)
                yield (
                    f"field {opinions[0]} is the lender's opinion{self._by_derivation(opinions[0])} and {other} of the "
                    f"same group {group} is none; give {opinions[0]} a group of its own"
                )
        for group, sentence in self.groups.items():
            if group not in members:
                yield f"groups: {group} is the group of no feature; those are {', '.join(members)}"
            if placeholders(sentence):
                yield f"groups: the sentence of {group} tells of the whole group, so it can hold no {{value}}"

    def _by_derivation(self, name: str) -> str:
        derived = name in self.expressions and not self.by_name[name].opinion
        return f" (derived from {', '.join(self.expressions[name].of)})" if derived else ""

    def _derivation_problems(self) -> Iterator[str]:
        """Yield what is wrong with the derived fields."""
        _, problems = self._derivations
        yield from problems
        for name, sources in self.sources.items():
            for source in sorted(sources):
                if self.by_name[name].role == "feature" and self.by_name[source].role == "protected":
                    yield f"field {name}: a feature cannot be derived from {source}, which is protected"

    @cached_property
    def _derivations(self) -> tuple[dict[str, Expression], list[str]]:
        """Compile the derived fields, each after those that it is derived from, and say which cannot be."""
        operands = {field.name: Operand(field.kind, field.unit) for field in self.fields}
        time = next((field.name for field in self.with_role("time")), None)
        compiled: dict[str, Expression] = {}
        problems: list[str] = []
        for field in self.fields:
            if field.derived is None:
                continue
            try:
                compiled[field.name] = compile_expression(
                    field.derived, field.unit, operands, time=time, as_numbers=field.derived_as_numbers
                )
            except ValueError as error:
                problems.append(f"field {field.name}: derived: {error}")
        try:
            return in_order(compiled), problems
        except ValueError as error:
            return {}, [*problems, str(error)]

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
        """Return the fields that cleaned loans have: all but support; the term always, as loans mature by it."""
        return tuple(field for field in self.fields if field.role != "support" or field.name == TERM)

    @cached_property
    def features(self) -> tuple[LoanField, ...]:
        """Return the fields that a model may see."""
        return self.with_role("feature")

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of `features`, in the contract's order."""
        return tuple(field.name for field in self.features)

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
        fields = tuple(field.model_copy(update={"format": (), "scale": 1.0}) for field in self.fields)
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


def load_contract(path: Path | None = None) -> Contract:
    """Load the contract in `path`, by default the one that the package ships.

    Raises:
        BadInput: the file is absent, is no YAML, or contradicts itself.
    """
    return load_reviewed(path or CONF / "contract.yaml", Contract)


def load_packaged_contract(path: Path) -> Contract:
    """Load a contract of a model package, also of an earlier release.

    Raises:
        BadInput: as `load_contract`.
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
