"""History: decisions and retrainings in the order in which they happened."""

import re
from datetime import UTC, datetime

import dagster as dg
import pytest

from loan_default.adapters.model_store import ORIGIN
from loan_default.defs.run_tags import REASON_TAG
from loan_default.operations.history import read_history
from loan_default.settings import Settings


@pytest.mark.integration
def test_retrainings_stand_beside_decisions(home: Settings) -> None:
    @dg.job(name="retraining_job")
    def retraining() -> None: ...

    with dg.DagsterInstance.get() as instance:
        by_sensor = instance.create_run_for_job(retraining, tags={REASON_TAG: "Batch 2018-10 drifted."})
        by_hand = instance.create_run_for_job(retraining)
    decision, *retrainings = read_history(home)
    assert (decision.event, decision.version, decision.run_id) == ("promote", 1, None)
    assert decision.by.startswith("policy, run ")
    assert decision.reasons
    assert decision.evidence is not None
    assert set(decision.evidence["origin"]) == set(ORIGIN)
    assert re.fullmatch(r"data \w{8}, contract \w{8}, code \w{8}, policy \w{8}, AUC 0\.\d{4}", decision.basis)
    assert retrainings[0].basis == ""
    events = {event.run_id: (event.event, event.by, event.reasons, event.version) for event in retrainings}
    assert events == {
        by_sensor.run_id: ("retraining not_started", "drift_sensor", ("Batch 2018-10 drifted.",), None),
        by_hand.run_id: ("retraining not_started", "by hand", ("started by hand",), None),
    }
    assert all(datetime.fromisoformat(event.at).tzinfo == UTC for event in retrainings)
