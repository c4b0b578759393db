"""How long pages take on a storage of 1,000 batches and 20 versions: records only, no applicant, one client."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from benchmarks.figures import Figure
from loan_default.adapters import decision_log, storage
from loan_default.homes import prepare_process
from loan_default.risk.contract.loading import load_contract
from loan_default.settings import Settings

BATCHES, VERSIONS = 1_000, 20
PAGES = ("/", "/batches", "/batches?page=9", "/versions", "/promised", "/history")
SECONDS = 0.3
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def figures(folder: Path, *, batches: int = BATCHES, versions: int = VERSIONS, times: int = 5) -> list[Figure]:
    """Load each page once, which reads every record, and then some times more as a server that has warmed up."""
    from loan_default.web.app import create_app, warm_up
    from loan_default.web.people import People

    settings = made_home(folder, batches, versions)
    app = create_app(settings, People())
    client = TestClient(app, base_url="http://127.0.0.1:5002")
    first = [_seconds(client, page) for page in PAGES]
    warm_up(app).join()
    against = f"{batches:,} batches, {versions} versions"
    return [
        _figure(page, against, seconds, [_seconds(client, page) for _ in range(times)])
        for page, seconds in zip(PAGES, first, strict=True)
    ]


def _figure(page: str, against: str, first: float, others: list[float]) -> Figure:
    median = statistics.median(others)
    measured = f"{median * 1000:.0f} ms (at first {first * 1000:.0f})"
    seconds = {"first": first, "median": median}
    return Figure(f"page {page}", measured, against, median, SECONDS, "most", "{:.3f} s", seconds)


def _seconds(client: TestClient, page: str) -> float:
    """Return the processor time of a page: a client beside it would share the core."""
    began = time.process_time()
    response = client.get(page)
    seconds = time.process_time() - began
    assert response.status_code == 200 and "What cannot be read" not in response.text, response.text
    return seconds


# --- a home of records


def made_home(folder: Path, batches: int, versions: int) -> Settings:
    """Write the records that so many batches and versions leave, with figures drawn by chance."""
    import dagster as dg

    from loan_default.defs.book import BookNames
    from loan_default.defs.instance import open_instance

    settings = Settings(folder / "home")
    prepare_process(settings)
    names = list(batch_names(batches))
    rng = np.random.default_rng(7)
    fields = [*load_contract().feature_names, "raw_score"]
    for batch in names:
        _write_batch(settings, batch, fields, rng, version=1 + len(batch) % versions)
    _write_versions(settings, versions)
    storage.write_json(settings.layout.record("performance_report"), _performance(versions))
    with open_instance(settings) as instance:
        assert isinstance(instance, dg.DagsterInstance)
        instance.add_dynamic_partitions(str(BookNames(settings.book).batches.name), names)
    return settings


def batch_names(count: int) -> Iterator[str]:
    """Yield months from January 1950."""
    yield from (f"{1950 + number // 12}-{number % 12 + 1:02d}" for number in range(count))


def _write_batch(settings: Settings, batch: str, fields: list[str], rng: np.random.Generator, version: int) -> None:
    layout, rows = settings.layout, int(rng.integers(500, 5_000))
    counts = dict(zip(("approve", "review", "decline"), rng.multinomial(rows, [0.5, 0.3, 0.2]).tolist(), strict=True))
    storage.write_text(layout.inbox / f"{batch}.csv", "id\n")
    for name in ("parquet", "csv"):
        storage.write_text(layout.predictions / f"{batch}.{name}", "")
    decisions = [{"decision": name, "applications": count, "mean_pd": 0.2} for name, count in counts.items()]
    prediction_report = {
        "model_version": version,
        "scored_at": NOW.isoformat(),
        "first_month": batch,
        "last_month": batch,
        "rejected": 3,
        "problems": {"annual_inc: out of range": 3},
        "decisions": decisions,
    }
    storage.write_json(layout.batch_record("prediction_report", batch), prediction_report)
    storage.write_json(layout.batch_record("application_report", batch), {"kept": rows, "rejected": 3})
    features = [_drift_line(name, float(rng.exponential(0.03))) for name in fields]
    drift_report = {
        "batch": batch,
        "model_version": version,
        "verdict": "stable",
        "reasons": ["score: PSI 0.010 is within 0.25"],
        "drifted_features": [],
        "share": 0.0,
        "score_psi": float(rng.exponential(0.03)),
        "rows": rows,
        "not_compared": [],
        "features": features,
    }
    storage.write_json(layout.batch_record("drift_report", batch), drift_report)


def _drift_line(name: str, psi: float) -> dict[str, Any]:
    figures = {f"{figure}{part}": psi for figure in ("psi", "decile_psi", "missing_psi") for part in ("", "_raw")}
    sides = {f"{what}_{side}": 0.1 for what in ("missing", "mean") for side in ("reference", "batch")}
    return {
        "feature": name,
        "kind": "numeric",
        **figures,
        **sides,
        "top_reference": None,
        "top_batch": None,
        "drifted": False,
    }


def _write_versions(settings: Settings, versions: int) -> None:
    from mlflow import MlflowClient

    experiment = settings.tracking.ensure_experiment()
    client = MlflowClient(settings.tracking_uri, registry_uri=settings.tracking_uri)
    client.create_registered_model(settings.model_name)
    for version in range(1, versions + 1):
        run = client.create_run(experiment).info.run_id
        client.create_model_version(settings.model_name, f"runs:/{run}/model", run, tags={"kind": "xgboost"})
        decided_at = (NOW + timedelta(days=version)).isoformat()
        decision_log.add(settings.layout, _decision(version, decided_at))
    client.set_registered_model_alias(settings.model_name, "production", str(versions))
    client.set_registered_model_alias(settings.model_name, "staging", str(versions))


def _decision(version: int, decided_at: str) -> dict[str, Any]:
    metrics = {name: {"value": 0.7, "low": 0.68, "high": 0.72} for name in ("auc", "ks", "brier")}
    findings = [
        {"rule": f"rule_{number}", "passed": True, "sentence": "It is as it must be. " * 6} for number in range(14)
    ]
    return {
        "verdict": "promote",
        "candidate": version,
        "champion": version - 1 or None,
        "findings": findings,
        "reasons": [finding["sentence"] for finding in findings],
        "evidence": {"origin": {"data_fingerprint": "0" * 16}, "metrics": metrics, "windows": []},
        "decided_at": decided_at,
        "decided_by": "policy, run 00000000-0000-0000-0000-000000000000",
    }


def _performance(versions: int) -> dict[str, Any]:
    figures = {"auc": 0.7, "ks": 0.3, "brier": 0.14}
    estimates = {f"estimated_{name}": value for name, value in figures.items()}
    counts = {"loans": 900, "matured": 800, "known": 800, "defaults": 120, "mean_pd": 0.16, "default_rate": 0.15}
    quarters = [f"{year}-Q{quarter}" for year in range(2010, 2020) for quarter in range(1, 5)]
    numbers = range(1, versions + 1)
    intervals = {name: {"value": value, "low": value, "high": value} for name, value in figures.items()}
    return {
        "measured_at": NOW.isoformat(),
        "told_until": f"{date(2020, 1, 1):%Y-%m}",
        "verdict": "healthy",
        "model_version": versions,
        "reasons": [],
        "findings": [],
        "versions": [
            {
                "version": number,
                **counts,
                "learned": 0,
                "real": intervals,
                "expected": {**figures, "default_rate": 0.16},
                "estimate": figures,
            }
            for number in numbers
        ],
        "vintages": [
            {"model_version": number, "vintage": quarter, **counts, **figures, **estimates}
            for number in numbers
            for quarter in quarters
        ],
        "decisions": [],
        "groups": [
            {"model_version": number, "group": group, "loans": 80, "mean_pd": group / 20, "default_rate": group / 21}
            for number in numbers
            for group in range(1, 11)
        ],
        "estimates": "An estimate supposes that every PD is right.",
        "remark": None,
    }
