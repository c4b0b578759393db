"""Which loans go to the challenger."""

from loan_default.serving.routing import is_challenged

LOANS = [f"loan-{number}" for number in range(4_000)]


def test_a_share_of_the_loans_stable_for_each() -> None:
    chosen = [is_challenged(loan, 0.2) for loan in LOANS]
    assert abs(sum(chosen) / len(LOANS) - 0.2) < 0.03
    assert chosen == [is_challenged(loan, 0.2) for loan in LOANS]


def test_a_larger_share_keeps_those_of_the_smaller() -> None:
    assert {loan for loan in LOANS if is_challenged(loan, 0.1)} <= {loan for loan in LOANS if is_challenged(loan, 0.3)}


def test_the_ends() -> None:
    assert not any(is_challenged(loan, 0.0) for loan in LOANS)
    assert all(is_challenged(loan, 1.0) for loan in LOANS)
    assert not is_challenged(None, 1.0)
    assert not is_challenged("", 1.0)
