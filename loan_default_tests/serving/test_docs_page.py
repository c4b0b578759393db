"""The page: all of the document is in it, and nothing that a strict policy of contents would have to allow."""

import html
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest

from loan_default.serving.docs_page import POLICY, page
from loan_default.serving.openapi import Service, document
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import package

VOID = {"meta", "br", "!doctype"}


class Reader(HTMLParser):
    """Notes the tags, attributes and anchors of a page, and that each tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = ServedModel.load(package(tmp_path_factory.mktemp("package") / "xgboost", "xgboost"), 3)
    return document(model, Service("<loans>", 100, secured=True))


def test_every_field_operation_and_status_is_in_it(described: Any) -> None:
    text = page(described).decode()
    for name in described["components"]["schemas"]["Application"]["properties"]:
        assert f"<code>{name}</code>" in text
    for path, methods in described["paths"].items():
        assert f"<code>{path}</code>" in text
        for operation in methods.values():
            assert isinstance(operation, list) or html.escape(operation["summary"]) in text
    assert "&lt;loans&gt;" in text
    assert "<loans>" not in text


def test_it_is_well_formed_and_its_links_lead_somewhere(described: Any) -> None:
    reader = Reader()
    reader.feed(page(described).decode())
    assert reader.open == []
    anchors = {value for name, value in reader.attributes if name == "id"}
    links = {value for name, value in reader.attributes if name == "href"}
    assert links == {"openapi.json", *(f"#{anchor}" for anchor in anchors)}


def test_it_needs_no_script_and_no_other_address(described: Any) -> None:
    text, reader = page(described).decode(), Reader()
    reader.feed(text)
    assert not reader.tags & {"script", "link", "img", "iframe", "form", "object"}
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name in ("src", "style")]
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in POLICY
    assert not re.search(r"url\(|@import|https?:", style)
