"""Derived functions: every way to apply one gives the same value, and README's recipe adds one that all ways use."""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from loan_default.risk import derivations
from loan_default.risk.arrays import Floats
from loan_default.risk.contract import CONF, Contract, load_contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.synthetic import make_loans
from loan_default.risk.derivations import DERIVED_FUNCTIONS, derived_function
from loan_default.risk.errors import BadInput
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.online_features import QuickReader, check

README = Path(__file__).parents[2] / "README.md"
NUMBERS = st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1_000_000))
MONTHS = st.one_of(st.none(), st.dates(date(1920, 1, 1), date(2079, 12, 1)).map(lambda day: f"{day:%b-%Y}"))


@pytest.fixture
def _registry_restored() -> Iterator[None]:
    """Forget what a test registers."""
    with mock.patch.dict(DERIVED_FUNCTIONS):
        yield


def book_of(name: str) -> Contract:
    """Make a contract of the arguments of a function, called `argument0` and on, and of what it computes, `value`."""
    shipped = load_contract().by_name
    required = [shipped[field].model_dump() for field in ("id", "issue_d", "term")]
    arguments = [
        {"name": f"argument{position}", "kind": kind, "role": "support", "description": "Taken by the function."}
        for position, kind in enumerate(DERIVED_FUNCTIONS[name].takes)
    ]
    value = {
        "name": "value",
        "kind": "number",
        "role": "feature",
        "unit": "of its own",
        "range": (-1e300, 1e300),
        "outside": "null",
        "derived": {"function": name, "of": [argument["name"] for argument in arguments]},
        "description": "Computed.",
    }
    fields = [*required, *arguments, value]
    return Contract.model_validate({**load_contract().model_dump(), "groups": {}, "fields": fields})


@cache
def reader_of(name: str) -> tuple[Contract, QuickReader]:
    contract = book_of(name)
    return contract, QuickReader(FeatureSpace(contract))


def computed(values: Sequence[Sequence[float]] | Floats, contract: Contract) -> list[float]:
    position = contract.feature_names.index("value")
    return [float(row[position]) for row in values]


@pytest.mark.parametrize("name", DERIVED_FUNCTIONS)
@settings(max_examples=40)
@given(data=st.data())
def test_columns_batches_and_single_rows_give_the_same_value(name: str, data: st.DataObject) -> None:
    contract, reader = reader_of(name)
    arguments = [MONTHS if kind == "month" else NUMBERS for kind in DERIVED_FUNCTIONS[name].takes]
    rows = data.draw(st.lists(st.tuples(st.just(36.0), *arguments), min_size=2, max_size=6))
    names = ["term", *(f"argument{position}" for position in range(len(arguments)))]
    careful = computed(check(names, rows, contract).values, contract)
    many = reader.read(names, rows)
    assert many is not None
    assert computed(many.values, contract) == pytest.approx(careful, rel=1e-12, nan_ok=True)
    for row, expected in zip(rows, careful, strict=True):
        single = reader.read(names, [row])
        if single is not None:  # it may leave a row to the careful reader
            assert computed(single.values, contract) == pytest.approx([expected], rel=1e-12, nan_ok=True)


def test_values_by_hand() -> None:
    value = {name: function.compute for name, function in DERIVED_FUNCTIONS.items()}
    assert value["months_between"](5, 17) == 12
    assert value["percent_of"](5_000.0, 20_000.0) == 25
    # 10,000 at 1 % a month over 36 months: 332.143 a month
    assert value["payment_to_income"](10_000.0, 12.0, 36.0, 50_000.0) == pytest.approx(12 * 332.143 / 500, abs=1e-4)


@pytest.mark.usefixtures("_registry_restored")
def test_two_functions_of_one_name_are_refused() -> None:
    def percent_of(part: Any, total: Any) -> Any:
        return part / total

    with pytest.raises(ValueError, match="the derived function percent_of is registered twice"):
        derived_function("number", "number")(percent_of)


# --- README's recipe ------------------------------------------------------------------------------------------


def recipe() -> tuple[str, str]:
    """Return the function and the field that README's recipe "Add a derived function" writes down."""
    section = README.read_text(encoding="utf-8").split("**Add a derived function.**", 1)[1]
    blocks = re.findall(r"```(python|yaml)\n(.*?)```", section, re.S)[:2]
    assert [language for language, _ in blocks] == ["python", "yaml"]
    return blocks[0][1], blocks[1][1]


@pytest.fixture
def extended(_registry_restored: None, tmp_path: Path) -> Contract:
    """Load the shipped contract after the recipe was followed."""
    function, field = recipe()
    exec(function, vars(derivations).copy())  # as if it stood in the module
    shipped = (CONF / "contract.yaml").read_text(encoding="utf-8")
    path = tmp_path / "contract.yaml"
    path.write_text(f"{shipped.rstrip()}\n{field}", encoding="utf-8")
    return load_contract(path)


def test_a_function_added_by_the_recipe_cleans_files_and_scores_single_applications(
    extended: Contract, tmp_path: Path
) -> None:
    (field,) = [field for field in extended.fields if field.name not in load_contract().by_name]
    assert field.derived
    loans = make_loans(200, seed=4)
    loans.write_parquet(tmp_path / "loans.parquet")
    cleaned = tmp_path / "cleaned.parquet"
    clean_loans([tmp_path / "loans.parquet"], extended, cleaned=cleaned, rejected=tmp_path / "rejected.parquet")
    from_file = pl.read_parquet(cleaned)[field.name].to_list()
    expected = (loans["total_bc_limit"] - loans["revol_bal"]) / loans["annual_inc"] * 100
    assert from_file == pytest.approx([max(value, 0) for value in expected], rel=1e-12)
    sources = ["loan_amnt", "term", "int_rate", "annual_inc", "dti", *field.derived.of]
    names = list(dict.fromkeys(sources))
    term = pl.col("term").str.extract(r"(\d+)").cast(pl.Float64)
    rows = loans.with_columns(term, pl.col("dti").fill_null(0)).select(names).rows()
    reader, position = QuickReader(FeatureSpace(extended)), extended.feature_names.index(field.name)
    for row, value in zip(rows, from_file, strict=True):
        read = reader.read(names, [row])
        assert read is not None
        assert np.asarray(read.values)[0, position] == pytest.approx(value, rel=1e-12)


def test_a_contract_may_name_only_functions_that_are_registered(tmp_path: Path) -> None:
    data = yaml.safe_load((CONF / "contract.yaml").read_text(encoding="utf-8"))
    field = next(field for field in data["fields"] if field["name"] == "loan_to_income")
    field["derived"]["function"] = "percent"
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    names = ", ".join(sorted(DERIVED_FUNCTIONS))
    with pytest.raises(BadInput, match=f"percent is no derived function; those that can be used are {names}"):
        load_contract(path)


def test_readme_names_every_function() -> None:
    section = README.read_text(encoding="utf-8").split("**Add a derived function.**", 1)[1].split("\n**", 1)[0]
    assert not [name for name in DERIVED_FUNCTIONS if f"`{name}" not in section]
