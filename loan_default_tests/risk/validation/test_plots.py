"""Pictures of an evaluation: what is drawn, against numbers counted by hand; files small, no state left behind."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.metrics import Bootstrap, measure, pd_groups
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.validation.plots import backtest_figure, evaluation_figures, field_importance, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CUTOFF = 0.3
NAMES = {
    "roc.png",
    "precision_recall.png",
    "calibration.png",
    "score_distribution.png",
    "feature_importance.png",
    "confusion_matrix.png",
    "default_rate_by_decile.png",
}
IMPORTANCE = {f"field_{number}": number / 465 for number in range(31)}


def loans(rows: int = 5_000, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    margins = rng.normal(-1.5, 1, rows)
    pds = 1 / (1 + np.exp(-margins))
    return (rng.random(rows) < pds).astype(int), pds, margins


OUTCOMES, PDS, MARGINS = loans()


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return evaluation_figures(OUTCOMES, PDS, MARGINS, cutoff=CUTOFF, importance=IMPORTANCE)


def drawn(figure: Figure, label: str) -> tuple[Floats, Floats]:
    """Return the line of this label: x (n,), y (n,)."""
    line = next(line for line in figure.axes[0].lines if str(line.get_label()).startswith(label))
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def metric(name: str) -> float:
    return measure(OUTCOMES, PDS, MARGINS, cutoff=CUTOFF, bootstrap=Bootstrap(0, 1))[name].value


@pytest.mark.slow
def test_every_picture_is_a_small_png_of_one_size(figures: dict[str, Figure]) -> None:
    from PIL import Image

    assert set(figures) == NAMES
    for name, figure in figures.items():
        file = png(figure)
        assert len(file) < 60_000, name
        assert Image.open(io.BytesIO(file)).size == (550, 440), name


@pytest.mark.slow
def test_same_figure_gives_same_bytes(figures: dict[str, Figure]) -> None:
    assert png(figures["roc.png"]) == png(figures["roc.png"])


def test_roc_is_the_true_curve_in_few_points(figures: dict[str, Figure]) -> None:
    alarms, caught = drawn(figures["roc.png"], "model")
    riskiest_first = OUTCOMES[np.argsort(-MARGINS)]
    true_alarms, true_caught = (
        np.r_[0, np.cumsum(ended) / ended.sum()] for ended in (1 - riskiest_first, riskiest_first)
    )
    assert len(alarms) <= 501
    assert (alarms[0], caught[0], alarms[-1], caught[-1]) == (0, 0, 1, 1)
    points = set(zip(true_alarms.tolist(), true_caught.tolist(), strict=True))
    assert set(zip(alarms.tolist(), caught.tolist(), strict=True)) <= points
    assert f"AUC {metric('auc'):.3f}, KS {metric('ks'):.3f}" in figures["roc.png"].axes[0].get_title("left")


def test_loans_of_one_score_are_one_point() -> None:
    tied = evaluation_figures([0, 1, 1, 0], [0.2, 0.2, 0.6, 0.2], [0, 0, 1, 0], cutoff=CUTOFF, importance={"a": 1.0})
    alarms, caught = drawn(tied["roc.png"], "model")
    assert (alarms.tolist(), caught.tolist()) == ([0, 0, 1], [0, 0.5, 1])


def test_cutoff_is_marked_where_precision_and_recall_are(figures: dict[str, Figure]) -> None:
    flagged = PDS >= CUTOFF
    (recall,), (precision,) = drawn(figures["precision_recall.png"], "flagged")
    assert recall == pytest.approx(flagged[OUTCOMES == 1].mean())
    assert precision == pytest.approx(OUTCOMES[flagged].mean())
    (alarms,), (caught,) = drawn(figures["roc.png"], "flagged")
    assert caught == recall
    assert alarms == pytest.approx(flagged[OUTCOMES == 0].mean())


def test_precision_ends_at_the_default_rate(figures: dict[str, Figure]) -> None:
    recall, precision = drawn(figures["precision_recall.png"], "model")
    assert len(recall) <= 500
    assert (recall[-1], precision[-1]) == (1, pytest.approx(OUTCOMES.mean()))


def test_precision_starts_at_the_first_default() -> None:
    figures = evaluation_figures([0, 1, 0], [0.9, 0.8, 0.1], [3, 2, 1], cutoff=CUTOFF, importance={"a": 1.0})
    recall, precision = drawn(figures["precision_recall.png"], "model")
    assert (recall.tolist(), precision.tolist()) == ([1, 1], pytest.approx([1 / 2, 1 / 3]))


@pytest.mark.slow
def test_cutoff_above_every_pd_draws_without_its_mark() -> None:
    figure = evaluation_figures(OUTCOMES, PDS, MARGINS, cutoff=0.9999, importance=IMPORTANCE)["precision_recall.png"]
    assert all("flagged" not in str(line.get_label()) for line in figure.axes[0].lines)
    assert png(figure)


def test_groups_are_tenths_by_pd_and_hold_their_means() -> None:
    groups = pd_groups(OUTCOMES, PDS)
    order = np.argsort(PDS)
    assert groups["group"].to_list() == list(range(1, 11))
    assert groups["loans"].to_list() == [500] * 10
    assert groups["mean_pd"].to_list() == pytest.approx(PDS[order].reshape(10, 500).mean(axis=1))
    assert groups["default_rate"].to_list() == pytest.approx(OUTCOMES[order].reshape(10, 500).mean(axis=1))


def test_one_pd_for_all_is_one_group_and_still_draws() -> None:
    assert pd_groups([0, 1, 0, 0], [0.25] * 4).select("loans", "mean_pd", "default_rate").rows() == [(4, 0.25, 0.25)]
    same = evaluation_figures([0, 1, 0, 0], [0.25] * 4, [0] * 4, cutoff=CUTOFF, importance={"a": 1.0})
    for name in ("calibration.png", "default_rate_by_decile.png", "score_distribution.png"):
        assert png(same[name])


def test_calibration_shows_groups_and_the_measured_error(figures: dict[str, Figure]) -> None:
    from matplotlib.container import ErrorbarContainer

    axes = figures["calibration.png"].axes[0]
    assert f"{metric('ece'):.4f}" in axes.get_title("left")
    assert "10 groups by PD, 500 loans each" in axes.get_legend_handles_labels()[1][-1]
    (errors,) = axes.containers
    assert isinstance(errors, ErrorbarContainer)
    predicted, observed = errors.lines[0].get_data()
    groups = pd_groups(OUTCOMES, PDS)
    assert np.asarray(predicted).tolist() == groups["mean_pd"].to_list()
    assert np.asarray(observed).tolist() == groups["default_rate"].to_list()


def test_deciles_show_rate_as_bars_and_pd_as_line(figures: dict[str, Figure]) -> None:
    from matplotlib.patches import Rectangle

    axes, groups = figures["default_rate_by_decile.png"].axes[0], pd_groups(OUTCOMES, PDS)
    assert [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)] == groups["default_rate"].to_list()
    assert drawn(figures["default_rate_by_decile.png"], "mean PD")[1].tolist() == groups["mean_pd"].to_list()


def test_distributions_hold_all_loans_of_each_outcome(figures: dict[str, Figure]) -> None:
    from matplotlib.patches import StepPatch

    lines = [patch for patch in figures["score_distribution.png"].axes[0].patches if not patch.get_fill()]
    assert [line.get_label() for line in lines] == [
        f"repaid ({np.sum(OUTCOMES == 0):,})",
        f"defaulted ({np.sum(OUTCOMES == 1):,})",
    ]
    for line in lines:
        assert isinstance(line, StepPatch)
        assert line.get_data()[0].sum() == pytest.approx(1)


def test_confusion_matrix_counts(figures: dict[str, Figure]) -> None:
    texts = [text.get_text().splitlines()[0] for text in figures["confusion_matrix.png"].axes[0].texts]
    flagged = PDS >= CUTOFF
    counted = [np.sum((row == OUTCOMES) & (column == flagged)) for row in (0, 1) for column in (0, 1)]
    assert texts == [f"{count:,}" for count in counted]


def test_importance_shows_the_first_twenty_with_the_strongest_on_top(figures: dict[str, Figure]) -> None:
    from matplotlib.patches import Rectangle

    axes = figures["feature_importance.png"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"field_{number}" for number in range(11, 31)]
    assert [bar.get_width() for bar in axes.patches if isinstance(bar, Rectangle)][-1] == IMPORTANCE["field_30"]


def test_importance_of_a_field_is_that_of_its_columns_together() -> None:
    space = FeatureSpace(load_contract())
    of_column = np.array([float(name.startswith("purpose=")) + 2 * (name == "dti") for name in space.columns])
    purposes = len(space.contract.by_name["purpose"].levels)

    class Model:
        def importance(self) -> Floats:
            shares: Floats = of_column / of_column.sum()
            return shares

    shares = field_importance(cast(RiskModel, Model()), space)
    assert list(shares)[:2] == ["purpose", "dti"]
    assert shares["purpose"] == pytest.approx(purposes / (purposes + 2))
    assert set(shares) == set(space.contract.feature_names)


@pytest.mark.integration
def test_figures_leave_pyplot_alone_and_importing_leaves_matplotlib_alone() -> None:
    code = (
        "import sys; from loan_default.risk.validation import plots; assert 'matplotlib' not in sys.modules; "
        "f = plots.evaluation_figures([0, 1], [.1, .2], [0, 1], cutoff=.15, importance={'a': 1.0}); "
        "[plots.png(x) for x in f.values()]; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_back_test_is_drawn_by_month_and_without_what_could_not_be_developed() -> None:
    points = [
        {"month": month, "label": label, "auc": None if label == "matured" else auc}
        for month, auc in (("2010-01", 0.66), ("2010-07", 0.68))
        for label in ("matured", "open")
    ]
    (axes,) = backtest_figure(points).axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axes.lines}
    assert lines["open"] == [0.66, 0.68]
    assert "matured" not in lines, "what could not be measured has no line, and no name"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2010-01", "2010-07"]
