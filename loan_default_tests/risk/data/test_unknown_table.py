"""A table of which no contract tells is read whatever divides, packs and encodes it; what is none is one sentence."""

from __future__ import annotations

import gzip
import zipfile
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from loan_default.risk.data.unknown_table import UnknownTable, read_unknown_table
from loan_default.risk.errors import BadInput

ROWS = [["id", "amount", "town"], ["0017", "1.5", "Köln"], ["0018", "2", "Ulm"]]


def write(folder: Path, separator: str = ",", encoding: str = "utf-8", above: str = "", name: str = "t.csv") -> Path:
    path = folder / name
    text = above + "".join(f"{separator.join(row)}\n" for row in ROWS)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_signs_and_encodings_are_guessed(separator: str, encoding: str, tmp_path: Path) -> None:
    table = read_unknown_table(write(tmp_path, separator, encoding))
    assert table.texts.rows() == [tuple(row) for row in ROWS[1:]]
    assert table.texts.columns == ROWS[0]
    assert (table.separator, table.encoding) == (separator, "utf-8" if encoding == "utf-8-sig" else encoding)
    assert table.complete


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Höhe;Größe;Beschäftigung", "cp1252"),
        ("durée;prêt;l\u2019achat", "cp1252"),
        ("låneår;beløb;København", "cp1252"),
        ("Województwo;Płeć;śląskie", "cp1250"),
        ("Dueño;vehículo;educación", "cp1252"),
        ("situação;imóvel próprio;prestações", "cp1252"),
        ("Nº Contrato;Agência;Situação", "cp1252"),
        ("N° de prêt;durée;échéance", "cp1252"),
        ("prodlení;žádost;předčasně", "cp1250"),
        ("késedelem;bérlő;fűtés", "cp1250"),
        ("plătit;locuinţă;întârziere", "cp1250"),
        ("zadlužitev;življenje;plačano", "cp1250"),
        ("gecikmiş;boşanmış;EĞİTİM", "cp1254"),
        ("grąžinta;vėluoja;būstas", "cp1257"),
        ("atmaksāts;kavējums;īpašums", "cp1257"),
        ("prodlení;žádost;šance", "iso8859-2"),
        ("καθυστέρηση;ενοίκιο;ΙΔΙΟΚΤΗΤΗΣ", "cp1253"),
        ("сумма;срок;статус", "cp1251"),
        ("сплачено;житло;їжа", "cp1251"),
    ],
)
def test_a_code_page_is_guessed_by_the_letters_of_a_language(text: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"{text}\n1;2;3\n".encode(encoding))
    table = read_unknown_table(path)
    assert (table.texts.columns, table.encoding) == (text.split(";"), encoding)


def test_lines_of_a_title_stand_above_the_table(tmp_path: Path) -> None:
    assert read_unknown_table(write(tmp_path, above="Notes of the lender\n")).texts.height == 2


def test_packed_files_and_parquet_are_read(tmp_path: Path) -> None:
    plain = write(tmp_path)
    expected = read_unknown_table(plain).texts
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.write(plain, "t.csv")
    assert read_unknown_table(packed).texts.equals(expected)
    assert read_unknown_table(tmp_path / "t.zip").texts.equals(expected)
    frame = pl.DataFrame({"n": [1.5, None], "on": [date(2015, 12, 1), None], "yes": [True, False], "l": [[1], [2]]})
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_unknown_table(tmp_path / "t.parquet")
    assert table == UnknownTable(table.texts)
    assert table.texts.rows() == [("1.5", "2015-12-01", "true"), (None, None, "false")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; give a table with a header line and one line for each loan"),
        (b"one\ntwo\nthree\n", "no sign divides its lines"),
        (b"a,b\n", "a header and no line below it"),
        (b"\x1f\x8bnot gzip", "cannot be read as a table"),
        (b"PAR1 is no Parquet", "cannot be read as a table"),
    ],
)
def test_what_is_no_table_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=sentence):
        read_unknown_table(path)
    with pytest.raises(BadInput, match="is not a file"):
        read_unknown_table(tmp_path)
