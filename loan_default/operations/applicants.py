"""One applicant scored by the scoring server: the decision, what was missing, and what would have to change.

The form is `application_form`'s, a decision found again `decisions`'s; scoring is the server's alone.
Tested in `web/pages/test_score.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from loan_default.adapters.file_listing import list_files
from loan_default.adapters.layout import batch_name
from loan_default.operations.application_form import level_words
from loan_default.operations.applied_rule import AppliedRule
from loan_default.operations.scoring_server import server_of
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField
from loan_default.risk.errors import BadInput
from loan_default.risk.model.offers import Answer, Application, Offer, offers_or_why
from loan_default.settings import Settings


@dataclass(frozen=True)
class ScoredApplicant:
    """Keeps what the server decided, by which rule; `reasons` with the share (0 to 1) of what speaks against it.

    `missing` are the labels of fields that nothing is known of, `offers` changes that lead to a better decision; where
    there is none, `no_offer` says why.
    """

    decision_id: str
    decision: str
    pd: float
    score: int
    version: str
    reasons: tuple[tuple[str, float], ...]
    rule: AppliedRule
    missing: tuple[str, ...]
    offers: tuple[Offer, ...]
    no_offer: str | None = None


def score_applicant(
    settings: Settings, contract: Contract, application: Application, *, person: str = "", key: str = ""
) -> ScoredApplicant:
    """Have the server decide on an application, and look for what would have to change.

    Args:
        settings: of the home.
        contract: says which fields an applicant can change.
        application: values by field.
        person: who asks, for the log.
        key: of the form; the same application of the same form is decided on once.

    Raises:
        BadInput: the server refuses the application.
        ServerError: it does not answer, or cannot.
    """
    server, application = server_of(settings), _of_this_month(contract, application)
    try:
        answers, version = server.decide([application], person=person, key=_digest(key, application))
    except BadInput as error:  # which row is said to who sends many
        raise BadInput(str(error).removeprefix("Row 0: ")) from error
    (answer,) = answers
    rule = AppliedRule.of(answer, server.cut_offs(), application, contract)

    def score(applications: Sequence[Application]) -> list[Answer]:
        answered = server.decide(applications, person=person, what_if=True).answers
        return [Answer(each["decision"], each["pd"], each.get("npv")) for each in answered]

    offers = offers_or_why(contract, application, answer["decision"], score, answer.get("npv"))
    return ScoredApplicant(
        decision_id=answer["decision_id"],
        decision=answer["decision"],
        pd=answer["pd"],
        score=answer["score"],
        version=version,
        reasons=_reasons(answer),
        rule=rule,
        missing=missing_fields(contract, application),
        offers=tuple(offers.offers),
        no_offer=offers.no_offer,
    )


def missing_fields(contract: Contract, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the labels of the features that are not known and cannot be computed either."""
    present = [name for name, value in values.items() if value is not None]
    return tuple(
        field.short
        for field in contract.features
        if values.get(field.name) is None and (not field.derived or contract.lacking([field], present))
    )


def describe_changes(contract: Contract, application: Application, offer: Offer) -> list[dict[str, str]]:
    """Describe what an offer changes: the label of each field, its new and its old value, with units."""
    return [
        {
            "label": contract.by_name[name].short,
            "new": say_value(contract.by_name[name], value),
            "old": say_value(contract.by_name[name], application[name]),
        }
        for name, value in offer.changes.items()
    ]


@dataclass(frozen=True)
class Inputs:
    """Lists what is known of an applicant, labels with values and units, and the labels of what is not."""

    values: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]


def describe_inputs(contract: Contract, row: Mapping[str, Any]) -> Inputs:
    """Describe the values of an application in the log, in the contract's order."""
    values = [(field, row[field.name]) for field in contract.logged_fields if field.name in row]
    return Inputs(
        values=tuple((field.short, say_value(field, value)) for field, value in values if value is not None),
        missing=tuple(field.short for field, value in values if value is None),
    )


def say_value(field: LoanField, value: float | str) -> str:
    """Say a value with its unit, and a level in words."""
    return level_words(field, value) if isinstance(value, str) and field.levels else field.say(value)


def stored_batches(settings: Settings) -> list[str]:
    """List the batches whose applications are stored, the newest name first."""
    files = list_files(settings.layout.batches("application_batch"))
    return sorted((batch_name(file.name) for file in files), reverse=True)


def _of_this_month(contract: Contract, application: Application) -> Application:
    """Return an application with the month in which it is made, where something is computed from that."""
    needs_time = contract.has_time and any(contract.time_name in sources for sources in contract.sources.values())
    return {contract.time_name: f"{date.today():%Y-%m}", **application} if needs_time else application


def _reasons(answer: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    shares = [code["share"] for code in answer["reason_codes"]]
    return tuple(zip(answer["reasons"], shares, strict=True))


def _digest(key: str, application: Application) -> str:
    """Return a key of the request; none where the form has none."""
    content = json.dumps([key, application], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest() if key else ""
