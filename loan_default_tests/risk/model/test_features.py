"""The feature matrix: its columns, its figures, what is missing, and which way PD may move."""

import numpy as np
import polars as pl
import pytest

from loan_default.risk.arrays import Matrix
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.population import Population, measure_population
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.online_features import QuickReader
from loan_default_tests.conftest import Cleaned
from loan_default_tests.risk.small_books import OWED, make_contract


@pytest.fixture(scope="module")
def space(contract: Contract) -> FeatureSpace:
    return FeatureSpace(contract)


@pytest.fixture(scope="module")
def frame(cleaned: Cleaned) -> pl.DataFrame:
    return pl.read_parquet(cleaned.path)


@pytest.fixture(scope="module")
def matrix(space: FeatureSpace, frame: pl.DataFrame) -> Matrix:
    return space.matrix(frame)


def column(space: FeatureSpace, matrix: Matrix, name: str) -> Matrix:
    return matrix[:, space.columns.index(name)]


def test_the_columns_are_the_contracts(space: FeatureSpace, contract: Contract) -> None:
    assert len(set(space.columns)) == len(space.columns) == len(space.field_of) == len(space.monotone)
    nominal = [field for field in contract.features if field.kind == "nominal"]
    others = len(contract.features) - len(nominal)
    assert len(space.columns) == others + sum(len(field.levels) for field in nominal)
    assert [name for name in space.columns if name.startswith("application_type")] == [
        "application_type=Individual",
        "application_type=Joint App",
    ]
    for name, index in zip(space.columns, space.field_of, strict=True):
        assert name.split("=")[0] == contract.features[index].name
    assert not {"id", "issue_d", "addr_state", "outcome", "matures"} & set(space.columns)


def test_numbers_stand_as_they_are(space: FeatureSpace, frame: pl.DataFrame, matrix: Matrix) -> None:
    assert matrix.dtype == np.float32
    assert matrix.shape == (frame.height, len(space.columns))
    assert matrix.flags["C_CONTIGUOUS"]
    assert matrix.flags["WRITEABLE"]
    for name in ("loan_amnt", "dti", "payment_to_income", "revol_util"):
        expected = frame[name].to_numpy().astype(np.float32)
        np.testing.assert_array_equal(column(space, matrix, name), expected)


def test_what_is_missing_is_nan_and_nothing_else(
    space: FeatureSpace, frame: pl.DataFrame, matrix: Matrix, contract: Contract
) -> None:
    for index, name in enumerate(space.columns):
        missing = frame[contract.features[space.field_of[index]].name].is_null().to_numpy()
        np.testing.assert_array_equal(np.isnan(matrix[:, index]), missing, err_msg=name)
    assert np.isnan(column(space, matrix, "mths_since_last_record")).any()


def test_ordered_levels_are_their_position_from_the_safest(
    space: FeatureSpace, frame: pl.DataFrame, matrix: Matrix
) -> None:
    grades = dict(zip(frame["grade"], column(space, matrix, "grade"), strict=True))
    assert grades == {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5, "F": 6, "G": 7}
    fifths = dict(zip(frame["sub_grade"], column(space, matrix, "sub_grade"), strict=True))
    assert (fifths["A1"], fifths["B1"], fifths["C5"]) == (1, 6, 15)


def test_nominal_levels_are_one_column_each(
    space: FeatureSpace, frame: pl.DataFrame, matrix: Matrix, contract: Contract
) -> None:
    for name in ("purpose", "home_ownership"):
        levels = contract.by_name[name].levels
        block = np.column_stack([column(space, matrix, f"{name}={level}") for level in levels])
        np.testing.assert_array_equal(block.sum(axis=1), 1)
        assert [levels[index] for index in block.argmax(axis=1)] == frame[name].to_list()


def test_a_missing_nominal_value_is_missing_in_all_its_columns(space: FeatureSpace, frame: pl.DataFrame) -> None:
    missing = space.matrix(frame.head(3).with_columns(purpose=pl.lit(None, dtype=frame.schema["purpose"])))
    for name in space.columns:
        if name.startswith("purpose="):
            assert np.isnan(column(space, missing, name)).all()


def test_texts_give_the_same_matrix_as_levels(space: FeatureSpace, frame: pl.DataFrame, matrix: Matrix) -> None:
    texts = frame.with_columns(pl.col(pl.Enum).cast(pl.String))
    np.testing.assert_array_equal(space.matrix(texts), matrix)


def test_the_order_of_columns_and_the_number_of_rows_do_not_matter(
    space: FeatureSpace, frame: pl.DataFrame, matrix: Matrix
) -> None:
    reordered = frame.select(reversed(frame.columns))
    np.testing.assert_array_equal(space.matrix(reordered), matrix)
    for row in (0, 17):
        np.testing.assert_array_equal(space.matrix(frame[row : row + 1]), matrix[row : row + 1])
    assert space.matrix(frame.head(0)).shape == (0, len(space.columns))


def test_monotone_follows_the_contract(space: FeatureSpace) -> None:
    signs = dict(zip(space.columns, space.monotone, strict=True))
    rising = ("int_rate", "grade", "sub_grade", "dti", "term", "payment_to_income", "inq_last_6mths")
    falling = ("fico_range_low", "annual_inc", "credit_history_months")
    free = ("loan_amnt", "emp_length", "purpose=car", "mths_since_last_delinq")
    assert [signs[name] for name in (*rising, *falling, *free)] == [1] * 7 + [-1] * 3 + [0] * 4


# --- missing values -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filling(contract: Contract, frame: pl.DataFrame) -> FeatureSpace:
    return FeatureSpace(contract, measure_population(frame.lazy(), contract))


def blanked(frame: pl.DataFrame) -> pl.DataFrame:
    """The loans without any value that may be missing."""
    return frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in frame.schema.items())


def test_who_leaves_out_a_field_with_a_direction_is_the_typical_loan(
    filling: FeatureSpace, frame: pl.DataFrame, contract: Contract
) -> None:
    blank = filling.matrix(blanked(frame.head(3)))
    for index, name in enumerate(filling.columns):
        feature = contract.features[filling.field_of[index]]
        typical = filling.population.typical_number(feature) if feature.risk else np.nan
        np.testing.assert_array_equal(blank[:, index], np.float32(typical), err_msg=name)


def test_values_that_are_there_are_never_filled_in(
    space: FeatureSpace, filling: FeatureSpace, frame: pl.DataFrame, matrix: Matrix
) -> None:
    filled = filling.matrix(frame)
    there = ~np.isnan(matrix)
    np.testing.assert_array_equal(filled[there], matrix[there])
    assert np.isnan(matrix).sum() >= np.isnan(filled).sum() > 0


def test_a_field_that_no_loan_of_development_had_stays_missing(contract: Contract, frame: pl.DataFrame) -> None:
    population = measure_population(frame.lazy().drop("fico_range_low"), contract)
    space = FeatureSpace(contract, population)
    assert np.isnan(column(space, space.matrix(blanked(frame.head(1))), "fico_range_low")).all()


def test_numbers_are_encoded_as_their_loans_are(filling: FeatureSpace, frame: pl.DataFrame) -> None:
    for loans in (frame, blanked(frame.head(2)), frame.head(2).with_columns(dti=np.nan)):
        values = filling.values(loans)
        np.testing.assert_array_equal(filling.encode(values), filling.matrix(loans))
    assert np.isnan(filling.values(blanked(frame.head(2)))).all()


def test_the_fingerprint_changes_with_what_is_filled_in(
    space: FeatureSpace, filling: FeatureSpace, contract: Contract, frame: pl.DataFrame
) -> None:
    other = FeatureSpace(contract, measure_population(frame.lazy().filter(pl.col("dti") > 20), contract))
    assert len({space.fingerprint, filling.fingerprint, other.fingerprint}) == 3
    assert space.fingerprint == FeatureSpace(contract, Population()).fingerprint


def test_an_unknown_level_is_refused(space: FeatureSpace, frame: pl.DataFrame) -> None:
    with pytest.raises(pl.exceptions.InvalidOperationError):
        space.matrix(frame.head(1).with_columns(grade=pl.lit("H")))


@pytest.mark.parametrize(("risk", "sign"), [("rising", 1), ("falling", -1)])
@pytest.mark.parametrize("hidden", [False, True])
def test_that_a_field_is_missing_is_a_column_where_it_is_informative(risk: str, sign: int, hidden: bool) -> None:
    """By a frame, by values, by the quick reader of one: and PD may only rise with it."""
    score = {**OWED, "name": "rating", "missing": None, "opinion": True, "reasons": {}}
    contract = make_contract(score, {**OWED, "risk": risk, "reasons": {}}, time="none", outcomes="final")
    typical = {"rating": 1.0, "owed": 30.0, "income": 9.0}
    space = FeatureSpace(contract, Population(typical), without_opinion=hidden)
    first = space.columns.index("owed")
    assert space.columns[first : first + 2] == ("owed", "owed=missing")
    assert space.monotone[first : first + 2] == (sign, 1)
    assert space.absence == (first + 1,)
    loans = pl.DataFrame(
        {"rating": [1.0, None], "owed": [10.0, None], "income": [5.0, 5.0], "home": ["own", None], "debt": [2.0, None]},
        schema_overrides={"home": pl.Enum(["rent", "own"])},
    )
    matrix, values = space.matrix(loans), space.values(loans)
    assert matrix[:, first : first + 2].tolist() == [[10, 0], [30, 1]]
    np.testing.assert_array_equal(space.encode(values), matrix)
    reader = QuickReader(space)
    for row in (0, 1):
        np.testing.assert_array_equal(reader.matrix([values[row].tolist()]), matrix[[row]])
    plain = FeatureSpace(make_contract(score, {**OWED, "missing": None}, time="none", outcomes="final"))
    assert "owed=missing" not in plain.columns
    assert plain.fingerprint != FeatureSpace(contract).fingerprint
