"""When drift leads to a new model: one signal at a time, and half a year of simulated days."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.monitoring.retraining import DriftedBatch, Retraining, RetrainingDecision, decide_retraining
from loan_default.risk.policy import RetrainingPolicy

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
POLICY = RetrainingPolicy(cooldown_hours=24, most_per_week=2)
DRIFTED = DriftedBatch("2026-03", 4)
DONE = Retraining("r1", NOW - timedelta(hours=25), "succeeded", 4, "older")


def decided(
    drifted: Sequence[DriftedBatch] = (DRIFTED,),
    production: int | None = 4,
    data: str = "newer",
    past: Sequence[Retraining] = (),
    policy: RetrainingPolicy = POLICY,
    now: datetime = NOW,
) -> RetrainingDecision:
    return decide_retraining(drifted, production, data, past, policy, now)


@pytest.mark.parametrize(
    ("decision", "verdict", "sentence"),
    [
        (decided(), "retrain", "Batch 2026-03 drifted against version 4."),
        (decided(production=None), "wait", "No version is in production"),
        (decided(drifted=()), "wait", "No batch has drifted against version 4"),
        (decided(production=5), "wait", "No batch has drifted against version 5"),
        (decided(data=""), "wait", "LOAN_DEFAULT_DATA names no loan file"),
        (decided(past=[DONE]), "retrain", "drifted"),
        (decided(past=[replace(DONE, status="under way")]), "wait", "Retraining r1 is under way since 2026-03-09"),
        (decided(past=[DONE], data="older"), "wait", "would make the same model; deliver newer loans"),
        (decided(past=[replace(DONE, version=3)], data="older"), "retrain", "drifted"),
        (decided(past=[replace(DONE, status="failed")], data="older"), "retrain", "drifted"),
        (decided(past=[replace(DONE, version=None, data=None)]), "retrain", "drifted"),
        (decided(past=[replace(DONE, asked_at=NOW - timedelta(hours=23))]), "wait", "from 2026-03-10 13:00 UTC"),
        (decided(past=[replace(DONE, asked_at=NOW - timedelta(hours=24))]), "retrain", "drifted"),
        (decided(past=[replace(DONE, asked_at=NOW + timedelta(hours=1))]), "wait", "from 2026-03-11 13:00 UTC"),
        (decided(past=[DONE, replace(DONE, asked_at=NOW - timedelta(days=6))]), "wait", "from 2026-03-11 12:00"),
        (decided(past=[DONE, replace(DONE, asked_at=NOW - timedelta(days=7))]), "retrain", "drifted"),
        (decided(policy=RetrainingPolicy(cooldown_hours=0, most_per_week=0)), "wait", "the policy allows none"),
    ],
)  # fmt: skip
def test_each_signal_alone(decision: RetrainingDecision, verdict: str, sentence: str) -> None:
    assert decision.verdict == verdict
    assert any(sentence in reason for reason in decision.reasons), decision.reasons
    assert all(reason.endswith(".") for reason in decision.reasons)


def test_many_batches_are_named_in_short() -> None:
    decision = decided([DriftedBatch(f"b{number}", 4) for number in range(5)])
    assert decision.reasons == ("Batches b0, b1, b2 and 2 more drifted against version 4.",)
    assert len(decision.batches) == 5


@pytest.mark.slow
@given(st.data())
def test_half_a_year(data: st.DataObject) -> None:
    """Drift episodes, new loan files, failing and slow runs, ticks twice or never: the policy holds all the time."""
    policy = RetrainingPolicy(
        cooldown_hours=data.draw(st.sampled_from([1, 24, 72])), most_per_week=data.draw(st.integers(1, 3))
    )
    rng = Random(data.draw(st.integers(0, 10**6)))
    production, files = 1, 0
    past: list[Retraining] = []
    drifted: list[DriftedBatch] = []
    ends: dict[str, datetime] = {}
    for hour in range(0, 180 * 24, 6):
        now = NOW + timedelta(hours=hour)
        for number, run in enumerate(past):
            if run.status == "under way" and now >= ends[run.run]:
                past[number] = replace(run, status=rng.choice(["succeeded", "succeeded", "failed"]))
                production += past[number].status == "succeeded" and rng.random() < 0.5
        files += rng.random() < 0.02
        if rng.random() < 0.05:
            drifted.append(DriftedBatch(f"{hour}", production))
        for _ in range(rng.choice([0, 1, 1, 2])):
            requests = [run.asked_at for run in past]
            free = (
                all(run.status != "under way" for run in past)
                and all((run.status, run.version, run.data) != ("succeeded", production, f"{files}") for run in past)
                and all(now - time >= timedelta(hours=policy.cooldown_hours) for time in requests)
                and sum(now - time < timedelta(days=7) for time in requests) < policy.most_per_week
            )
            decision = decide_retraining(drifted, production, f"{files}", past, policy, now)
            waits = any(batch.version == production for batch in drifted)
            assert (decision.verdict == "retrain") == (waits and free), "a drift waits no longer than the policy asks"
            if decision.verdict == "retrain":
                past.append(Retraining(f"run-{len(past)}", now, "under way", production, f"{files}"))
                ends[past[-1].run] = now + timedelta(hours=rng.choice([1, 5, 30]))
        assert sum(run.status == "under way" for run in past) <= 1
    times = [run.asked_at for run in past]
    for end in times:
        assert sum(end - timedelta(days=7) < time <= end for time in times) <= policy.most_per_week
    assert all(b - a >= timedelta(hours=policy.cooldown_hours) for a, b in pairwise(times))
    inputs = [(run.version, run.data) for run in past if run.status == "succeeded"]
    assert len(inputs) == len(set(inputs)), "no model is made twice"
