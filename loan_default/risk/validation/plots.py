"""Pictures of how a model does on one window of loans, and of what it looks at.

Figures are matplotlib objects made without pyplot, so they need no display, share no state and are freed like any
other value. The numbers behind them are `evaluation`; where the pictures are stored is `adapters`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from loan_default.risk.arrays import Floats
from loan_default.risk.metrics import Ranking, calibration_error, pd_groups
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.reason_codes import field_contributions
from loan_default.risk.model.scorer import Scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# M. Okabe and K. Ito, Color Universal Design, 2008: told apart with any colour vision
BLUE, VERMILION, GREY, GREEN = "#0072B2", "#D55E00", "#767676", "#009E73"
_INCHES, _DPI = (5.0, 4.0), 110
_CURVE_POINTS = 500
_BINS = 40
_FIELDS_SHOWN = 20
_TITLE, _LABEL, _SMALL = 10, 9, 8  # points


def evaluation_figures(
    outcomes: ArrayLike, pds: ArrayLike, raw_scores: ArrayLike, *, cutoff: float, importance: Mapping[str, float]
) -> dict[str, Figure]:
    """Draw every picture of an evaluation, by file name.

    Args:
        outcomes: (n,) 1 where the loan defaulted, else 0; both must occur.
        pds: (n,) calibrated probabilities of default.
        raw_scores: (n,) what ranks the loans, higher is riskier.
        cutoff: PD from which a loan counts as predicted to default.
        importance: how much the model uses each field, as `field_importance` gives it.
    """
    truth, chances = np.asarray(outcomes, dtype=np.float64), np.asarray(pds, dtype=np.float64)
    ranking, groups = Ranking.of(truth, raw_scores), pd_groups(truth, chances)
    return {
        "roc.png": _roc(ranking, truth, chances, cutoff),
        "precision_recall.png": _precision_recall(ranking, truth, chances, cutoff),
        "calibration.png": _reliability(groups, calibration_error(truth, pds)),
        "score_distribution.png": _distribution(truth, chances, cutoff),
        "feature_importance.png": _importance(importance),
        "confusion_matrix.png": _confusion(truth, chances, cutoff),
        "default_rate_by_decile.png": _deciles(groups),
    }


def evaluation_pngs(outcomes: pl.Series, scores: pl.DataFrame, scorer: Scorer) -> dict[str, bytes]:
    """Draw every picture of a scorer on loans (n rows of `pd` and `raw_score`), as PNG files by name."""
    figures = evaluation_figures(
        outcomes.to_numpy(),
        scores["pd"].to_numpy(),
        scores["raw_score"].to_numpy(),
        cutoff=scorer.policy.decline_from,
        importance=field_importance(scorer.model, scorer.space),
    )
    return {name: png(figure) for name, figure in figures.items()}


def backtest_figure(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the AUC that each way of learning reached at each month of a back-test's record, by its first candidate."""
    points = [point for point in points if point.get("leads", True)]
    figure, axes = _blank("Loans of the year after each month", "Developed as of", "AUC")
    months = sorted({point["month"] for point in points})
    styles = {
        "platform": ("D-", GREEN),
        "matured": ("s-", GREY),
        "hazard": ("^-", BLUE),
        "open": ("o-", VERMILION),
        "hindsight": (":", "black"),
    }
    for label, (style, colour) in styles.items():
        measured = [point for point in points if point["label"] == label and point["auc"] is not None]
        if not measured:
            continue
        positions, values = [months.index(point["month"]) for point in measured], [point["auc"] for point in measured]
        axes.plot(positions, values, style, color=colour, markersize=4, linewidth=1.2, label=label)
    axes.set_xticks(range(len(months)), months, rotation=45)
    axes.legend(fontsize=_SMALL)
    return figure


def png(figure: Figure) -> bytes:
    """Render the figure as a PNG file; the same figure gives the same bytes."""
    from io import BytesIO

    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def field_importance(model: RiskModel, space: FeatureSpace) -> dict[str, float]:
    """Measure how much the model uses each field, its columns taken together; most used first, summing to 1."""
    shares = field_contributions(model.importance()[None, :], space)[0]
    named = zip(space.contract.feature_names, shares.tolist(), strict=True)
    return dict(sorted(named, key=lambda field: -field[1]))


# --- the pictures ---------------------------------------------------------------------------------------------


def _blank(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=_TITLE, loc="left")
    axes.set_xlabel(x_label, fontsize=_LABEL)
    axes.set_ylabel(y_label, fontsize=_LABEL)
    axes.tick_params(labelsize=_SMALL)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _in_percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1))


def _curve(ranking: Ranking) -> tuple[Floats, Floats]:
    """Count defaults and repaid loans among those at least as risky as each of at most 500 scores, riskiest first."""
    bad = np.cumsum(np.add.reduceat(ranking.outcomes, ranking.starts))
    good = np.r_[ranking.starts[1:], len(ranking.order)] - bad
    positions = np.unique(np.linspace(0, len(bad) - 1, _CURVE_POINTS).astype(np.intp))
    return bad[positions], good[positions]


def _roc(ranking: Ranking, truth: Floats, pds: Floats, cutoff: float) -> Figure:
    bad, good = _curve(ranking)
    measured = ranking.measure()
    figure, axes = _blank(
        f"ROC: AUC {measured['auc']:.3f}, KS {measured['ks']:.3f}",
        "Repaid loans flagged (share of all repaid)",
        "Defaults flagged (share of all defaults)",
    )
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance")
    axes.plot(np.r_[0, good / good[-1]], np.r_[0, bad / bad[-1]], color=BLUE, linewidth=1.8, label="model")
    caught, false_alarms = (np.mean(pds[truth == outcome] >= cutoff) for outcome in (1, 0))
    _mark_cutoff(axes, false_alarms, caught, cutoff)
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(fontsize=_SMALL, loc="lower right")
    return figure


def _precision_recall(ranking: Ranking, truth: Floats, pds: Floats, cutoff: float) -> Figure:
    bad, good = _curve(ranking)
    bad, good = bad[bad > 0], good[bad > 0]  # before the first default precision is 0 and says nothing
    figure, axes = _blank(
        f"Precision and recall: average precision {ranking.measure()['pr_auc']:.3f}",
        "Recall: defaults flagged (share of all defaults)",
        "Precision: defaults among the flagged",
    )
    axes.axhline(truth.mean(), color=GREY, linestyle="--", linewidth=1, label=f"chance ({truth.mean():.1%})")
    axes.plot(bad / bad[-1], bad / (bad + good), color=BLUE, linewidth=1.8, label="model")
    flagged = pds >= cutoff
    if flagged.any():
        _mark_cutoff(axes, truth[flagged].sum() / truth.sum(), truth[flagged].mean(), cutoff)
    axes.set(xlim=(0, 1), ylim=(0, 1.01))
    axes.legend(fontsize=_SMALL, loc="upper right")
    return figure


def _mark_cutoff(axes: Axes, x: float, y: float, cutoff: float) -> None:
    axes.plot([x], [y], "o", color=VERMILION, markersize=6, label=f"flagged from PD {cutoff:.1%}", zorder=3)


def _reliability(groups: pl.DataFrame, error: float) -> Figure:
    loans, predicted, observed = (groups[name].to_numpy() for name in ("loans", "mean_pd", "default_rate"))
    figure, axes = _blank(
        f"Calibration: expected calibration error {error:.4f}, debiased",
        "Mean PD of the group",
        "Default rate of the group",
    )
    # half the width of a 95% interval by the normal approximation to the binomial
    reach = 1.96 * np.sqrt(observed * (1 - observed) / loans)
    largest = 1.05 * max(predicted.max(), (observed + reach).max())
    axes.plot([0, largest], [0, largest], color=GREY, linestyle="--", linewidth=1, label="PD = default rate")
    counts = f"{loans.min():,}" if loans.min() == loans.max() else f"{loans.min():,} to {loans.max():,}"
    label = f"{len(loans)} groups by PD, {counts} loans each\n(bars: 95% interval)"
    axes.errorbar(predicted, observed, reach, fmt="o", color=BLUE, markersize=5, capsize=2, linewidth=1, label=label)
    axes.set(xlim=(0, largest), ylim=(0, largest))
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis)
    axes.legend(fontsize=_SMALL, loc="lower right")
    return figure


def _distribution(truth: Floats, pds: Floats, cutoff: float) -> Figure:
    figure, axes = _blank("PD of loans by how they ended", "Predicted probability of default", "Share of the loans")
    edges = np.linspace(0, max(float(np.quantile(pds, 0.999)), cutoff) * 1.02, _BINS + 1)
    for outcome, color, label in ((0, BLUE, "repaid"), (1, VERMILION, "defaulted")):
        chances = pds[truth == outcome]
        shares = np.histogram(np.minimum(chances, edges[-1]), edges)[0] / max(len(chances), 1)
        axes.stairs(shares, edges, fill=True, color=color, alpha=0.3)
        axes.stairs(shares, edges, color=color, linewidth=1.2, label=f"{label} ({len(chances):,})")
    axes.axvline(cutoff, color="black", linestyle=":", linewidth=1, label=f"flagged from PD {cutoff:.1%}")
    axes.set(xlim=(0, edges[-1]), ylim=(0, None))
    _in_percent(axes.xaxis)
    _in_percent(axes.yaxis)
    axes.legend(fontsize=_SMALL, loc="upper right")
    return figure


def _importance(importance: Mapping[str, float]) -> Figure:
    largest = sorted(importance.items(), key=lambda field: field[1])[-_FIELDS_SHOWN:]
    title = f"What the model looks at: the first {len(largest)} of {len(importance)} fields"
    figure, axes = _blank(title, "Share of the whole importance", "")
    axes.barh([name for name, _ in largest], [share for _, share in largest], color=BLUE, height=0.7)
    axes.tick_params(axis="y", labelsize=7, length=0)
    axes.grid(visible=False, axis="y")
    axes.margins(y=0.01)
    _in_percent(axes.xaxis)
    return figure


def _confusion(truth: Floats, pds: Floats, cutoff: float) -> Figure:
    flagged = pds >= cutoff
    counts = np.array([[np.sum((truth == row) & (flagged == column)) for column in (0, 1)] for row in (0, 1)])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _blank(f"Outcome and prediction, flagged from PD {cutoff:.1%}", "Predicted", "How the loan ended")
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        label = f"{counts[row, column]:,}\n{share:.1%} of the row"
        axes.text(column, row, label, ha="center", va="center", fontsize=11, color="white" if share > 0.55 else "black")
    axes.set_xticks([0, 1], ["repays", "defaults"])
    axes.set_yticks([0, 1], ["repaid", "defaulted"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _deciles(groups: pl.DataFrame) -> Figure:
    figure, axes = _blank(
        "Default rate by tenth of the loans", "Tenth of the loans by PD (1 safest, 10 riskiest)", "Share that defaults"
    )
    axes.bar(groups["group"], groups["default_rate"], color=BLUE, width=0.75, label="observed default rate")
    axes.plot(groups["group"], groups["mean_pd"], "o-", color=VERMILION, markersize=4, linewidth=1.2, label="mean PD")
    axes.set_xticks(groups["group"].to_list())
    axes.grid(visible=False, axis="x")
    _in_percent(axes.yaxis)
    axes.legend(fontsize=_SMALL, loc="upper left")
    return figure
