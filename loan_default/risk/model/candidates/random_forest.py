"""The candidate `random_forest`: many deep trees beside each other, in XGBoost's own mode."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field

from loan_default.risk.model.candidates.base import CandidateParameters, CardWords
from loan_default.risk.model.candidates.xgboost_model import XGBoostModel, tree_parameters
from loan_default.risk.model.development import BoostingSpec, Development, FittedOn


class ForestParameters(CandidateParameters):
    """Parameters of a random forest: how many trees, how deep, and what each sees.

    Attributes:
        trees: of the forest.
        max_depth: levels of a tree.
        min_child_weight: least weight of a leaf.
        subsample: share of the loans that each tree sees.
        colsample_bynode: share of the columns that each split sees.
    """

    trees: int = Field(ge=1, le=100_000, examples=[200])
    max_depth: int = Field(ge=1, le=64, examples=[8])
    min_child_weight: float = Field(ge=0, examples=[5])
    subsample: float = Field(gt=0, le=1, examples=[0.632])
    colsample_bynode: float = Field(gt=0, le=1, examples=[0.2])


class RandomForest(XGBoostModel):
    """A random forest by XGBoost: one round of parallel trees at full learning rate, without monotone constraints."""

    name: ClassVar[str] = "random_forest"
    section: ClassVar[type[CandidateParameters]] = ForestParameters
    card_words: ClassVar[CardWords] = CardWords(
        "a random forest (XGBoost)", "total gain of the splits on a field", monotone=False
    )

    @classmethod
    def fit(cls, development: Development, window: FittedOn, parameters: ForestParameters, seed: int) -> Self:
        forest = parameters.model_dump(exclude={"enabled", "trees"})
        forest |= {"num_parallel_tree": parameters.trees, "learning_rate": 1.0}
        spec = tree_parameters(forest, development.space, seed)
        del spec["monotone_constraints"]
        return cls(development.train_trees(BoostingSpec(window, spec, 1)))
