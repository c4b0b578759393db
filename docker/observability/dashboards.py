"""Write Grafana's dashboards, `grafana/dashboards/*.json`: `make dashboards`, after a change here.

Plain dictionaries of Grafana's JSON. Its foundation SDK would be 10 MB of generated classes for these few fields, and
ties the files to one release of Grafana. What raises an alert is in `rules/`; an expression here may use its records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
_WIDTH, _HEIGHT = 24, 8  # of a row of panels, in Grafana's units
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A panel: what it shows, each expression with its legend, the unit, and how wide it is of 24."""

    title: str
    expressions: Mapping[str, str]  # by legend
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    description: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Sequence[tuple[float, str]] = ()  # from which value on, in which colour


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: its name in the address, its title, and its panels under their headings."""

    name: str
    title: str
    rows: Mapping[str, Sequence[Panel]]


def stat(title: str, expression: str, unit: str = "short", **named: Any) -> Panel:
    """Show the newest value of an expression, in the colour of its limits."""
    return Panel(title, {"": expression}, unit, "stat", width=named.pop("width", 4), **named)


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Return Grafana's JSON of a dashboard."""
    return {
        "uid": f"loan-default-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["loan-default"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["loan-default"], "title": "loan-default", "asDropdown": True}],
        "panels": [*_panels(dashboard)],
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number = top = 0
    for heading, panels in dashboard.rows.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": heading,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": _WIDTH, "h": 1},
        }
        top, left = top + 1, 0
        for panel in panels:
            if left + panel.width > _WIDTH:
                top, left = top + _HEIGHT, 0
            number += 1
            position = {"x": left, "y": top, "w": panel.width, "h": _HEIGHT}
            yield {"id": number, "gridPos": position, **_panel(panel)}
            left += panel.width
        top += _HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}, *({"color": color, "value": value} for value, color in panel.limits)]
    defaults = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    heatmap = {"format": "heatmap"} if panel.kind == "heatmap" else {}
    targets = [
        {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend, **heatmap}
        for index, (legend, expression) in enumerate(panel.expressions.items())
    ]
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": dict(panel.options),
        "targets": targets,
    }


def _quantiles(*shares: float) -> dict[str, str]:
    buckets = f"sum by (le) (rate(loan_default_request_seconds_bucket{RATE}))"
    return {f"p{share * 100:g}": f"histogram_quantile({share}, {buckets})" for share in shares}


SCORING = Dashboard(
    "scoring",
    "Loan default: scoring server",
    {
        "Service levels": [
            stat("Up", 'min(up{job="scoring"})'),
            stat(
                "Failed, 1 h",
                "max(loan_default:invocations_failed:ratio_rate1h)",
                "percentunit",
                limits=[(0.001, "orange"), (0.0144, "red")],
                description="Share of requests to score that got 5xx; the level is 0.1 %.",
            ),
            stat(
                "Slower than 0.1 s, 1 h",
                "max(loan_default:invocations_slow:ratio_rate1h)",
                "percentunit",
                limits=[(0.01, "orange"), (0.144, "red")],
                description="Share of requests to score; the level is 1 %.",
            ),
            stat(
                "Availability budget left, 3 d",
                "1 - max(loan_default:invocations_failed:ratio_rate3d) / 0.001",
                "percentunit",
                description="At 0 the last three days used up what they may.",
            ),
            stat("In flight", "sum(loan_default_requests_in_flight)"),
            stat("Release", "max by (version) (loan_default_build_info)", options={"textMode": "name"}),
        ],
        "Requests": [
            Panel(
                "Requests",
                {"{{route}} {{code}}": f"sum by (route, code) (rate(loan_default_requests_total{RATE}))"},
                "reqps",
            ),
            Panel("Time to answer a request to score", _quantiles(0.5, 0.95, 0.99), "s"),
            Panel(
                "Rows scored",
                {
                    "version {{version}}": f"sum by (version) (rate(loan_default_rows_total{RATE}))",
                    "what if": f"sum(rate(loan_default_what_if_rows_total{RATE}))",
                },
                "rowsps",
            ),
            Panel("Connections", {"open": "sum(loan_default_connections)"}),
            Panel(
                "Connections given up",
                {"{{reason}}": f"sum by (reason) (rate(loan_default_connections_closed_total{RATE}))"},
                description="By a limit: idle for too long, crowded out by others, or a client that does not read.",
            ),
            Panel("No HTTP", {"requests": f"sum(rate(loan_default_malformed_requests_total{RATE}))"}, "reqps"),
        ],
        "Logs": [
            Panel(
                "Rows that no prediction log holds",
                {
                    "dropped": f"sum(increase(loan_default_log_dropped_rows_total{RATE}))",
                    "damaged": "max(loan_default_log_damaged_rows)",
                },
            ),
            Panel("Age of the oldest row that is not written", {"lag": "max(loan_default_log_lag_seconds)"}, "s"),
            stat("Process that makes its files", "max(loan_default_log_process_up)"),
            stat("Starts of it, 1 h", "sum(increase(loan_default_log_process_starts_total[1h]))", limits=[(4, "red")]),
            Panel(
                "Stored by it",
                {
                    "rows a second": f"sum(rate(loan_default_log_stored_rows_total{RATE}))",
                    "files": f"sum(increase(loan_default_log_files_total{RATE}))",
                    "refused by the storage": f"sum(increase(loan_default_log_failures_total{RATE}))",
                },
            ),
            Panel(
                "Lines dropped by the access log",
                {"lines": f"sum(increase(loan_default_access_log_dropped_lines_total{RATE}))"},
            ),
        ],
        "Processes": [
            Panel(
                "Processor",
                {"{{instance}} {{pid}}": f'rate(process_cpu_seconds_total{{job="scoring"}}{RATE})'},
                "percentunit",
            ),
            Panel("Memory", {"{{instance}} {{pid}}": 'process_resident_memory_bytes{job="scoring"}'}, "bytes"),
            Panel(
                "Descriptors in use",
                {"{{instance}} {{pid}}": 'process_open_fds{job="scoring"} / process_max_fds{job="scoring"}'},
                "percentunit",
            ),
        ],
    },
)

MODELS = Dashboard(
    "models",
    "Loan default: models",
    {
        "Versions": [
            stat("In production", 'max(loan_default_model_version{alias="production"})'),
            stat("The registry's", 'max(loan_default_registry_version{alias="production"})'),
            stat("Staging", 'max(loan_default_alias_version{alias="staging"})'),
            stat(
                "The registry's last answer",
                'time() - min(loan_default_registry_last_answer_timestamp_seconds{alias="production"})',
                "s",
                limits=[(60, "orange"), (600, "red")],
            ),
            stat("Swaps, 24 h", "sum(increase(loan_default_swaps_total[24h]))"),
            stat("Failed swaps, 24 h", "sum(increase(loan_default_swap_failures_total[24h]))", limits=[(1, "red")]),
        ],
        "Predictions": [
            Panel(
                "Decisions",
                {
                    "{{decision}}": f"sum by (decision) (rate(loan_default_decisions_total{RATE}))"
                    f" / on () group_left () sum(rate(loan_default_decisions_total{RATE}))"
                },
                "percentunit",
            ),
            Panel(
                "Mean PD by version",
                {
                    "version {{version}}": "sum by (version) (rate(loan_default_pd_sum[1h]))"
                    " / sum by (version) (rate(loan_default_pd_count[1h]))"
                },
                "percentunit",
            ),
            Panel(
                "PDs against the week before",
                {"version {{version}}": "loan_default:pd:ks6h"},
                limits=[(0.1, "red")],
                description="Kolmogorov-Smirnov distance of six hours from the week before, of the same version.",
            ),
            Panel(
                "Distribution of PDs",
                {"{{le}}": "sum by (le) (increase(loan_default_pd_bucket[1h]))"},
                kind="heatmap",
                width=24,
            ),
        ],
    },
)

LOOP = Dashboard(
    "loop",
    "Loan default: training and monitoring",
    {
        "Verdicts": [
            Panel(
                "Drift of the newest batch",
                {"{{verdict}}": "loan_default_drift_verdict"},
                kind="state-timeline",
                width=12,
            ),
            Panel("Performance", {"{{verdict}}": "loan_default_performance_verdict"}, kind="state-timeline", width=12),
        ],
        "Runs": [
            Panel("Runs that failed", {"{{dagster_job}}": 'increase(loan_default_runs_total{status="failure"}[1h])'}),
            Panel(
                "Runs that succeeded", {"{{dagster_job}}": 'increase(loan_default_runs_total{status="success"}[1h])'}
            ),
            Panel(
                "Since the last success",
                {"{{dagster_job}}": "time() - loan_default_job_last_success_timestamp_seconds"},
                "s",
                kind="bargauge",
            ),
            Panel("Under way", {"runs": "loan_default_runs_under_way"}),
            Panel("Wait of the first in the queue", {"wait": "loan_default_queue_wait_seconds"}, "s"),
            Panel("Batches that are not scored", {"{{state}}": "loan_default_batches"}),
        ],
        "Dagster": [
            stat("Platform seen", 'min(up{job="platform"})'),
            stat("Failing sensors", "max(loan_default_failing_sensors)", limits=[(1, "red")]),
            Panel(
                "Since a daemon was last alive",
                {"{{daemon}}": "time() - loan_default_daemon_last_heartbeat_timestamp_seconds"},
                "s",
                width=16,
            ),
        ],
    },
)

DASHBOARDS = (SCORING, MODELS, LOOP)


def texts() -> dict[str, str]:
    """Return the text of each file by its name."""
    return {f"{each.name}.json": json.dumps(render(each), indent=2, ensure_ascii=False) + "\n" for each in DASHBOARDS}


def main() -> None:
    """Write the files."""
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
