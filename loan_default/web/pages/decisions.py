"""The pages of one decision: what was asked and answered, the same scored again, what a person decided otherwise, and
the notice for the applicant.

Finding and comparing it is `operations.decisions`'s, overrides are `operations.overrides`'s; the list of decisions is
`decision_list`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from loan_default.operations.applicants import describe_inputs
from loan_default.operations.applied_rule import AppliedRule
from loan_default.operations.decisions import find_decision
from loan_default.operations.overrides import (
    DECISIONS,
    Override,
    override_reasons,
    read_overrides,
    record_override,
)
from loan_default.risk.contract.book import Contract
from loan_default.risk.errors import BadInput
from loan_default.web.people import allow, person_of, require
from loan_default.web.rendering import contract_of, read_template, render, settings_of
from loan_default.web.security import Form, takes_form


@allow("officer")
def show(request: Request) -> Response:
    """Show a decision, scored again."""
    return _page(request)


@allow("officer")
def override(request: Request, form: Form) -> Response:
    """Record that a person decides otherwise."""
    settings, person = settings_of(request), person_of(request)
    row = find_decision(settings, request.path_params["decision_id"]).row
    if row["decision"] == "decline" and form.get("decision") == "approve":
        require(request, "approver")
    by = person.name or form.get("by", "")
    try:
        record_override(settings, row, form.get("decision", ""), form.get("reason", ""), form.get("words", ""), by)
    except BadInput as error:
        return _page(request, 400, mistake=str(error))
    return RedirectResponse(f"/decisions/{row['decision_id']}", 303)


@allow("officer")
def notice(request: Request) -> Response:
    """Show the notice of a decision, to be printed: in words of the lender, with the reasons as they were told."""
    settings, contract = settings_of(request), contract_of(request)
    row = find_decision(settings, request.path_params["decision_id"]).row
    overrides = read_overrides(settings, [row["decision_id"]])
    template = settings.notice_template
    return render(
        request,
        read_template(template) if template else "notice.html",
        row=row,
        outcome=overrides[-1].decision if overrides else row["decision"],
        reasons=_principal_reasons(row, overrides, override_reasons(settings)),
        decided_at=overrides[-1].recorded_at if overrides else row["scored_at"],
        bureau=_bureau_score(contract, row),
        has_template=template is not None,
    )


def _page(request: Request, status: int = 200, mistake: str = "") -> Response:
    settings, person, contract = settings_of(request), person_of(request), contract_of(request)
    decision = find_decision(settings, request.path_params["decision_id"])
    row = decision.row
    choices = [choice for choice in DECISIONS if choice != row["decision"]]
    if row["decision"] == "decline" and not person.may("approver"):
        choices = []
    return render(
        request,
        "decision.html",
        status,
        row=row,
        rule=AppliedRule.of(row, row, row, contract),
        answered_reasons=_answered_reasons(row),
        verdict=decision.verdict,
        sentence=decision.sentence,
        again=decision.again,
        inputs=describe_inputs(contract, row),
        overrides=read_overrides(settings, [row["decision_id"]]),
        reasons=override_reasons(settings),
        choices=choices,
        mistake=mistake,
    )


def _answered_reasons(row: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    codes: Sequence[Mapping[str, Any]] = row["reason_codes"] or []
    shares = [code["share"] for code in codes]
    reasons = row["reasons"] or []
    return [*zip(reasons, shares if len(shares) == len(reasons) else [None] * len(reasons), strict=True)]


def _principal_reasons(
    row: Mapping[str, Any], overrides: Sequence[Override], meanings: Mapping[str, str]
) -> Sequence[str]:
    """Return the reasons of a decline: of the person who made it, or else of the model."""
    if overrides and overrides[-1].decision == "decline":
        reason = overrides[-1].reason
        return [f"{meanings.get(reason, reason)}.", *(row["reasons"] or [])]
    return row["reasons"] or []


def _bureau_score(contract: Contract, row: Mapping[str, Any]) -> Mapping[str, str] | None:
    """Describe the credit score of a bureau that was used, where the contract names one and it is known."""
    field = contract.by_name.get(contract.bureau_score or "")
    value = row.get(field.name) if field else None
    if field is None or value is None:
        return None
    return {"label": field.short, "value": field.say(value), "range": field.allowed if field.range else ""}


routes = [
    Route("/decisions/{decision_id}", show),
    Route("/decisions/{decision_id}/override", takes_form(override), methods=["POST"]),
    Route("/decisions/{decision_id}/notice", notice),
]
