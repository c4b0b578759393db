import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.value.declined import FACTORS, parcel, with_odds


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_more_odds_are_more_defaults_of_those_turned_down_alone(rows: list[tuple[float, bool]]) -> None:
    pds, approved = np.array([pd for pd, _ in rows]), np.array([is_approved for _, is_approved in rows])
    report = parcel(pds, approved)
    rates = [each["default_rate"] for each in report["factors"]]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(pds.mean())
    assert sum(band["applications"] for band in report["bands"]) == (~approved).sum()
    for number, factor in enumerate(report["factors"]):
        bands = [(band["applications"], band["default_rates"][number]) for band in report["bands"]]
        if bands:
            mean = sum(count * rate for count, rate in bands) / (~approved).sum()
            assert factor["turned_down_default_rate"] == pytest.approx(mean)
        elif approved.all():
            assert factor["turned_down_default_rate"] is None


def test_odds_are_multiplied() -> None:
    assert with_odds(np.array([0.5, 0.2, 0.0, 1.0]), 2.0) == pytest.approx([2 / 3, 1 / 3, 0, 1])
    assert FACTORS[0] == 1
