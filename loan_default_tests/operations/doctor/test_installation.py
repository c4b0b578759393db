"""Settings that are none, reviewed files that cannot be read, loan data that is not there."""

from pathlib import Path

import pytest

from loan_default.homes import HomeOrigins, Origin
from loan_default.operations.doctor.check import CheckContext
from loan_default.operations.doctor.examination import examine
from loan_default.operations.doctor.installation import check_homes, check_loan_data, check_settings
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.operations.doctor.conftest import Installation, diagnoses_of, wrong

pytestmark = pytest.mark.integration


def test_a_typo_is_named_and_its_value_is_not(install: Installation) -> None:
    settings = install(LOAN_DEFAULT_POLCY="hush", LOAN_DEFAULT_WEATHER="rain")
    diagnoses = diagnoses_of(check_settings, settings)
    diagnosis = wrong(diagnoses)
    assert diagnosis.message == "LOAN_DEFAULT_POLCY is set and is no setting."
    assert diagnosis.remedy == "Call it LOAN_DEFAULT_POLICY, or unset it."
    assert [diagnosis.message for diagnosis in diagnoses if diagnosis.mark == "note"] == [
        "LOAN_DEFAULT_WEATHER is set and is no setting."
    ]
    assert "hush" not in str(diagnoses)


@pytest.mark.parametrize("name", ["CONTRACT", "POLICY", "SEARCH_SPACE"])
@pytest.mark.parametrize("text", ["promotion: [", "promotion: 3", None], ids=["no YAML", "no policy", "no file"])
def test_a_corrupt_reviewed_file_is_named(install: Installation, tmp_path: Path, name: str, text: str | None) -> None:
    file = tmp_path / "reviewed.yaml"
    if text is not None:
        file.write_text(text)
    settings = install(LOAN_DEFAULT_BOOK="named", **{f"LOAN_DEFAULT_{name}": file})
    diagnosis = wrong(diagnoses_of(check_settings, settings))
    assert diagnosis.message.startswith(str(file))
    assert f"LOAN_DEFAULT_{name}" in diagnosis.remedy


def test_a_corrupt_contract_that_names_the_book_is_told_before_all_else(install: Installation, tmp_path: Path) -> None:
    file = tmp_path / "contract.yaml"
    file.write_text("name: book")
    with pytest.raises(BadInput):
        install(LOAN_DEFAULT_CONTRACT=file)
    diagnosis = wrong([*examine()])
    assert diagnosis.message.startswith(f"{file}, line 1: title: the key is missing; write title: ….\n")


def test_loan_data_must_exist_if_it_is_named(install: Installation, tmp_path: Path) -> None:
    assert [diagnosis.mark for diagnosis in diagnoses_of(check_loan_data, install())] == ["note"]
    settings = install(LOAN_DEFAULT_DATA=tmp_path / "*.csv")
    assert wrong(diagnoses_of(check_loan_data, settings)).message == f"{tmp_path}/*.csv names no file."
    (tmp_path / "loans.csv").write_text("id")
    assert [diagnosis.mark for diagnosis in diagnoses_of(check_loan_data, settings)] == ["ok"]


@pytest.mark.parametrize(
    ("home", "dagster_home", "apart", "mark"),
    [
        (None, None, False, "wrong"),
        ("export", None, False, "wrong"),
        (".env", ".env", False, "ok"),
        (None, "export", False, "ok"),
        ("export", ".env", True, "wrong"),
        (".env", ".env", True, "ok"),
        ("export", "export", True, "ok"),
        (None, "export", True, "ok"),
    ],
)
def test_split_homes_are_wrong_unless_they_are_meant(
    tmp_path: Path, home: Origin | None, dagster_home: Origin | None, apart: bool, mark: str
) -> None:
    runs = tmp_path / ("elsewhere" if apart else "home/dagster")
    context = CheckContext(Settings(tmp_path / "home", runs), HomeOrigins(home, dagster_home))
    (diagnosis,) = check_homes(context)
    assert diagnosis.mark == mark
    assert mark == "ok" or "loan-default init" in diagnosis.remedy
