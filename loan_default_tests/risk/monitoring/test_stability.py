"""PSI by hand, and what chance makes of it: by theory where bins are full, by simulation where they are not."""

import numpy as np
import pytest

from loan_default.risk.monitoring import stability
from loan_default.risk.monitoring.stability import Array, Stability, measure_stability, population_stability_index


def measured(reference: Array, batch: Array, seed: int = 0) -> Stability:
    stability = measure_stability(reference, batch, seed)
    assert stability is not None
    return stability


def test_psi_is_the_sum_computed_by_hand() -> None:
    # Shares 40 30 20 10 % against 30 30 25 15 %, by the definition in Siddiqi, Credit Risk Scorecards (2006):
    # 0.10 ln(4/3) + 0 ln(1) - 0.05 ln(4/5) - 0.05 ln(2/3) = 0.028768 + 0 + 0.011157 + 0.020273
    index = population_stability_index(np.array([40, 30, 20, 10]), np.array([60, 60, 50, 30]))
    assert index == pytest.approx(0.060199, abs=1e-6)


def test_an_empty_bin_counts_as_a_small_share() -> None:
    # -0.1 ln(0.9) + 0.0999 ln(1000) = 0.010536 + 0.690085
    assert population_stability_index(np.array([90, 10]), np.array([50, 0])) == pytest.approx(0.700621, abs=1e-6)


def test_an_empty_bin_beside_a_rare_one_counts_as_a_millionth_of_that() -> None:
    # Shares 99.99 0.01 0 % against 50 25 25 %, the 0 filled with 1e-10: 0.346454 + 1.955229 + 5.409889
    index = population_stability_index(np.array([9_999, 1, 0]), np.array([2, 1, 1]))
    assert index == pytest.approx(7.711572, abs=1e-6)


def test_psi_of_nothing_is_unknown() -> None:
    assert population_stability_index(np.array([1, 2]), np.array([0, 0])) is None
    assert measure_stability(np.array([0, 0]), np.array([1, 2]), seed=0) is None


@pytest.mark.parametrize(("rows", "batch"), [(1_000_000, 1_000), (1_000, 1_000_000), (4_000, 4_000)])
def test_chance_is_what_theory_says_where_bins_are_full(rows: int, batch: int) -> None:
    # Yurdakul (2018): PSI is (1/n + 1/m) chi-squared of bins - 1 degrees; of 9 the mean is 9, the 99th percentile 21.67
    even = measured(np.full(10, rows // 10), np.full(10, batch // 10))
    assert even.expected == pytest.approx(9 * (1 / rows + 1 / batch), rel=0.1)
    assert even.by_chance == pytest.approx(21.67 * (1 / rows + 1 / batch), rel=0.15)
    assert (even.raw, even.psi) == (0, 0)


@pytest.mark.parametrize("rows", [14, 200])
def test_batches_of_the_same_population_are_beyond_chance_once_in_a_hundred(rows: int) -> None:
    shares = np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.03, 0.01, 0.009, 0.001])
    generator = np.random.default_rng(0)
    references, batches = (generator.multinomial(side, shares, 300) for side in (2_000, rows))
    results = [measured(references[draw], batches[draw], seed=draw) for draw in range(300)]
    beyond = sum(result.raw > result.by_chance for result in results)
    assert 0 < beyond <= 8  # of 300, at 1 % more than 8 are less likely than 0.004
    surplus = np.mean([result.raw - result.expected for result in results])
    assert abs(surplus) < 0.1 * np.mean([result.expected for result in results])


def test_equal_counts_and_seeds_give_equal_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, batch = np.array([500, 300, 200]), np.array([50, 20, 30])
    undivided = measured(reference, batch, seed=1)
    monkeypatch.setattr(stability, "_MOST_CELLS", 7)  # draws by twos
    assert measured(reference, batch, seed=1) == undivided
    assert measured(reference, batch, seed=2).expected != undivided.expected


def test_billions_of_rows_are_measured() -> None:
    billions = measured(np.array([3, 2]) * 10**10, np.array([2, 3]) * 10**10)
    assert billions.psi == pytest.approx(0.2 * np.log(1.5) * 2, rel=1e-4)
    assert billions.by_chance < 1e-6
