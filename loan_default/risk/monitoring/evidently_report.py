"""Evidently's report on a batch: its table, and charts of samples of both sides, by the platform's figures and verdict.

What has drifted is not measured again: each column has the figure that `drift` measured on all rows, and counts as
drifted where the record says so. Importing this loads Evidently, which takes seconds. Where reports are kept is
`adapters.evidently_workspace`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
from evidently import DataDefinition, Dataset, Report
from evidently.core.container import MetricContainer
from evidently.core.report import Snapshot
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.options.color_scheme import RED
from evidently.legacy.renderers.html_widgets import text_widget
from evidently.metrics import ValueDrift
from evidently.metrics.column_statistics import ValueDriftCalculation
from evidently.presets import DataDriftPreset

from loan_default.risk.monitoring.drift import widest_figure
from loan_default.risk.monitoring.reference_profile import RAW_SCORE, Reference, name_scored_loans
from loan_default.risk.text import plural

Record = Mapping[str, Any]
Line = Mapping[str, Any]

_LOCK = Lock()  # Evidently has one register of tests in a process
_BLUE = "#4c78a8"  # of the batch, as red looks like an alarm
_PSI = StatTest("platform_psi", "PSI less chance, all rows", [ColumnType.Numerical, ColumnType.Categorical])


class Heading(MetricContainer):  # type: ignore[misc] # Evidently has no types
    """A text in Markdown above the charts, and no metric."""

    text: str

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(include_tests=False)

    def generate_metrics(self, context: Any) -> Sequence[Any]:
        """Return no metric."""
        return []

    def render(self, context: Any, child_widgets: Any = None) -> list[Any]:
        """Return the text as a widget."""
        return [text_widget(text=self.text)]


def draw_report(record: Record, reference: Reference, batch: pl.DataFrame) -> Snapshot:
    """Draw the report on a batch from the record of its comparison.

    Args:
        record: what `steps.monitoring` stores of it.
        reference: of the version, with a sample of the loans of development: the features, and raw scores.
        batch: a sample of the batch, with the same columns.
    """
    lines = {line["feature"]: line for line in record["features"] if line["missing_reference"] < 1}
    sides = _datasets((batch, reference.sample), lines)
    with _LOCK, _columns_drawn_once(), np.errstate(all="ignore"):  # of a constant column no correlation is known
        register_stattest(_PSI, _recorded_drift(record, lines))
        report = Report([Heading(_heading(record, reference, batch)), *(_metrics(record, lines) if sides else [])]).run(
            *sides or (Dataset.from_pandas(pl.DataFrame({"rows": [batch.height]}).to_pandas()), None),
            timestamp=datetime.fromisoformat(record["scored_at"]),
            name=f"{record['batch']}: {record['verdict']}",
            tags=[f"version {record['model_version']}", record["verdict"]],
            metadata={"batch": record["batch"], "version": str(record["model_version"])},
        )
    return Snapshot.loads(report.dumps().replace(RED, _BLUE))


def report_page(snapshot: Snapshot) -> str:
    """Return a report as an HTML page that holds its scripts and fonts and fetches nothing."""
    page: str = snapshot.get_html_str(as_iframe=False)
    return page


def _metrics(record: Record, lines: Mapping[str, Line]) -> list[Any]:
    limits, parts = record["limits"], []
    if RAW_SCORE in lines:
        parts.append(ValueDrift(column=RAW_SCORE, method=_PSI.name, threshold=limits["score_psi_limit"]))
    if features := sorted(name for name in lines if name != RAW_SCORE):  # a series over time has one list of columns
        share, limit = limits["drifted_share_limit"], limits["feature_psi_limit"]
        parts.append(DataDriftPreset(columns=features, method=_PSI.name, threshold=limit, drift_share=share))
    return parts


def _recorded_drift(record: Record, lines: Mapping[str, Line]) -> Callable[..., tuple[float, bool]]:
    """Return a test for Evidently that looks up what was measured and what counts as drifted."""
    drifted = set(record["drifted_features"])
    if record["verdict"] == "drifted" and lines.get(RAW_SCORE, {}).get("drifted"):
        drifted.add(RAW_SCORE)

    def look_up(reference: Any, batch: Any, kind: Any, threshold: float) -> tuple[float, bool]:
        return widest_figure(lines[batch.name]) or 0.0, batch.name in drifted

    return look_up


def _datasets(sides: Sequence[pl.DataFrame], lines: Mapping[str, Line]) -> list[Dataset]:
    """Return both sides as Evidently reads them; none where a side has no rows, or no column is compared.

    Numbers are float64 and levels text. A column of which one side holds no value, which Evidently refuses, says of
    each row whether there is one.
    """
    if not lines or not all(side.height for side in sides):
        return []
    numbers: list[str] = []
    levels: list[str] = []
    columns: list[pl.Expr] = []
    for name, line in lines.items():
        number = line["kind"] != "categorical"
        column = pl.col(name).cast(pl.Float64) if number else pl.col(name).cast(pl.String)
        if number:
            column = pl.when(column.is_finite()).then(column)
        if any(side.select(column.is_null().all()).item() for side in sides):
            number, column = False, pl.when(column.is_null()).then(pl.lit("no value")).otherwise(pl.lit("a value"))
        (numbers if number else levels).append(name)
        columns.append(column.alias(name))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=levels)
    return [Dataset.from_pandas(side.select(columns).to_pandas(), data_definition=definition) for side in sides]


def _heading(record: Record, reference: Reference, batch: pl.DataFrame) -> str:
    version, population = record["model_version"], record["reference"]
    reasons = "\n".join(f"- {reason}" for reason in record["reasons"])
    return (
        f"# Batch {record['batch']} and version {version}: {record['verdict']}\n\n"
        f"{plural(record['rows'], 'application')}{_of(record['months'])}, scored on {record['scored_at'][:10]}, beside "
        f"the {population['rows']:,} loans{_of(population['months'])} that version {version} was developed on.\n\n"
        f"{reasons}\n\n"
        "A column's drift score is the largest of its PSIs over all rows, less what chance makes of few; what is "
        "detected is what the verdict counts. "
        f"The charts are of samples: {plural(batch.height, 'application')} and {reference.sample.height:,} loans. The "
        f"raw scores of these are {name_scored_loans(reference.profile)}.\n"
    )


def _of(months: Sequence[str] | None) -> str:
    """Say which months rows are of, as far as they have any."""
    return f" of {' to '.join(dict.fromkeys(months))}" if months else ""


@contextmanager
def _columns_drawn_once() -> Iterator[None]:
    """Let no metric of a feature draw: the preset's page shows its table alone, which draws each column again."""
    draw = ValueDriftCalculation._render
    ValueDriftCalculation._render = lambda self, *options: (
        draw(self, *options) if self.metric.column == RAW_SCORE else []
    )
    try:
        yield
    finally:
        ValueDriftCalculation._render = draw
