"""Files that people review: what YAML makes of them, and what is no file of the kind."""

import json
from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default.risk.reviewed_file import load_reviewed
from loan_default.risk.section import Problem, Section


class Shelf(Section):
    """A file of no meaning."""

    texts: tuple[str, ...] = ()
    number: float = 0.0
    flag: bool = False


# What YAML 1.1 reads as 511, 8, 90, 1000, 31, 3 and 90.5.
AS_WRITTEN = ("0777", "08", "1:30", "1_000", "0x1F", "0b11", "1:30.5")


def write(folder: Path, content: str | bytes, name: str = "shelf.yaml") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("text", "shelf"),
    [
        ("number: 1e6", Shelf(number=1_000_000)),
        ("number: 3", Shelf(number=3)),
        ("texts: [a, 'No', \"1\"]", Shelf(texts=("a", "No", "1"))),
        ("\ufeffflag: yes\r\nnumber: 2\r\n", Shelf(flag=True, number=2)),
        ("texts: &names [a]\nnumber: 1", Shelf(texts=("a",), number=1)),
        ("<<: {number: 1, flag: true}\nnumber: 2", Shelf(number=2, flag=True)),
        ("{}", Shelf()),
        (f"texts: [{', '.join(AS_WRITTEN)}]", Shelf(texts=AS_WRITTEN)),
        ("number: 1.5E-3", Shelf(number=0.0015)),
        ("number: 012.50", Shelf(number=12.5)),
    ],
)
def test_a_file_is_read(tmp_path: Path, text: str, shelf: Shelf) -> None:
    assert load_reviewed(write(tmp_path, text), Shelf) == shelf


def test_a_file_is_read_anew_when_it_changes_and_once_while_it_does_not(tmp_path: Path) -> None:
    shelf = load_reviewed(write(tmp_path, "number: 1"), Shelf)
    assert load_reviewed(write(tmp_path, "number: 1"), Shelf) is shelf
    assert load_reviewed(write(tmp_path, "number: 2"), Shelf).number == 2
    base = write(tmp_path, "flag: true", "base.yaml")
    path = write(tmp_path, "number: 1")
    assert load_reviewed(path, Shelf, base=base) == Shelf(number=1, flag=True)
    write(tmp_path, "flag: false", "base.yaml")
    assert load_reviewed(path, Shelf, base=base) == Shelf(number=1)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("0777", "777 without quotes"),
        ("1_000", "1000 without quotes"),
        ("1_0.5", "10.5 without quotes"),
        ("1:30", "a number"),
        ("0x1F", "a number"),
    ],
)
def test_no_number_is_read_as_another_than_is_written(tmp_path: Path, text: str, remedy: str) -> None:
    sentence = f"line 1: number: {text} is a text, and it has to be a number; write {remedy}."
    with pytest.raises(BadInput, match=sentence):
        load_reviewed(write(tmp_path, f"number: {text}"), Shelf)


def test_a_json_file_is_read_as_one(tmp_path: Path) -> None:
    shelf = Shelf(texts=("a",), number=1)
    assert load_reviewed(write(tmp_path, shelf.model_dump_json(), "shelf.json"), Shelf) == shelf


def test_what_an_earlier_release_wrote_is_upgraded(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"words": ["a"]}), "shelf.json")
    assert load_reviewed(path, Shelf, upgrade=lambda data: {"texts": data["words"]}) == Shelf(texts=("a",))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("texts: [a", ", line 2: this is no YAML: .*; a bracket or quotation mark is not closed"),
        ("number: 1\ntexts: a: b", ", line 2: this is no YAML: .*; a text with a colon in it has to stand in quotes."),
        ("number: 1\n\tflag: true", ", line 2: this is no YAML: .* indent with blanks, not tabs."),
        ("number: &a [*a]", ", line 1: this is no YAML: .* recursive node; an alias .name cannot stand inside of"),
        ("number: 1\n---\nnumber: 2", ", line 2: this is no YAML: .*; keep one document, and delete the line ---"),
        ("texts: *a", ", line 1: this is no YAML: .*; a text that begins with [*] has to stand in quotes."),
        ("texts: !a b", ", line 1: this is no YAML: .*; a text that begins with ! has to stand in quotes."),
        ("texts: " + "[" * 2_000 + "]" * 2_000, " is no YAML that can be read: it is nested too deeply."),
        ("number: 1\ntexts: [ü]".encode("latin-1"), ", line 2: the byte 0xfc is not UTF-8; save the file as UTF-8."),
        ("number: 1".encode("utf-16"), ", line 1: the byte 0xff is not UTF-8; save the file as UTF-8."),
        ("texts: [a]\nnumber: \x00", r", line 2: this is no YAML: it holds the sign U[+]0000; delete it."),
        ("", ", line 1: the file holds nothing; it has to be keys with values."),
        ("# nothing", ", line 1: the file holds nothing; it has to be keys with values."),
        ("- a", ", line 1: the file is a list; it has to be keys with values."),
        ("a", ", line 1: the file is a text; it has to be keys with values."),
        (
            "number: 1\nflag: true\nnumber: 2",
            ", line 3: the key number stands twice, first on line 1; keep one of them.",
        ),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_line(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(BadInput, match=rf"^{path}{sentence}"):
        load_reviewed(path, Shelf)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.yaml does not exist; give the path of a file that does\.$"):
        load_reviewed(tmp_path / "absent.yaml", Shelf)
    with pytest.raises(BadInput, match="cannot be read: Is a directory"):
        load_reviewed(tmp_path, Shelf)


def test_a_json_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, '{\n "texts": ["a"],\n "number": "x"\n}', "shelf.json")
    with pytest.raises(BadInput, match=r"json, line 3: number: x is a text, and it has to be a number"):
        load_reviewed(path, Shelf)


def test_what_others_know_of_a_file_is_told_with_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, "texts: [a, b]\nnumbr: 2")

    def check(shelf: Shelf) -> list[Problem]:
        return [Problem(f"{text} is no house", ("texts", 0)) for text in shelf.texts if text != "a"]

    with pytest.raises(BadInput) as refusal:
        load_reviewed(path, Shelf, check=check)
    assert str(refusal.value) == (
        f"{path}, line 1: b is no house.\n{path}, line 2: numbr: there is no such key; write number."
    )
    with pytest.raises(BadInput, match="b is no house"):
        load_reviewed(write(tmp_path, "texts: [a, b]"), Shelf, check=check)
    assert load_reviewed(write(tmp_path, "texts: [a]"), Shelf, check=check) == Shelf(texts=("a",))
