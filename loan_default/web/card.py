"""The model card as HTML: its Markdown rendered, with headings that fit into a page and tables that scroll.

The card's content is `risk.validation.model_card`'s.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

_DEEPEST = 6


def card_html(markdown: str) -> Markup:
    """Render a card; raw HTML in it is shown as text."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 1, _DEEPEST)}"
        if "style" in token.attrs:  # of a cell; the page allows no style of its own
            del token.attrs["style"]
            token.attrSet("class", "number")
    for number, table in enumerate((token for token in tokens if token.type == "table_open"), 1):
        table.meta["number"] = number
    for opening, content in pairwise(tokens):
        if opening.type == "th_open" and not content.content:
            opening.tag = "td"
            tokens[tokens.index(content) + 1].tag = "td"
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def _open_table(renderer: Any, tokens: Sequence[Token], position: int, options: Any, env: Any) -> str:
    number = tokens[position].meta["number"]
    return f'<div class="table" tabindex="0" role="region" aria-label="Table {number}"><table>'


def _close_table(renderer: Any, tokens: Sequence[Token], position: int, options: Any, env: Any) -> str:
    return "</table></div>"
