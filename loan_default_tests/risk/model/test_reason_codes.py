"""Reasons against brute force: the strongest groups first, each said by the side of its value, and none left out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.population import Population
from loan_default.risk.data.splits import WINDOWS
from loan_default.risk.data.splitting import window_loans
from loan_default.risk.model.development import LocalDevelopment
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.reason_codes import Explanation, ReasonCode, ReasonFinder, field_contributions, side_of
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.model.training import train_candidates
from loan_default.risk.policy import load_policy
from loan_default_tests.packages import applications
from loan_default_tests.packages import scorer as packaged_scorer
from loan_default_tests.risk.conftest import published_loans
from loan_default_tests.risk.small_books import OWED, make_contract

CONTRACT = load_contract()
TYPICAL = {
    field.name: field.levels[min(9, len(field.levels) - 1)] if field.levels else 10.0 for field in CONTRACT.features
}
SPACE = FeatureSpace(CONTRACT, Population(TYPICAL))
NAMES = CONTRACT.feature_names
NUMBERS = [SPACE.population.typical_number(field) for field in CONTRACT.features]
FINDER = ReasonFinder(SPACE)
KINDS = ("xgboost", "random_forest", "logistic_regression", "lightgbm")


def contributions(**of: float) -> np.ndarray:
    """Make one row, zero but in the columns named (`purpose_car` is `purpose=car`)."""
    row = np.zeros(len(SPACE.columns))
    for name, value in of.items():
        row[SPACE.columns.index(name if name in SPACE.columns else "=".join(name.rsplit("_", 1)))] = value
    return row[None]


def values(**of: float) -> np.ndarray:
    """One row of typical values, and the first level where there is none, but for those named."""
    row = np.array(NUMBERS, dtype=np.float64)
    for name, value in of.items():
        row[NAMES.index(name)] = value
    return row[None]


def explain(row: np.ndarray, at_most: int = 4, **of: float) -> Explanation:
    (explanation,) = FINDER.explain(row, values(**of), at_most)
    return explanation


def by_brute_force(row: np.ndarray, value: np.ndarray, at_most: int) -> Explanation:
    """Add up by name, sort, cut."""
    by_field: dict[str, float] = {}
    by_group: dict[str, float] = {}
    for column, added in zip(SPACE.columns, row, strict=True):
        name = column.partition("=")[0]
        by_field[name] = by_field.get(name, 0.0) + added
        group = CONTRACT.by_name[name].group
        by_group[group] = by_group.get(group, 0.0) + added
    raised = sorted((group for group, added in by_group.items() if added > 0), key=lambda group: -by_group[group])
    explanation = Explanation([], [])
    for group in raised[:at_most]:
        members = [field for field in CONTRACT.features if field.group == group]
        field = max(members, key=lambda member: by_field[member.name])
        number = float(value[NAMES.index(field.name)])
        side = side_of(field, number, NUMBERS[NAMES.index(field.name)])
        plain = None if np.isnan(number) else field.levels[int(number) - 1] if field.levels else number
        complete = not np.isnan([value[NAMES.index(member.name)] for member in members]).any()
        sentence = CONTRACT.groups.get(group) if complete else None
        explanation.sentences.append(sentence or field.reason(side, plain))
        share: Any = pytest.approx(by_group[group] / sum(by_group[name] for name in raised), abs=1e-4)
        explanation.codes.append({"group": group, "field": field.name, "side": side, "share": share})
    return explanation


def test_strongest_first_and_at_most_as_many_as_allowed() -> None:
    row = contributions(dti=0.3, fico_range_low=0.9, annual_inc=0.1, term=0.5)
    ordered = ["fico_range_low", "term", "dti", "annual_inc"]
    for at_most in range(6):
        sentences, codes = explain(row, at_most)
        assert [code["field"] for code in codes] == ordered[:at_most]
        assert len(sentences) == len(codes)
    assert [code["share"] for code in explain(row).codes] == [0.5, 0.2778, 0.1667, 0.0556]


def test_no_sentence_is_told_twice_and_the_next_group_is_told_instead() -> None:
    sentences = {"reasons": {"high": "Much is owed.", "low": "Little is owed."}, "description": "A debt."}
    amount = {"kind": "number", "role": "feature", "unit": "dollars", "range": [0, 9], **sentences}
    fields = ({**amount, "name": name} for name in ("card", "car"))
    space = FeatureSpace(
        make_contract(*fields, time="none", outcomes="final"),
        Population({"card": 1.0, "car": 1.0, "income": 1.0, "home": "rent", "debt": 1.0}),
    )
    row = np.zeros((1, len(space.columns)))
    for name, added in {"card": 0.4, "car": 0.3, "income": 0.2, "debt": 0.1}.items():
        row[0, space.columns.index(name)] = added
    numbers = [[{"card": 5.0, "car": 5.0}.get(name, 1.0) for name in space.contract.feature_names]]
    (explanation,) = ReasonFinder(space).explain(row, numbers, 3)
    assert explanation.sentences == ["Much is owed.", "Income of a year: 1 dollar.", "Debt: 1 percent."]
    assert [code["field"] for code in explanation.codes] == ["card", "income", "debt"]
    numbers[0][space.contract.feature_names.index("car")] = 0.5
    (explanation,) = ReasonFinder(space).explain(row, numbers, 2)
    assert explanation.sentences == ["Much is owed.", "Little is owed."]


def test_what_an_informative_absence_adds_is_told_as_what_is_missing() -> None:
    space = FeatureSpace(make_contract(OWED, time="none", outcomes="final"), Population({"owed": 30.0, "income": 1.0}))
    row = np.zeros((1, len(space.columns)))
    row[0, [space.columns.index("owed"), space.columns.index("owed=missing")]] = -0.1, 0.4
    lacking = [np.nan if name == "owed" else 1.0 for name in space.contract.feature_names]
    (explanation,) = ReasonFinder(space).explain(row, [lacking], 4)
    assert explanation.sentences == ["What is owed is not stated."]
    assert explanation.codes == [{"group": "owed", "field": "owed", "side": "missing", "share": 1.0}]


def test_the_lenders_opinion_is_one_reason_and_is_said_like_any_other() -> None:
    row = contributions(grade=0.3, sub_grade=0.2, int_rate=0.1, term=0.5, dti=0.2)
    sentences, codes = explain(row, dti=40.0, term=60.0)
    assert sentences == [
        "The rate and grade assigned to this application.",
        "The term of the loan is longer than typical: 60 months.",
        "Existing debt payments take more of the income than typical: 40 percent.",
    ]
    assert codes[0] == {"group": "assigned_terms", "field": "grade", "side": "level", "share": 0.4615}


def test_a_group_is_not_said_as_a_whole_of_an_applicant_who_lacks_a_part_of_it() -> None:
    row, sentences = contributions(int_rate=0.3), ["Interest rate of the loan: 20 percent a year."]
    assert explain(row, int_rate=20.0, grade=np.nan).sentences == sentences
    assert explain(row, int_rate=20.0, sub_grade=np.nan).sentences == sentences


@pytest.mark.parametrize(
    ("value", "side", "sentence"),
    [
        (11.0, "high", "The time in the present employment: 11 years."),
        (2.0, "low", "The present employment is shorter than typical: 2 years."),
        (10.0, "level", "Years in the present employment: 10+ years."),
        (np.nan, "missing", "The time in the present employment is not known."),
    ],
)
def test_the_side_is_that_of_the_value(value: float, side: str, sentence: str) -> None:
    sentences, (code,) = explain(contributions(emp_length=0.4), emp_length=value)
    assert (code["side"], sentences) == (side, [sentence])


def test_without_a_typical_value_a_fact_is_said_and_no_side() -> None:
    finder = ReasonFinder(FeatureSpace(CONTRACT))
    row = contributions(dti=0.5, purpose_car=0.2, revol_util=0.1)
    ((sentences, codes),) = finder.explain(row, values(dti=40.0, purpose=8.0, revol_util=np.nan), 4)
    assert [code["side"] for code in codes] == ["level", "level", "missing"]
    assert sentences == [
        "Monthly debt payments, without mortgage and this loan, as a share of monthly income: 40 percent.",
        "The purpose of the loan: a car.",
        "Revolving balance as a share of the revolving limit: not known.",
    ]


def test_a_group_is_said_by_the_field_that_adds_most() -> None:
    row = contributions(pub_rec=0.1, pub_rec_bankruptcies=0.4, mths_since_last_record=-0.3, dti=0.1)
    _, codes = explain(row, pub_rec_bankruptcies=12.0)
    assert [(code["group"], code["field"], code["side"]) for code in codes] == [
        ("public_records", "pub_rec_bankruptcies", "high"),
        ("dti", "dti", "level"),
    ]
    assert codes[0]["share"] == pytest.approx(2 / 3, abs=1e-4)


def test_what_lowers_the_risk_is_no_reason() -> None:
    assert explain(contributions(dti=-1.0, term=0.0)) == ([], [])
    assert explain(contributions(pub_rec=0.5, pub_rec_bankruptcies=-0.6)) == ([], [])


def test_what_is_needed_and_missing_comes_first_where_it_decided() -> None:
    row = contributions(dti=0.3, annual_inc=0.5, pub_rec=-0.2)
    lacking = values(dti=np.nan, pub_rec=np.nan, grade=np.nan)
    needed = [[NAMES.index(name) for name in ("dti", "pub_rec", "grade")]]
    ((sentences, codes),) = FINDER.explain(row, lacking, 4, needed)
    assert [(code["field"], code["side"], code["share"]) for code in codes] == [
        ("dti", "missing", 0.375),
        ("pub_rec", "missing", 0.0),
        ("grade", "missing", 0.0),
        ("annual_inc", "level", 0.625),
    ]
    assert sentences[:3] == [
        "The share of income that existing debt payments take is not known.",
        "Derogatory public records: not known.",
        "The lender's grade: not known.",
    ]
    assert FINDER.explain(contributions(), lacking, 2, needed)[0].codes[1]["field"] == "pub_rec"


def test_levels_of_a_field_count_together() -> None:
    row = contributions(purpose_car=0.6, purpose_house=-0.5, dti=0.2)
    assert [code["field"] for code in explain(row).codes] == ["dti", "purpose"]
    by_field = field_contributions(row, SPACE)
    assert by_field.shape == (1, len(NAMES))
    assert by_field[0, NAMES.index("purpose")] == pytest.approx(0.1)


def random_values(rng: np.random.Generator, rows: int) -> np.ndarray:
    columns = [
        rng.integers(1, len(field.levels) + 1, rows) if field.levels else rng.normal(10, 5, rows).round()
        for field in CONTRACT.features
    ]
    drawn = np.column_stack(columns).astype(np.float64)
    drawn[rng.random(drawn.shape) < 0.2] = np.nan
    return drawn


def test_reasons_equal_brute_force_over_random_contributions() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(-0.05, 0.2, (200, len(SPACE.columns)))
    drawn = random_values(rng, 200)
    expected = [by_brute_force(row, value, 4) for row, value in zip(rows, drawn, strict=True)]
    assert FINDER.explain(rows, drawn, 4) == expected
    assert FINDER.explain(rows, drawn.tolist(), 4) == expected


# --- with models ----------------------------------------------------------------------------------------------


@given(arrays.arrays(np.float64, len(SPACE.columns), elements=st.floats(-2, 2)), st.floats(-3, 0))
def test_without_a_group_the_risk_falls_by_its_share(row: np.ndarray, base: float) -> None:
    """The margin that all groups that raise the risk add is the distance to explain; each code's share of it."""
    (codes,) = [explanation.codes for explanation in FINDER.explain(row[None], values(), len(NAMES))]
    check_shares(row, codes, base + row.sum())


def check_shares(row: np.ndarray, codes: list[ReasonCode], margin: float) -> None:
    """Take the first and the second group out of the margin, and see that the distance falls by their shares."""
    group_of = np.array([CONTRACT.features[index].group for index in SPACE.field_of])
    by_group = {group: row[group_of == group].sum() for group in dict.fromkeys(group_of)}
    distance = sum(added for added in by_group.values() if added > 0)
    safest = margin - distance  # what the margin would be without anything that raises the risk
    for code in codes[:2]:
        without = margin - row[group_of == code["group"]].sum()
        assert without - safest == pytest.approx((1 - code["share"]) * distance, abs=1e-9 + 6e-5 * distance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_first_and_second_reason_carry_their_share_of_the_models_margin(kind: str) -> None:
    model = packaged_scorer(kind)
    features = applications()[1]
    scored = model.score(features)
    X = model.space.matrix(features)
    margins, rows = model.model.margins(X), model.model.contributions(X)
    base = margins - rows.sum(axis=1)
    assert base == pytest.approx(np.full(len(X), base[0]), abs=1e-4)  # contributions add up to the margin
    explained = 0
    for row, codes, margin in zip(rows, scored["reason_codes"].to_list(), margins, strict=True):
        check_shares(row, codes, margin)
        explained += len(codes) >= 2
    assert explained >= 5


def is_true(code: ReasonCode, value: float | str | None, typical: float | str | None) -> bool:
    """Tell from the value alone, a number or a level, whether the side of a code is true of it."""
    field = CONTRACT.by_name[code["field"]]
    if value is None or typical is None or field.kind == "nominal":
        return code["side"] == ("missing" if value is None else "level")
    position, usual = (field.levels.index(v) if field.levels else float(v) for v in (str(value), str(typical)))
    return bool({"high": position > usual, "low": position < usual, "level": position == usual}.get(code["side"]))


def leading_group(row: np.ndarray) -> str:
    """Return the group whose columns add most to a row's margin."""
    groups = [CONTRACT.features[index].group for index in SPACE.field_of]
    return max(dict.fromkeys(groups), key=lambda group: sum(row[i] for i, name in enumerate(groups) if name == group))


class Truth(NamedTuple):
    """How many reasons were checked, which were untrue, and of which rows the leading group was left out."""

    checked: int
    untrue: list[tuple[str, ReasonCode]]
    without_leader: list[int]


def check_reasons(scorer: Scorer, loans: pl.DataFrame) -> Truth:
    """Hold each reason of what was declined or reviewed against the applicant's own values."""
    scored = scorer.score(loans)
    decided = pl.concat([loans.select(NAMES), scored], how="horizontal").filter(pl.col("decision") != "approve")
    rows = scorer.model.contributions(scorer.space.matrix(decided))
    untrue, without_leader, checked = [], [], 0
    for index, (loan, row) in enumerate(zip(decided.iter_rows(named=True), rows, strict=True)):
        codes, sentences = loan["reason_codes"], loan["reasons"]
        assert len(codes) == len(sentences) <= scorer.policy.reasons_at_most
        checked += len(codes)
        for code, sentence in zip(codes, sentences, strict=True):
            value = loan[code["field"]]
            field, side = CONTRACT.by_name[code["field"]], code["side"]
            members = [loan[member.name] for member in CONTRACT.features if member.group == code["group"]]
            of_group = None if None in members else CONTRACT.groups.get(code["group"])
            if not is_true(code, value, scorer.population.typical[code["field"]]):
                untrue.append((sentence, code))
            assert sentence == (of_group or field.reason(side, value))
        if loan["pd"] >= scorer.policy.approve_below and leading_group(row) != codes[0]["group"]:
            without_leader.append(index)
    return Truth(checked, untrue, without_leader)


@pytest.mark.slow
def test_every_decline_and_review_gets_true_reasons_and_the_leading_one(
    scorer: Scorer, windows: Mapping[str, pl.DataFrame]
) -> None:
    loans = windows["test"]
    scored = scorer.score(loans)
    explained = scored["decision"] != "approve"
    assert 20 < (scored["decision"] == "decline").sum() < explained.sum() < len(explained)
    assert scored.filter(~explained)["reason_codes"].list.len().sum() == 0
    assert scored.filter(explained)["reason_codes"].list.len().gt(0).all()
    sides = scored["reason_codes"].explode().struct.field("side").value_counts()
    assert set(sides["side"].drop_nulls()) == {"high", "low", "level", "missing"}
    truth = check_reasons(scorer, loans)
    assert truth.checked > 500
    assert (truth.untrue, truth.without_leader) == ([], [])


@pytest.mark.long
@pytest.mark.real_data
def test_reasons_of_2011_are_true(real_data: Path, tmp_path: Path) -> None:
    """Fitted on 2007 to 2010; with one fixed sentence a field, 625 of 1,504 declined applicants read an untrue one."""
    loans, splits = published_loans(real_data, tmp_path)
    train, calibrate, test = (window_loans(loans, CONTRACT, splits, name) for name in WINDOWS)
    development = LocalDevelopment.of(train, calibrate, FeatureSpace(CONTRACT, splits.population))
    decision = load_policy().decision
    (candidate,) = train_candidates(development, load_search_space(), decision, seed=7, kinds=["xgboost"])
    scored = candidate.scorer.score(test)
    assert (scored["decision"] == "decline").sum() > 1_000
    truth = check_reasons(candidate.scorer, test)
    assert truth.checked > 10_000
    assert (truth.untrue, truth.without_leader) == ([], [])
