"""The card as one HTML page with its figures, which MLflow shows and which can be sent to somebody.

It fetches nothing and runs no script. What the card says is `page`'s.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-bottom: 1px solid #8886; margin-top: 2.5rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 0.9em; }
th, td { border-bottom: 1px solid #8886; padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
img { background: white; max-width: 100%; }
"""


def card_page(card: str, figures: Mapping[str, bytes]) -> str:
    """Return a card in Markdown as a page, its figures (PNG, by file name) at the end; HTML in it is shown as text."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(card)
    title = html.escape(card.partition("\n")[0].removeprefix("# "))
    pictures = "".join(_figure(name, png) for name, png in figures.items())
    heading = "<h2>Figures</h2>" if pictures else ""
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}{heading}{pictures}</body></html>\n'


def _figure(name: str, png: bytes) -> str:
    caption = html.escape(name.removesuffix(".png").replace("_", " "))
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )
