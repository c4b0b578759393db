"""How candidates are fitted and what tuning may try: the typed form of `conf/search_space.yaml`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from loan_default.risk.contract import CONF, Section, load_reviewed


class Span(Section):
    """The values that tuning may try for one parameter; whole numbers where both ends are."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be above 0 on a log scale")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class BoostedTrees(Section):
    """Boosted trees: where the search starts, what it may try, when a fit stops."""

    start: Mapping[str, int | float]
    search: Mapping[str, Span]
    least_gain: float = Field(ge=0)
    tuned_on_at_most: int = Field(default=1_000_000, ge=1_000)
    rounds_at_most: int = Field(ge=1)
    stop_after_rounds: int = Field(ge=1)

    @model_validator(mode="after")
    def _start_inside(self) -> BoostedTrees:
        for name, span in self.search.items():
            if name not in self.start:
                raise ValueError(f"{name} is searched but has no start")
            if not span.low <= self.start[name] <= span.high:
                raise ValueError(f"{name} starts at {self.start[name]}, outside of {span.low} to {span.high}")
            if span.whole and not isinstance(self.start[name], int):
                raise ValueError(f"{name} starts at {self.start[name]}, but only whole numbers are tried")
        return self


class Forest(Section):
    """A random forest in XGBoost's own mode."""

    trees: int = Field(ge=1)
    max_depth: int = Field(ge=1)
    min_child_weight: float = Field(ge=0)
    subsample: float = Field(gt=0, le=1)
    colsample_bynode: float = Field(gt=0, le=1)


class Regression(Section):
    """A logistic regression."""

    C: float = Field(gt=0)


class SearchSpace(Section):
    """All candidates."""

    xgboost: BoostedTrees
    random_forest: Forest
    logistic_regression: Regression

    @property
    def fingerprint(self) -> str:
        """8 hexadecimal digits that change with what tuning may try."""
        return hashlib.sha256(json.dumps(self.xgboost.model_dump(), sort_keys=True).encode()).hexdigest()[:8]


def load_search_space(path: Path | None = None) -> SearchSpace:
    """The search space in `path`, by default the one that the package ships.

    Raises:
        BadInput: the file is absent, is no YAML, or says something that is not allowed.
    """
    return load_reviewed(path or CONF / "search_space.yaml", SearchSpace)
