"""Finds what would have to change for a better decision: values that the contract lets an applicant change; and of the
amounts and terms that would be approved those by which the lender earns most, where a version has a value.

Only candidates are made here, and the answers to them compared: whoever decides scores each again, so that an offer is
never promised that would not be kept. Which fields can be changed, and how, is the contract's key `applicant_can`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nsmallest
from itertools import combinations, product
from typing import Any, NamedTuple

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import TERM
from loan_default.risk.contract.field import LoanField
from loan_default.risk.model.scorer import DECISIONS

Value = float | str
Application = Mapping[str, Any]  # values by field; numbers in natural units
_STEPS_AT_LEAST = 8  # between a value and nothing, or its double
_LEAST_SHARE = 0.25  # of a value, below which nobody would take the offer for one
_DECIMALS = 10  # of a value that is offered
_EVERY = 2  # of two fields that change together, every second step is tried
OFFERS_AT_MOST = 10  # of a request that asks for offers, as each is scored again with up to 1,000 changes
CANDIDATES_AT_MOST = 1_000  # of two fields: of more those with the fewest steps are tried


class Answer(NamedTuple):
    """Holds what was decided on an application, and its net present value where the version has one."""

    decision: str
    pd: float
    npv: float | None = None


class Offer(NamedTuple):
    """Other values of some fields, and what is decided on the application with them.

    `earns_most` is the amount and term, of those that are approved, that the lender is expected to earn most by.
    """

    changes: Mapping[str, Value]
    decision: str
    pd: float
    npv: float | None = None
    earns_most: bool = False


class FoundOffers(NamedTuple):
    """Offers to one applicant, or why there is none."""

    offers: Sequence[Offer]
    no_offer: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return what an answer holds of them."""
        return {"offers": [offer._asdict() for offer in self.offers], "no_offer": self.no_offer}


class _Candidate(NamedTuple):
    changes: Mapping[str, Value]
    steps: Mapping[str, int]  # of each field, away from what the applicant has

    @property
    def distance(self) -> int:
        return sum(self.steps.values())


def find_offers(
    contract: Contract,
    application: Application,
    decision: str,
    score: Callable[[Sequence[Application]], Sequence[Answer]],
    *,
    npv: float | None = None,
    at_most: int = 4,
) -> list[Offer]:
    """Find the smallest changes that lead to a better decision, of one field each or else of two.

    Args:
        contract: says which fields can be changed; those that stand first are offered first.
        application: with numbers as numbers.
        decision: on the application as it is.
        score: decides on many applications; it is called once for single changes, and once for pairs where no single
            one leads to an approval, or where amount and term change a value. At most `CANDIDATES_AT_MOST` pairs.
        npv: of the application as it is.
        at_most: how many are returned.

    Returns:
        Offers that are approved, first that by which the lender earns most; where there is none and the decision is a
        decline, those that a person reviews. For an application that is approved, one by which the lender earns more.
    """
    steps = {field.name: [*_steps(contract, field, application)] for field in contract.features}
    single = [_Candidate({name: value}, {name: number}) for name, values in steps.items() for number, value in values]
    answered = _answered(contract, application, single, score)
    pairs = []
    if not any(answer.decision == DECISIONS[0] for _, answer in answered):
        sparse = {name: _sparse(values) for name, values in steps.items()}
        pairs = nsmallest(CANDIDATES_AT_MOST, _pairs(sparse), key=lambda candidate: candidate.distance)
    priced = _priced_fields(contract)
    if any(answer.npv is not None for _, answer in answered):
        pairs += _pairs({name: values for name, values in steps.items() if name in priced})
    answered += _answered(contract, application, pairs, score)
    best = _earning_most(answered, priced, npv if decision == DECISIONS[0] else None)
    if decision == DECISIONS[0]:
        return best[:at_most]
    for better in DECISIONS[: DECISIONS.index(decision)]:
        if offers := _smallest(answered, better):
            others = [offer for offer in offers if all(offer.changes != first.changes for first in best)]
            return [*best, *others][:at_most]
    return []


def offers_or_why(
    contract: Contract,
    application: Application,
    decision: str,
    score: Callable[[Sequence[Application]], Sequence[Answer]],
    npv: float | None,
) -> FoundOffers:
    """Find offers as `find_offers` does; where there is none, say in one sentence why."""
    offers = find_offers(contract, application, decision, score, npv=npv)
    return FoundOffers(offers, None if offers else explain_no_offer(contract, application, decision, npv))


def explain_no_offer(contract: Contract, application: Application, decision: str, npv: float | None) -> str:
    """Say in one sentence why `find_offers` found none, by the same contract, application, decision and value."""
    if decision == DECISIONS[0]:
        by_value = "" if npv is None else ", and no other amount or term is known to earn the lender more"
        return f"The application is approved as it is{by_value}."
    fields = [field for field in contract.features if [*_steps(contract, field, application)]]
    if not fields:
        return "The application holds nothing that this applicant can change."
    count = "" if len(fields) == 1 else "one or two of these: "
    far = "; numbers were lowered to a quarter at most, or raised to the double"
    reach = far if any(field.applicant_can in ("lower", "raise") for field in fields) else ""
    names = "; ".join(field.short for field in fields)
    return f"No change that was tried leads to a better decision (of {count}{names}{reach})."


def _priced_fields(contract: Contract) -> set[str]:
    """Return the fields of amount and term, where the contract prices its loans."""
    return {contract.pricing.amount, TERM} if contract.pricing else set()


def _earning_most(answered: Sequence[tuple[_Candidate, Answer]], priced: set[str], npv: float | None) -> list[Offer]:
    """Return the approved amount and term with the highest value, if there is one, and if it is above `npv`."""
    approved = [
        (answer.npv, -candidate.distance, candidate, answer)
        for candidate, answer in answered
        if answer.decision == DECISIONS[0] and answer.npv is not None and candidate.changes.keys() <= priced
    ]
    if not approved:
        return []
    value, _, candidate, answer = max(approved, key=lambda each: each[:2])
    if npv is not None and value <= npv:
        return []
    return [Offer(candidate.changes, answer.decision, answer.pd, value, earns_most=True)]


def changed(contract: Contract, application: Application, changes: Mapping[str, Value]) -> Application:
    """Return an application with these values, without what is derived from them, which is computed again.

    What was sent as missing stays so.
    """
    stale = {name for name, sources in contract.sources.items() if sources & changes.keys()}
    return {name: value for name, value in {**application, **changes}.items() if name not in stale or value is None}


def _steps(contract: Contract, field: LoanField, application: Application) -> Iterator[tuple[int, Value]]:
    """Yield other values of a field, nearest first, with their numbers; none where they cannot be computed with."""
    value, way = application.get(field.name), field.applicant_can
    if way is None or value is None or not _is_computable(contract, field, application):
        return
    values: Iterator[Value]
    if isinstance(way, tuple):
        values = (other for other in way if _may_help(field, value, other))
    elif way == "change":
        values = (level for level in field.levels if _may_help(field, value, level))
    else:
        values = _multiples(field, float(value), up=way == "raise")
    if field.kind == "number":
        values = iter(sorted(values, key=lambda other: abs(float(other) - float(value))))
    yield from enumerate(values, 1)


def _is_computable(contract: Contract, field: LoanField, application: Application) -> bool:
    """Tell whether all that the application has of what follows from the field can be computed again."""
    derived = [name for name, sources in contract.sources.items() if field.name in sources]
    return all(application.get(name) is None or not _lacks(contract, name, application) for name in derived)


def _lacks(contract: Contract, name: str, application: Application) -> bool:
    roots = [source for source in contract.sources[name] if source not in contract.sources]
    return any(application.get(source) is None for source in roots)


def _may_help(field: LoanField, value: Any, other: Value) -> bool:
    """Tell whether another value is one, and does not add to the risk as the contract knows it."""
    if other == value:
        return False
    if field.risk is None or (field.kind != "number" and value not in field.levels):
        return True
    position, other_position = (
        (float(value), float(other))
        if field.kind == "number"
        else (field.levels.index(value), field.levels.index(other))
    )
    return other_position < position if field.risk == "rising" else other_position > position


def _multiples(field: LoanField, value: float, *, up: bool) -> Iterator[float]:
    """Yield round numbers from a value down to a quarter, or up to its double, as far as the field's range reaches."""
    if not round(value, _DECIMALS):
        return
    step = _round_below(abs(value) / _STEPS_AT_LEAST)
    least, most = field.range or (-math.inf, math.inf)
    first = math.floor(value / step) + 1 if up else math.ceil(value / step) - 1
    count = int(abs(value) / step)
    for number in range(count + 1):
        other = round(step * (first + number if up else first - number), _DECIMALS)
        if max(least, other if up else _LEAST_SHARE * value) <= other <= most:
            yield other


def _round_below(number: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not above a number."""
    power = 10.0 ** math.floor(math.log10(number))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= number * (1 + 1e-9))


def _pairs(steps: Mapping[str, Sequence[tuple[int, Value]]]) -> Iterator[_Candidate]:
    """Yield changes of two fields."""
    for (first, values), (second, others) in combinations(steps.items(), 2):
        for (number, value), (other_number, other) in product(values, others):
            yield _Candidate({first: value, second: other}, {first: number, second: other_number})


def _sparse(values: Sequence[tuple[int, Value]]) -> Sequence[tuple[int, Value]]:
    return values if len(values) <= _EVERY else values[_EVERY - 1 :: _EVERY]


def _answered(
    contract: Contract,
    application: Application,
    candidates: Sequence[_Candidate],
    score: Callable[[Sequence[Application]], Sequence[Answer]],
) -> list[tuple[_Candidate, Answer]]:
    if not candidates:
        return []
    applications = [changed(contract, application, candidate.changes) for candidate in candidates]
    return [*zip(candidates, score(applications), strict=True)]


def _smallest(answered: Sequence[tuple[_Candidate, Answer]], decision: str) -> list[Offer]:
    """Return of each set of fields the smallest change that leads to a decision, fewer fields first.

    Where a field alone leads there, nothing else has to change beside so many steps of it.
    """
    best: dict[frozenset[str], tuple[_Candidate, Answer]] = {}
    enough: dict[str, int] = {}  # steps of a field alone
    leading = [each for each in answered if each[1].decision == decision]
    for candidate, answer in sorted(leading, key=lambda each: len(each[0].steps)):
        fields = frozenset(candidate.steps)
        if any(number >= enough.get(name, math.inf) for name, number in candidate.steps.items()):
            continue
        if fields not in best or candidate.distance < best[fields][0].distance:
            best[fields] = candidate, answer
        if len(fields) == 1:
            enough.update(candidate.steps)
    return [Offer(candidate.changes, *answer) for candidate, answer in best.values()]
