from dataclasses import fields, replace

import numpy as np
import pytest

from loan_default.risk.economics.approval import outcome_of
from loan_default.risk.metrics import Bootstrap
from loan_default.risk.policy import HIGHEST_CUT_OFF, StrategyLimits
from loan_default.risk.value.strategy import SHARES, propose, strategy_curve, why_none
from loan_default_tests.risk.economics.valued import valued_loans

LOANS = valued_loans()


def test_both_rules_approve_the_same_shares() -> None:
    points = strategy_curve(LOANS, 0.1)
    for share, (by_pd, by_value) in zip(SHARES, zip(points[::2], points[1::2], strict=True), strict=True):
        assert (by_pd.rule, by_value.rule) == ("pd", "npv")
        assert by_pd.outcome.share == pytest.approx(share, abs=2 / len(LOANS.pds))
        assert by_value.outcome.share == pytest.approx(share, abs=2 / len(LOANS.pds))
        assert by_pd.outcome.mean_pd is not None
        assert by_value.outcome.mean_pd is not None
        assert by_pd.outcome.mean_pd <= by_value.outcome.mean_pd + 1e-9
    volumes = [point.outcome.volume for point in points[1::2]]
    assert volumes == sorted(volumes)


def test_without_limits_all_loans_of_some_value_are_proposed() -> None:
    proposal = propose(LOANS, StrategyLimits(), 0.1, {}, bootstrap=Bootstrap(1, 20))
    assert proposal is not None
    assert (proposal.approve_below, proposal.npv_at_least, proposal.bound_by) == (HIGHEST_CUT_OFF, 0.0, ())
    assert proposal.outcome == outcome_of(LOANS, LOANS.margins >= 0, 0.1)
    low, high = proposal.intervals["npv"]
    assert low < proposal.outcome.npv < high


@pytest.mark.parametrize(
    "limits",
    [
        StrategyLimits(default_rate_at_most=0.08),
        StrategyLimits(volume_at_most=3e6),
        StrategyLimits(capital_at_most=2e5),
        StrategyLimits(approve_at_least=0.9, default_rate_at_most=0.14),
    ],
)
def test_a_proposal_keeps_its_limits_and_no_other_pair_earns_more(limits: StrategyLimits) -> None:
    proposal = propose(LOANS, limits, 0.1, {}, bootstrap=Bootstrap(1, 5))
    assert proposal is not None
    assert set(proposal.bound_by) & limits.model_fields_set

    def keeps(approved: np.ndarray) -> bool:
        outcome = outcome_of(LOANS, approved, 0.1)
        return (
            (limits.default_rate_at_most is None or (outcome.mean_pd or 0) <= limits.default_rate_at_most)
            and outcome.volume <= (limits.volume_at_most or np.inf)
            and 0.1 * outcome.volume <= (limits.capital_at_most or np.inf)
            and outcome.share >= (limits.approve_at_least or 0)
        )

    own = (LOANS.pds < proposal.approve_below) & (LOANS.margins >= proposal.npv_at_least)
    assert keeps(own)
    assert outcome_of(LOANS, own, 0.1) == proposal.outcome
    for pd in np.quantile(LOANS.pds, [0.1, 0.3, 0.5, 0.7, 0.9]).round(3):
        for margin in np.quantile(LOANS.margins, [0.1, 0.3, 0.5, 0.7, 0.9]).round(3):
            approved = (LOANS.pds < pd) & (LOANS.margins >= margin)
            if keeps(approved):
                other = outcome_of(LOANS, approved, 0.1).expected_npv
                assert other <= proposal.outcome.expected_npv + 0.02 * abs(proposal.outcome.expected_npv)


def test_by_the_pd_alone_every_value_is_enough() -> None:
    limits = StrategyLimits(default_rate_at_most=0.08)
    by_pd, by_both = (propose(LOANS, limits, 0.1, {}, by=by, bootstrap=Bootstrap(1, 5)) for by in ("pd", "both"))
    assert by_pd is not None
    assert by_both is not None
    assert by_pd.outcome == outcome_of(LOANS, LOANS.pds < by_pd.approve_below, 0.1)
    assert by_both.outcome.expected_npv > by_pd.outcome.expected_npv


def test_by_the_value_alone_every_pd_is_enough() -> None:
    proposal = propose(LOANS, StrategyLimits(), 0.1, {}, by="npv", bootstrap=Bootstrap(1, 5))
    assert proposal is not None
    assert (proposal.approve_below, proposal.npv_at_least) == (1.0, 0.0)
    assert proposal.outcome == outcome_of(LOANS, LOANS.margins >= 0, 0.1)


def test_groups_of_people_are_approved_about_as_often_where_the_policy_says_so() -> None:
    riskier = np.where(LOANS.pds > np.median(LOANS.pds), "b", "a").tolist()
    free = propose(LOANS, StrategyLimits(default_rate_at_most=0.1), 0.1, {"group": riskier}, bootstrap=Bootstrap(1, 5))
    limits = StrategyLimits(default_rate_at_most=0.1, group_ratio_at_least=0.95)
    fair = propose(LOANS, limits, 0.1, {"group": riskier}, bootstrap=Bootstrap(1, 5))
    assert free is not None

    def ratio(pd: float, margin: float) -> float:
        approved = (LOANS.pds < pd) & (LOANS.margins >= margin)
        rates = [approved[np.array(riskier) == group].mean() for group in "ab"]
        return float(min(rates) / max(rates))

    assert ratio(free.approve_below, free.npv_at_least) < 0.95
    assert fair is None or ratio(fair.approve_below, fair.npv_at_least) >= 0.95


def test_a_group_of_few_people_does_not_bind() -> None:
    few = np.where(np.arange(len(LOANS.pds)) < 5, "few", "many").tolist()
    limits = StrategyLimits(default_rate_at_most=0.1, group_ratio_at_least=0.999)
    free, bound = (propose(LOANS, limits, 0.1, groups, bootstrap=Bootstrap(1, 5)) for groups in ({}, {"group": few}))
    assert free is not None
    assert bound == free


def test_limits_that_nothing_keeps_have_no_proposal() -> None:
    limits = StrategyLimits(default_rate_at_most=0.0001, approve_at_least=0.5)
    assert propose(LOANS, limits, 0.1, {}, bootstrap=Bootstrap(1, 5)) is None
    assert why_none(LOANS, limits, 0.1, {}) == (
        "No cut-off that keeps the limits of the policy is expected to earn anything; another "
        "default_rate_at_most than 0.0001 would allow one."
    )
    impossible = StrategyLimits(default_rate_at_most=0.0001, volume_at_most=1.0)
    sentence = why_none(LOANS, impossible, 0.1, {})
    assert sentence.endswith("is expected to earn anything, even with any one of them left out.")


def test_a_loss_is_proposed_only_where_loans_have_to_be_made() -> None:
    losing = replace(LOANS, expected_npv=LOANS.expected_npv - LOANS.amounts)
    assert propose(losing, StrategyLimits(), 0.1, {}, by="pd", bootstrap=Bootstrap(1, 5)) is None
    nothing = "Whatever the cut-off, what it approves is not expected to earn anything."
    assert why_none(losing, StrategyLimits(default_rate_at_most=0.2), 0.1, {}, by="pd") == nothing
    forced = propose(losing, StrategyLimits(approve_at_least=0.3), 0.1, {}, by="pd", bootstrap=Bootstrap(1, 5))
    assert forced is not None
    assert forced.outcome.expected_npv < 0


@pytest.mark.slow
def test_a_book_without_months_is_resampled_by_its_loans() -> None:
    timeless = replace(LOANS, issued=None)
    assert {field.name for field in fields(timeless)} >= {"issued"}
    proposal = propose(timeless, StrategyLimits(default_rate_at_most=0.1), 0.1, {}, bootstrap=Bootstrap(1, 10))
    again = propose(timeless, StrategyLimits(default_rate_at_most=0.1), 0.1, {}, bootstrap=Bootstrap(1, 10))
    assert proposal == again
    assert proposal is not None
    assert proposal.intervals["default_rate"][0] < proposal.intervals["default_rate"][1]
