"""The model card as HTML: its Markdown rendered, with headings that fit into a page and tables that scroll.

The card's content is `risk.validation.model_card`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token


@dataclass(frozen=True)
class CardPage:
    """A card as HTML without its title, which is the page's, and its sections: anchor and title of each."""

    html: Markup
    sections: tuple[tuple[str, str], ...]


def card_page(markdown: str) -> CardPage:
    """Render a card; raw HTML in it is shown as text."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _open_table)
    parser.add_render_rule("table_close", _close_table)
    tokens = _without_title(parser.parse(markdown))
    for token in tokens:
        if "style" in token.attrs:  # of a cell; the page allows no style of its own
            del token.attrs["style"]
            token.attrSet("class", "number")
    for number, table in enumerate((token for token in tokens if token.type == "table_open"), 1):
        table.meta["number"] = number
    for opening, content in pairwise(tokens):
        if opening.type == "th_open" and not content.content:
            opening.tag = "td"
            tokens[tokens.index(content) + 1].tag = "td"
    sections = tuple(_anchor_sections(tokens))
    return CardPage(Markup(parser.renderer.render(tokens, parser.options, {})), sections)


def _without_title(tokens: Sequence[Token]) -> list[Token]:
    """Leave out a heading of the first level that the card begins with: opening, text and closing."""
    return [*tokens[3:]] if tokens and tokens[0].type == "heading_open" and tokens[0].tag == "h1" else [*tokens]


def _anchor_sections(tokens: Sequence[Token]) -> Sequence[tuple[str, str]]:
    sections = list[tuple[str, str]]()
    for opening, content in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag == "h2":
            anchor = f"section-{len(sections) + 1}"
            opening.attrSet("id", anchor)
            sections.append((anchor, content.content))
    return sections


def _open_table(renderer: Any, tokens: Sequence[Token], position: int, options: Any, env: Any) -> str:
    number = tokens[position].meta["number"]
    return f'<div class="table" tabindex="0" role="region" aria-label="Table {number}"><table>'


def _close_table(renderer: Any, tokens: Sequence[Token], position: int, options: Any, env: Any) -> str:
    return "</table></div>"
