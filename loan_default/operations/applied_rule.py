"""The rule that decided on one application, with its PD and value, as pages show it beside the decision.

Deciding is `risk.model.decision_rule`'s; what is here is read of an answer or of a row of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from loan_default.risk.contract.book import Contract
from loan_default.risk.policy import CUT_OFFS, MARGIN_DIGITS

_DEFAULTS = {"by": "pd", "approve_npv_from": 0.0, "decline_npv_below": 0.0}  # of rows of earlier releases


@dataclass(frozen=True)
class AppliedRule:
    """Cut-offs of the policy with what they were held against: the PD, and the value of one unit lent (`margin`).

    `first_side` is that of the first reason: where the cut-offs would approve, of what kept it from an approval.
    """

    decision: str
    pd: float
    margin: float | None
    by: str
    approve_below: float
    decline_from: float
    approve_npv_from: float
    decline_npv_below: float
    first_side: str = ""

    @classmethod
    def of(
        cls, answer: Mapping[str, Any], cut_offs: Mapping[str, Any], application: Mapping[str, Any], contract: Contract
    ) -> Self:
        """Read it of an answer, or of a row of the log, which has all three."""
        amount = application.get(contract.pricing.amount) if contract.pricing else None
        npv = answer.get("npv")
        margin = round(npv / float(amount), MARGIN_DIGITS) if npv is not None and amount else None
        keys = {name: _cut_off(cut_offs, name) for name in CUT_OFFS}
        codes = answer.get("reason_codes") or [{"side": ""}]
        return cls(answer["decision"], answer["pd"], margin, **keys, first_side=codes[0]["side"])

    @property
    def pd_passes(self) -> bool:
        """Tell whether the PD would be approved, or does not count."""
        return self.by == "npv" or self.pd < self.approve_below

    @property
    def value_passes(self) -> bool:
        """Tell whether the value would be approved, or does not count."""
        return self.by == "pd" or (self.margin is not None and self.margin >= self.approve_npv_from)

    @property
    def kept_by_field(self) -> bool:
        """Tell whether nothing but a field kept it from an approval: one that is absent, or as no loan had it."""
        return self.decision == "review" and self.pd_passes and self.value_passes

    @property
    def lacks_only(self) -> bool:
        """Tell whether nothing but an absent value did."""
        return self.kept_by_field and self.first_side in ("", "missing")


def _cut_off(cut_offs: Mapping[str, Any], name: str) -> Any:
    value = cut_offs.get("decision_by" if name == "by" and "decision_by" in cut_offs else name)
    return _DEFAULTS.get(name) if value is None else value
