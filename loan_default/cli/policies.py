"""The command about the lender's policy: `policy adopt`.

Tested in `operations/test_policy_change.py`.
"""

from __future__ import annotations

from cyclopts import App

from loan_default.cli.app import TRAIN, app, command

policy = app.command(
    App(name="policy", help="Change the policy by what a strategy report proposes.", group=TRAIN, sort_key=1_000)
)


@command(TRAIN, "policy adopt", "policy adopt --write", parent=policy)
def adopt(*, write: bool = False) -> None:
    """Show the change of the policy's file that the newest strategy report proposes; make it only where asked to.

    Comments stay. A version has the cut-offs of the policy that it is trained with: train again for these to decide.

    Args:
        write: Write the file.
    """
    from loan_default.cli.terminal import output
    from loan_default.operations import home
    from loan_default.operations.policy_change import proposed_change

    console, change = output(), proposed_change(home.open_home())
    outcome, (low, high) = change.proposal["outcome"], change.proposal["intervals"]["approve_below"]
    console.print(
        f"Of version {change.version}, on the ended loans of its test window: a PD below "
        f"{change.proposal['approve_below']:.1%} ({low:.1%} to {high:.1%}) approves {outcome['loans']:,} loans, of "
        f"which {outcome['default_rate']:.1%} defaulted; they were expected to earn {outcome['expected_npv']:z,.0f} "
        f"{change.unit}, and earned {outcome['npv']:z,.0f}."
    )
    console.print(change.difference or "The policy says so already.", markup=False, highlight=False)
    if write and change.difference:
        change.write()
        console.print(f"Written: {change.path}. Train again for it to decide.")
    elif change.difference:
        console.print("Nothing is written; --write does.")
