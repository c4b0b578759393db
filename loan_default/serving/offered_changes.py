"""Offers in an answer: what would have to change, each scored by the version that answered, as any application is.

Which changes are tried, and which of them are told, is `risk.model.offers`'s. They decide on nobody and are not
logged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from loan_default.risk.model.offers import Answer, Application, FoundOffers, offers_or_why
from loan_default.risk.model.online_features import Applications, check
from loan_default.serving.decoding import decode, form_of

if TYPE_CHECKING:
    from loan_default.serving.protocol import DecodedBody
    from loan_default.serving.scoring import RequestBody, VersionPredictions
    from loan_default.serving.served_model import ServedModel


def find_all(
    request_body: RequestBody, parts: Sequence[VersionPredictions], rows: int, at_most: int, until: float
) -> list[FoundOffers]:
    """Find the offers of each application of a request, by the version that decided on it, or why there is none.

    Args:
        request_body: as it came.
        parts: what was decided.
        rows: how many applications there are.
        at_most: applications of a request.
        until: `time.monotonic` at which whoever asked has given up.

    Raises:
        Refused: it takes too long.
    """
    decoded = decode(request_body.body, form_of(request_body.content_type), at_most=at_most, until=until)
    offers = [FoundOffers((), None)] * rows
    for part in parts:
        for index, position in enumerate(part.positions):
            offers[position] = _offers_of(decoded, part, index, position, until)
    return offers


def _offers_of(decoded: DecodedBody, part: VersionPredictions, index: int, position: int, until: float) -> FoundOffers:
    model, predictions = part.model, part.predictions
    contract = model.scorer.contract
    sent = dict(zip(decoded.names, decoded.rows[position], strict=True))
    application = _in_natural_units(model, sent, part.applications.values[index])

    def score(others: Sequence[Application]) -> list[Answer]:
        answered = model.predict(_read(model, others), with_reasons=False, until=until)
        worth = [_number(each.npv) for each in answered.values] or [None] * len(others)
        return [Answer(*each) for each in zip(answered.decisions, answered.pds, worth, strict=True)]

    npv = _number(predictions.values[index].npv) if predictions.values else None
    return offers_or_why(contract, application, predictions.decisions[index], score, npv)


def _number(npv: float) -> float | None:
    return None if math.isnan(npv) else npv


def _in_natural_units(model: ServedModel, sent: Mapping[str, Any], values: Sequence[float]) -> Application:
    """Return what was sent with its features as they were read; what was computed of them is computed again."""
    application = {name: value for name, value in sent.items() if value is not msgspec.UNSET}
    for field, value in zip(model.scorer.contract.features, values, strict=True):
        if field.name in application:
            number = float(value) if value == value else None
            application[field.name] = field.levels[int(number) - 1] if field.levels and number else number
    return application


def _read(model: ServedModel, applications: Sequence[Application]) -> Applications:
    names = [*dict.fromkeys(name for each in applications for name in each)]
    rows = [[each.get(name, msgspec.UNSET) for name in names] for each in applications]
    return check(names, rows, model.scorer.contract, ignore_unknown=model.unknown_fields == "ignore")
