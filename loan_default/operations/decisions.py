"""Decisions of the scoring server: listed, or found again by an id and scored again by the version that made it.

Dagster is never imported here: the scoring server's image has none. How it is done is `serving.decision_list`'s and
`serving.decisions`'s.
Tested in `serving/test_server.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.serving.decision_list import DecisionList, DecisionQuery
    from loan_default.serving.decisions import Decision


def list_decisions(settings: Settings, query: DecisionQuery, rows: int) -> DecisionList:
    """List decisions, newest first, of the prediction log and of this home's journal.

    Those that a server on another machine made in the last minute or so are not in the log yet.

    Raises:
        BadInput: the query names no decision where it begins, or a file of the log cannot be read.
    """
    from loan_default.serving import decision_list
    from loan_default.serving.server import JOURNAL

    return decision_list.list_decisions(query, settings.layout, settings.serving / JOURNAL, settings.staging, rows=rows)


def find_decision(settings: Settings, decision_id: str) -> Decision:
    """Find a decision by the scoring server, which has its version at hand, or else as `recall_decision` does.

    Raises:
        BadInput: it is no id, or there is no such decision.
        ServerError: the server does not tell.
    """
    from loan_default.adapters.scoring_server import OtherModel, Unreachable
    from loan_default.operations.scoring_server import server_of
    from loan_default.serving.decision_id import first_of
    from loan_default.serving.decisions import Decision

    first_of(decision_id)
    try:
        return Decision(**server_of(settings).decision(decision_id))
    except (Unreachable, OtherModel):
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
