"""Scores applications of any number, from a stored table to a file, in bounded memory.

How a version scores a frame is `scorer`; where the work is done is an engine's to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from loan_default.risk.compute import Engine, JoinedTable, LocalEngine, Table
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import TERM
from loan_default.risk.loan_order import term_months
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.timing import CURVE


def write_predictions(
    scorer: Scorer,
    loans: Table,
    *,
    parquet: Path,
    csv: Path | None = None,
    constants: Mapping[str, Any] | None = None,
    with_reasons: bool = True,
    engine: Engine | None = None,
) -> list[tuple[str, int, float]]:
    """Score applications of any number to Parquet, and to CSV, in bounded memory.

    In CSV the reasons of an application are one text, their codes a JSON text, and a curve is figures with spaces.

    Args:
        scorer: the version that scores.
        loans: applications in natural units, with their id.
        parquet: file to write: id, issue month if the book has any, term in months if loans mature, what `Scorer.score`
            returns, and the constants.
        csv: file to write beside it.
        constants: further columns of one value each.
        with_reasons: whether applications that are not approved get their reasons.
        engine: where it is done; here by default.

    Returns:
        For each decision that was made its name, how many applications got it, and their mean PD.
    """
    constant_columns = [pl.lit(value).alias(name) for name, value in (constants or {}).items()]
    contract = scorer.contract
    rows = score_rows(scorer, loans, keep=_columns_to_keep(contract), with_reasons=with_reasons, engine=engine)
    terms = [] if contract.outcomes_are_final else [term_months(contract).alias(TERM)]
    names = [contract.id_name, *([contract.time_name] if contract.has_time else [])]
    rows.select(*names, *terms, *scorer.scored, *constant_columns).sink_parquet(parquet)
    predictions = pl.scan_parquet(parquet, glob=False)
    if csv:
        codes = pl.col("reason_codes").list.eval(pl.element().struct.json_encode()).list.join(",")
        texts = [pl.col("reasons").list.join(" "), pl.format("[{}]", codes).alias("reason_codes")]
        if CURVE in scorer.scored:
            texts.append(pl.col(CURVE).cast(pl.List(pl.String)).list.join(" "))
        predictions.with_columns(texts).sink_csv(csv)
    counts = predictions.group_by("decision").agg(pl.len().alias("rows"), pl.col("pd").mean()).sort("decision")
    return list(counts.collect(engine="streaming").iter_rows())


def _columns_to_keep(contract: Contract) -> list[str]:
    """Name what is kept of an application: its id, its issue month, and what says when it matures, if anything does."""
    time = [contract.time_name] if contract.has_time else []
    return [contract.id_name, *time, *([contract.term_source] if contract.term_source else [])]


def score_rows(
    scorer: Scorer, loans: Table, *, keep: Sequence[str], with_reasons: bool = True, engine: Engine | None = None
) -> pl.LazyFrame:
    """Score loans of any number: their columns `keep` beside what `Scorer.score` returns, in the same order."""
    table = JoinedTable(((loans, tuple(dict.fromkeys([*keep, *scorer.contract.feature_names]))),))
    columns = table.scan().collect_schema()
    schema = {name: columns[name] for name in keep} | scorer.scored
    return (engine or LocalEngine()).map_rows(partial(_score_part, scorer, keep, with_reasons), table, schema)


def _score_part(scorer: Scorer, keep: Sequence[str], with_reasons: bool, loans: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([loans.select(keep), scorer.score(loans, with_reasons=with_reasons)], how="horizontal")
