"""Defines what reviewed files are made of: sections, typed and frozen, that say themselves what contradicts itself.

Which sections there are belongs in `contract`, `policy` and `model.search_space`; reading a file into them, and the
sentences about what cannot be read, in `reviewed_file` and `file_mistakes`. Tested in `risk/test_file_mistakes.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator

Location = tuple[str | int, ...]  # of a value in a file: keys, and positions from 0 in lists
PROBLEMS_LATER = {"problems": "later"}  # context of a validation that leaves `problems` to its caller
_BREAK = re.compile(r"\s*[\r\n\v\f\x85\u2028\u2029]\s*")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")  # also those of direction


def _in_one_line(text: str) -> str:
    if sign := _CONTROLS.search(text):
        raise ValueError(f"it holds {ascii(sign[0])[1:-1]}, a sign that nobody sees; take it out")
    return _BREAK.sub(" ", text).strip() if _BREAK.search(text) else text


def _of_a_header(text: str) -> str:
    if not text.strip():
        raise ValueError("it names no column; write it as the header of the file does")
    return text


Column = Annotated[str, AfterValidator(_of_a_header)]
OneLine = Annotated[str, AfterValidator(_in_one_line)]  # a heading, or part of a sentence: a line break is a blank


class Problem(NamedTuple):
    """A contradiction among values that are each allowed.

    Attributes:
        sentence: what is wrong and what to write, without the label of what is located.
        location: of the value that is wrong, from the section on that yields the problem.
        presumes: keys; where a value of one of them, anywhere, could not be read, the problem may be none.
    """

    sentence: str
    location: Location = ()
    presumes: tuple[str, ...] = ()


def _describe_keys(schema: dict[str, Any], section: type[BaseModel]) -> None:
    """Hand the lines of `Attributes` in a section's docstring, and its parents', on to the keys of its JSON Schema."""
    lines: dict[str, str] = {}
    for each in reversed(section.__mro__):
        introduction, _, attributes = cleandoc(each.__doc__ or "").partition("\nAttributes:\n")
        described = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", attributes, re.M)
        lines |= {name: " ".join(text.split()) for name, text in described}
    schema["description"] = introduction.strip()
    for name, value in schema.get("properties", {}).items():
        if name in lines:
            value["description"] = lines[name]


class Section(BaseModel):
    """A part of a reviewed file: unknown keys are refused, values never change after loading.

    Attributes:
        advice: what to write instead of a value, or instead of a key (""), that people try: (key, value) → sentence.
        stand_ins: values of required keys that contradict least, to examine the rest where one cannot be read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_describe_keys)
    advice: ClassVar[Mapping[tuple[str, str], str]] = {}
    stand_ins: ClassVar[Mapping[str, Any]] = {}

    @property
    def caption(self) -> str:
        """Return what people call this section among others of its kind; by default nothing."""
        return ""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of this section, without those of the sections in it."""
        yield from ()

    def _says(self, key: str) -> bool:
        """Tell whether a key has another value than its default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    @model_validator(mode="after")
    def _hold_together(self, info: ValidationInfo) -> Self:
        if info.context is not PROBLEMS_LATER:
            for problem in self.problems():
                caption = self._caption_at(problem.location)
                raise ValueError(f"{caption}: {problem.sentence}" if caption else problem.sentence)
        return self

    def _caption_at(self, location: Location) -> str:
        """Return the caption of the innermost section that has one, around the location."""
        value: Any = self
        caption = self.caption
        for part in location:
            value = getattr(value, str(part), None) if isinstance(value, Section) else value[part]
            if isinstance(value, Section):
                caption = value.caption or caption
            elif not isinstance(value, tuple | Mapping):
                break
        return caption

    @property
    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with what the section says; a key that it may have does not count
        until it is written.
        """
        content = self.model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
