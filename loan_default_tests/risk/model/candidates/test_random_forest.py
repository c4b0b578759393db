"""The forest: trees beside each other in one round, with the parameters of its section."""

from collections.abc import Mapping

from loan_default.risk.model.candidates.random_forest import RandomForest
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import Candidate


def test_a_forest_is_one_round_of_parallel_trees(candidates: Mapping[str, Candidate]) -> None:
    forest = candidates["random_forest"].scorer.model
    assert isinstance(forest, RandomForest)
    assert forest.booster.num_boosted_rounds() == 1
    assert len(forest.booster.get_dump()) == 25


def test_its_section_is_recorded(candidates: Mapping[str, Candidate], quick_search: SearchSpace) -> None:
    section = quick_search.parameters("random_forest").model_dump(exclude={"enabled"})
    assert candidates["random_forest"].parameters == section
    assert section["trees"] == 25
