"""Defines a candidate: one class that fits itself, answers as a model, and says of itself what others print of it.

A class of its own file beside this one, and a line in `registry`, are all that a further candidate needs. Calibrating
and ranking the fitted ones is `training`; the parameters that people review are `conf/search_space.yaml`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self

from loan_default.risk.errors import BadInput
from loan_default.risk.model.development import Development, FittedOn
from loan_default.risk.model.estimators import RiskModel
from loan_default.risk.section import Section


class CandidateParameters(Section):
    """A candidate's section of the search space.

    Attributes:
        enabled: whether it is fitted where a training names no candidates.
    """

    enabled: bool = True


@dataclass(frozen=True)
class CardWords:
    """Sentences that the model card says of a kind of model.

    Attributes:
        kind: what it is, with its library.
        importance: what its importance measures.
        monotone: whether PD can only move with a field as the contract says.
    """

    kind: str
    importance: str
    monotone: bool


class CandidateModel(RiskModel, ABC):
    """A candidate: the class knows how it is fitted, loaded and described, an instance is a fitted model.

    Attributes:
        name: of its section in the search space, and `kind` of its model packages.
        section: the type of that section.
        requirements: what a process needs to answer with it, beside what every version needs: distribution → module.
        extra: the extra of this project that installs them, if they are not installed anyway.
        card_words: what the model card says of it.
    """

    name: ClassVar[str]
    section: ClassVar[type[CandidateParameters]]
    requirements: ClassVar[Mapping[str, str]]
    extra: ClassVar[str] = ""
    card_words: ClassVar[CardWords]

    @classmethod
    @abstractmethod
    def fit(cls, development: Development, window: FittedOn, parameters: Any, seed: int) -> Self:
        """Fit on a window.

        Args:
            development: train and calibrate windows; a fit on `train` may ask the calibrate window when to stop.
            window: what it learns from.
            parameters: its section.
            seed: of every random choice.
        """
        ...

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...

    def refit(self, development: Development, parameters: Any, seed: int) -> Self:
        """Fit again on both windows, after a first fit, this one, on the train window."""
        return self.fit(development, "both", parameters, seed)

    def record(self, parameters: Any) -> dict[str, float | int | str]:
        """Return the parameters as a training run records them."""
        values: dict[str, float | int | str] = parameters.model_dump(exclude={"enabled"})
        return values

    @classmethod
    def check_installed(cls) -> None:
        """See that its libraries are installed.

        Raises:
            BadInput: names the one that is absent, and how to install it.
        """
        absent = [module for module in cls.requirements.values() if find_spec(module) is None]
        if absent:
            wish = f"'loan-default[{cls.extra}]'" if cls.extra else " ".join(cls.requirements)
            raise BadInput(
                f"The candidate {cls.name} needs {absent[0]}, which is not installed here; pip install {wish}."
            )
