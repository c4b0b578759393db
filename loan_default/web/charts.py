"""Charts of pages: Vega-Lite, rendered to SVG on the server, so that a page needs no script and prints as it looks.

Colours are the variables of `static/style.css`, so that one picture works on light and dark ground. What is drawn, and
the table beside it, are the page's to say.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from loan_default.web.tables import PageTable

WIDTH, HEIGHT = 330, 150  # of the plot: with its axes it fits a telephone; a page scales it up
# Of parts: the whole is one image.
_ARIA = re.compile(r' (role="graphics-[a-z]+"|aria-(roledescription|hidden)="[^"]*")')
_POINTS = 60  # that can be told apart in this width
_LABELS = 5  # of batches below an axis
_CACHED = 512  # pictures, of some 10 KB each
_INK, _LINE, _TEXT = "var(--ink)", "var(--chart-grid)", "var(--chart-text)"
FIRST, SECOND, LIMIT = "var(--chart-1)", "var(--chart-2)", "var(--decline)"
DECISION_COLOURS = {decision: f"var(--chart-{decision})" for decision in ("approve", "review", "decline")}
SERIES_COLOURS = tuple(f"var(--chart-{number})" for number in range(1, 6))
PERCENT, FINE_PERCENT, NUMBER = ".0%", ".1%", ".2f"
_AXIS = {
    "labelColor": _TEXT,
    "titleColor": _TEXT,
    "gridColor": _LINE,
    "domainColor": _LINE,
    "tickColor": _LINE,
    "labelFontSize": 11,
    "titleFontSize": 11,
    "titleFontWeight": "normal",
    "titlePadding": 6,
    "labelPadding": 4,
    "tickCount": 4,
}
_CONFIG: Mapping[str, Any] = {
    "aria": False,  # the picture has one description, and its figures stand in the table beside it
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "padding": {"left": 12, "top": 5, "right": 8, "bottom": 5},  # a reader's font may be wider than the renderer's
    "axis": _AXIS,
    "axisX": {"grid": False},
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": _TEXT,
        "labelFontSize": 11,
        "symbolType": "square",
        "offset": 6,
    },
    "text": {"color": _TEXT, "fontSize": 11},
}


@dataclass(frozen=True)
class Chart:
    """A picture with what it says: `title` states it, `note` says how to read it, `table` holds its figures."""

    title: str
    svg: Markup
    table: PageTable | None = None
    note: str = ""


@dataclass(frozen=True)
class Limit:
    """A line across a chart, and what is written on it."""

    value: float
    label: str


def warm_up() -> None:
    """Load the renderer: the first picture takes half a second, and others do not."""
    draw(trend([("", 0.0)], format=NUMBER), "")


def draw(spec: Mapping[str, Any], description: str) -> Markup:
    """Render a Vega-Lite specification; the same one is rendered once."""
    return _render(json.dumps({**spec, "config": {**_CONFIG, **spec.get("config", {})}}, allow_nan=False), description)


@functools.lru_cache(_CACHED)
def _render(spec: str, description: str) -> Markup:
    from vl_convert import vegalite_to_svg

    svg = _ARIA.sub("", vegalite_to_svg(spec))
    name = hashlib.blake2b(spec.encode(), digest_size=4).hexdigest()
    svg = re.sub(r'(id="|url\(#)(\w+)', rf"\1c{name}-\2", svg)  # ids are of the page, not of the picture
    head = Markup('<svg role="img" aria-label="{}"').format(description)
    return Markup(svg.replace("<svg", head, 1))


# --- what is drawn: each returns a specification


def trend(
    points: Sequence[tuple[str, float | None]], *, format: str, limit: Limit | None = None, colour: str = FIRST
) -> dict[str, Any]:
    """Draw figures of batches, oldest first, as a line; one without a figure leaves a gap.

    Args:
        points: name and figure of each.
        format: of the figures, as d3 writes it.
        limit: beyond which a figure would be too high.
        colour: of the line.
    """
    points = points[-_POINTS:]
    values = [{"x": number, "y": figure} for number, (_, figure) in enumerate(points)]
    highest = max(
        [figure for _, figure in points if figure is not None] + ([limit.value * 1.15] if limit else []) + [0]
    )
    y = _y(format, [0, highest or (0.01 if format == FINE_PERCENT else 1)])
    x = _positions([name for name, _ in points])
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": values},
            "mark": {"type": "line", "color": colour, "strokeWidth": 2, "point": {"color": colour, "size": 22}},
            "encoding": {"x": x, "y": y},
        }
    ]
    return _layered([*layers, *(_limit_layers(limit) if limit else [])])


def stacked(names: Sequence[str], shares: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> dict[str, Any]:
    """Draw shares that add up to 1, by batch, oldest first, one above the other.

    Args:
        names: of the batches.
        shares: of each part, in the order from below, one for each batch.
        colours: of the parts.
    """
    names = names[-_POINTS:]
    tops = [list(accumulate(column)) for column in zip(*(part[-_POINTS:] for part in shares.values()), strict=True)]
    values = [
        {"x": number, "part": part, "y": bottom, "y2": top}
        for number, column in enumerate(tops)
        for part, bottom, top in zip(shares, [0, *column], column, strict=False)
    ]
    width = max(WIDTH / max(len(names), 1) * 0.8, 2)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": values},
        "mark": {"type": "bar", "size": min(width, 40)},
        "encoding": {
            "x": _positions(names),
            "y": {**_y(PERCENT, [0, 1]), "field": "y"},
            "y2": {"field": "y2"},
            "color": _colour("part", colours),
        },
    }


def distribution(bins: Sequence[tuple[str, float, float]], sides: tuple[str, str]) -> dict[str, Any]:
    """Draw two sides' shares beside each other, by bin.

    Args:
        bins: label and both shares of each.
        sides: the sides' names.
    """
    values = [
        {"bin": f"{number}|{label}", "side": side, "share": share}
        for number, (label, *shares) in enumerate(bins)
        for side, share in zip(sides, shares, strict=True)
    ]
    many = any(len(label) > 5 for label, *_ in bins) or len(bins) > 9
    axis = {"labelExpr": "split(datum.label, '|')[1]", "labelAngle": -40 if many else 0, "title": None, "ticks": False}
    share_axis = {"format": PERCENT, "title": None, "tickCount": 3}
    return {
        "width": WIDTH,
        "height": 110,
        "data": {"values": values},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "bin", "type": "ordinal", "sort": None, "axis": {**axis, "labelLimit": 110}},
            "xOffset": {"field": "side", "sort": list(sides)},
            "y": {
                "field": "share",
                "type": "quantitative",
                "axis": share_axis,
            },
            "color": _colour("side", dict(zip(sides, (FIRST, SECOND), strict=True))),
        },
    }


def intervals(
    points: Sequence[tuple[str, float, float, float]], *, format: str, limit: Limit | None = None
) -> dict[str, Any]:
    """Draw figures with their intervals: name, value, lower and upper end of each."""
    values = [{"x": name, "y": value, "low": low, "high": high} for name, value, low, high in points]
    ends = [end for _, _, low, high in points for end in (low, high)] + ([limit.value] if limit else [])
    margin = (max(ends) - min(ends)) * 0.1 or 0.01
    x = {"field": "x", "type": "ordinal", "sort": None, "axis": {"title": "version", "labelAngle": 0}}
    y = {**_y(format, [min(ends) - margin, max(ends) + margin])}
    layers = [
        {
            "data": {"values": values},
            "mark": {"type": "rule", "color": FIRST, "strokeWidth": 2},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": values},
            "mark": {"type": "point", "color": FIRST, "filled": True, "size": 60, "opacity": 1},
            "encoding": {"x": x, "y": y},
        },
    ]
    return _layered([*layers, *(_limit_layers(limit) if limit else [])])


def calibration(series: Mapping[str, Sequence[tuple[float, float]]], axes: tuple[str, str]) -> dict[str, Any]:
    """Draw pairs of shares (promised, realised) against the line on which they are equal, by series."""
    most = max([share for pairs in series.values() for pair in pairs for share in pair] + [0.01]) * 1.05
    values = [{"series": name, "x": x, "y": y} for name, pairs in series.items() for x, y in pairs]
    domain = {"scale": {"domain": [0, most], "nice": False}}
    axis = {"format": PERCENT, "grid": True}
    x = {"field": "x", "type": "quantitative", **domain, "axis": {**axis, "title": axes[0]}}
    y = {"field": "y", "type": "quantitative", **domain, "axis": {**axis, "title": axes[1]}}
    colours = dict(zip(series, SERIES_COLOURS, strict=False))
    layers = [
        {
            "data": {"values": [{"x": 0, "y": 0}, {"x": most, "y": most}]},
            "mark": {"type": "line", "color": _TEXT, "strokeDash": [4, 4], "strokeWidth": 1},
            "encoding": {"x": x, "y": y},
        },
        {
            "data": {"values": values},
            "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
            "encoding": {"x": x, "y": y, "color": _colour("series", colours, legend=len(series) > 1)},
        },
    ]
    return {**_layered(layers), "width": 260, "height": 220}


def compared_bars(
    bars: Sequence[tuple[str, float, float]], sides: tuple[str, str], *, format: str = PERCENT
) -> dict[str, Any]:
    """Draw two sides' figures as bars that lie below each other: label and both figures of each."""
    values = [
        {"bar": label, "side": side, "figure": figure}
        for label, *figures in bars
        for side, figure in zip(sides, figures, strict=True)
    ]
    return {
        "width": 250,
        "height": {"step": 9},
        "data": {"values": values},
        "mark": {"type": "bar"},
        "encoding": {
            "y": {
                "field": "bar",
                "type": "ordinal",
                "sort": None,
                "scale": {"paddingInner": 0.35},
                "axis": {"title": None, "ticks": False, "labelLimit": 170, "grid": False, "domain": False},
            },
            "yOffset": {"field": "side", "sort": list(sides)},
            "x": {
                "field": "figure",
                "type": "quantitative",
                "axis": {"format": format, "title": None, "grid": True},
            },
            "color": _colour("side", dict(zip(sides, (FIRST, SECOND), strict=True))),
        },
    }


def agreement(
    pairs: Sequence[tuple[float, float, int]], step: float, axes: tuple[str, str], cutoffs: Sequence[float]
) -> dict[str, Any]:
    """Draw how often two PDs fall into each square of the side `step`, with the cut-offs of both.

    Args:
        pairs: lower ends of a square, and how many lie in it.
        step: the side of a square.
        axes: what either axis shows.
        cutoffs: PDs at which decisions change.
    """
    most = max([max(x, y) for x, y, _ in pairs] + [0.0]) + step
    domain = {"scale": {"domain": [0, most], "nice": False}}
    axis = {"format": PERCENT, "grid": False}
    x = {"field": "x", "type": "quantitative", **domain, "axis": {**axis, "title": axes[0]}}
    y = {"field": "y", "type": "quantitative", **domain, "axis": {**axis, "title": axes[1]}}
    largest = max([count for *_, count in pairs] + [1])
    values = [
        {"x": low, "x2": low + step, "y": below, "y2": below + step, "weight": 0.12 + 0.88 * (count / largest) ** 0.5}
        for low, below, count in pairs
    ]
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": values},
            "mark": {"type": "rect", "color": FIRST},
            "encoding": {
                "x": x,
                "x2": {"field": "x2"},
                "y": y,
                "y2": {"field": "y2"},
                "opacity": {"field": "weight", "type": "quantitative", "scale": None, "legend": None},
            },
        }
    ]
    for cutoff in (cutoff for cutoff in cutoffs if cutoff < most):
        mark = {"type": "rule", "color": LIMIT, "strokeDash": [4, 3]}
        for along, name in ((x, "x"), (y, "y")):
            encoding = {name: {**along, "field": "pd"}}
            layers.append({"data": {"values": [{"pd": cutoff}]}, "mark": mark, "encoding": encoding})
    return {**_layered(layers), "width": 260, "height": 220}


def vintages(
    names: Sequence[str], lines: Mapping[str, Sequence[float | None]], *, format: str, hollow: Sequence[str] = ()
) -> dict[str, Any]:
    """Draw figures of vintages by line; those of `hollow` lines are estimates: open points on a dashed line."""
    names, start = names[-_POINTS:], max(len(names) - _POINTS, 0)
    figures = [figure for line in lines.values() for figure in line[start:] if figure is not None]
    low, high = (min(figures), max(figures)) if figures else (0.0, 1.0)
    margin = max((high - low) * 0.15, 0.02)  # else the labels of the axis would be the same
    top = min(high + margin, 1) if format == PERCENT else high + margin
    y = _y(format, [max(low - margin, 0), top])
    colours = dict(zip(lines, SERIES_COLOURS, strict=False))
    layers = []
    for name, line in lines.items():
        values = [{"x": number, "y": figure, "line": name} for number, figure in enumerate(line[start:])]
        estimated = name in hollow
        point: dict[str, Any] = {"filled": not estimated, "size": 40, "strokeWidth": 1.5, "opacity": 1}
        point |= {"fill": "var(--surface)"} if estimated else {}
        mark = {"type": "line", "point": point, "strokeDash": [4, 3] if estimated else [1, 0]}
        encoding = {"x": _positions(names), "y": y, "color": _colour("line", colours, legend=len(lines) > 1)}
        layers.append({"data": {"values": values}, "mark": mark, "encoding": encoding})
    return _layered(layers)


def trade_off(series: Mapping[str, Sequence[tuple[float, float]]], axes: tuple[str, str]) -> dict[str, Any]:
    """Draw what is earned (sums, y) against a share (x) as lines, by series, each in its own order."""
    x = {"field": "x", "type": "quantitative", "axis": {"format": PERCENT, "title": axes[0]}}
    axis = {"format": "~s", "labelExpr": "datum.value ? datum.label : '0'", "title": axes[1], "grid": True}  # not 0k
    y = {"field": "y", "type": "quantitative", "axis": axis}
    values = [
        {"x": share, "y": earned, "series": name, "order": number}
        for name, pairs in series.items()
        for number, (share, earned) in enumerate(pairs)
    ]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": values},
        "mark": {"type": "line", "strokeWidth": 2, "point": {"filled": True, "size": 30}},
        "encoding": {
            "x": x,
            "y": y,
            "order": {"field": "order", "type": "quantitative"},
            "color": _colour("series", dict(zip(series, SERIES_COLOURS, strict=False))),
        },
    }


# --- common parts


def _layered(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"width": WIDTH, "height": HEIGHT, "layer": list(layers)}


def _positions(names: Sequence[str]) -> dict[str, Any]:
    """Return the axis of batches: numbers, as an axis of sixty names takes four times as long, with a few names."""
    count = len(names)
    step = max(-(-count // _LABELS), 1)
    chosen = list(range(0, count, step))
    labels = json.dumps({str(number): names[number] for number in chosen})
    return {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": [-0.5, max(count - 0.5, 0.5)], "nice": False, "zero": False},
        "axis": {
            "values": chosen,
            "labelExpr": f"{labels}[format(datum.value, 'd')]",
            "title": None,
            "grid": False,
            "labelLimit": 80,
            "labelOverlap": False,
        },
    }


def _y(format: str, domain: Sequence[float]) -> dict[str, Any]:
    digits = {"axis": {"format": format, "title": None, "grid": True}}
    return {"field": "y", "type": "quantitative", "scale": {"domain": list(domain), "nice": True}, **digits}


def _limit_layers(limit: Limit) -> list[dict[str, Any]]:
    data = {"values": [{"y": limit.value}]}
    y = {"field": "y", "type": "quantitative"}
    text = {"type": "text", "text": limit.label, "align": "left", "dy": -6, "color": LIMIT, "x": 3}
    return [
        {"data": data, "mark": {"type": "rule", "color": LIMIT, "strokeDash": [5, 3]}, "encoding": {"y": y}},
        {"data": data, "mark": text, "encoding": {"y": y}},
    ]


def _colour(field: str, colours: Mapping[str, str], *, legend: bool = True) -> dict[str, Any]:
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": {} if legend else None, "sort": None}
