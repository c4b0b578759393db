"""Measures how good a version proved to be: outcomes that came in against its predictions; an estimate until then.

A loan counts once its term is over, as in training: before, a vintage holds only those who paid or defaulted early;
where outcomes are final it counts once its outcome is told. It never counts for a version that was developed on loans
of its month, or, in a book without a date, on it. Reading outcomes is `outcomes`'; what follows from a verdict is
`retraining`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import OUTCOME, TERM
from loan_default.risk.estimates import calibration_in_the_large
from loan_default.risk.loan_order import draw_of
from loan_default.risk.metrics import Bootstrap, Interval, Ranking, measure, pd_groups
from loan_default.risk.model.scorer import DECISIONS
from loan_default.risk.monitoring.early_performance import Course, YoungLoans
from loan_default.risk.monitoring.verdicts import PerformanceWord
from loan_default.risk.month_texts import month_number, months_after
from loan_default.risk.policy import Finding, PerformancePolicy
from loan_default.risk.text import plural
from loan_default.risk.validation.quality_gates import fits_in_the_large, in_the_large

Learned = date | pl.Series  # the last issue month of loans, or their draws
QuartersOf = Literal["issue", "scoring"]

ESTIMATED = (
    "An estimate supposes that every PD is right: it shows what a change of the population does, and cannot show that "
    "applicants of the same kind default more often than before."
)
UNNUMBERED = (
    "The contract describes no number of a loan. Where files have no column id either, a loan of development that is "
    "scored again counts as new here."
)
_RULES = 4  # of the verdict, among which the chance of a false alarm is divided
_LEAST = 30  # loans of a row before its AUC, KS and Brier score are told
ENOUGH_OUTCOMES = "enough_outcomes"  # the rule that is not kept where nothing else can be said
ESTIMATED_METRICS = ("auc", "ks", "brier")  # of `SHOWN_METRICS`: what PDs alone let expect
_ROW = {
    "loans": pl.Int64,
    "matured": pl.Int64,
    "known": pl.Int64,
    "defaults": pl.Int64,
    "mean_pd": pl.Float64,
    "default_rate": pl.Float64,
    "auc": pl.Float64,
    "ks": pl.Float64,
    "brier": pl.Float64,
    "estimated_auc": pl.Float64,
    "estimated_ks": pl.Float64,
    "estimated_brier": pl.Float64,
}

_GROUP = {
    "model_version": pl.Int64,
    "group": pl.Int64,
    "loans": pl.Int64,
    "mean_pd": pl.Float64,
    "default_rate": pl.Float64,
}


@dataclass(frozen=True)
class VersionPerformance:
    """One version: its loans that are judged, those that matured, and of these the ones whose outcome is known.

    `learned` loans are of months that it was developed on, or in a book without a date these very loans, and are not
    judged. `real` is measured on the known loans,
    `expected` estimated for the same ones, `estimate` for all others.
    """

    version: int
    loans: int
    learned: int
    matured: int
    known: int
    defaults: int
    real: Mapping[str, Interval] | None
    expected: Mapping[str, float] | None
    estimate: Mapping[str, float] | None


@dataclass(frozen=True)
class PerformanceVerdict:
    """The version in production held against the policy, by the newest vintages that can tell."""

    verdict: PerformanceWord
    version: int
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what spoke against it; all findings where nothing did."""
        return tuple(f.sentence for f in self.findings if self.verdict != "degraded" or not f.passed)


@dataclass(frozen=True)
class Performance:
    """Every version; the same by vintage, by decision and by PD group, a row for each version's.

    A vintage is a quarter of issue, or in a book without a date of scoring (`quarters_of`). Where outcomes are final,
    `outcomes_mature` is false: each counts as soon as it is told. `remark` says what else has to be known to read it.
    `early` is what `early_performance` says of loans of the version in production that files tell of month by month.
    """

    versions: tuple[VersionPerformance, ...]
    vintages: pl.DataFrame
    decisions: pl.DataFrame
    groups: pl.DataFrame
    verdict: PerformanceVerdict | None
    quarters_of: QuartersOf
    outcomes_mature: bool
    remark: str | None = None
    early: pl.DataFrame | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON record holds it."""
        return {
            "verdict": self.verdict.verdict if self.verdict else "no version in production",
            "model_version": self.verdict.version if self.verdict else None,
            "reasons": list(self.verdict.reasons) if self.verdict else [],
            "findings": [asdict(finding) for finding in self.verdict.findings] if self.verdict else [],
            "versions": [asdict(version) for version in self.versions],
            "vintages": self.vintages.to_dicts(),
            "decisions": self.decisions.to_dicts(),
            "groups": self.groups.to_dicts(),
            "early": [] if self.early is None else self.early.to_dicts(),
            "quarters_of": self.quarters_of,
            "outcomes_mature": self.outcomes_mature,
            "estimates": ESTIMATED,
            "remark": self.remark,
        }


def measure_performance(
    predicted: pl.LazyFrame,
    outcomes: pl.LazyFrame,
    contract: Contract,
    policy: PerformancePolicy,
    *,
    production: int | None,
    seen_until: date | None,
    learned: Mapping[int, Learned],
    cutoff: float,
    bootstrap: Bootstrap,
    courses: Mapping[float, Course] = MappingProxyType({}),
) -> Performance:
    """Measure every version that predicted, and judge the one in production.

    Args:
        predicted: a row for each prediction: id, issue month if the book has any, term (months) if loans mature, `pd`,
            `decision`, `model_version`, `scored_at`; of several of one loan by one version the last counts.
        outcomes: as `read_outcomes` writes them.
        contract: names the id and the issue month.
        policy: when the version in production has degraded.
        production: its number.
        seen_until: the month until which outcomes are told; a loan whose term is over by then has matured.
        learned: of each version the last issue month of the loans that it was developed on, or their draws.
        cutoff: PD from which a loan counts as predicted to default.
        bootstrap: of the intervals.
        courses: when loans of the version in production end, by term; empty where it does not say that.
    """
    versions, verdict, early = [], None, None
    vintages, decisions, groups = [_table("vintage")], [_table("decision")], [pl.DataFrame(schema=_GROUP)]
    for version in predicted.select("model_version").unique().collect()["model_version"].sort():
        in_production = version == production
        loans = _join_outcomes(
            predicted, outcomes, contract, version, seen_until, by_month=in_production and bool(courses)
        )
        in_development = _is_learned(loans, learned[version])
        judged = loans.filter(~in_development)
        versions.append(_version(version, judged, int(in_development.sum()), cutoff, bootstrap))
        vintages.append(_by(judged, version, "vintage"))
        decisions.append(_by(judged, version, "decision"))
        groups.append(_groups(judged, version))
        if in_production:
            young = YoungLoans.of(judged.with_columns(pl.col("told").alias(OUTCOME)), courses) if courses else None
            verdict = judge_performance(version, judged, policy, contract, young)
            early = young.rows(version) if young else None
    if verdict is None and production is not None:
        verdict = PerformanceVerdict("not enough outcomes", production, (_too_few(0, 0, policy, contract),))
    return Performance(
        *(tuple(versions), pl.concat(vintages), pl.concat(decisions), pl.concat(groups), verdict),
        quarters_of="issue" if contract.has_time else "scoring",
        outcomes_mature=not contract.outcomes_are_final,
        remark=None if contract.has_time or contract.describes_number else UNNUMBERED,
        early=early,
    )


def _is_learned(loans: pl.DataFrame, learned: Learned) -> pl.Series:
    if isinstance(learned, date):
        return (loans["issued"] <= learned).fill_null(False)
    return loans.select(draw_of("id").is_in(learned.implode()).fill_null(False)).to_series()


def _join_outcomes(
    predicted: pl.LazyFrame,
    outcomes: pl.LazyFrame,
    contract: Contract,
    version: int,
    seen_until: date | None,
    *,
    by_month: bool,
) -> pl.DataFrame:
    """Return a row for each loan: `id`, `issued`, `vintage`, `decision`, `pd`, `matured`, `outcome` if matured.

    In a book without a date `issued` is the day of scoring. Where it is asked for `by_month` there are also the term,
    the outcome `told` of any loan, and what `YoungLoans` takes of months.
    """
    name, issued = contract.id_name, pl.col("issued")
    dated = pl.col(contract.time_name) if contract.has_time else pl.col("scored_at").dt.date()
    terms = [] if contract.outcomes_are_final else [TERM]
    loans = (
        predicted.filter(pl.col("model_version") == version)
        .select(pl.col(name).alias("id"), dated.alias("issued"), *terms, "pd", "decision", "scored_at")
        .sort("scored_at")
        .collect()
    )
    unnamed = loans.filter(pl.col("id").is_null())
    loans = pl.concat([loans.drop_nulls("id").unique("id", keep="last"), unnamed])
    quarter = pl.format("{}-Q{}", issued.dt.year(), issued.dt.quarter())
    months = ("month", "first", "ended", "before") if by_month else ()
    labels = outcomes.select(pl.col(name).alias("id"), OUTCOME, *months).collect()
    return (
        loans.join(labels, on="id", how="left")
        .with_columns(matured=_matured(contract, seen_until))
        .select(
            "id",
            "issued",
            (quarter if contract.has_time else pl.format("scored {}", quarter)).alias("vintage"),
            pl.col("decision").cast(pl.String),
            "pd",
            "matured",
            pl.when("matured").then(OUTCOME).alias(OUTCOME),
            *(_ages(seen_until) if by_month else ()),
        )
    )


def _ages(seen_until: date | None) -> Iterator[pl.Expr]:
    """Return the term of loans, their outcome if any, and months from their issue; what has ended stays so."""
    yield from (pl.col(TERM), pl.col(OUTCOME).alias("told"))
    until = pl.when(pl.col(OUTCOME).is_not_null()).then(pl.lit(seen_until, dtype=pl.Date))
    months = {
        "observed": pl.max_horizontal("month", until),
        **{name: pl.col(name) for name in ("first", "ended", "before")},
    }
    for name, month in months.items():
        yield (month_number(month) - month_number(pl.col("issued"))).alias(name)


def _matured(contract: Contract, seen_until: date | None) -> pl.Expr:
    if contract.outcomes_are_final:
        return pl.col(OUTCOME).is_not_null()
    ends = months_after(pl.col("issued"), pl.col(TERM) + contract.outcome.grace_months)
    return (ends <= pl.lit(seen_until, dtype=pl.Date)).fill_null(False)


def _version(
    version: int, loans: pl.DataFrame, learned: int, cutoff: float, bootstrap: Bootstrap
) -> VersionPerformance:
    resolved, rest = loans.drop_nulls(OUTCOME), loans.filter(pl.col(OUTCOME).is_null())
    outcomes, pds = _arrays(resolved)
    both = 0 < outcomes.sum() < len(outcomes)
    return VersionPerformance(
        version=version,
        loans=loans.height,
        learned=learned,
        matured=int(loans["matured"].sum()),
        known=resolved.height,
        defaults=int(outcomes.sum()),
        real=measure(outcomes, pds, pds, cutoff=cutoff, bootstrap=bootstrap) if both else None,
        expected=estimate(pds) if len(pds) else None,
        estimate=estimate(rest["pd"].to_numpy()) if rest.height else None,
    )


def _arrays(resolved: pl.DataFrame) -> tuple[Floats, Floats]:
    return resolved[OUTCOME].to_numpy().astype(np.float64), resolved["pd"].to_numpy()


def estimate(pds: Floats) -> dict[str, float]:
    """Estimate AUC, Gini, KS, Brier score and default rate of loans without outcomes.

    Each loan counts as a default of weight PD and a repayment of weight 1 - PD: confidence-based performance
    estimation (CBPE) of calibrated probabilities, J. Białek et al., Estimating Model Performance Under Covariate Shift
    Without Labels, arXiv:2401.08348, 2024. The expected Brier score is the mean of PD · (1 - PD).

    Args:
        pds: (n,) calibrated probabilities of default, at least one of them.
    """
    ranked = Ranking.of(pds, pds).measure()
    return {
        **{name: ranked[name] for name in ("auc", "gini", "ks")},
        "brier": float(np.mean(pds * (1 - pds))),
        "default_rate": float(np.mean(pds)),
    }


def _by(loans: pl.DataFrame, version: int, field: str) -> pl.DataFrame:
    """Return a row for each level of a field: real figures of the known loans, estimated ones of the others."""
    groups = sorted(loans.group_by(field), key=lambda group: _level_order(str(group[0][0])))
    return _table(field, [{"model_version": version, field: level, **_row(part)} for (level,), part in groups])


def _table(field: str, rows: Sequence[Mapping[str, Any]] = ()) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"model_version": pl.Int64, field: pl.String, **_ROW})


def _level_order(level: str) -> tuple[int, str]:
    return (DECISIONS.index(level) if level in DECISIONS else 0), level


def _row(loans: pl.DataFrame) -> dict[str, Any]:
    resolved, rest = loans.drop_nulls(OUTCOME), loans.filter(pl.col(OUTCOME).is_null())["pd"].to_numpy()
    outcomes, pds = _arrays(resolved)
    row: dict[str, Any] = {
        "loans": loans.height,
        "matured": int(loans["matured"].sum()),
        "known": resolved.height,
        "defaults": int(outcomes.sum()),
        "mean_pd": float((resolved if resolved.height else loans)["pd"].mean()),  # type: ignore[arg-type]
        "default_rate": resolved[OUTCOME].mean(),
    }
    if resolved.height >= _LEAST:
        row["brier"] = float(np.mean((pds - outcomes) ** 2))
        if 0 < outcomes.sum() < len(outcomes):
            ranked = Ranking.of(outcomes, pds).measure()
            row |= {name: ranked[name] for name in ("auc", "ks")}
    if len(rest) >= _LEAST:
        expected = estimate(rest)
        row |= {f"estimated_{name}": expected[name] for name in ESTIMATED_METRICS}
    return row


def _groups(loans: pl.DataFrame, version: int) -> pl.DataFrame:
    resolved = loans.drop_nulls(OUTCOME)
    if resolved.is_empty():
        return pl.DataFrame(schema=_GROUP)
    return pd_groups(*_arrays(resolved)).select(pl.lit(version, dtype=pl.Int64).alias("model_version"), pl.all())


# --- the verdict ----------------------------------------------------------------------------------------------


def judge_performance(
    version: int,
    loans: pl.DataFrame,
    policy: PerformancePolicy,
    contract: Contract,
    young: YoungLoans | None = None,
) -> PerformanceVerdict:
    """Judge a version by the newest vintages that together hold enough loans and defaults.

    AUC is held against what the PDs of the very same loans let expect, and not against that of the test window: where
    risky applicants were declined the others are harder to tell apart, and that is no fault of the model.

    Args:
        version: its number.
        loans: `issued`, `vintage`, `pd`, `outcome`; those without an outcome do not count.
        policy: the limits.
        contract: says whether loans have to mature.
        young: its loans that files tell of month by month, by which a fall is seen before loans mature.
    """
    early = (young.finding(policy.calibration_tolerance, policy.size / _RULES),) if young else ()
    resolved = _newest(loans.drop_nulls(OUTCOME), policy)
    count, defaults = resolved.height, int(resolved[OUTCOME].sum())
    if count < policy.least_loans or not policy.least_defaults <= defaults < count:
        if not all(f.passed for f in early):
            return PerformanceVerdict("degraded", version, early)
        return PerformanceVerdict("not enough outcomes", version, (*early, _too_few(count, defaults, policy, contract)))
    findings = (*_findings(resolved, policy), *early)
    return PerformanceVerdict("healthy" if all(f.passed for f in findings) else "degraded", version, findings)


def _newest(resolved: pl.DataFrame, policy: PerformancePolicy) -> pl.DataFrame:
    counts = resolved.group_by("vintage").agg(pl.len(), pl.col(OUTCOME).sum()).sort("vintage", descending=True)
    totals = counts.with_columns(pl.col("len", OUTCOME).cum_sum())
    enough = (pl.col("len") >= policy.least_loans) & (pl.col(OUTCOME) >= policy.least_defaults)
    oldest = totals.filter(enough)["vintage"].first()
    return resolved if oldest is None else resolved.filter(pl.col("vintage") >= oldest)


def _too_few(loans: int, defaults: int, policy: PerformancePolicy, contract: Contract) -> Finding:
    matured = "" if contract.outcomes_are_final else "matured "
    of = f"Outcomes of {plural(loans, f'{matured}loan')} with {plural(defaults, 'default')} are known"
    return Finding(
        ENOUGH_OUTCOMES,
        False,
        f"{of}; {policy.least_loans:,} and {policy.least_defaults:,} are needed.",
    )


def _findings(resolved: pl.DataFrame, policy: PerformancePolicy) -> Iterator[Finding]:
    """Hold each rule by a test, so that a version whose PDs are right fails any with a chance of `policy.size`."""
    outcomes, pds = _arrays(resolved)
    vintages, size = resolved["vintage"].sort(), policy.size / _RULES
    auc, expected = Ranking.of(outcomes, pds).auc_estimate(), estimate(pds)["auc"]
    of = f"on {len(outcomes):,} loans of {' to '.join(dict.fromkeys((vintages[0], vintages[-1])))}"
    measurement = f"AUC {auc.value:.4f} ({auc.low:.4f} to {auc.high:.4f}) {of}"
    yield Finding(
        "auc_floor",
        auc.p_below(policy.auc_at_least) > size,
        f"{measurement}; at least {policy.auc_at_least:.2f} is needed, or chance must explain it.",
    )
    allowed = policy.auc_shortfall_at_most
    yield Finding(
        "ranks_as_expected",
        expected - auc.value <= allowed or auc.p_below(expected) > size,
        f"{measurement}, where their PDs let expect {expected:.4f}; a shortfall of {allowed:.2f} is allowed, "
        f"and one of {auc.reach(allowed, 2 * size):.2f} would have been seen 19 times of 20.",
    )
    tolerance = policy.calibration_tolerance
    months = resolved.select(month_number(pl.col("issued"))).to_series().to_numpy()
    large = calibration_in_the_large(outcomes, pds, months)
    yield Finding(
        "calibrated",
        fits_in_the_large(large, tolerance, size),
        f"Mean PD {pds.mean():.3f} and default rate {outcomes.mean():.3f} {of}. "
        f"{in_the_large(large, tolerance, size)}.",
    )
