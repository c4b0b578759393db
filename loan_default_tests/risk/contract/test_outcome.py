"""How and when a loan ends: what a contract may say of it."""

from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default_tests.risk.contract.drafts import CONTRACT, Change, LoadChanged, mistakes

OF_FILE: dict[str, list[str]] = {
    "term: 36": [],
    "term: {horizon: 12}": [],
}


@pytest.mark.parametrize("lines", OF_FILE)
def test_mistakes_of_a_contract(tmp_path: Path, lines: str) -> None:
    assert mistakes(tmp_path, CONTRACT + lines) == OF_FILE[lines]


def test_a_term_may_follow_from_the_product(tmp_path: Path) -> None:
    by_product = CONTRACT.replace("name: term,", "name: weeks,") + "term: {by: job, months: {A: 36, B: 60}}"
    assert mistakes(tmp_path, by_product) == []


WRONG: dict[str, tuple[Change, str]] = {
    "status": (lambda data, field: data["outcome"]["repaid"].append("Default"), "status Default is listed twice"),
    "share": (
        lambda data, field: data["expect"].update(rejected_share_at_most=5),
        "expect.rejected_share_at_most: 5 is",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contract_that_contradicts_itself_is_refused(changed: LoadChanged, name: str) -> None:
    change, sentence = WRONG[name]
    with pytest.raises(BadInput, match=sentence):
        changed(change)


OF_STATUSES = {
    'defaulted: ["1", "1."], repaid: ["0"]': [],
    'defaulted: ["1"], repaid: ["1.0"]': ["statuses 1 and 1.0 are one, as a writer may write either; delete one"],
    "defaulted: ['True'], repaid: ['TRUE', '']": [
        "an empty status is listed, and a row without one is rejected; write what the file says",
        "statuses True and TRUE are one, as a writer may write either; delete one",
    ],
}


@pytest.mark.parametrize("keys", OF_STATUSES)
def test_statuses_are_told_apart_whoever_wrote_them(tmp_path: Path, keys: str) -> None:
    text = CONTRACT.replace("defaulted: [bad], repaid: [good]", keys)
    assert mistakes(tmp_path, text) == [f"4: outcome: {sentence}" for sentence in OF_STATUSES[keys]]


def test_no_protected_field_tells_the_term(tmp_path: Path) -> None:
    text = CONTRACT.replace("name: term,", "name: months,").replace(
        "nominal, role: feature", "nominal, role: protected"
    )
    sentences = mistakes(tmp_path, text + "term: {by: job, months: {A: 36, B: 60}}")
    assert sentences == ["12: term: by: job is protected, and no application has it; write another field"]
