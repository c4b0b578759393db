"""A proposed change of the lender's policy: the cut-offs that `strategy_report` proposes, as a change of the file.

Comments and all else of the file stay. Nothing is written unless a person asks for it; what the file then says is read
back and held against what was meant. Which cut-offs are proposed is `risk.value.strategy`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from loan_default.operations.book import read_contract
from loan_default.operations.records import Record, read_record
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically
from loan_default.risk.text import shorten_number
from loan_default.settings import Settings

if TYPE_CHECKING:
    from loan_default.risk.policy import DecidedBy, DecisionPolicy, Policy

_SECTION = re.compile(r"^decision:[ \t]*(#.*)?$", re.M)
_BY: Mapping[DecidedBy, str] = {"pd": "PD", "npv": "value", "both": "PD and value"}


@dataclass(frozen=True)
class PolicyChange:
    """A change of a policy's file: its `path`, the text that it is to have, and the change as a unified diff.

    `proposal` is what `strategy_report` says of the cut-offs of `version`, in the money `unit`; decided is `by` them.
    """

    path: Path
    text: str
    difference: str
    version: int
    unit: str
    by: DecidedBy
    proposal: Record

    def write(self) -> None:
        """Write the file."""
        with write_atomically(self.path) as part:
            part.write_text(self.text, encoding="utf-8")


def proposed_change(settings: Settings, by: DecidedBy | None = None) -> PolicyChange:
    """Return the change of the policy's file that the newest strategy report proposes; nothing is written.

    Args:
        settings: of the home.
        by: what is to be decided by; as the policy says where it is not named.

    Raises:
        BadInput: there is no report or no proposal, the policy is the one that the package ships, or its file has
            other costs or limits than the report rests on, or is written in a way in which the cut-off has to be
            changed by hand.
    """
    report = read_record(settings, "strategy_report")
    if report is None:
        raise BadInput("No strategy report is there yet; run loan-default run with a policy that has a section value.")
    if "problem" in report:
        raise BadInput(f"Version {report['version']} proposes nothing. {report['problem']}")
    from loan_default.risk.policy import load_policy

    if settings.policy is None:
        raise BadInput(
            "The policy is the one that the package ships, which is not to be changed; name a file of your own by "
            "LOAN_DEFAULT_POLICY, which may say no more than what differs."
        )
    meant = load_policy(settings.policy, read_contract(settings))
    if changed := [*_changed_since(report, meant)]:
        raise BadInput(
            f"The strategy report of version {report['version']} rests on {', '.join(changed)}: {settings.policy} was "
            "changed since; train again, and adopt what is proposed by that."
        )
    by = by or meant.decision.by
    proposal = report["proposals"].get(by)
    if proposal is None:
        reason = report.get("no_proposal", {}).get(by, "No cut-off keeps the limits and is expected to earn anything.")
        limits = " The limits are the policy's (value.limits)." if report.get("limits") else ""
        raise BadInput(f"No cut-offs by {_BY[by]} are proposed. {reason}{limits}")
    before = settings.policy.read_text(encoding="utf-8")
    after = _change(settings, before, meant, _cut_offs(meant.decision, by, proposal))
    old, new = (text.splitlines(keepends=True) for text in (before, after))
    difference = "".join(unified_diff(old, new, str(settings.policy), str(settings.policy)))
    return PolicyChange(settings.policy, after, difference, report["version"], report["unit"], by, proposal)


def _changed_since(report: Record, policy: Policy) -> Iterator[str]:
    """Yield what the policy says otherwise of costs and limits than when the report was measured."""
    if policy.value is None:
        yield "a section value (now none)"
        return
    costs, limits = policy.value.model_dump(exclude={"limits"}), policy.value.limits.model_dump(exclude_none=True)
    pairs = [(name, report["policy"][name], now) for name, now in costs.items() if name in report["policy"]]
    names = [*dict.fromkeys([*report["limits"], *limits])]
    pairs += [(f"limits.{name}", report["limits"].get(name), limits.get(name)) for name in names]
    for name, before, now in pairs:
        if before != now:
            yield f"{name} {_or_none(before)} (now {_or_none(now)})"


def _or_none(number: float | None) -> str:
    return "none" if number is None else shorten_number(number)


def _cut_offs(decision: DecisionPolicy, by: DecidedBy, proposal: Record) -> dict[str, DecidedBy | float]:
    """Return what of a decision's policy a proposal changes; declines begin where approvals end at the least."""
    changes: dict[str, DecidedBy | float] = {}
    if by != decision.by:
        changes["by"] = by
    if by != "npv":
        cutoff = float(proposal["approve_below"])
        changes |= {"approve_below": cutoff}
        if cutoff > decision.decline_from:
            changes |= {"decline_from": cutoff}
    if by != "pd":
        margin = max(float(proposal["npv_at_least"]), -1.0)
        changes |= {"approve_npv_from": margin}
        if margin < decision.decline_npv_below:
            changes |= {"decline_npv_below": margin}
    return changes


def _change(settings: Settings, before: str, meant: Policy, changes: Mapping[str, DecidedBy | float]) -> str:
    """Return a policy's text with other cut-offs.

    Raises:
        BadInput: the text that comes of it does not say that, or another thing beside.
    """
    from loan_default.risk.policy import load_policy

    lines = ", ".join(f"{key}: {_written(value)}" for key, value in changes.items())
    by_hand = f"{settings.policy} cannot be changed line by line; write {lines} in it by hand."
    decision, after = meant.decision.model_copy(update=changes), before
    for key, value in changes.items():
        if getattr(meant.decision, key) != value:
            after = with_key(after, key, value)
    with TemporaryDirectory() as folder:
        file = Path(folder, "policy.yaml")
        file.write_text(after, encoding="utf-8")
        try:
            changed = load_policy(file, read_contract(settings))
        except BadInput as error:
            raise BadInput(by_hand) from error
    if changed != meant.model_copy(update={"decision": decision}):
        raise BadInput(by_hand)
    return after


def _written(value: DecidedBy | float) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def with_key(text: str, key: str, value: DecidedBy | float) -> str:
    """Return a policy's text with another value of a key in its section `decision`, where all else stays as it is."""
    written = _written(value)
    lines = [*re.finditer(rf"^(?P<head>[^#\n]*\b{key}:[ \t]*)[\w.+-]+(?P<blanks>[ \t]+(?=#))?", text, re.M)]
    if len(lines) == 1:
        (line,) = lines
        if line["blanks"]:  # a comment stays in its column
            written = f"{written} ".ljust(line.end() - line.end("head"))
        return f"{text[: line.start()]}{line['head']}{written}{text[line.end() :]}"
    if section := _SECTION.search(text):
        return f"{text[: section.end()]}\n  {key}: {written}{text[section.end() :]}"
    end = "" if text.endswith("\n") or not text else "\n"
    return f"{text}{end}decision:\n  {key}: {written}\n"
