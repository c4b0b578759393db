"""Charts: one image each, with a description, in the page's own colours, without script or style."""

import re
from typing import Any

import pytest

from loan_default.web import charts
from loan_default.web.charts import Limit, draw

NAMES = [f"batch {number}" for number in range(80)]
SPECS = {
    "trend": charts.trend(
        [*zip(NAMES, [0.1, None] * 40, strict=True)], format=charts.NUMBER, limit=Limit(0.25, "limit 0.25")
    ),
    "trend of one": charts.trend([("a", 0.0)], format=charts.PERCENT),
    "trend of none": charts.trend([], format=charts.PERCENT),
    "stacked": charts.stacked(NAMES, {"approve": [0.6] * 80, "decline": [0.4] * 80}, charts.DECISION_COLOURS),
    "distribution": charts.distribution([("< 10", 0.5, 0.4), ("a, 'b' | c", 0.5, 0.6)], ("reference", "batch")),
    "intervals": charts.intervals([("1", 0.7, 0.68, 0.72)], format=".3f", limit=Limit(0.6, "at least 0.6")),
    "calibration": charts.calibration({"test": [(0.1, 0.12), (0.3, 0.28)]}, ("mean PD", "default rate")),
    "compared bars": charts.compared_bars([("annual_inc", 0.3, 0.2)], ("version 1", "version 2")),
    "agreement": charts.agreement([(0.02, 0.04, 3), (0.3, 0.3, 1)], 0.02, ("first", "second"), (0.15, 0.3)),
    "trade off": charts.trade_off(
        {"by PD": [(0.1, 1e6), (0.2, 3e6)], "by value": [(0.3, 2e6), (0.2, -1e6)]}, ("default rate", "dollars")
    ),
    "vintages": charts.vintages(
        ["2016-Q1", "2016-Q2"], {"a": [0.1, None], "b": [None, 0.2]}, format=".0%", hollow=["b"]
    ),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_chart_is_one_image_that_a_strict_page_can_show(spec: dict[str, Any]) -> None:
    svg = draw(spec, 'What it "shows" & <says>')
    assert svg.startswith('<svg role="img" aria-label="What it &#34;shows&#34; &amp; &lt;says&gt;"')
    assert svg.count("role=") == 1
    assert not re.search(r'style=|<script|<style|href="http|on[a-z]+="', svg)
    colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg))
    assert colours <= {*re.findall(r"var\(--[a-z0-9-]+\)", svg), "none", "transparent"}


def test_every_colour_is_a_variable_of_the_sheet() -> None:
    from loan_default.web.rendering import FOLDER

    sheet = (FOLDER / "static" / "style.css").read_text(encoding="utf-8")
    used = {name for spec in SPECS.values() for name in re.findall(r"var\((--[a-z0-9-]+)\)", draw(spec, ""))}
    dark = sheet[sheet.index("prefers-color-scheme: dark") :]
    assert used
    assert {name for name in used if f"{name}:" not in dark} == set()


def test_a_limit_is_drawn_and_named() -> None:
    assert ">limit 0.25<" in draw(SPECS["trend"], "")
    assert ">limit" not in draw(SPECS["trend of one"], "")


@pytest.mark.parametrize(
    "name", ["trend of one", "stacked", "distribution", "calibration", "compared bars", "agreement"]
)
def test_percents_of_an_axis_are_written_as_in_tables(name: str) -> None:
    written = re.findall(r">([^<]*%)<", draw(SPECS[name], ""))
    assert written
    assert all(re.fullmatch(r"\d+%", text) for text in written)


def test_an_axis_of_one_figure_or_of_zeros_has_labels_that_differ() -> None:
    zeros = charts.trend([("a", 0.0), ("b", 0.0)], format=charts.FINE_PERCENT)
    hundred = charts.vintages(["2016-Q1"], {"mean PD": [0.275]}, format=".0%")
    for spec, most in ((zeros, 1.0), (hundred, 100.0)):
        labels = [float(text) for text in re.findall(r">([\d.]+)%<", draw(spec, ""))]
        assert len(labels) == len({*labels}) > 2
        assert max(labels) <= most


def test_a_chart_is_drawn_once_and_the_ids_of_two_differ() -> None:
    before = charts._render.cache_info().hits
    first, second = (draw(SPECS["agreement"], "a"), draw(SPECS["calibration"], "a"))
    assert draw(SPECS["agreement"], "a") is first
    assert charts._render.cache_info().hits > before
    ids = [set(re.findall(r'id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0].isdisjoint(ids[1])


def test_many_batches_are_drawn_as_the_newest_that_can_be_told_apart() -> None:
    points = [(name, 0.1) for name in NAMES]
    assert len(charts.trend(points, format=charts.NUMBER)["layer"][0]["data"]["values"]) == 60
    assert draw(charts.trend(points, format=charts.NUMBER), "").count("batch 20") == 1


def test_warming_up_draws_a_chart() -> None:
    charts.warm_up()
    assert charts._render.cache_info().currsize
