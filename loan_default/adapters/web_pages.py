"""The addresses of the pages of `loan-default web`, for links from elsewhere; what they show is `web`'s."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class WebPages:
    """The pages at an address."""

    url: str

    def batch(self, batch: str) -> str:
        """Return the address of the page on a batch."""
        return f"{self.url}/batches/{quote(batch)}"

    def evidently(self, batch: str) -> str:
        """Return the address of Evidently's report on a batch."""
        return f"{self.batch(batch)}/evidently"

    def predictions(self, batch: str) -> str:
        """Return the address of the predictions of a batch as a CSV file."""
        return f"{self.batch(batch)}/predictions.csv"

    def version(self, version: int) -> str:
        """Return the address of the page on a version."""
        return f"{self.url}/versions/{version}"

    def card(self, version: int) -> str:
        """Return the address of the card of a version."""
        return f"{self.version(version)}/card"
