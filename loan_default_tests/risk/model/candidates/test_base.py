"""What every candidate keeps to: contributions, importance, a file without pickle, a sentence where it cannot run."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.errors import BadInput
from loan_default.risk.metrics import auc_of
from loan_default.risk.model.calibration import fit_calibration
from loan_default.risk.model.candidates.base import CandidateModel
from loan_default.risk.model.candidates.logistic_regression import LogisticRegression
from loan_default.risk.model.candidates.registry import CANDIDATES
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.search_space import SearchSpace
from loan_default.risk.model.training import Candidate
from loan_default_tests.risk.conftest import SEED

each_candidate = pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)


def model_of(candidates: Mapping[str, Candidate], candidate: type[CandidateModel]) -> CandidateModel:
    model = candidates[candidate.name].scorer.model
    assert type(model) is candidate
    return model


@each_candidate
@pytest.mark.slow
def test_contributions_sum_to_the_margin_but_for_a_constant(
    candidates: Mapping[str, Candidate], X: Matrix, candidate: type[CandidateModel]
) -> None:
    model = model_of(candidates, candidate)
    contributions = model.contributions(X)
    assert contributions.shape == X.shape
    constants = model.margins(X) - contributions.sum(axis=1)
    assert np.ptp(constants) < 1e-4
    assert model.margins(X).dtype == np.float64
    assert np.ptp(model.margins(X)) > 0.5


@each_candidate
@pytest.mark.slow
def test_importance_is_a_share_of_each_column(
    candidates: Mapping[str, Candidate], development: LocalDevelopment, candidate: type[CandidateModel]
) -> None:
    importance = model_of(candidates, candidate).importance()
    assert importance.shape == (len(development.space.columns),)
    assert importance.sum() == pytest.approx(1)
    assert (importance >= 0).all()
    by_column = dict(zip(development.space.columns, importance, strict=True))
    assert by_column["sub_grade"] + by_column["grade"] + by_column["int_rate"] > 5 * by_column["purpose=vacation"]


@each_candidate
@pytest.mark.slow
def test_a_saved_model_answers_bit_by_bit_as_before(
    candidates: Mapping[str, Candidate], X: Matrix, tmp_path: Path, candidate: type[CandidateModel]
) -> None:
    model = model_of(candidates, candidate)
    model.save(tmp_path)
    assert (tmp_path / candidate.file_name).exists()
    again = candidate.load(tmp_path)
    assert type(again) is candidate
    assert np.array_equal(again.margins(X), model.margins(X))
    assert np.array_equal(again.contributions(X), model.contributions(X))
    assert np.array_equal(again.importance(), model.importance())


@each_candidate
def test_no_part_of_a_saved_model_is_a_pickle(
    candidates: Mapping[str, Candidate], tmp_path: Path, candidate: type[CandidateModel]
) -> None:
    model_of(candidates, candidate).save(tmp_path)
    for file in tmp_path.iterdir():
        parts = {file.name: file.read_bytes()}
        if zipfile.is_zipfile(file):
            archive = zipfile.ZipFile(file)
            parts |= {name: archive.read(name) for name in archive.namelist()}
        assert not [name for name, part in parts.items() if part.startswith(b"\x80") or name.endswith(".pkl")]


@each_candidate
def test_one_loan_gets_the_margin_that_it_gets_among_others(
    candidates: Mapping[str, Candidate], X: Matrix, candidate: type[CandidateModel]
) -> None:
    model = model_of(candidates, candidate)
    for rows in (1, 100, 101):
        parts = [model.margins(X[start : start + rows]) for start in range(0, len(X), rows)]
        assert np.array_equal(np.concatenate(parts), model.margins(X))
    assert model.contributions(X[7:8])[0] == pytest.approx(model.contributions(X)[7], abs=1e-6)


def first_and_final(
    candidate: type[CandidateModel], development: LocalDevelopment, search: SearchSpace
) -> tuple[Floats, Floats]:
    """Return what the fit on train alone says of calibrate, and what the fit on both says of it."""
    parameters = search.parameters(candidate.name)
    first = candidate.fit(development, "train", parameters, SEED)
    final = first.refit(development, parameters, SEED)
    return first.margins(development.calibrate.X), final.margins(development.calibrate.X)


@each_candidate
def test_calibration_and_metrics_come_from_loans_that_the_first_fit_has_not_seen(
    candidates: Mapping[str, Candidate],
    development: LocalDevelopment,
    quick_search: SearchSpace,
    candidate: type[CandidateModel],
) -> None:
    first, final = first_and_final(candidate, development, quick_search)
    outcomes = development.calibrate.y.astype(np.float64)
    fitted = candidates[candidate.name]
    assert fitted.metrics["auc"].value == auc_of(outcomes, first)
    assert fitted.scorer.calibration == fit_calibration(first, outcomes)
    margins = fitted.scorer.model.margins(development.calibrate.X)
    assert np.array_equal(margins, final)
    assert auc_of(outcomes, margins) > auc_of(outcomes, first)  # the final fit has learned from these loans too


@each_candidate
def test_pd_moves_with_a_field_only_as_the_card_says(
    candidates: Mapping[str, Candidate], development: LocalDevelopment, candidate: type[CandidateModel]
) -> None:
    """Each field with a direction, moved up in 300 loans by small and by large steps, all else equal."""
    model, X = model_of(candidates, candidate), development.calibrate.X[:300]
    margins, moves, against = model.margins(X), 0, 0
    for column, direction in enumerate(development.space.monotone):
        if not direction:
            continue
        spread = np.nanstd(development.train.X[:, column])
        for step in (0.1, 1.0, 5.0):
            moved = X.copy()
            moved[:, column] += step * spread
            change = direction * (model.margins(moved) - margins)
            against += int(change.min() < -1e-5)
            moves += int(change.max() > 1e-3)
    assert moves > 20
    assert (against == 0) == candidate.card_words.monotone


class Absent(LogisticRegression):
    """A candidate whose library nobody has."""

    name: ClassVar[str] = "absent"
    requirements: ClassVar[Mapping[str, str]] = {"no-such-library": "no_such_library"}


def test_a_library_that_is_not_installed_is_a_sentence() -> None:
    with pytest.raises(BadInput, match=r"^The candidate absent needs no_such_library, .* install no-such-library\.$"):
        Absent.check_installed()


def test_the_sentence_names_the_extra_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Absent, "extra", "more")
    with pytest.raises(BadInput, match=r"; pip install 'loan-default\[more\]'\.$"):
        Absent.check_installed()


@each_candidate
def test_what_is_required_is_installed_with_the_tests(candidate: type[CandidateModel]) -> None:
    candidate.check_installed()
    assert candidate.requirements
