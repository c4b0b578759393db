"""Step of group `provision`: what the open loans of the book are expected to lose, by the version in production.

What is computed of loans is `risk.value.provision`'s. The row of each loan is stored beside the record of the sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from loan_default.adapters import prediction_history
from loan_default.adapters.storage import remove, store
from loan_default.risk.contract.book import Contract
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Policy
from loan_default.steps.data import parse_optional_month
from loan_default.steps.promotion import version_in_production
from loan_default.steps.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.parquet_table import ParquetTable
    from loan_default.risk.model.scorer import Scorer

_NO_VALUE = "The version in production has no value, so nothing is said of provisions."


def provide_for(
    loans: ParquetTable,
    cleaning_report: Mapping[str, Any],
    contract: Contract,
    policy: Policy,
    models: ModelStore,
    workspace: Workspace,
    *,
    now: datetime,
) -> Mapping[str, Any]:
    """Return the record of what open loans are expected to lose, or of why nothing is said of it (`problem`).

    Args:
        loans: cleaned loans, of which those without an outcome count.
        cleaning_report: the record of their cleaning, which says when the files were taken.
        contract: what a loan is.
        policy: when a risk has risen, and the scenarios.
        models: where the version in production is.
        workspace: where predictions lie, and the rows are stored.
        now: the time of the computation.

    Raises:
        BadInput: no version is in production, or the loans do not say when their file was taken.
    """
    from loan_default.risk.value.open_loans import provision_problem
    from loan_default.risk.value.provision import summarise

    version = version_in_production(models.tracking)
    head = {"version": version.version, "measured_at": now.isoformat(timespec="seconds")}
    target = workspace.layout.table("provision")
    scorer = models.scorer(version)
    problem = provision_problem(contract) or (_NO_VALUE if scorer.value is None else None)
    if problem:
        remove(target)
        return {**head, "problem": problem}
    snapshot = parse_optional_month(cleaning_report.get("snapshot"), "snapshot")
    if snapshot is None:
        raise BadInput("The loans do not say when their file was taken; clean them with --snapshot.")
    open_loans = _with_granted(_still_open(loans.scan(), contract, workspace, snapshot), contract, workspace, now)
    if open_loans.is_empty():
        remove(target)
        return {**head, "problem": "Every loan of the file has ended, so there is nothing to provide for."}
    rows = _provide(scorer, open_loans, contract, snapshot, policy)
    with workspace.scratch(target.name) as (part,):
        rows.write_parquet(part)
        store(part, target)
    groups = {"quarter of issue": "quarter", **{name: name for name in _segments(contract)}}
    assert contract.pricing is not None, "loans without a price have no provision"
    return {
        **head,
        "snapshot": f"{snapshot:%Y-%m}",
        "unit": contract.by_name[contract.pricing.amount].unit,
        "policy": policy.provision.model_dump(),
        "by_curve": scorer.hazard is not None,
        "with_granted_pd": int(open_loans["granted_pd"].is_not_null().sum()),
        **summarise(rows, policy.provision, groups),
        "declined": _parcelled(contract, workspace, now),
    }


def _provide(scorer: Scorer, loans: pl.DataFrame, contract: Contract, snapshot: date, policy: Policy) -> pl.DataFrame:
    """Return a row for each open loan: what it is told apart by, and its provisions."""
    from loan_default.risk.value.open_loans import read_open
    from loan_default.risk.value.provision import LossModel, provision_loans

    labels = loans.select(contract.id_name, _quarter(contract), *_segments(contract))
    provisions = provision_loans(LossModel.of(scorer), read_open(scorer, loans, snapshot), policy.provision)
    return labels.hstack(provisions)


def _parcelled(contract: Contract, workspace: Workspace, now: datetime) -> Mapping[str, Any] | None:
    """Return what hangs on applicants who were not approved; None where nobody was scored yet."""
    import polars as pl

    from loan_default.risk.value.declined import parcel

    history = prediction_history.scan(workspace.layout, contract, workspace.staging, now.date())
    newest = history.sort("scored_at").group_by(contract.id_name).agg(pl.col("pd", "decision").last()).collect()
    if newest.is_empty():
        return None
    return parcel(newest["pd"].to_numpy(), (newest["decision"] == "approve").to_numpy())


def _segments(contract: Contract) -> list[str]:
    return [name for name in contract.segments if contract.by_name[name].kind != "month"]


def _quarter(contract: Contract) -> pl.Expr:
    import polars as pl

    month = pl.col(contract.time_name)
    return pl.format("{}-Q{}", month.dt.year(), month.dt.quarter()).alias("quarter")


def _still_open(loans: pl.LazyFrame, contract: Contract, workspace: Workspace, snapshot: date) -> pl.LazyFrame:
    """Select the open loans, with how they stand by outcome files where any were read."""
    from loan_default.risk.data.loan_status import as_told
    from loan_default.risk.value.open_loans import select_open

    outcomes, still_open = workspace.find_table("loan_outcomes"), select_open(loans)
    return as_told(still_open, outcomes.scan(), contract, snapshot) if outcomes else still_open


def _with_granted(loans: pl.LazyFrame, contract: Contract, workspace: Workspace, now: datetime) -> pl.DataFrame:
    """Join the first PD that the prediction history holds of each loan."""
    import polars as pl

    history = prediction_history.scan(workspace.layout, contract, workspace.staging, now.date())
    first = history.sort("scored_at").group_by(contract.id_name).agg(pl.col("pd").first().alias("granted_pd"))
    named = pl.col(contract.id_name).cast(pl.String)
    return loans.with_columns(named).join(first, on=contract.id_name, how="left", maintain_order="left").collect()
