"""Puts the card together: its sections and their order. Each is written by the module of its part."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from loan_default.risk.validation.model_card import (
    behaviour,
    changes,
    decisions,
    loans,
    performance,
    point_in_time,
    purpose,
    value,
)
from loan_default.risk.validation.model_card.inputs import ModelCardInputs

_VINTAGES = "Vintages and segments"
_SECTIONS: dict[str, Callable[[ModelCardInputs], Iterator[str]]] = {
    "In short": purpose.summary,
    "Governance": purpose.governance,
    "Model details": purpose.details,
    "What it predicts": purpose.target,
    "Intended use": purpose.use,
    "Data": loans.data,
    "Quality of the data": loans.quality,
    "Coverage": loans.coverage,
    "Candidates": performance.candidates,
    "Results on the test window": performance.results,
    "As of past months": point_in_time.backtest,
    "Alternatives": performance.alternatives,
    "Calibration": performance.calibration,
    _VINTAGES: performance.segments,
    "Decisions": decisions.shares,
    "Value": value.value,
    "Reasons": decisions.reasons,
    "Promotion": decisions.promotion,
    "Fields": behaviour.fields,
    "Fields that repeat each other": behaviour.repetition,
    "Sensitivity": behaviour.sensitivity,
    "Missing values": behaviour.missingness,
    "From development to test": behaviour.shifts,
    "One answer everywhere": behaviour.parity,
    "Groups of people": decisions.people,
    "Monitoring and fall-back": decisions.monitoring,
    "Limits": purpose.limits,
    "Law": purpose.law,
    "Changes": changes.since_before,
    "How to reproduce": changes.reproduction,
}


def in_short(card: str) -> str:
    """Return the first section of a card, without its heading."""
    first, _, _ = card.partition("## In short\n\n")[2].partition("\n\n## ")
    return first.strip()


def _titled(heading: str, inputs: ModelCardInputs) -> str:
    """Call a section by what it holds: without a date there are no vintages."""
    return "Segments" if heading == _VINTAGES and not inputs.scorer.contract.has_time else heading


def model_card(inputs: ModelCardInputs) -> str:
    """Write the card, as GitHub-flavoured Markdown; a section that has nothing to say is left out."""
    version = f", version {inputs.version}" if inputs.version is not None else ""
    parts = [f"# Model card: loan default{version}"]
    for heading, section in _SECTIONS.items():
        paragraphs = list(section(inputs))
        parts += [f"## {_titled(heading, inputs)}", *paragraphs] if paragraphs else []
    return "\n\n".join(parts) + "\n"
