"""Reads a file that people review (`conf/*.yaml`) into its typed form, or refuses it with all its mistakes at once.

Each mistake is a line: the file and its line, the field or key, what is wrong and what to write. What a file may say
belongs in the `Section` that it is read into, the sentences in `file_mistakes`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError

from loan_default.risk.errors import BadInput
from loan_default.risk.section import PROBLEMS_LATER, Problem, Section

CONF = Path(__file__).resolve().parent.parent / "conf"  # of the files that the package ships

_File = TypeVar("_File", bound=Section)
_LIBYAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # much faster, where PyYAML was built with it
# Numbers that YAML 1.1 reads as people do: 0777 is 511 to it, 1:30 is 90, 1_000 is 1000.
_AS_WRITTEN = re.compile(r"[-+]?(?!0\d+$)(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.(inf|nan)", re.IGNORECASE)
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")


def load_reviewed(
    path: Path,
    kind: type[_File],
    *,
    upgrade: Callable[[Any], Any] | None = None,
    check: Callable[[_File], Iterable[Problem]] | None = None,
    base: Path | None = None,
) -> _File:
    """Read a YAML file, or a JSON file in much less time, into `kind`.

    Args:
        path: the file.
        kind: what it describes.
        upgrade: makes of what an earlier release wrote as JSON what this one reads; the rules of this one do not hold.
        check: yields what is wrong with the file beside what `kind` itself knows.
        base: a file of the kind that holds where this one says nothing.

    Raises:
        BadInput: the file cannot be read, is no YAML, or says what `kind` does not allow; a line for each mistake.
    """
    text = _read(path)
    try:
        if upgrade:
            return kind.model_validate(upgrade(json.loads(text)), context=PROBLEMS_LATER)
        if path.suffix == ".json":
            return kind.model_validate_json(text)
    except ValidationError as error:
        document = read_yaml(path, text)
        content = upgrade(json.loads(text)) if upgrade else document.content
        raise BadInput(_sentences(path, kind, document._replace(content=content), strict=False)) from error
    texts = {path: text, **({base: _read(base)} if base else {})}
    try:
        file: _File
        file, twice = _from_yaml(kind, *texts.items())
    except ValidationError as error:
        raise BadInput(_sentences(path, kind, _over_base(*texts.items()), check=check)) from error
    if twice or (check and any(True for _ in check(file))):
        raise BadInput(_sentences(path, kind, _over_base(*texts.items()), check=check))
    return file


@lru_cache(maxsize=64)
def _from_yaml(kind: type[_File], *texts: tuple[Path, str]) -> tuple[_File, bool]:
    """Read texts as `_over_base` does into `kind`, the same ones once, and tell whether a key stands twice."""
    document = _over_base(*texts)
    return kind.model_validate(document.content, strict=True), bool(document.twice)


def _over_base(text: tuple[Path, str], *base: tuple[Path, str]) -> Document:
    """Read a text, and lay what it says over what the text of a base does."""
    document = read_yaml(*text)
    return document._replace(content=_over(read_yaml(*base[0]).content, document.content)) if base else document


def _over(base: Any, content: Any) -> Any:
    """Lay the keys of a file's sections over those of a base; a file that says nothing stays one.

    What a key holds counts as it is written, so that names such as those of scenarios may be fewer.
    """
    if not isinstance(base, dict) or not isinstance(content, dict):
        return content
    return {
        key: {**base[key], **value} if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in {**base, **content}.items()
    }


def _read(path: Path) -> str:
    """Read the text of a file, of whatever line ends.

    Raises:
        BadInput: it is absent, or is no text of UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist; give the path of a file that does.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"{path}, line {line}: the byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8."
        ) from error


def _sentences(path: Path, kind: type[Section], document: Document, **options: Any) -> str:
    from loan_default.risk.file_mistakes import find_mistakes  # needed by nobody whose files are right

    return "\n".join(f"{path}, {mistake}" for mistake in find_mistakes(kind, document, **options))


# --- YAML -----------------------------------------------------------------------------------------------------


class Document(NamedTuple):
    """A file as YAML reads it.

    Attributes:
        content: its values; a list is a tuple, and what only looks like a number or a day is text.
        node: the same with the lines on which it stands; None where the file says nothing.
        twice: keys that stand twice in one mapping, as nodes: the earlier and the later one.
    """

    content: Any
    node: yaml.Node | None
    twice: tuple[tuple[yaml.Node, yaml.Node], ...]


class _Loader(_LIBYAML):  # type: ignore[misc]
    """Reads lists as tuples, `1e6` as a number, and as text what only looks like a number (`0777`, `1:30`) or a day."""


def _tuple(loader: Any, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


def _or_text(construct: Callable[[Any, Any], Any], pattern: re.Pattern[str]) -> Callable[[Any, Any], Any]:
    def value_or_text(loader: Any, node: yaml.ScalarNode) -> Any:
        try:
            return construct(loader, node) if pattern.fullmatch(node.value) else node.value
        except ValueError:
            return node.value

    return value_or_text


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:seq", _tuple)
for _type, _pattern in (("int", _AS_WRITTEN), ("float", _AS_WRITTEN), ("timestamp", re.compile(".*"))):
    _tag = f"tag:yaml.org,2002:{_type}"
    _Loader.add_constructor(_tag, _or_text(_LIBYAML.yaml_constructors[_tag], _pattern))


def read_yaml(path: Path, text: str) -> Document:
    """Read a text as YAML.

    Raises:
        BadInput: it is none, or holds more than one document.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, None, ())
        twice = tuple(_keys_that_stand_twice(node, set()))  # before merged keys (<<) come in
        return Document(loader.construct_document(node), node, twice)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise BadInput(f"{path}{line}: this is no YAML: {_yaml_problem(error)}.") from error
    except yaml.reader.ReaderError as error:
        sign = yaml.reader.Reader.NON_PRINTABLE.search(text)
        number = text.count("\n", 0, sign.start() if sign else 0) + 1
        what = f"U+{ord(sign[0]):04X}" if sign else "one that YAML does not allow"
        raise BadInput(f"{path}, line {number}: this is no YAML: it holds the sign {what}; delete it.") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise BadInput(f"{path} is no YAML that can be read: it is nested too deeply.") from error


def _keys_that_stand_twice(node: yaml.Node, node_ids: set[int]) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    if isinstance(node, yaml.ScalarNode) or id(node) in node_ids:
        return
    node_ids.add(id(node))
    if isinstance(node, yaml.MappingNode):
        earlier: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in earlier and key.value != "<<":
                    yield earlier[key.value], key
                earlier[key.value] = key
            yield from _keys_that_stand_twice(value, node_ids)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _keys_that_stand_twice(value, node_ids)


_YAML_REMEDIES = {
    "mapping values are not allowed": "a text with a colon in it has to stand in quotes",
    "tab character": "indent with blanks, not tabs",
    "cannot start any token": "put the text in quotes, and indent with blanks, not tabs",
    "expected a single document": "keep one document, and delete the line --- before the other",
    "undefined alias": "a text that begins with * has to stand in quotes",
    "unconstructable recursive": "an alias *name cannot stand inside of the value that &name marks",
    "could not determine a constructor": "a text that begins with ! has to stand in quotes",
    "unhashable key": "a text that begins with { or [ has to stand in quotes",
    "found unknown escape character": "write '…' instead of \"…\" around a text with \\ in it",
    "did not find expected": (
        "a bracket or quotation mark is not closed, a text with a colon, comma or bracket in it has no quotes, or a "
        "line is not indented as its neighbours"
    ),
    "expected ',' or": "a bracket or quotation mark is not closed",
    "unexpected end of stream": "a quotation mark is not closed",
}


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    """Say what YAML says of it, and what that means as a rule."""
    problem = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    remedies = (remedy for words, remedy in _YAML_REMEDIES.items() if words in problem)
    return "; ".join([problem, *list(remedies)[:1]])
