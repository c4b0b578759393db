"""The candidates that there are: one line each. A further one is a class in a file of its own, and a line here.

Which of them are fitted, and with what, is the search space's to say.
"""

from __future__ import annotations

from pathlib import Path

from loan_default.risk.errors import BadInput
from loan_default.risk.model.candidates.base import CandidateModel
from loan_default.risk.model.candidates.boosting import BoostedModel
from loan_default.risk.model.candidates.lightgbm_trees import LightGBMTrees
from loan_default.risk.model.candidates.logistic_regression import LogisticRegression
from loan_default.risk.model.candidates.random_forest import RandomForest
from loan_default.risk.model.candidates.xgboost_trees import XGBoostTrees

CANDIDATES: tuple[type[CandidateModel], ...] = (
    XGBoostTrees,
    RandomForest,
    LogisticRegression,
    LightGBMTrees,
)


def candidate_class(name: str) -> type[CandidateModel]:
    """Return the candidate of this name.

    Raises:
        BadInput: none is registered under it; names those that are.
    """
    for candidate in CANDIDATES:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in CANDIDATES)
    raise BadInput(f"{name} is no candidate that this release knows; choose among {names}.")


def boosted_class(name: str) -> type[BoostedModel]:
    """Return the candidate of this name, whose parameters can be tuned.

    Raises:
        BadInput: they cannot, or none is registered under the name.
    """
    candidate = candidate_class(name)
    if not issubclass(candidate, BoostedModel):
        names = ", ".join(other.name for other in CANDIDATES if issubclass(other, BoostedModel))
        raise BadInput(f"The candidate {name} has no parameters to tune; choose among {names}.")
    return candidate


def load_model(folder: Path, name: str) -> CandidateModel:
    """Read the model that a candidate of this name saved in the folder.

    Raises:
        BadInput: the candidate is not known, its libraries are not installed, or the folder does not hold its file.
    """
    candidate = candidate_class(name)
    candidate.check_installed()
    if not (folder / candidate.file_name).exists():
        raise BadInput(f"{folder} lacks {candidate.file_name}, the file of its {name} model; register it again.")
    return candidate.load(folder)
