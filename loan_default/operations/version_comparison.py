"""Two versions on the same applications of a batch: what each looks at, its PDs, and the decisions that would change.

Which of two is better is decided on loans that ended, by `risk.validation`; here nobody has ended yet.

Tested in `web/pages/test_versions.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from loan_default.adapters import file_listing
from loan_default.adapters.layout import batch_name
from loan_default.adapters.parquet_table import scan_table
from loan_default.operations.promotion import open_models
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.file_listing import File
    from loan_default.risk.model.scorer import Scorer

ROWS_AT_MOST = 20_000  # that are scored: shares of so many are right to half a percent
SQUARE = 0.02  # of PDs that are counted together
_CACHED = 16


@dataclass(frozen=True)
class FieldImportance:
    """Says how much either version uses a field: shares of the whole importance; 0 where it does not know the field."""

    field: str
    first: float
    second: float


@dataclass(frozen=True)
class VersionComparison:
    """Two versions, `first` and `second`, on the same applications.

    Attributes:
        first: its number.
        second: the other's.
        batch: whose applications were scored.
        applications: how many the batch has.
        rows: how many of them were scored, drawn by chance where that is fewer.
        importance: of each field that one of them knows, the most used by either first.
        squares: how many applications have PDs by both between these numbers times `SQUARE` and the next.
        decisions: how many got which decision by the first and by the second.
        mean_pds: of both.
        cutoffs: PDs at which either decides otherwise, ascending; none of a version that decides by value alone.
    """

    first: int
    second: int
    batch: str
    applications: int
    rows: int
    importance: tuple[FieldImportance, ...]
    squares: Mapping[tuple[int, int], int]
    decisions: Mapping[tuple[str, str], int]
    mean_pds: tuple[float, float]
    cutoffs: tuple[float, ...]

    @property
    def changed(self) -> int:
        """Count the applications that they decide otherwise."""
        return sum(count for (first, second), count in self.decisions.items() if first != second)


def compare_versions(settings: Settings, first: int, second: int, batch: str) -> VersionComparison:
    """Score a batch by two versions and hold the results against each other; nothing is stored.

    Raises:
        BadInput: there is no such version or batch, or the batch lacks a field that one of them needs.
    """
    file = file_listing.find_file(settings.layout.batch_table("application_batch", batch_name(f"{batch}.csv")))
    if file is None:
        raise BadInput(f"No applications of batch {batch} are stored; choose a batch that was scored.")
    return _compare(_Sides(settings, first, second), batch, file)


@dataclass(frozen=True)
class _Sides:
    """Two versions of a home: equal where they are the same ones of the same registry."""

    settings: Settings
    first: int
    second: int

    def __hash__(self) -> int:
        return hash((self.settings.tracking_uri, self.settings.model_name, self.first, self.second))


@lru_cache(_CACHED)
def _compare(sides: _Sides, batch: str, file: File) -> VersionComparison:
    import polars as pl

    from loan_default.risk.monitoring.drift import draw_sample

    scorers = [_load(sides.settings, version) for version in (sides.first, sides.second)]
    applications = scan_table(file.path, sides.settings.staging, file.generation)
    height = applications.select(pl.len()).collect().item()
    sample = draw_sample(applications, height, ROWS_AT_MOST, seed=0)
    first, second = (
        _score(scorer, sample, version, batch)
        for scorer, version in zip(scorers, (sides.first, sides.second), strict=True)
    )
    squares = zip(*(_squares(scores) for scores in (first, second)), strict=True)
    decisions = zip(first["decision"].to_list(), second["decision"].to_list(), strict=True)
    policies = [scorer.policy for scorer in scorers]
    by_pd = (policy for policy in policies if policy.by_pd)
    cutoffs = {cutoff for policy in by_pd for cutoff in (policy.approve_below, policy.decline_from)}
    return VersionComparison(
        first=sides.first,
        second=sides.second,
        batch=batch,
        applications=height,
        rows=sample.height,
        importance=_importance(*scorers),
        squares=Counter(squares),
        decisions=Counter(decisions),
        mean_pds=(float(first["pd"].mean() or 0), float(second["pd"].mean() or 0)),  # type: ignore[arg-type]
        cutoffs=tuple(sorted(cutoffs)),
    )


def _load(settings: Settings, version: int) -> Scorer:
    models = open_models(settings)
    registered = {each.version: each for each in models.tracking.versions()}
    if version not in registered:
        raise BadInput(f"There is no version {version}; the list of versions names those that are registered.")
    return models.scorer(registered[version])


def _score(scorer: Scorer, applications: pl.DataFrame, version: int, batch: str) -> pl.DataFrame:
    lacking = [name for name in scorer.contract.feature_names if name not in applications.columns]
    if lacking:
        raise BadInput(f"Version {version} needs {', '.join(lacking)}, which batch {batch} was read without.")
    return scorer.score(applications, with_reasons=False).select("pd", "decision")


def _squares(scores: pl.DataFrame) -> list[int]:
    import polars as pl

    return scores.select((pl.col("pd") / SQUARE).floor().cast(pl.Int64)).to_series().to_list()


def _importance(first: Scorer, second: Scorer) -> tuple[FieldImportance, ...]:
    from loan_default.risk.validation.plots import field_importance

    shares = [field_importance(scorer.model, scorer.space) for scorer in (first, second)]
    fields = [FieldImportance(name, *(share.get(name, 0.0) for share in shares)) for name in {**shares[0], **shares[1]}]
    return tuple(sorted(fields, key=lambda field: -max(field.first, field.second)))
