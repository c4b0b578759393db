"""How candidates are fitted and what tuning may try: the typed form of `conf/search_space.yaml`.

Each candidate's class knows the type of its own section; which candidates there are is `candidates.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, create_model

from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.base import CandidateParameters
from loan_default.risk.model.candidates.boosting import BoostingParameters
from loan_default.risk.model.candidates.registry import CANDIDATES, boosted_class, candidate_class
from loan_default.risk.reviewed_file import CONF, load_reviewed
from loan_default.risk.section import Problem, Section


@dataclass(frozen=True)
class SearchSpace:
    """The sections that a file has, by the candidate's name."""

    sections: Mapping[str, CandidateParameters]

    @property
    def enabled(self) -> tuple[str, ...]:
        """Return the candidates that are fitted where none are named."""
        return tuple(name for name, section in self.sections.items() if section.enabled)

    def parameters(self, name: str) -> CandidateParameters:
        """Return a candidate's section.

        Raises:
            BadInput: there is no such candidate, or it has no section.
        """
        candidate_class(name)
        if name not in self.sections:
            raise BadInput(f"The search space has no section {name}; add one, as conf/search_space.yaml shows.")
        return self.sections[name]

    def tunable(self, name: str) -> BoostingParameters:
        """Return the section of a candidate whose parameters can be tuned.

        Raises:
            BadInput: they cannot, or as for `parameters`.
        """
        boosted_class(name)
        parameters = self.parameters(name)
        assert isinstance(parameters, BoostingParameters)
        return parameters

    def for_loans(self, loans: int) -> SearchSpace:
        """Return the search space for a train window of so many loans."""
        return SearchSpace(
            {
                name: section.for_loans(loans) if isinstance(section, BoostingParameters) else section
                for name, section in self.sections.items()
            }
        )

    def replace(self, name: str, **values: Any) -> SearchSpace:
        """Return the search space with some values of a candidate's section replaced.

        Raises:
            BadInput: as for `parameters`.
        """
        return SearchSpace({**self.sections, name: self.parameters(name).model_copy(update=values)})


class _Candidates(Section):
    """Holds a section for each candidate; one without a section is not fitted."""

    def problems(self) -> Iterator[Problem]:
        """Yield that every candidate is turned off."""
        sections = {name: section for name, section in self if section is not None}
        if sections and not any(section.enabled for section in sections.values()):
            problem = "every candidate is turned off, so none is fitted; write enabled: true in one"
            yield Problem(problem, (next(iter(sections)), "enabled"))


@cache
def search_space_file() -> type[Section]:
    """Return the type of the file: a section for each candidate, none of which has to be there."""
    types: dict[str, Any] = {
        candidate.name: (
            candidate.section | None,
            Field(default=None, description=f"how {candidate.card_words.kind} is fitted."),
        )
        for candidate in CANDIDATES
    }
    return create_model("SearchSpaceFile", __base__=_Candidates, __doc__=_Candidates.__doc__, **types)


def load_search_space(path: Path | None = None) -> SearchSpace:
    """Return the search space in `path`, by default the one that the package ships.

    Raises:
        BadInput: the file is absent, is no YAML, or says something that is not allowed.
    """
    content = load_reviewed(path or CONF / "search_space.yaml", search_space_file())
    sections = {candidate.name: getattr(content, candidate.name) for candidate in CANDIDATES}
    return SearchSpace({name: section for name, section in sections.items() if section is not None})
