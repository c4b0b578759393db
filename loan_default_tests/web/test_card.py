"""The card as HTML: headings below the page's, tables that scroll, and nothing that its text could smuggle in."""

from loan_default.risk.markdown import markdown_table
from loan_default.web.card import card_page


def test_headings_stand_below_the_heading_of_the_page_and_sections_have_anchors() -> None:
    page = card_page("# Model card\n## In short\n### deep\n## Data")
    assert page.html == '<h2 id="section-1">In short</h2>\n<h3>deep</h3>\n<h2 id="section-2">Data</h2>\n'
    assert page.sections == (("section-1", "In short"), ("section-2", "Data"))
    assert card_page("text").html == "<p>text</p>\n"


def test_tables_scroll_and_figures_stand_to_the_right() -> None:
    html = card_page(f"{markdown_table(['', 'loans'], [('train', 24_016)])}\n\n{markdown_table(['a'], [('b',)])}").html
    assert html.count('<div class="table" tabindex="0" role="region"') == 2
    assert 'aria-label="Table 2"' in html
    assert '<td class="number">24,016</td>' in html
    assert "<th></th>" not in html
    assert "style=" not in html


def test_a_card_brings_no_html_and_no_script() -> None:
    html = card_page("<script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror=alert(1)>").html
    assert "<script" not in html
    assert "<img" not in html
    assert "<a" not in html
