"""The report: one file with all its pictures and style, that asks for nothing and leads nowhere."""

import re
from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default.web.report import write_report


@pytest.mark.integration
@pytest.mark.usefixtures("pages")
def test_the_report_needs_nothing_else(pages_home: Settings, tmp_path: Path) -> None:
    out = tmp_path / "new" / "committee.html"
    write_report(pages_home, out)
    text = out.read_text(encoding="utf-8")
    for title in ("Overview", "Batches", "Versions", "Promised and realised", "Strategy"):
        assert f"<h1>{title}</h1>" in text
    assert text.count("<svg role=") == 5 + 3 + 3 + 1
    assert "--chart-approve:" in text
    assert not re.search(r"<script|<link|<img|<form|src=|url\(h", text)
    sections = {"#overview", "#batches", "#versions", "#promised-and-realised", "#strategy"}
    assert {*re.findall(r'href="([^"]*)"', text)} == sections


@pytest.mark.parametrize("name", ["report.pdf", "."])
def test_a_file_that_is_no_page_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"name a file that ends in \.html"):
        write_report(Settings(tmp_path), tmp_path / name)
