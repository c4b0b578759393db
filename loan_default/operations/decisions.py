"""A decision of the scoring server, found again by its id and scored again by the version that made it.

Dagster is never imported here: the scoring server's image has none. How both is done is `serving.decisions`'s.
Tested in `serving/test_server.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.serving.decisions import Decision


def find_decision(settings: Settings, decision_id: str) -> Decision:
    """Find a decision by the scoring server, which has its version at hand, or else as `recall_decision` does.

    Raises:
        BadInput: it is no id, or there is no such decision.
        ServerError: the server does not tell.
    """
    from loan_default.adapters.scoring_server import Unreachable
    from loan_default.operations.scoring_server import server_of
    from loan_default.serving.decision_id import first_of
    from loan_default.serving.decisions import Decision

    first_of(decision_id)
    try:
        return Decision(**server_of(settings).decision(decision_id))
    except Unreachable:
        return recall_decision(settings, decision_id)


def recall_decision(settings: Settings, decision_id: str) -> Decision:
    """Find a decision in the prediction log or this home's journal, and score it again.

    Raises:
        BadInput: it is no id, or there is no such decision.
    """
    from loan_default.serving.decisions import recall
    from loan_default.serving.served_model import ServedModel
    from loan_default.serving.server import JOURNAL

    def load(version: int) -> ServedModel:
        tracking = settings.tracking
        return ServedModel.load(tracking.download_package(tracking.get(version), settings.models), version)

    return recall(decision_id, settings.layout, settings.serving / JOURNAL, load, settings.staging)
