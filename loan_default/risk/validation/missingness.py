"""Blanks each field of test loans in turn and scores them again: what leaving it out does to decisions and PDs.

What follows from it is `promotion`'s to say; that a batch lacks a field altogether is `quality_gates`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from loan_default.risk.contract.book import Contract
from loan_default.risk.evaluation import BlankedField
from loan_default.risk.model.scorer import DECISIONS, Scorer

_APPROVE = DECISIONS[0]
_COUNTS, _TOTALS = ("rows", "missing", "approved", "approved_without"), ("pd", "pd_without")
_SUMS = {"field": pl.String} | dict.fromkeys(_COUNTS, pl.Int64) | dict.fromkeys(_TOTALS, pl.Float64)
BLANKED_AT_MOST = 5_000  # loans: 40 fields of these are scored in some seconds


def blanked_together(contract: Contract) -> dict[str, list[str]]:
    """Return for each field that an applicant can leave out the features that are missing then: it, and those from it.

    A derived feature is missing with what it is derived from, and never alone; what a required one is derived from
    cannot be left out.
    """
    needed = {name for field in contract.fields if not field.nullable for name in contract.sources.get(field.name, ())}
    optional = [
        field
        for field in contract.with_role("feature", "support")
        if field.nullable and not field.derived and field.name not in needed
    ]
    features = {
        field.name: [
            feature.name
            for feature in contract.features
            if feature.name == field.name or field.name in contract.sources.get(feature.name, ())
        ]
        for field in optional
    }
    return {name: names for name, names in features.items() if names}


def blank_fields(scorer: Scorer, share: float, loans: pl.DataFrame) -> pl.DataFrame:
    """Score a share of the loans as they are, and once more for each field that can be left out.

    Args:
        scorer: the version.
        share: of the loans that is drawn by a hash of their id, so that it does not matter how they are cut into parts.
        loans: (n rows) with every feature.

    Returns:
        A row for each such field with sums over the loans drawn: `rows`, of them `missing` it before; `approved` and
        `pd`, and both after all of them left it out (`approved_without`, `pd_without`).
    """
    drawn = loans.filter(pl.col(scorer.contract.id_name).hash(seed=0) / 2.0**64 < share)
    if drawn.is_empty():
        return pl.DataFrame(schema=_SUMS)
    approved, pd = _sums(scorer, drawn)
    rows = []
    for name, features in blanked_together(scorer.contract).items():
        blank = drawn.with_columns(pl.lit(None, drawn.schema[feature]).alias(feature) for feature in features)
        approved_without, pd_without = _sums(scorer, blank)
        missing = drawn.select(pl.all_horizontal(pl.col(features).is_null()).sum()).item()
        rows.append((name, drawn.height, missing, approved, approved_without, pd, pd_without))
    return pl.DataFrame(rows, schema=_SUMS, orient="row")


def _sums(scorer: Scorer, loans: pl.DataFrame) -> tuple[int, float]:
    scores = scorer.score(loans, with_reasons=False)
    return int((scores["decision"] == _APPROVE).sum()), float(scores["pd"].sum())


def blanked_fields(parts: Iterable[pl.DataFrame]) -> tuple[BlankedField, ...]:
    """Add up what `blank_fields` gives of all parts of the loans."""
    sums = pl.concat(parts).group_by("field", maintain_order=True).sum()
    share = pl.all().exclude("field", "rows", "missing") / pl.col("rows")
    measured = sums.select("field", "rows", (pl.col("missing") / pl.col("rows")).alias("missing_share"), share)
    names = {"pd": "mean_pd", "pd_without": "mean_pd_without"}
    return tuple(BlankedField(**row) for row in measured.rename(names).to_dicts())
