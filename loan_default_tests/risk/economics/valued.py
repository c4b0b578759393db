"""Loans with what was expected of them and what they paid, for tests of what cut-offs earn."""

import numpy as np

from loan_default.risk.economics.approval import ValuedLoans


def valued_loans(count: int = 3_000, seed: int = 0) -> ValuedLoans:
    """Loans whose rate rises faster than their risk up to a PD of 20 %, and not beyond."""
    rng = np.random.default_rng(seed)
    pds, amounts = rng.beta(2, 12, count), rng.uniform(1_000, 20_000, count)
    margins = 0.02 + 0.6 * np.minimum(pds, 0.2) - 0.7 * pds + rng.normal(0, 0.05, count)
    defaulted = rng.random(count) < pds
    return ValuedLoans(
        pds=pds,
        amounts=amounts,
        expected_loss=0.6 * amounts * pds,
        expected_npv=amounts * margins,
        npv_error=0.002 * amounts,
        years=1.5 * amounts,
        defaulted=defaulted,
        loss=0.6 * amounts * defaulted,
        npv=amounts * (margins - 0.6 * (defaulted - pds)),
        terms=np.full(count, 36.0),
        issued=rng.integers(0, 12, count),
    )
