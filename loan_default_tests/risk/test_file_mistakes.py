"""Mistakes in reviewed files: every one is told, with its line, by the name of its field, and what to write."""

# ruff: noqa: E501 - sentences stand as they are told

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.errors import BadInput
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.policy import load_policy
from loan_default.risk.reviewed_file import CONF
from loan_default_tests.risk.contract.drafts import CONTRACT, mistakes, mistakes_of_field

OF_FILE = {  # the last lines of a contract: its mistakes
    "": [],
    "title: Y": ["12: the key title stands twice, first on line 2; keep one of them"],
    "range: [0, 1]": ["12: range: there is no such key; range is a key of fields, so write it there"],
    "feilds: []": ["12: feilds: there is no such key; write fields"],
    "time: month": ["12: time: month is not allowed; write none, or delete the key"],
    "outcomes: known": ["12: outcomes: known is not allowed; write final, or delete the key"],
    "term: 3 years": ["12: term: 3 years is a text, and it has to be a whole number; write a whole number"],
    "term: 0": ["12: term: 0 is not allowed; write a number of at least 1"],
    "term: {by: job}": ["12: term.months: the key is missing; write months: {A: 36, B: 60}"],
    "term: {horizn: 12}": ["12: term.horizn: there is no such key; write horizon"],
    "snapshot: taken": [
        "12: snapshot: taken is a text, and it has to be keys with values; write {column: last_credit_pull_d}"
    ],
    "term: {horizon: 12, by: job, months: {a: 3}}": [
        "12: term.horizon: horizon cannot stand beside the other keys here; delete it, or them"
    ],
    "term: {horizon: 12, by: job}": [
        "12: term.months: the key is missing; write months: {A: 36, B: 60}",
        "12: term.horizon: horizon cannot stand beside the other keys here; delete it, or them",
    ],
    "not_loans: ^Total": ['12: not_loans: ^Total is a text, and it has to be a list; write ["^Total"]'],
    "outcome: {column: a, column: b}": [
        "12: the key outcome stands twice, first on line 4; keep one of them",
        "12: outcome: the key column stands twice, in one line; keep one of them",
        "12: outcome.defaulted: the key is missing; write defaulted: [Charged Off]",
        "12: outcome.repaid: the key is missing; write repaid: [Fully Paid]",
    ],
    "files: {1: x}": [
        '12: files: YAML reads the key 1 as no text; write "1" in quotes',
        "12: files.1: there is no such key; those here are separator, quote, encoding, decimal, thousands, currency, negative_in_brackets, nothing",
    ],
    "outcome: {column: a, defaulted: lost, repaid: [paid]}": [
        "12: the key outcome stands twice, first on line 4; keep one of them",
        '12: outcome.defaulted: lost is a text, and it has to be a list; write ["lost"]',
    ],
    "files: semicolons": ['12: files: semicolons is a text, and it has to be keys with values; write {separator: ";"}'],
    "files: {separator: x, quote: ',', nothing: [NA, null]}": [
        '12: files.nothing: YAML reads null as nothing, and it has to be a text; write "null" in quotes',
        "12: files: separator 'x' is a part of values or of lines; write another sign, in quotes",
    ],
}
OF_FIELD = {  # the keys of a field more: its mistakes
    "kind: number, role: feature, unit: u, range: [0, 1e9], description: d": [],
    "kind: number, role: feature, unit: u, range: [0, 1], descripton: d": [
        "field a: descripton: there is no such key; write description"
    ],
    "kind: number, role: feature, unit: u, range: [0, 1], desc: d": [
        "field a: desc: there is no such key; write description"
    ],
    "kind: number, role: feature, unit: u, range: [0, 1], lvels: d": [
        "field a: description: the key is missing; write description: …",
        "field a: lvels: there is no such key; write levels",
    ],
    "kind: number, role: feature, unit: u, range: [0, 1], description: ": [
        "field a: description: there is no value, and it has to be a text; write a text"
    ],
    "kind: numeric, role: featur, unit: u, range: [0, 1], description: 3": [
        "field a: kind: numeric is none of number, ordered, nominal, month, text; write number",
        "field a: role: featur is none of id, time, feature, segment, support, protected, cohort; write feature",
        'field a: description: 3 is a number, and it has to be a text; write "3" in quotes',
    ],
    "kind: date, role: support, description: d": [
        "field a: kind: date is no kind; write month, which reads a date too"
    ],
    "column: status, kind: text, role: outcome, description: d": [
        "field a: role: there is no role outcome, as the key outcome of the contract names the column; delete this field"
    ],
    "kind: number, role: feature, unit: u, range: [0], description: d": [
        "field a: range: a value is missing; write two, as [0, 1]"
    ],
    "kind: number, role: feature, unit: u, range: [0, 1, 2], description: d": [
        "field a: range: there are too many values; write two, as [0, 1]"
    ],
    "kind: number, role: feature, unit: u, range: [no, .inf], description: d": [
        "field a: range: YAML reads no as false, and it has to be a number; write a number",
        "field a: range: .inf is a number, and it has to be a finite number; write a finite number",
    ],
    "kind: number, role: feature, unit: u, range: ['0', 1], outside: null, description: d": [
        "field a: range: 0 is a text, and it has to be a number; write 0 without quotes",
        'field a: outside: YAML reads null as nothing; write "null" in quotes',
    ],
    "kind: number, role: feature, unit: u, range: [0, 1], required: 1, description: d": [
        "field a: required: 1 is a number, and it has to be true or false; write true or false"
    ],
    "kind: nominal, role: feature, levels: [Yes, 10, 1.0, 2015-01-01, ~], description: d": [
        f'field a: levels: {problem}, and it has to be a text; write "{text}" in quotes'
        for text, problem in {
            "Yes": "YAML reads Yes as true",
            "10": "10 is a number",
            "1.0": "1.0 is a number",
            "2015-01-01": "YAML reads 2015-01-01 as a day",
            "~": "YAML reads ~ as nothing",
        }.items()
    ],
    "kind: number, role: feature, unit: u, range: 0-100, description: d": [
        "field a: range: 0-100 is a text, and it has to be a list; write [0, 100]"
    ],
    "kind: number, role: feature, unit: u, range: -1.5 to 2, description: d": [
        "field a: range: -1.5 to 2 is a text, and it has to be a list; write [-1.5, 2]"
    ],
    "kind: nominal, role: feature, levels: A B, description: d": [
        "field a: levels: A B is a text, and it has to be a list; write [a, b]"
    ],
    "kind: nominal, role: feature, levels: [A: B], description: d": [
        'field a: levels: it is keys with values, and it has to be a text; write "A: B" in quotes'
    ],
}


@pytest.mark.parametrize("lines", OF_FILE)
def test_mistakes_of_a_contract(tmp_path: Path, lines: str) -> None:
    assert mistakes(tmp_path, CONTRACT + lines) == OF_FILE[lines]


@pytest.mark.parametrize("keys", OF_FIELD)
def test_mistakes_of_a_field(tmp_path: Path, keys: str) -> None:
    assert mistakes_of_field(tmp_path, keys) == sorted(OF_FIELD[keys])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title: X\n", "", "1: title: the key is missing; write title: …"),
        ("title: X\n", "title: ' '\n", "2: title says nothing; write what people call the book"),
        ("[0.01, 0.60]", "[0.01, 60%]", "5: expect.default_rate_between: 60% is a text, and it has to be a number; write 0.6"),
        ("outcome: {", "outcom: {", "4: outcom: there is no such key; write outcome"),
        ("defaulted: [bad]", "defaulted: [1]", '4: outcome.defaulted: 1 is a number, and it has to be a text; write "1" in'),
        ("defaulted: [bad]", "defaulted: []", "4: outcome: defaulted lists no status; write those of the column that mean"),
        ("repaid: [good]", "repaid: [good, bad]", "4: outcome: status bad is listed twice; delete one"),
        ("{column: status, defaulted: [bad], repaid: [good]}", "status", "4: outcome: status is a text, and it has to be"),
        ("[0.01, 0.60]", "[0.60, 0.01]", "5: expect: default_rate_between [0.6, 0.01] is no band; write [0.01, 0.6]"),
        ("[0.01, 0.60]", "[1, 60]", "5: expect: default_rate_between [1, 60] is no band; write two shares of 0 to 1"),
        ("name: term", "name: duration", "6: a number field term with the unit months is needed, as it says when a loan"),
        ("role: feature", "role: support", "6: no field has the role feature, so a model would see nothing; write role"),
        ("role: time", "role: support", "6: no field has the role time, and exactly one field must have it; write {name:"),
        ("id, kind: text", "id, kind: number", "7: field id: a number cannot be the id; write kind: text"),
        ("issued, kind: month", "issued, kind: text", "8: field issued: a text cannot be the time; write kind: month"),
        ("unit: months", "unit: years", "9: field term: a number field term with the unit months is needed, as it says"),
        ("name: amount", "name: Amount", "10: field Amount: name: 'Amount' is no name; write small letters, digits and _, a"),
        ("name: amount", f"name: {'a' * 64}", f"10: field {'a' * 64}: name: '{'a' * 64}' is no name; write small letters"),
        ("column: status", "column: ' '", "4: outcome.column: it names no column; write it as the header of the file does"),
        ("title: X", 'title: "a\\0b"', r"2: title: it holds \x00, a sign that nobody sees; take it out"),
        ("name: amount", "name: job", "11: field job: job is described twice; delete one, or name it otherwise"),
        ("name: amount", "name: outcome", "10: field outcome: outcome is the name of the column of outcomes in cleaned loans"),
        ("name: amount", "name: window", "10: field window: window is the name of the column of splits that says which"),
        ("name: amount, ", "", "10: field number 4: name: the key is missing; write name: …"),
        ("{name: job,", "{name: job, kind: number,", "11: field job: the key kind stands twice, in one line; keep one of them"),
        ("  - {name: id", "  - amount\n  - {name: id", "7: fields: amount is a text, and it has to be keys with values; write"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_line_of_a_contract(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in CONTRACT
    (mistake,) = mistakes(tmp_path, CONTRACT.replace(old, new))
    assert mistake.startswith(sentence)


def test_all_mistakes_are_told_at_once_and_none_that_follows_from_another(tmp_path: Path) -> None:
    text = CONTRACT.replace("title: X\n", "").replace("[0.01, 0.60]", "[0.6, 0.01]").replace("[A, B]", "[A, B, A]")
    text = text.replace("range: [1, 600]", "rnge: [600, 1]").replace("column: status", "column: 5")
    text += "  - {name: amount, kind: numbr, role: feature, description: 3}\n"
    text += "  - {name: window, kind: text, role: segment, description: d}\n"
    assert [mistake.partition("; ")[0] for mistake in mistakes(tmp_path, text)] == [
        "1: title: the key is missing",
        "3: outcome.column: 5 is a number, and it has to be a text",
        "4: expect: default_rate_between [0.6, 0.01] is no band",
        "8: field term: rnge: there is no such key",
        "10: field job: level A is listed twice",
        "11: field amount: kind: numbr is none of number, ordered, nominal, month, text",
        "11: field amount: description: 3 is a number, and it has to be a text",
        "11: field amount: amount is described twice",
        "12: field window: window is the name of the column of splits that says which window a loan is in",
    ]


def test_a_policy_names_segments_that_the_book_has(tmp_path: Path) -> None:
    book, policy = tmp_path / "contract.yaml", tmp_path / "policy.yaml"
    book.write_text(CONTRACT, encoding="utf-8")
    contract, shipped = (
        load_contract(book),
        (CONF / "policy.yaml"),
    )
    assert load_policy(None, contract).promotion.segments == ("term", "job")
    lines = shipped.read_text(encoding="utf-8")
    policy.write_text(
        lines.replace("  # segments: [term, home_ownership]", "  segments: [term, house, term]"), encoding="utf-8"
    )
    with pytest.raises(BadInput) as refusal:
        load_policy(policy, contract)
    assert [line.partition(": ")[2] for line in str(refusal.value).splitlines()] == [
        "promotion.segments: house is no field of the contract x; write fields of it, as term, job.",
        "promotion.segments: term stands twice; delete one.",
    ]
    policy.write_text(lines.replace("  # segments: [term, home_ownership]", "  segments: []"), encoding="utf-8")
    assert load_policy(policy, contract).promotion.segments == ()


def test_all_mistakes_of_a_search_space(tmp_path: Path) -> None:
    path = tmp_path / "search_space.yaml"
    path.write_text(
        """xgboost:
  start: {max_depth: 4, learning_rate: 2e-2, gamma: 1}
  search:
    max_depth: {low: 5, high: 3}
    learning_rate: {low: 0, high: 0.01, log: true}
    max_leaves: {low: {depth: 4}, high: 2}
    eta: {low: 1, high: 2}
    gamma: {low: 1, high: 1}
  least_gain_errors: -1
  full_size: {max_depth: 0}
  stop_after_rounds: fifty
forest: {trees: 5}
logistic_regression: {C: 0.01, enabled: 'no'}
"""
    )
    with pytest.raises(BadInput) as refusal:
        load_search_space(path)
    assert [line.removeprefix(f"{path}, line ") for line in str(refusal.value).splitlines()] == [
        "1: xgboost.rounds_at_most: the key is missing; write rounds_at_most: 2000.",
        "4: xgboost.search.max_depth: low (5) must be below high (3); exchange them.",
        "5: xgboost: learning_rate starts at 0.02, outside of 0 to 0.01; change one of the two.",
        "5: xgboost.search.learning_rate: low (0) must be above 0 on a log scale; write more, or log: false.",
        "6: xgboost.search.max_leaves.low: it is keys with values, and it has to be a number; write a number.",
        "7: xgboost: eta is no parameter that may be set here; write learning_rate.",
        "8: xgboost.search.gamma: low (1) must be below high (1); write others, or leave the parameter out.",
        "9: xgboost.least_gain_errors: -1 is not allowed; write a number of at least 0.",
        "10: xgboost.full_size.max_depth: 0 is not allowed; write a number of at least 1.",
        "11: xgboost.stop_after_rounds: fifty is a text, and it has to be a whole number; write a whole number.",
        "12: forest: there is no such key; write random_forest.",
        "13: logistic_regression.enabled: no is a text, and it has to be true or false; write true or false.",
    ]


def test_a_policy_of_an_earlier_release_is_told_what_takes_the_place_of_its_keys(tmp_path: Path) -> None:
    """All at once, so that a person who upgrades edits the file once."""
    path, text = tmp_path / "policy.yaml", (CONF / "policy.yaml").read_text(encoding="utf-8")
    for key, earlier in {
        "gain_over_opinion_at_least": "gain_over_grade_at_least",
        "calibration_size": "ece_at_most",
        "gain_low_above": "auc_gain_low_at_least",
        "segment_calibration_tolerance": "segment_gap_at_most",
        "size": "calibration_gap_at_most",
    }.items():
        text = text.replace(f"  {key}: ", f"  {earlier}: ", 1)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as refusal:
        load_policy(path)
    assert [line.partition(": ")[2] for line in str(refusal.value).splitlines()] == [
        "promotion.gain_over_grade_at_least: there is no such key; write gain_over_opinion_at_least.",
        "promotion.ece_at_most: ece_at_most is now a test of known size; write calibration_size: 0.05, calibration_tolerance: 0.10 and slope_tolerance: 0.15.",
        "promotion.auc_gain_low_at_least: auc_gain_low_at_least is now told of a gain and of a loss; write gain_low_above: 0.0, brier_fall_at_least: 0.0005 and auc_loss_at_most: 0.005.",
        "promotion.segment_gap_at_most: segment_gap_at_most is now a test of known size; write segment_calibration_tolerance: 0.20.",
        "performance.calibration_gap_at_most: calibration_gap_at_most is now a test of known size; write size: 0.05 and calibration_tolerance: 0.15.",
    ]


def test_a_search_space_of_an_earlier_release_is_told_so(tmp_path: Path) -> None:
    path, text = tmp_path / "search_space.yaml", (CONF / "search_space.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("least_gain_errors: 2 ", "least_gain: 0.0005 ", 1), encoding="utf-8")
    with pytest.raises(BadInput, match=r"least_gain is now told in standard errors; write least_gain_errors: 2\.$"):
        load_search_space(path)


LOADS: dict[str, Callable[[Path], object]] = {
    "contract": load_contract,
    "policy": load_policy,
    "search_space": load_search_space,
}
SHIPPED = {name: yaml.load((CONF / f"{name}.yaml").read_bytes(), yaml.CSafeLoader) for name in LOADS}
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    3.5,
    "x",
    "",
    [],
    {},
    ["a"],
    [1, 2],
    {"a": 1},
    [None],
    "null",
    float("inf"),
    {1: 2},
)


def locations(content: Any, location: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where there is a value in a file."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*location, key)
        yield from locations(value, (*location, key))


@pytest.mark.slow
@given(st.sampled_from(list(LOADS)), st.data())
def test_whatever_a_file_says_it_loads_or_its_mistakes_are_told(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = deepcopy(SHIPPED[name])
    for _ in range(data.draw(st.integers(1, 3))):
        *outer, key = data.draw(st.sampled_from(list(locations(content))))
        parent = content
        for part in outer:
            parent = parent[part]
        change = data.draw(st.sampled_from(["replace", "delete", "misspell", "repeat"]))
        if change == "delete":
            del parent[key]
        elif change == "misspell" and isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
        elif change == "repeat" and isinstance(parent, list):
            parent.append(deepcopy(parent[key]))
        else:
            parent[key] = deepcopy(data.draw(st.sampled_from(ODD)))
    path = tmp_path_factory.mktemp("files") / "file.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    try:
        LOADS[name](path)
    except BadInput as refusal:
        lines = str(refusal).splitlines()
        assert lines
        assert all(line.startswith(f"{path}, line ") and line.endswith(".") for line in lines)
        assert not any("nput should" in line for line in lines)
