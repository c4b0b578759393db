"""The page on which an officer scores one applicant, and sees why and what would have to change.

The form is `operations.application_form`'s, the decision and the offers `operations.applicants`'s.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loan_default.adapters.scoring_server import ServerError
from loan_default.operations.applicants import ScoredApplicant, describe_changes, score_applicant, stored_batches
from loan_default.operations.application_form import carried_values, make_form, read_form, read_pasted, read_stored
from loan_default.risk.contract.book import Contract
from loan_default.risk.errors import BadInput
from loan_default.web.people import allow, person_of
from loan_default.web.rendering import contract_of, render, settings_of
from loan_default.web.security import Form, takes_form


@allow("officer")
def show(request: Request) -> Response:
    """Show the form of an application, empty or filled with a row of a stored batch."""
    batch, row_id = request.query_params.get("batch", ""), request.query_params.get("id", "").strip()
    if not batch:
        return _page(request)
    try:
        values = read_stored(settings_of(request), contract_of(request), batch, row_id)
    except BadInput as error:
        return _page(request, 400, mistake=str(error), open_fill=True, batch=batch, row_id=row_id)
    return _page(request, values=values)


@allow("officer")
def fill(request: Request, form: Form) -> Response:
    """Show the form filled with a pasted application."""
    pasted = form.get("pasted", "")
    try:
        return _page(request, values=read_pasted(contract_of(request), pasted))
    except BadInput as error:
        return _page(request, 400, mistake=str(error), open_fill=True, pasted=pasted)


@allow("officer")
def score(request: Request, form: Form) -> Response:
    """Have the scoring server decide on what the form holds, and show its answer."""
    contract = contract_of(request)
    filled = read_form(contract, form)
    if filled.mistakes:
        return _page(request, 400, values=form, mistakes=filled.mistakes)
    try:
        scored = score_applicant(
            settings_of(request),
            contract,
            filled.application,
            person=person_of(request).name,
            key=form.get("form_key", ""),
        )
    except BadInput as error:
        return _page(request, 400, values=form, mistake=str(error))
    except ServerError as error:
        return _page(request, 503, values=form, mistake=str(error))
    return _page(request, values=form, scored=_result(contract, filled.application, scored))


def _result(contract: Contract, application: Mapping[str, Any], scored: ScoredApplicant) -> Mapping[str, Any]:
    offers = [{**offer._asdict(), "changes": describe_changes(contract, application, offer)} for offer in scored.offers]
    return {"answer": scored, "decision": scored.decision, "id": application.get(contract.id_name), "offers": offers}


def _page(request: Request, status: int = 200, **values: Any) -> Response:
    contract = contract_of(request)
    defaults: dict[str, Any] = {
        "scored": None,
        "mistake": "",
        "mistakes": {},
        "pasted": "",
        "values": {},
        "open_fill": False,
        "batch": "",
        "row_id": "",
        "sections": make_form(contract),
        "extra": carried_values(contract, values.get("values", {})),
        "fields": contract.by_name,
        "form_key": uuid.uuid4().hex,
        "batches": stored_batches(settings_of(request)),
        "id_label": contract.by_name[contract.id_name].short,
        "money": contract.by_name[contract.pricing.amount].unit if contract.pricing else "",
        "fixed": [*_assessed(contract)],
    }
    return render(request, "score.html", status, **{**defaults, **values})


def _assessed(contract: Contract) -> Iterator[str]:
    """Yield the labels of what the lender assesses itself, which offers leave as it is."""
    yield from (field.short for field in contract.features if field.opinion and not field.derived)


routes = [
    Route("/score", show),
    Route("/score", takes_form(score), methods=["POST"]),
    Route("/score/fill", takes_form(fill), methods=["POST"]),
]
