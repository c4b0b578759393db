"""Says what is wrong with a reviewed file: every mistake with its line, what it concerns, and what to write instead.

The library that validates names types and positions; here they become keys, names of fields and words. What sections
know of themselves they say in `Section.problems`; reading the file belongs in `reviewed_file`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast, get_args

import yaml
from pydantic import TypeAdapter, ValidationError

from loan_default.risk.section import PROBLEMS_LATER, Location, Problem, Section

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from loan_default.risk.reviewed_file import Document


class Mistake(NamedTuple):
    """A sentence about a line of a file, counted from 1."""

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}."


def find_mistakes(
    kind: type[Section],
    document: Document,
    *,
    strict: bool = True,
    check: Callable[[Any], Iterable[Problem]] | None = None,
) -> list[Mistake]:
    """Return all mistakes of a file, in the order of its lines.

    What cannot be read is put aside, so that the rest can be examined; what may only follow from it is not told.

    Args:
        kind: what the file should be.
        document: what it says.
        strict: whether a number may not be written as text, nor 1 as true.
        check: yields what is wrong with the file beside what `kind` itself knows.
    """
    mistakes = [*_keys_that_stand_twice(document)]
    if not isinstance(document.content, dict):
        what = "holds nothing" if document.content is None else f"is {_noun(document.content)}"
        needed = ", ".join(key for key, field in kind.model_fields.items() if field.is_required())
        return [Mistake(1, f"the file {what}; it has to be keys with values{needed and ': '}{needed}"), *mistakes]
    mistakes += _keys_that_are_no_text(document)
    content, unread = _mutable(document.content), set[Location]()
    for _ in range(5):  # an error may hide others: what is put aside shows them
        try:
            file = kind.model_validate(_frozen(content), strict=strict, context=PROBLEMS_LATER)
        except ValidationError as error:
            groups = _by_location(kind, content, error)
            for location, details in groups.items():
                if not any(location[: len(other)] == other for other in unread | _near_missing(kind, groups)):
                    mistakes.append(_mistake_of(kind, document, location, details))
            aside = [_put_aside(kind, content, location, details, unread) for location, details in groups.items()]
            if not all(aside):
                break
        else:
            mistakes += _contradictions(file, document, unread, check)
            break
    return sorted(dict.fromkeys(mistakes), key=lambda mistake: mistake.line)


def _keys_that_stand_twice(document: Document) -> Iterator[Mistake]:
    for earlier, later in document.twice:
        line, first = later.start_mark.line + 1, earlier.start_mark.line + 1
        where = "in one line" if first == line else f"first on line {first}"
        sentence = f"the key {later.value} stands twice, {where}; keep one of them"
        yield Mistake(line, _labelled(document, later, sentence))


def _keys_that_are_no_text(document: Document) -> Iterator[Mistake]:
    for key, _ in _keys_in(document.node, (), set()):
        if key.tag not in (_TEXT_TAG, "tag:yaml.org,2002:merge"):
            sentence = f'YAML reads the key {key.value} as no text; write "{key.value}" in quotes'
            if not isinstance(key, yaml.ScalarNode):
                sentence = "YAML reads the key as a list or keys with values; write a text in quotes"
            yield Mistake(key.start_mark.line + 1, _labelled(document, key, sentence))


def _labelled(document: Document, key: yaml.Node, sentence: str) -> str:
    """Name what a key stands in, before a sentence about it."""
    around = next((location for node, location in _keys_in(document.node, (), set()) if node is key), ())
    where = _where(document.content, around)
    return f"{where}: {sentence}" if where else sentence


def _keys_in(node: yaml.Node | None, location: Location, node_ids: set[int]) -> Iterator[tuple[yaml.Node, Location]]:
    """Yield each key with the location of what it stands in."""
    if node is None or id(node) in node_ids:
        return
    node_ids.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key, location
            yield from _keys_in(value, (*location, str(key.value)), node_ids)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _keys_in(value, (*location, number), node_ids)


# --- values that cannot be read -------------------------------------------------------------------------------


def _near_missing(kind: type[Section], groups: Mapping[Location, list[ErrorDetails]]) -> set[Location]:
    """Return the keys that are missing because a key is misspelt."""
    misspelt = [location for location, details in groups.items() if details[0]["type"] == "extra_forbidden"]
    keys = ((location, _keys(_sections_at(kind, location[:-1]))) for location in misspelt)
    return {
        (*location[:-1], near)
        for location, names in keys
        if location[-1] not in names and (near := _near(str(location[-1]), names))
    }


def _by_location(kind: type[Section], content: Any, error: ValidationError) -> dict[Location, list[ErrorDetails]]:
    """Gather the errors by the location of the value in the file: several kinds may be allowed of one value."""
    groups: dict[Location, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        location = _location_in(kind, content, details)
        if location is not None:
            groups.setdefault(location, []).append(details)
    return groups


def _location_in(kind: type[Section], content: Any, details: ErrorDetails) -> Location | None:
    """Return the keys and positions that the content has, without the names of types; a missing key ends it.

    None where the file does not have the key: its default follows from another.
    """
    location: list[str | int] = []
    parts = list(details["loc"])
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if isinstance(content, dict):
            if part in content:
                location.append(part)
                content = content[part]
            elif details["type"] == "missing":
                location += [part] if last else []
            elif last and part in _keys(_sections_at(kind, tuple(location))):
                return None
        elif isinstance(content, list) and isinstance(part, int):
            location.append(part)
            content = content[part] if part < len(content) else None
    return tuple(location)


def _put_aside(
    kind: type[Section], content: Any, location: Location, details: list[ErrorDetails], unread: set[Location]
) -> bool:
    """Take a value that cannot be read out of the content, or put a stand-in for it; return whether that could be."""
    if any(location[:size] in unread for size in range(len(location) + 1)):
        return True
    while location:
        *outer, key = location
        sections = _sections_at(kind, tuple(outer))
        owner = next((section for section in sections if key in section.model_fields), None)
        if isinstance(key, str) and sections and owner is None:
            near = _near(key, _keys(sections))
            unread.update([location, *([(*outer, near)] if near else [])])
            _value_at(content, outer).pop(key, None)
            return True
        if isinstance(key, str) and owner and isinstance(_value_at(content, outer), dict):
            unread.add(location)
            if not owner.model_fields[key].is_required():
                _value_at(content, outer).pop(key, None)
                return True
            stand_in = _stand_in(owner, key)
            if stand_in is not None:
                _value_at(content, outer)[key] = _mutable(stand_in)
                return True
        location = tuple(outer)
    return False


def _stand_in(section: type[Section], key: str) -> Any:
    """Return a value that a required key may have; None where none is known."""
    if key in section.stand_ins:
        return section.stand_ins[key]
    field = section.model_fields[key]
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
        inner = field.annotation
        return {name: _stand_in(inner, name) for name, other in inner.model_fields.items() if other.is_required()}
    allowed: TypeAdapter[Any] = TypeAdapter(cast(Any, Annotated[field.annotation, field]))
    values: tuple[Any, ...] = ("unread", 0.3, 0.7, 1, 100, False, (0.0, 1.0), ("unread",), {})
    for value in values:
        try:
            allowed.validate_python(value, strict=True)
        except ValidationError:
            continue
        return value
    return None


def _sections_at(kind: type[Section], location: Location) -> list[type[Section]]:
    """Return the types of section that may stand at a location; none where it is no section."""
    kinds, plain = [kind], False
    for part in location:
        owner = next((owner for owner in kinds if part in owner.model_fields), None)
        if isinstance(part, str) and owner and not plain:
            annotation = owner.model_fields[part].annotation
            kinds, plain = list(_sections_in(annotation)), "Mapping" in str(annotation)
        else:
            plain = False  # an item of a list, or the value of a key that the file names itself
    return [] if plain else kinds


def _keys(sections: Iterable[type[Section]]) -> dict[str, FieldInfo]:
    """Return the keys that any of these sections may have, with what is known of them."""
    return {key: field for section in sections for key, field in section.model_fields.items()}


def _near(word: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant."""
    words = list(words)
    longer = [other for other in words if len(word) > 2 and other.startswith(word)]
    return next(iter([*get_close_matches(word, words, 1), *longer]), None)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)


def _value_at(content: Any, location: Iterable[str | int]) -> Any:
    for part in location:
        content = content[part]
    return content


def _mutable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _mutable(item) for key, item in value.items()}
    return [_mutable(item) for item in value] if isinstance(value, tuple | list) else value


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


# --- contradictions -------------------------------------------------------------------------------------------


def _contradictions(
    file: Section, document: Document, unread: set[Location], check: Callable[[Any], Iterable[Problem]] | None
) -> Iterator[Mistake]:
    """Yield the problems of all sections that do not hang on what could not be read."""
    problems = [(location, problem) for location, problem in _walk(file, ())]
    problems += [((), problem) for problem in (check(file) if check else ())]
    keys = {str(part) for location in unread for part in location}
    for section, problem in problems:
        location = (*section, *problem.location)
        around = {location[:size] for size in range(len(location) + 1)} | {(*section, "kind"), (*section, "role")}
        within = any(other[: len(location)] == location for other in unread) and len(location) > 2
        if not (within or around & unread or keys & {*problem.presumes}):
            label = _label(document.content, location) or ".".join(map(str, section))
            yield Mistake(_line(document.node, location), f"{label}: {problem.sentence}" if label else problem.sentence)


def _walk(value: Any, location: Location) -> Iterator[tuple[Location, Problem]]:
    if isinstance(value, Section):
        yield from ((location, problem) for problem in value.problems())
        for key in type(value).model_fields:
            yield from _walk(getattr(value, key), (*location, key))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, (*location, key))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _walk(item, (*location, number))


# --- where ----------------------------------------------------------------------------------------------------


def _label(content: Any, location: Location) -> str:
    """Name the innermost item of a list that has a name: `field dti`."""
    label = ""
    for number, part in enumerate(location[:2]):
        if number == 1 and isinstance(part, int) and isinstance(_value_at(content, location[:1]), tuple):
            item = _value_at(content, location[:2]) if part < len(_value_at(content, location[:1])) else None
            if isinstance(item, dict):
                name = item.get("name")
                label = (
                    f"{str(location[0]).removesuffix('s')} {name if isinstance(name, str) else f'number {part + 1}'}"
                )
    return label


def _where(content: Any, location: Location) -> str:
    """Name a location: `field dti: reasons.high`, `outcome.defaulted`."""
    label = _label(content, location)
    keys: list[str] = []
    for part in location[2 if label else 0 :]:
        if isinstance(part, str):
            keys.append(part)
    return ": ".join(text for text in (label, ".".join(keys)) if text)


def _line(node: yaml.Node | None, location: Location) -> int:
    """Return the line on which a location stands, or the innermost one around it that the file has."""
    line = node.start_mark.line if node else 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            line, node = pairs[-1][0].start_mark.line, pairs[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _text_at(node: yaml.Node | None, location: Location) -> str | None:
    """Return a single value as it is written."""
    for part in location:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in reversed(node.value) if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return None
    return node.value if isinstance(node, yaml.ScalarNode) else None


# --- sentences ------------------------------------------------------------------------------------------------

_TEXT_TAG = "tag:yaml.org,2002:str"
_EXPECTED = {
    "string_type": "a text",
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "finite_number": "a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "tuple_type": "a list",
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), "keys with values"),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), "a day"),
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_TWO_NUMBERS = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*(?:-|–|\.\.\.?|to|,|;|\s)\s*(-?\d+(?:\.\d+)?)\s*")  # as 0-100
_EXAMPLES = {"a list": "[a, b]", "a day": "it as 2027-06-30", "keys with values": "{key: value}"}


def _mistake_of(kind: type[Section], document: Document, location: Location, details: list[ErrorDetails]) -> Mistake:
    is_key = details[0]["loc"][-1:] == ("[key]",)
    where, text = _where(document.content, location), _text_at(document.node, location)
    text = str(details[0]["input"]) if is_key else text
    sentence = _sentence(kind, location, text, details)
    return Mistake(_line(document.node, location), f"{where}: {sentence}" if where else sentence)


def _sentence(kind: type[Section], location: Location, text: str | None, details: list[ErrorDetails]) -> str:
    """Say what is wrong with the value at a location, and what to write."""
    first = details[0]
    value, error = first["input"], first["type"]
    keys = [part for part in location if isinstance(part, str)]
    key = keys[-1] if keys else ""
    sections = _sections_at(kind, location[: len(location) - location[::-1].index(key) - 1]) if keys else [kind]
    for section in sections:
        if advice := section.advice.get((key, "" if error == "extra_forbidden" else str(value))):
            return advice
    if error == "extra_forbidden":
        return _unknown_key(kind, sections, key)
    if error == "missing":
        return _missing_key(sections, location)
    if error == "literal_error":
        return _no_such_word(first, text)
    if error in _LIMITS:
        name, words = _LIMITS[error]
        return f"{text or value} is not allowed; write a number of {words} {first['ctx'][name]:.10g}"
    if error in ("too_short", "too_long"):
        return "there are too many values; write two, as [0, 1]" if error == "too_long" else "it is empty; fill it"
    if error == "string_pattern_mismatch":
        return f"'{str(value)[:80]}' is no name; write small letters, digits and _, a letter first, at most 63 in all"
    expected = list(dict.fromkeys(_EXPECTED[error["type"]] for error in details if error["type"] in _EXPECTED))
    if len(expected) > 1 and "a whole number" in expected:
        expected.remove("a whole number")  # which is a number too
    if expected:
        remedy = _remedy(expected[0], value, text)
        is_general = remedy == _EXAMPLES.get(expected[0], expected[0])
        example = (_example(kind, location, expected[0]) if is_general else None) or remedy
        return f"{_reading(value, text)}, and it has to be {' or '.join(expected)}; write {example}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    return message if error == "value_error" else message[0].lower() + message[1:]


def _unknown_key(kind: type[Section], sections: list[type[Section]], key: str) -> str:
    names = _keys(sections)
    if key in names:
        return f"{key} cannot stand beside the other keys here; delete it, or them"
    if near := _near(key, names):
        return f"there is no such key; write {near}"
    owner = next((name for name, other in _keyed_sections(kind) if key in other.model_fields), None)
    elsewhere = f"{key} is a key of {owner}, so write it there" if owner else f"those here are {', '.join(names)}"
    return f"there is no such key; {elsewhere}"


def _keyed_sections(kind: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """Yield the sections inside of a section with the keys that lead to them."""
    for name, field in kind.model_fields.items():
        for section in _sections_in(field.annotation):
            yield name, section
            yield from ((f"{name}.{inner}", other) for inner, other in _keyed_sections(section))


def _missing_key(sections: list[type[Section]], location: Location) -> str:
    *_, key = location
    if isinstance(key, int):
        return "a value is missing; write two, as [0, 1]"
    field = _keys(sections).get(key)
    return f"the key is missing; write {key}: {field.examples[0] if field and field.examples else '…'}"


def _no_such_word(details: ErrorDetails, text: str | None) -> str:
    value, allowed = details["input"], details["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
    if text in allowed:
        return f'{_reading(value, text)}; write "{text}" in quotes'
    near = _near(str(text), allowed)
    if len(allowed) == 1:
        return f"{text or 'this'} is not allowed; write {allowed[0]}, or delete the key"
    return f"{text or 'this'} is none of {', '.join(allowed)}; write {near or 'one of these'}"


def _example(kind: type[Section], location: Location, expected: str) -> str | None:
    """Return what may be written at a location that has to hold a list or keys."""
    if expected not in ("a list", "keys with values"):
        return None
    *outer, key = location or ("",)
    field = _keys(_sections_at(kind, tuple(outer))).get(str(key))
    if field and field.examples:
        return str(field.examples[0])
    sections = _sections_at(kind, location)
    needed = [name for name, inner in _keys(sections).items() if inner.is_required()]
    keys = ", ".join(f"{name}: …" for name in needed)
    return f"{{{keys}}}" if keys and expected == "keys with values" else None


def _reading(value: Any, text: str | None) -> str:
    """Repeat a value as it is written, and say what YAML reads."""
    if value is None:
        return f"YAML reads {text} as nothing" if text else "there is no value"
    if isinstance(value, bool):
        return f"YAML reads {text} as {str(value).lower()}"
    if isinstance(value, date):
        return f"YAML reads {text} as a day"
    return f"{text or 'it'} is {_noun(value)}"


def _noun(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "a list"
    if isinstance(value, dict):
        return "keys with values"
    return "a number" if isinstance(value, int | float) else "a text"


def _remedy(expected: str, value: Any, text: str | None) -> str:
    if expected == "a text":
        text = ", ".join(f"{key}: {item}" for key, item in value.items()) if isinstance(value, dict) else text
        return f"{json.dumps(text, ensure_ascii=False)} in quotes" if text else "a text"
    if expected == "a list" and isinstance(value, str):
        if numbers := _TWO_NUMBERS.fullmatch(value):
            return f"[{', '.join(numbers.groups())}]"
        if not re.search(r"[\s,]", value):
            return f"[{json.dumps(text, ensure_ascii=False)}]"
    if expected.endswith("number") and isinstance(value, str):
        try:
            return f"{float(value):.10g} without quotes"
        except ValueError:
            return _number_meant(value) or expected
    return _EXAMPLES.get(expected, expected)


def _number_meant(text: str) -> str | None:
    """Return the number that a text such as `15%` or `0,15` means."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|0,\d+|\d+,\d{1,2})\s*(%?)\s*", text)
    return f"{float(match[1].replace(',', '.')) / (100 if match[2] else 1):.10g}" if match else None
