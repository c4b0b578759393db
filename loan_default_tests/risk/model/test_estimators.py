"""What every kind of model has in common, whatever library fits it."""

import numpy as np
import pytest

from loan_default.risk.model.estimators import shares


def test_shares_sum_to_one_and_keep_proportions() -> None:
    assert shares(np.array([1.0, 0.0, 3.0])).tolist() == [0.25, 0.0, 0.75]


def test_a_model_that_uses_nothing_has_no_shares() -> None:
    assert shares(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
    assert shares(np.array([5.0])).sum() == pytest.approx(1)
