"""From loans to points, decisions and reasons: the same whatever the chunks, and the same from a folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.arrays import Matrix
from loan_default.risk.data.population import Population
from loan_default.risk.errors import BadInput
from loan_default.risk.model import onnx_export
from loan_default.risk.model.calibration import Calibration
from loan_default.risk.model.candidates.registry import CANDIDATES
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.scorer import DECISIONS, SCORED, Scorer, points
from loan_default.risk.model.training import Candidate
from loan_default.risk.policy import DecisionPolicy, load_policy
from loan_default_tests.packages import EARLIER_DERIVATIONS

POLICY = load_policy().decision


@dataclass(frozen=True)
class Fixed:
    """A model that says the same log-odds of every loan."""

    margin: float
    file_name: ClassVar[str] = "fixed"

    def margins(self, X: Matrix) -> np.ndarray:
        return np.full(len(X), self.margin)

    def contributions(self, X: Matrix) -> np.ndarray:
        return np.ones(X.shape)

    def importance(self) -> np.ndarray:
        return np.zeros(0)

    def save(self, folder: Path) -> None: ...


@pytest.fixture
def loans(windows: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    return windows["test"].head(300)


def with_policy(**changes: Any) -> DecisionPolicy:
    return DecisionPolicy(**{**POLICY.model_dump(), **changes})


def test_a_prediction_has_these_columns(scorer: Scorer, loans: pl.DataFrame) -> None:
    scored = scorer.score(loans)
    assert dict(scored.schema) == SCORED
    assert scored.height == loans.height
    assert scored["pd"].is_between(0, 1).all()
    assert scored["pd"].to_numpy() == pytest.approx(scorer.calibration.pds(scored["raw_score"].to_numpy()))
    assert dict(scorer.score(loans.head(0)).schema) == SCORED


def test_decisions_change_exactly_at_the_cut_offs(scorer: Scorer, loans: pl.DataFrame) -> None:
    certain = replace(scorer, model=Fixed(-1.2), calibration=Calibration(1.0, 0.0))
    pd = certain.score(loans.head(1))["pd"].item()
    above = float(np.nextafter(pd, 1))
    decided = {
        "approve": {"approve_below": above, "decline_from": 0.9},
        "review": {"approve_below": pd, "decline_from": above},
        "decline": {"approve_below": pd, "decline_from": pd},
    }
    for decision, cut_offs in decided.items():
        scores = replace(certain, policy=with_policy(**cut_offs)).score(loans.head(2))
        assert scores["decision"].to_list() == [decision] * 2
        reasons = 0 if decision == "approve" else POLICY.reasons_at_most
        assert scores["reasons"].list.len().to_list() == [reasons] * 2


def test_points_at_the_stated_odds_and_doubling() -> None:
    odds = np.array([50.0, 100.0, 200.0, 25.0])
    assert points(1 / (1 + odds), POLICY).tolist() == [600, 620, 640, 580]
    other = with_policy(points_at_odds=500, odds=1, points_to_double_odds=50)
    assert points(np.array([0.5, 1 / 3, 2 / 3]), other).tolist() == [500, 550, 450]


def test_certain_pds_have_finite_points() -> None:
    assert points(np.array([0.0, 1.0]), POLICY).tolist() == [1085, -111]


@given(st.lists(st.floats(0, 1), min_size=2))
def test_points_fall_as_pd_rises(pds: list[float]) -> None:
    assert (np.diff(points(np.sort(pds), POLICY)) <= 0).all()


def test_scores_are_the_same_each_time_and_for_each_loan_alone(scorer: Scorer, loans: pl.DataFrame) -> None:
    scores = scorer.score(loans)
    assert scores.equals(scorer.score(loans))
    backwards = scorer.score(loans.reverse())
    assert scores.equals(backwards.reverse())


def test_leaving_reasons_out_changes_nothing_else(scorer: Scorer, loans: pl.DataFrame) -> None:
    quick, explained = scorer.score(loans, with_reasons=False), scorer.score(loans)
    assert quick.drop("reasons", "reason_codes").equals(explained.drop("reasons", "reason_codes"))
    for name in ("reasons", "reason_codes"):
        assert explained[name].list.len().sum() > 0
        assert quick[name].list.len().sum() == 0


@pytest.mark.parametrize("kind", [candidate.name for candidate in CANDIDATES])
def test_a_package_scores_as_what_was_saved(
    candidates: Mapping[str, Candidate], loans: pl.DataFrame, tmp_path: Path, kind: str
) -> None:
    scorer = candidates[kind].scorer
    scorer.save(tmp_path / "package")
    again = Scorer.load(tmp_path / "package")
    assert again.score(loans).equals(scorer.score(loans))
    assert (again.kind, again.calibration, again.policy) == (kind, scorer.calibration, scorer.policy)
    assert (again.contract.fingerprint, again.population) == (scorer.contract.fingerprint, scorer.population)
    files = {file.name for file in (tmp_path / "package").iterdir()}
    beside = {"xgboost": {onnx_export.FILE}, "random_forest": {onnx_export.FILE}, "lightgbm": {"typical.json"}}
    assert files == {"model.json", "contract.json", scorer.model.file_name} | beside.get(kind, set())
    assert not any(file.read_bytes().startswith(b"\x80") for file in (tmp_path / "package").iterdir())


def test_a_package_carries_its_own_policy(scorer: Scorer, loans: pl.DataFrame, tmp_path: Path) -> None:
    replace(scorer, policy=with_policy(approve_below=0.001, decline_from=0.002, reasons_at_most=1)).save(tmp_path)
    scored = Scorer.load(tmp_path).score(loans)
    assert set(scored["decision"]) == {"decline"}
    assert scored["reasons"].list.len().max() == 1


# --- missing values -------------------------------------------------------------------------------------------

RARE, COMMON = "dti", "mths_since_last_delinq"  # hardly ever missing in development, and in a third of the loans


def without(loans: pl.DataFrame, *names: str) -> pl.DataFrame:
    return loans.with_columns(pl.lit(None, loans.schema[name]).alias(name) for name in names)


def ranks(scores: pl.DataFrame) -> list[int]:
    """The decisions as numbers: approve 0, review 1, decline 2."""
    return [DECISIONS.index(decision) for decision in scores["decision"]]


def test_who_lacks_what_hardly_any_loan_lacked_is_at_best_reviewed(scorer: Scorer, loans: pl.DataFrame) -> None:
    assert scorer.population.missing_share[RARE] < 0.01 < scorer.population.missing_share[COMMON]
    generous = replace(scorer, policy=with_policy(approve_below=0.2, decline_from=0.3))
    careless = replace(generous, policy=with_policy(approve_below=0.2, decline_from=0.3, missing_share_at_least=0))
    blank = without(loans, RARE)
    by_pd = careless.score(blank)
    assert set(by_pd["decision"]) == set(DECISIONS)
    decided = generous.score(blank)
    assert ranks(decided) == [max(rank, 1) for rank in ranks(by_pd)]
    assert decided.select("pd", "raw_score", "score").equals(by_pd.select("pd", "raw_score", "score"))
    by_absence = by_pd["decision"] == "approve"
    first = decided["reason_codes"].list.first().struct.unnest()
    assert set(first.filter(by_absence).select("field", "side").rows()) == {(RARE, "missing")}
    assert decided.filter(~by_absence)["reason_codes"].equals(by_pd.filter(~by_absence)["reason_codes"])
    often_missing = without(loans, COMMON)
    assert generous.score(often_missing).equals(careless.score(often_missing))
    assert "approve" in generous.score(often_missing)["decision"].to_list()


@pytest.mark.parametrize("kind", [candidate.name for candidate in CANDIDATES])
def test_a_field_with_a_direction_left_out_is_the_typical_one(
    candidates: Mapping[str, Candidate], loans: pl.DataFrame, kind: str
) -> None:
    scorer = candidates[kind].scorer
    for name in ("dti", "fico_range_low", "revol_util", "sub_grade"):
        typical = loans.with_columns(pl.lit(scorer.population.typical[name]).cast(loans.schema[name]).alias(name))
        assert scorer.score(without(loans, name))["pd"].equals(scorer.score(typical)["pd"]), name


@pytest.mark.parametrize("blank", [(), (RARE,), (COMMON,), (RARE, COMMON)])
def test_rows_as_values_are_decided_as_rows_of_a_frame(
    scorer: Scorer, loans: pl.DataFrame, blank: tuple[str, ...]
) -> None:
    some = without(loans.head(40), *blank)
    expected = scorer.score(some)
    values, X = scorer.space.values(some), scorer.space.matrix(some)
    margins = scorer.model.margins(X)
    many = scorer.predict(values, X, margins)
    singly = [scorer.predict(values[[row]].tolist(), X[[row]], margins[[row]]) for row in range(some.height)]
    assert many.decisions == [prediction.decisions[0] for prediction in singly] == expected["decision"].to_list()
    assert many.reasons == [prediction.reasons[0] for prediction in singly] == expected["reasons"].to_list()


def test_a_package_of_before_there_was_a_population_decides_as_it_did(
    scorer: Scorer, loans: pl.DataFrame, tmp_path: Path
) -> None:
    scorer.save(tmp_path)
    old = json.loads((tmp_path / "model.json").read_text())
    del old["population"], old["decision"]["missing_share_at_least"]
    (tmp_path / "model.json").write_text(json.dumps({**old, "format": 1}))
    again = Scorer.load(tmp_path)
    assert again.population == Population()
    blank = without(loans, RARE, "fico_range_low")
    X = FeatureSpace(scorer.contract).matrix(blank)
    assert np.isnan(X[:, again.space.columns.index(RARE)]).all()
    scores = again.score(blank)
    assert scores["raw_score"].to_list() == scorer.model.margins(X).tolist()
    cut_offs = [POLICY.approve_below, POLICY.decline_from]
    assert ranks(scores) == np.searchsorted(cut_offs, scores["pd"].to_numpy(), side="right").tolist()
    assert "approve" in scores["decision"].to_list()


def of_format_1(folder: Path) -> Path:
    """Make of a package what the releases before wrote: one sentence a field, no groups, no population."""
    contract = json.loads((folder / "contract.json").read_text())
    del contract["groups"]
    for field in contract["fields"]:
        field["derived"] = EARLIER_DERIVATIONS.get(field["name"])
        reasons = field.pop("reasons")
        field.pop("group")
        opinion = field.pop("opinion")
        field["reason"] = None if opinion else reasons["high"] or reasons["low"] or reasons["level"]
        if opinion:
            field["description"] += " The lender's own opinion, so never a reason."
    (folder / "contract.json").write_text(json.dumps(contract))
    content = json.loads((folder / "model.json").read_text())
    del content["population"], content["decision"]["missing_share_at_least"]
    del content["decision"]["decide_without_opinion"]
    (folder / "model.json").write_text(json.dumps({**content, "format": 1}))
    return folder


def test_a_package_of_format_1_scores_and_says_no_side(scorer: Scorer, loans: pl.DataFrame, tmp_path: Path) -> None:
    scorer.save(tmp_path)
    earlier = Scorer.load(of_format_1(tmp_path))
    assert (earlier.population, earlier.contract.opinions) == (Population(), frozenset())
    full = loans.filter(pl.all_horizontal(pl.col(f.name).is_not_null() for f in scorer.contract.features if f.risk))
    assert full.height > 20
    assert earlier.score(full)["raw_score"].equals(scorer.score(full)["raw_score"])
    scored = earlier.score(loans).filter(pl.col("decision") != "approve")
    assert (scored["reasons"].list.len() > 0).all()
    for codes, sentences in scored.select("reason_codes", "reasons").iter_rows():
        for code, sentence in zip(codes, sentences, strict=True):
            assert (code["side"] in ("level", "missing"), "never a reason" in sentence) == (True, False)
            assert code["group"] == code["field"]
    dti, purpose = (earlier.contract.by_name[name].reasons for name in ("dti", "purpose"))
    assert (dti.high, dti.low, purpose.level) == (scorer.contract.by_name["dti"].reasons.high, None, purpose.level)
    assert not earlier.contract.by_name["emp_length"].reasons.sides  # its sentence had no side


def damaged(folder: Path, **changes: Any) -> Path:
    file = folder / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def test_packages_that_cannot_be_read_are_refused_in_a_sentence(scorer: Scorer, tmp_path: Path) -> None:
    for name in ("later", "foreign", "cut", "no_model", "no_contract"):
        scorer.save(tmp_path / name)
    damaged(tmp_path / "later", format=4)
    (tmp_path / "foreign" / "model.json").write_text("{}")
    (tmp_path / "cut" / "model.json").write_text('{"format": 1,')
    (tmp_path / "no_model" / scorer.model.file_name).unlink()
    (tmp_path / "no_contract" / "contract.json").unlink()
    sentences = {
        "absent": "is no model package: model.json cannot be read; register it again.",
        "cut": "is no model package: model.json cannot be read; register it again.",
        "later": "has format 4, this release reads 1, 2, 3; use that which wrote it.",
        "foreign": "has format None, this release reads 1, 2, 3; use that which wrote it.",
        "no_model": "lacks model.ubj, the file of its xgboost model; register it again.",
        "no_contract": "lacks contract.json, the contract of its model; register it again.",
    }
    for name, sentence in sentences.items():
        with pytest.raises(BadInput) as refused:
            Scorer.load(tmp_path / name)
        assert str(refused.value).startswith(str(tmp_path / name))
        assert str(refused.value).endswith(sentence)


def test_who_is_unlike_every_loan_of_development_is_reviewed_where_the_policy_says_so(
    scorer: Scorer, loans: pl.DataFrame
) -> None:
    generous = with_policy(approve_below=0.98, decline_from=0.99)
    careful = replace(scorer, policy=generous.model_copy(update={"outside_population": "review"}))
    inside = loans.filter(careful.score(loans)["decision"] == "approve").head(5)
    assert inside.height == 5
    most = scorer.population.support["annual_inc"][-1]
    assert isinstance(most, float)
    unlike = inside.with_columns(annual_inc=pl.lit(most + 1))
    kept = careful.score(unlike)
    assert kept["decision"].to_list() == ["review"] * 5
    assert {(row[0]["field"], row[0]["side"]) for row in kept["reason_codes"].to_list()} == {("annual_inc", "high")}
    field = careful.contract.by_name["annual_inc"]
    assert kept["reasons"].to_list()[0][0] == f"{field.short}: {field.say(most + 1)}, as no loan had."
    assert replace(scorer, policy=generous).score(unlike)["decision"].to_list() == ["approve"] * 5
    values, X = careful.space.values(unlike), careful.space.matrix(unlike)
    alone = careful.predict(values[[0]].tolist(), X[[0]], careful.model.margins(X[[0]]))
    assert (alone.decisions, alone.reasons) == (kept["decision"].to_list()[:1], kept["reasons"].to_list()[:1])


def test_a_level_that_no_loan_of_development_had_is_unlike_them(scorer: Scorer, loans: pl.DataFrame) -> None:
    purposes = [level for level in scorer.population.support["purpose"] if level != "car"]
    population = replace(scorer.population, support={**scorer.population.support, "purpose": purposes})
    policy = with_policy(approve_below=0.98, decline_from=0.99, outside_population="review")
    careful = replace(scorer, population=population, policy=policy)
    kind = loans["purpose"].dtype
    car, other = (loans.head(1).with_columns(purpose=pl.lit(level, kind)) for level in ("car", purposes[0]))
    assert careful.score(car)["decision"].to_list() == ["review"]
    assert careful.score(car)["reason_codes"].to_list()[0][0]["field"] == "purpose"
    assert careful.score(car)["reasons"].to_list()[0][0].endswith("car, as no loan had.")
    assert careful.score(other)["decision"].to_list() == ["approve"]


def test_two_values_that_hardly_any_loan_had_together_are_reviewed_alike_alone_and_among_many(
    scorer: Scorer, loans: pl.DataFrame
) -> None:
    generous = with_policy(approve_below=0.98, decline_from=0.99)
    every_pair = [["loan_amnt", "annual_inc", [[1, 2], [2, 1]]]]
    population = replace(scorer.population, edges={"loan_amnt": [9_000.0], "annual_inc": [60_000.0]}, apart=every_pair)
    careful = replace(
        scorer, population=population, policy=generous.model_copy(update={"outside_population": "review"})
    )
    each_alone = replace(careful, population=replace(population, apart=[]))
    scored, free = careful.score(loans), each_alone.score(loans)
    unlike = loans.select((pl.col("loan_amnt") < 9_000) != (pl.col("annual_inc") < 60_000)).to_series()
    was_approved = free["decision"] == "approve"
    expected = unlike & was_approved | (free["decision"] == "review")
    assert (scored["decision"] == "review").to_list() == expected.to_list()
    (row,) = scored.with_row_index().filter((pl.col("decision") == "review") & was_approved).head(1)["index"]
    sentence = scored["reasons"][row][0]
    assert sentence.endswith(", taken together, are as hardly any loan had them.")
    assert scored["reason_codes"][row][0]["field"] == "loan_amnt"
    values, X = careful.space.values(loans[[row]]), careful.space.matrix(loans[[row]])
    alone = careful.predict(values.tolist(), X, careful.model.margins(X))
    assert (alone.decisions[0], alone.reasons[0]) == ("review", scored["reasons"][row].to_list())
