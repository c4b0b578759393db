"""A gate inside a step: where a finding on an asset failed, the step stops before the asset is stored.

What is judged is `risk.validation.quality_gates`'s; how findings are displayed is `defs`'s.
"""

from __future__ import annotations

from collections.abc import Iterable

from loan_default.risk.policy import Finding
from loan_default.risk.validation.quality_gates import failures


class GateFailed(Exception):
    """Raised with all findings on an asset, of which at least one failed; the message is what those that failed say."""

    def __init__(self, asset: str, findings: Iterable[Finding]) -> None:
        self.asset, self.findings = asset, tuple(findings)
        super().__init__(failures(self.findings))


def require_passed(asset: str, findings: Iterable[Finding]) -> None:
    """Stop unless every finding on the asset passed.

    Raises:
        GateFailed: one did not.
    """
    error = GateFailed(asset, findings)
    if failures(error.findings):
        raise error
