"""A proposed change of the lender's policy: the cut-off by PD that `strategy_report` proposes, as a change of the file.

Comments and all else of the file stay. Nothing is written unless a person asks for it; what the file then says is read
back and held against what was meant. Which cut-offs are proposed is `risk.value.strategy`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

from loan_default.operations.book import read_contract
from loan_default.operations.records import Record, read_record
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically
from loan_default.settings import Settings

_SECTION = re.compile(r"^decision:[ \t]*(#.*)?$", re.M)
_HIGHEST = 0.999  # a cut-off lies below 1


@dataclass(frozen=True)
class PolicyChange:
    """A change of a policy's file: its `path`, the text that it is to have, and the change as a unified diff.

    `proposal` is what `strategy_report` says of the cut-off of `version`, in the money `unit`.
    """

    path: Path
    text: str
    difference: str
    version: int
    unit: str
    proposal: Record

    def write(self) -> None:
        """Write the file."""
        with write_atomically(self.path) as part:
            part.write_text(self.text, encoding="utf-8")


def proposed_change(settings: Settings) -> PolicyChange:
    """Return the change of the policy's file that the newest strategy report proposes; nothing is written.

    Raises:
        BadInput: there is no report or no proposal, the policy is the one that the package ships, or its file is
            written in a way in which the cut-off has to be changed by hand.
    """
    report = read_record(settings, "strategy_report")
    if report is None:
        raise BadInput("No strategy report is there yet; run loan-default run with a policy that has a section value.")
    if "problem" in report:
        raise BadInput(f"Version {report['version']} proposes nothing. {report['problem']}")
    proposal = report["proposals"]["pd"]
    if proposal is None:
        raise BadInput("No cut-off by PD keeps the limits of the policy (value.limits); write wider ones.")
    if settings.policy is None:
        raise BadInput(
            "The policy is the one that the package ships, which is not to be changed; name a file of your own by "
            "LOAN_DEFAULT_POLICY, which may say no more than what differs."
        )
    before = settings.policy.read_text(encoding="utf-8")
    after = _change(settings, before, min(float(proposal["approve_below"]), _HIGHEST))
    old, new = (text.splitlines(keepends=True) for text in (before, after))
    difference = "".join(unified_diff(old, new, str(settings.policy), str(settings.policy)))
    return PolicyChange(settings.policy, after, difference, report["version"], report["unit"], proposal)


def _change(settings: Settings, before: str, cutoff: float) -> str:
    """Return a policy's text with another cut-off, and with declines from it on where they began below.

    Raises:
        BadInput: the text that comes of it does not say that, or another thing beside.
    """
    from loan_default.risk.policy import load_policy

    by_hand = f"{settings.policy} cannot be changed line by line; write approve_below: {cutoff:.10g} in it by hand."
    contract = read_contract(settings)
    meant = load_policy(settings.policy, contract)
    decision = meant.decision.model_copy(update={"approve_below": cutoff})
    after = with_cut_off(before, "approve_below", cutoff)
    if cutoff > decision.decline_from:
        decision = decision.model_copy(update={"decline_from": cutoff})
        after = with_cut_off(after, "decline_from", cutoff)
    with TemporaryDirectory() as folder:
        file = Path(folder, "policy.yaml")
        file.write_text(after, encoding="utf-8")
        try:
            changed = load_policy(file, contract)
        except BadInput as error:
            raise BadInput(by_hand) from error
    if changed != meant.model_copy(update={"decision": decision}):
        raise BadInput(by_hand)
    return after


def with_cut_off(text: str, key: str, value: float) -> str:
    """Return a policy's text with another cut-off in its section `decision`, where all else stays as it is."""
    written = f"{value:.10g}"
    lines = [*re.finditer(rf"^(?P<head>[^#\n]*\b{key}:[ \t]*)[0-9.eE+-]+", text, re.M)]
    if len(lines) == 1:
        return f"{text[: lines[0].start()]}{lines[0]['head']}{written}{text[lines[0].end() :]}"
    if section := _SECTION.search(text):
        return f"{text[: section.end()]}\n  {key}: {written}{text[section.end() :]}"
    end = "" if text.endswith("\n") or not text else "\n"
    return f"{text}{end}decision:\n  {key}: {written}\n"
