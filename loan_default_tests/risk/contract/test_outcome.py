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
