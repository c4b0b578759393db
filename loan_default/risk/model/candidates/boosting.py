"""Defines what boosted trees of any library share: rounds, when they stop, and parameters that can be searched.

A library's own fit is in its candidate's file; the search is `tuning`.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Self

from pydantic import Field, model_validator

from loan_default.risk.contract import Section
from loan_default.risk.model.candidates.base import CandidateModel, CandidateParameters
from loan_default.risk.model.development import Development

OnRound = Callable[[int, float], None]  # the round's number, and the log loss on the calibrate window after it


class Span(Section):
    """The values that tuning may try for one parameter; whole numbers where both ends are."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be above 0 on a log scale")
        return self

    @property
    def is_whole(self) -> bool:
        """Return whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class BoostingParameters(CandidateParameters):
    """Parameters of boosted trees: where the search starts, what it may try, when a fit stops."""

    start: Mapping[str, int | float]
    search: Mapping[str, Span]
    least_gain: float = Field(ge=0)
    tuned_on_at_most: int = Field(default=1_000_000, ge=1_000)
    rounds_at_most: int = Field(ge=1)
    stop_after_rounds: int = Field(ge=1)

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        for name, span in self.search.items():
            if name not in self.start:
                raise ValueError(f"{name} is searched but has no start")
            if not span.low <= self.start[name] <= span.high:
                raise ValueError(f"{name} starts at {self.start[name]}, outside of {span.low} to {span.high}")
            if span.is_whole and not isinstance(self.start[name], int):
                raise ValueError(f"{name} starts at {self.start[name]}, but only whole numbers are tried")
        return self

    @property
    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that change with what tuning may try."""
        content = self.model_dump(exclude={"enabled"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


class BoostedModel(CandidateModel):
    """A candidate of boosted trees. Its parameters can be tuned: their start is what a fit takes.

    On the train window it is boosted until the calibrate window's log loss stops falling; on both windows, where no
    loan is left to say when to stop, for `rounds_at_most` rounds.
    """

    @property
    @abstractmethod
    def rounds(self) -> int:
        """Return the number of rounds that it answers with."""
        ...

    @classmethod
    @abstractmethod
    def calibrate_loss(
        cls, development: Development, parameters: BoostingParameters, seed: int, on_round: OnRound
    ) -> float:
        """Return the least log loss on the calibrate window that a fit on the train window reaches.

        Args:
            development: both windows.
            parameters: the start is tried.
            seed: of every random choice.
            on_round: called after each round; what it raises ends the fit.
        """
        ...

    def refit(self, development: Development, parameters: BoostingParameters, seed: int) -> Self:
        """Boost both windows for as many rounds as the first fit kept."""
        return self.fit(development, "both", parameters.model_copy(update={"rounds_at_most": self.rounds}), seed)

    def record(self, parameters: BoostingParameters) -> dict[str, float | int | str]:
        """Return what was fitted with, and the rounds."""
        return {**parameters.start, "rounds": self.rounds}
