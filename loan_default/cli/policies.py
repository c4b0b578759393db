"""The command about the lender's policy: `policy adopt`.

Tested in `operations/test_policy_change.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from loan_default.cli.app import TRAIN, app, command

if TYPE_CHECKING:
    from loan_default.operations.policy_change import PolicyChange

policy = app.command(
    App(name="policy", help="Change the policy by what a strategy report proposes.", group=TRAIN, sort_key=1_000)
)


@command(TRAIN, "policy adopt", "policy adopt --by both --write", parent=policy)
def adopt(*, by: Literal["pd", "npv", "both"] | None = None, write: bool = False) -> None:
    """Show the change of the policy's file that the newest strategy report proposes; make it only where asked to.

    Comments stay. A version has the cut-offs of the policy that it is trained with: train again for these to decide.

    Args:
        by: Decide by the PD, by value, or by both; as the policy says where it is left out.
        write: Write the file.
    """
    from loan_default.cli.terminal import output
    from loan_default.operations import home
    from loan_default.operations.policy_change import proposed_change

    console, change = output(), proposed_change(home.open_home(), by)
    outcome = change.proposal["outcome"]
    console.print(
        f"Of version {change.version}, on the ended loans of its test window: "
        f"{' and '.join(_cut_offs(change))} approves {outcome['loans']:,} loans, of which "
        f"{outcome['default_rate']:.1%} defaulted; they were expected to earn {outcome['expected_npv']:z,.0f} "
        f"{change.unit}, and earned {outcome['npv']:z,.0f}."
    )
    console.print(change.difference or "The policy says so already.", markup=False, highlight=False, soft_wrap=True)
    if write and change.difference:
        change.write()
        console.print(f"Written: {change.path}. Train again for it to decide.")
    elif change.difference:
        console.print("Nothing is written; --write does.")


def _cut_offs(change: PolicyChange) -> Iterator[str]:
    """Say each cut-off of a proposal with its interval."""
    parts = {"approve_below": ("a PD below", "npv"), "npv_at_least": ("a value of what is lent from", "pd")}
    for key, (words, unless) in parts.items():
        if change.by != unless:
            low, high = change.proposal["intervals"][key]
            yield f"{words} {change.proposal[key]:z.1%} ({low:z.1%} to {high:z.1%})"
