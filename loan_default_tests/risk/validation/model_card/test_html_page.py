"""The card as a page of its own: tables and figures are in it, and nothing is fetched or run."""

import re

from loan_default.risk.validation.model_card.html_page import card_page

CARD = """# Model card: loan default, version 3

## In short

It ranks <b>loans</b>.

| a | b |
| --- | ---: |
| x | 1 |
"""


def test_a_card_is_a_page_with_its_figures() -> None:
    page = card_page(CARD, {"roc.png": b"png", "default_rate_by_decile.png": b"other"})
    assert "<title>Model card: loan default, version 3</title>" in page
    assert "<h2>In short</h2>" in page
    assert re.search(r"<td>x</td>\s*<td style=.text-align:right.>1</td>", page)
    assert page.count("<figure>") == 2
    assert 'alt="default rate by decile" src="data:image/png;base64,' in page
    assert "<figure>" not in card_page(CARD, {})


def test_html_in_a_card_is_text_and_nothing_is_fetched() -> None:
    page = card_page(CARD + "\n<script src='https://elsewhere'></script>\n", {})
    assert "&lt;b&gt;loans&lt;/b&gt;" in page
    assert not re.search(r"<(script|link|iframe)", page)
