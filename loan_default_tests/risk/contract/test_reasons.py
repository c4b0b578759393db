"""Sentences that cannot be told are refused."""

from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default_tests.risk.contract.drafts import Change, LoadChanged, mistakes_of_field

OF_FIELD = {
    "kind: nominal, role: feature, levels: [A], risk: rising, description: d": [
        "field a: a nominal has no high and no low; delete risk"
    ],
    "kind: number, role: feature, unit: u, range: [0, 1], reasons: {hi: x, low: 'It {val}.'}, description: d": [
        "field a: reasons.hi: there is no such key; write high",
        "field a: reasons.low 'It {val}.' holds {val}, which stands for nothing; write {value}, or delete the braces",
    ],
}


@pytest.mark.parametrize("keys", OF_FIELD)
def test_mistakes_of_a_field(tmp_path: Path, keys: str) -> None:
    assert mistakes_of_field(tmp_path, keys) == sorted(OF_FIELD[keys])


WRONG: dict[str, tuple[Change, str]] = {
    "placeholder": (
        lambda data, field: field["dti"]["reasons"].update(high="It is {amount}."),
        r"'It is \{amount\}.' holds \{amount\}, which stands for nothing; write \{value\}, or delete the braces",
    ),
    "format": (
        lambda data, field: field["dti"]["reasons"].update(high="It is {value:.2f}."),
        r"holds \{value:.2f\}, which stands for nothing",
    ),
    "braces": (lambda data, field: field["dti"]["reasons"].update(high="It is {value."), "expected '}'"),
    "empty": (lambda data, field: field["dti"]["reasons"].update(high=" "), "a sentence is empty"),
    "missing value": (
        lambda data, field: field["dti"]["reasons"].update(missing="It is {value}."),
        "dti: reasons.missing holds {value}, and there is none; delete it",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contract_that_contradicts_itself_is_refused(changed: LoadChanged, name: str) -> None:
    change, sentence = WRONG[name]
    with pytest.raises(BadInput, match=sentence):
        changed(change)
