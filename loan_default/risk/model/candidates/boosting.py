"""Defines what boosted trees of any library share: rounds, when they stop, and parameters that can be searched.

A library's own fit is in its candidate's file; the search is `tuning`.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from loan_default.risk.model.candidates.base import CandidateModel, CandidateParameters
from loan_default.risk.model.development import Development
from loan_default.risk.section import Problem, Section

OnRound = Callable[[int, float], None]  # the round's number, and the log loss on the calibrate window after it


_SHARES = {
    *("subsample", "colsample_bynode", "colsample_bylevel", "colsample_bytree"),
    *("bagging_fraction", "feature_fraction", "feature_fraction_bynode"),
}  # of rows or columns


class Span(Section):
    """The values that tuning may try for one parameter; whole numbers where both ends are.

    Attributes:
        low: the least.
        high: the most.
        log: whether they are drawn on a log scale.
    """

    stand_ins: ClassVar[Mapping[str, Any]] = {"low": 1e-300, "high": 1e300}

    low: int | float
    high: int | float
    log: bool = False

    def problems(self) -> Iterator[Problem]:
        """Yield ends between which nothing lies."""
        if not self.low < self.high:
            remedy = "exchange them" if self.low > self.high else "write others, or leave the parameter out"
            yield Problem(f"low ({self.low}) must be below high ({self.high}); {remedy}", ("low",))
        if self.log and self.low <= 0:
            yield Problem(f"low ({self.low}) must be above 0 on a log scale; write more, or log: false", ("low",))

    @property
    def is_whole(self) -> bool:
        """Return whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def times(self, share: float, *, is_whole: bool = False) -> Span:
        """Return the span with both ends multiplied, of whole numbers (`is_whole`) or else of any."""
        low, high = (_times(end, share, is_whole=is_whole) for end in (self.low, self.high))
        return self.model_copy(update={"low": low, "high": max(high, low + 1) if is_whole else high})

    def is_met(self, value: float, side: str) -> bool:
        """Tell whether a value sits on the `low` or `high` end of the span, or within a fiftieth of its width of it."""
        scale = math.log if self.log else float
        low, high, position = scale(self.low), scale(self.high), scale(value)
        distance = position - low if side == "low" else high - position
        return distance <= (0 if self.is_whole else (high - low) / 50)


def _times(value: int | float, share: float, *, is_whole: bool) -> int | float:
    return max(1, round(value * share)) if is_whole else float(value * share)


class BoostingParameters(CandidateParameters):
    """Parameters of boosted trees: where the search starts, what it may try, when a fit stops.

    Attributes:
        takes: the parameters that the library takes here, each with its least and most value.
        instead: what to do instead of setting another parameter that people try.
        start: the library's parameters that are tried first, and fitted where nothing better is found.
        search: what may be tried in their place.
        least_gain_errors: by how many standard errors what was found has to be better than the start to replace it: of
            the mean difference in log loss on the calibrate window's loans, each under both.
        tuned_on_at_most: loans that a search draws at random.
        rounds_at_most: boosting rounds.
        stop_after_rounds: rounds without a gain on the calibrate window.
        full_size: parameters that count loans, as a leaf's least weight does, and from how many loans of the train
            window on they stand as they are written: with fewer they shrink in proportion.
    """

    takes: ClassVar[Mapping[str, Span]] = {}
    instead: ClassVar[Mapping[str, str]] = {}

    start: Mapping[str, int | float] = Field(examples=["{learning_rate: 0.02}"])
    search: Mapping[str, Span] = Field(examples=["{learning_rate: {low: 0.01, high: 0.3, log: true}}"])
    least_gain_errors: float = Field(default=2.0, ge=0)
    tuned_on_at_most: int = Field(default=1_000_000, ge=1_000)
    rounds_at_most: int = Field(ge=1, le=100_000, examples=[2000])
    stop_after_rounds: int = Field(ge=1, examples=[50])
    full_size: Mapping[str, Annotated[int, Field(ge=1)]] = {}
    advice: ClassVar[Mapping[tuple[str, str], str]] = {
        ("least_gain", ""): "least_gain is now told in standard errors; write least_gain_errors: 2"
    }

    def problems(self) -> Iterator[Problem]:
        """Yield parameters that the library does not take, or that are searched from a start out of reach."""
        yield from self._strange_parameters()
        for name in sorted(self.full_size.keys() - self.start.keys()):
            problem = f"full_size names {name}, which has no start; delete it, or write start: {{{name}: …}}"
            yield Problem(problem, ("full_size", name), ("start",))
        for name, span in self.search.items():
            start, location, presumes = self.start.get(name), ("search", name), ("start",)
            if self.takes and name not in self.takes:
                continue
            if start is None:
                yield Problem(f"{name} is searched but has no start; write start: {{{name}: …}}", location, presumes)
            elif span.low < span.high and not span.low <= start <= span.high:
                problem = f"{name} starts at {start}, outside of {span.low} to {span.high}; change one of the two"
                yield Problem(problem, location, presumes)
            elif span.is_whole and not isinstance(start, int) and name not in self.takes:
                problem = f"{name} starts at {start}, but only whole numbers are tried; write one, or low: {span.low}.0"
                yield Problem(problem, location, presumes)

    def _strange_parameters(self) -> Iterator[Problem]:
        """Yield parameters that the library does not take, each once, and values that it would refuse."""
        starts = {("start", name): [value] for name, value in self.start.items()}
        ends = {("search", name): [span.low, span.high] for name, span in self.search.items()}
        for location, values in {**starts, **ends}.items():
            key, name = location
            span = self.takes.get(name)
            if span is None:
                if self.takes and (key == "start" or name not in self.start):
                    remedy = self.instead.get(name) or self._near(name)
                    yield Problem(f"{name} is no parameter that may be set here; {remedy}", location)
            elif span.is_whole and not all(isinstance(value, int) for value in values):
                yield Problem(f"{key}: {name} is a whole number; write it without a point", location)
            elif strange := next((value for value in values if not span.low <= value <= span.high), None):
                allowed = f"write {span.low:.10g} to {span.high:.10g}"
                yield Problem(f"{key}: {name}: {strange:.10g} is not allowed; {allowed}", location)

    def _near(self, name: str) -> str:
        from difflib import get_close_matches  # needed by nobody whose file is right

        near = get_close_matches(name, self.takes, 1)
        return f"write {near[0]}" if near else f"delete it, or write one of {', '.join(self.takes)}"

    def for_loans(self, loans: int) -> Self:
        """Return the parameters for a train window of so many loans."""
        shares = {name: loans / size for name, size in self.full_size.items() if loans < size}
        start, search = {**self.start}, {**self.search}
        for name, share in shares.items():
            is_whole = name in self.takes and self.takes[name].is_whole
            start[name] = _times(start[name], share, is_whole=is_whole)
            if name in search:
                search[name] = search[name].times(share, is_whole=is_whole)
        return self.model_copy(update={"start": start, "search": search, "full_size": {}})

    def bounds_met(self, values: Mapping[str, float | int]) -> tuple[str, ...]:
        """Say of each value that sits on a bound of the search which one that is; a share has no more than all."""
        return tuple(
            f"{name} {values[name]:.3g} is the {word} that may be tried"
            for name, span in self.search.items()
            for side, word, end in (("low", "least", 0.0), ("high", "most", 1.0 if name in _SHARES else math.inf))
            if span.is_met(values[name], side) and getattr(span, side) != end
        )

    @property
    def fingerprint(self) -> str:
        """Return 8 hexadecimal digits that change with what tuning may try, not with what is made of it."""
        content = self.model_dump(exclude={"enabled", "least_gain_errors", "full_size"})  # the last has been applied
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
