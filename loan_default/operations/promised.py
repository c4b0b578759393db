"""Promised and realised: what versions said of loans beside how these ended, as the newest performance report has it,
and what became of applications on which a person decided otherwise.

Measuring is `risk.monitoring.performance`'s, asking for it `performance`'s; overrides are recorded by `overrides`.

Tested in `web/pages/test_promised.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from loan_default.adapters import file_listing
from loan_default.adapters.parquet_table import scan_table
from loan_default.adapters.record_cache import RecordCache
from loan_default.operations.book import read_contract
from loan_default.operations.records import Record, read_record
from loan_default.risk.contract.columns import OUTCOME
from loan_default.risk.errors import DamagedRecord
from loan_default.settings import Settings


@dataclass(frozen=True)
class OverrideGroup:
    """Applications that a version `decided` one way and people another: how many, their mean PD, what became of them.

    `known` ended, of which `defaults` defaulted; only what was approved by somebody can end.
    """

    decided: str
    decision: str
    overrides: int
    mean_pd: float
    known: int
    defaults: int


@dataclass(frozen=True)
class Promised:
    """The newest performance report and back-test, None where there was none yet, and overrides; `read_at` is when.

    `rolls` are how loans went from status to status month by month; `damages` are the records that cannot be read.
    """

    report: Record | None
    overrides: tuple[OverrideGroup, ...]
    read_at: datetime
    backtest: Record | None = None
    rolls: Sequence[Record] = ()
    damages: tuple[DamagedRecord, ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """Return the numbers of the versions that predicted, newest first."""
        measured: Sequence[Any] = self.report["versions"] if self.report else ()
        return tuple(sorted((version["version"] for version in measured), reverse=True))

    def choose(self, version: int | None = None) -> int | None:
        """Return the version to show: the one that is asked for, else the one in production, else the newest."""
        candidates = (version, self.report["model_version"] if self.report else None, *self.versions)
        return next((candidate for candidate in candidates if candidate in self.versions), None)

    def rows(self, table: str, version: int | None) -> list[Record]:
        """Return the rows of a table of the report (`vintages`, `decisions`, `groups`, `early`) that are of a version.

        Reports of before have none of the last.
        """
        return [row for row in self.report.get(table, ()) if row["model_version"] == version] if self.report else []


class PromisedArchive:
    """Reads what was promised and came of an installation; overrides stay in memory as long as this object."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._overrides: RecordCache[Record] = RecordCache(settings.layout.overrides, dict, kind="overrides")

    def read(self) -> Promised:
        """Read the newest performance report, and what became of overrides."""
        from loan_default.risk.monitoring.verdicts import with_current_verdict

        read_at, damages = datetime.now(UTC), list[DamagedRecord]()
        report = read_record(self._settings, "performance_report", damages)
        backtest = read_record(self._settings, "backtest", damages)
        outcomes = read_record(self._settings, "outcomes_report", damages) or {}
        rolls = outcomes.get("monthly_rolls", ())  # reports of before have none
        records = [record.content for _, record in sorted(self._overrides.read(damages).items())]
        newest = list({record["decision_id"]: record for record in records}.values())
        groups = group_overrides(newest, self._outcomes([record["id"] for record in newest if record["id"]]))
        report = with_current_verdict(report) if report else None
        return Promised(report, groups, read_at, backtest, rolls, tuple(damages))

    def _outcomes(self, ids: Sequence[str]) -> Mapping[str, int]:
        """Read how these loans ended, 1 for a default, by their numbers; those that are not known are left out."""
        import polars as pl

        file = file_listing.find_file(self._settings.layout.table("loan_outcomes")) if ids else None
        if file is None:
            return {}
        name = read_contract(self._settings).id_name
        columns = (name, OUTCOME)
        loans = scan_table(file.path, self._settings.staging, file.generation, columns=columns).select(columns)
        ended = loans.filter(pl.col(name).is_in([*ids])).drop_nulls().collect()
        return {number: int(outcome) for number, outcome in ended.rows()}


def group_overrides(overrides: Sequence[Record], outcomes: Mapping[str, int]) -> tuple[OverrideGroup, ...]:
    """Group overrides by what the version and the person decided, with the outcomes of what the person approved."""
    pairs = sorted({(override["decided"], override["decision"]) for override in overrides})
    groups = []
    for pair in pairs:
        own = [override for override in overrides if (override["decided"], override["decision"]) == pair]
        approved = [outcomes.get(override["id"] or "") for override in own if pair[1] == "approve"]
        ended = [outcome for outcome in approved if outcome is not None]
        mean_pd = sum(override["pd"] for override in own) / len(own)
        groups.append(OverrideGroup(*pair, len(own), mean_pd, len(ended), sum(ended)))
    return tuple(groups)
