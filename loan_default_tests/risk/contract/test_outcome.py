"""How and when a loan ends: what a contract may say of it."""

from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default_tests.risk.contract.drafts import CONTRACT, Change, LoadChanged, mistakes

OF_FILE: dict[str, list[str]] = {
    "term: {horizon: 12}": [],
    "term: 36": [
        "9: field term: term: 36 says that all loans have one term, and this field is the term of each; delete one of "
        "the two"
    ],
    "outcomes: final\nterm: 36": [
        "13: term: outcomes: final says that every outcome is known, so none has to mature and this is never read; "
        "delete term, or outcomes: final where loans still run"
    ],
    "outcomes: final\nterm: {horizon: 12}\nsnapshot: {column: taken}": [
        f"{line}: {key}: outcomes: final says that every outcome is known, so none has to mature and this is never "
        f"read; delete {key}, or outcomes: final where loans still run"
        for line, key in ((13, "term"), (14, "snapshot"))
    ],
    "outcomes: final\nlayouts: [{name: l, recognised_by: [y], snapshot_month: 2019-03}]": [
        "13: layout l: snapshot_month: outcomes: final says that every outcome is known, so none has to mature and "
        "this is never read; delete snapshot_month, or outcomes: final where loans still run"
    ],
}


@pytest.mark.parametrize("lines", OF_FILE)
def test_mistakes_of_a_contract(tmp_path: Path, lines: str) -> None:
    assert mistakes(tmp_path, CONTRACT + lines) == OF_FILE[lines]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            "grace_months: 5",
            "outcome.grace_months: outcomes: final says that every outcome is known, so none has to mature and this is "
            "never read; delete grace_months, or outcomes: final where loans still run",
        ),
        (
            "known: {last_payment: paid}",
            "outcome.known: outcomes: final says that every outcome is known, so none has to mature and this is never "
            "read; delete known, or outcomes: final where loans still run",
        ),
        (
            "unresolved: [open, late]",
            "outcome.unresolved: outcomes: final says that every outcome is known, and open with 1 more tells none; "
            "leave such loans out of the files and delete unresolved, or outcomes: final where loans still run",
        ),
    ],
)
def test_nothing_says_when_loans_mature_whose_outcomes_are_final(tmp_path: Path, keys: str, sentence: str) -> None:
    text = CONTRACT.replace("repaid: [good]", f"repaid: [good], {keys}")
    assert mistakes(tmp_path, text) == []
    assert mistakes(tmp_path, text + "outcomes: final") == [f"4: {sentence}"]


def test_of_a_book_without_a_date_all_is_told_at_once(tmp_path: Path) -> None:
    text = CONTRACT.replace("repaid: [good]", "repaid: [good], unresolved: [open]").replace(
        "issued, kind: month, role: time", "issued, kind: month, role: segment"
    )
    assert mistakes(tmp_path, text + "time: none\nterm: 36") == [
        "4: outcome.unresolved: a book has no date, and open tells none; leave such loans out of the files and delete "
        "unresolved",
        "12: time: none: without a date no loan can be said to have matured; write outcomes: final if all are known",
        "13: term: a book has no date, so none has to mature and this is never read; delete term",
    ]


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


def test_columns_of_payments_are_of_no_field_but_that_of_what_was_lent(tmp_path: Path) -> None:
    def of_file(amounts: str) -> list[str]:
        keys = f"known: {{last_payment: last}}, amounts: {{{amounts}}}"
        return mistakes(tmp_path, CONTRACT.replace("repaid: [good]", f"repaid: [good], {keys}"))

    assert of_file("funded: amount, paid: total") == []
    assert of_file("paid: amount") == [
        "10: field amount: column amount is written after the loan was granted, as outcome or known_afterwards says; "
        "delete the field"
    ]
    assert of_file("paid: total, interest: total") == [
        "4: outcome.amounts: paid and interest are both total; delete one"
    ]


def test_names_of_payments_are_of_no_field(tmp_path: Path) -> None:
    (mistake,) = mistakes(tmp_path, CONTRACT.replace("name: amount", "name: amount_paid"))
    assert mistake == (
        "10: field amount_paid: amount_paid is the name of an amount that outcome.amounts names; name it otherwise: "
        "name: its_amount_paid, column: amount_paid"
    )


def test_outcome_files_may_say_alone_when_outcomes_were_known(tmp_path: Path) -> None:
    text = CONTRACT.replace("repaid: [good]", "repaid: [good], known: {}") + "term: {horizon: 12}"
    assert mistakes(tmp_path, text) == []
    problem = "4: outcome.known: format reads the column last_payment, and none is named; delete it"
    assert mistakes(tmp_path, text.replace("known: {}", 'known: {format: "%Y-%m"}')) == [problem]
