"""The card as HTML: headings below the page's, tables that scroll, and nothing that its text could smuggle in."""

from loan_default.risk.markdown import markdown_table
from loan_default.web.card import card_html


def test_headings_stand_below_the_heading_of_the_page() -> None:
    assert card_html("# Model card\n## In short\n###### deep") == (
        "<h2>Model card</h2>\n<h3>In short</h3>\n<h6>deep</h6>\n"
    )


def test_tables_scroll_and_figures_stand_to_the_right() -> None:
    html = card_html(f"{markdown_table(['', 'loans'], [('train', 24_016)])}\n\n{markdown_table(['a'], [('b',)])}")
    assert html.count('<div class="table" tabindex="0" role="region"') == 2
    assert 'aria-label="Table 2"' in html
    assert '<td class="number">24,016</td>' in html
    assert "<th></th>" not in html
    assert "style=" not in html


def test_a_card_brings_no_html_and_no_script() -> None:
    html = card_html("<script>alert(1)</script> [x](javascript:alert(1)) <img src=x onerror=alert(1)>")
    assert "<script" not in html
    assert "<img" not in html
    assert "<a" not in html
