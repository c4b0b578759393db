"""Mistakes in reviewed files: every one is told, with its line, by the name of its field, and what to write."""

# ruff: noqa: E501 - sentences stand as they are told

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from loan_default.risk.contract import CONF, Contract, load_contract, load_packaged_contract
from loan_default.risk.errors import BadInput
from loan_default.risk.model.search_space import load_search_space
from loan_default.risk.policy import load_policy

CONTRACT = """name: x
title: X
known_afterwards: [late_*]
outcome: {column: status, defaulted: [bad], repaid: [good]}
expect: {rejected_share_at_most: 0.05, default_rate_between: [0.01, 0.60]}
fields:
  - {name: id, kind: text, role: id, description: d}
  - {name: issued, kind: month, role: time, description: d}
  - {name: term, kind: number, role: feature, unit: months, range: [1, 600], description: d}
  - {name: amount, kind: number, role: feature, unit: dollars, range: [1, 1000000], description: d}
  - {name: job, kind: nominal, role: feature, levels: [A, B], description: d}
"""
OF_FILE = {  # the last lines of a contract: its mistakes
    "": [],
    "title: Y": ["12: the key title stands twice, first on line 2; keep one of them"],
    "range: [0, 1]": ["12: range: there is no such key; range is a key of fields, so write it there"],
    "feilds: []": ["12: feilds: there is no such key; write fields"],
    "time: month": ["12: time: month is not allowed; write none, or delete the key"],
    "time: none": [
        "8: field issued: time: none says that the book has no date, and this has the role time; delete one of the two",
        "12: time: none: without a date no loan can be said to have matured; write outcomes: final if all are known",
    ],
    "outcomes: known": ["12: outcomes: known is not allowed; write final, or delete the key"],
    "term: 36": [],
    "term: {horizon: 12}": [],
    "term: {by: job, months: {A: 36, B: 60}}": [],
    "term: 3 years": ["12: term: 3 years is a text, and it has to be a whole number; write a whole number"],
    "term: 0": ["12: term: 0 is not allowed; write a number of at least 1"],
    "term: {by: jobb, months: {A: 36}}": ["12: term: by: jobb is no field with levels; write one"],
    "term: {by: job, months: {A: 36, C: 3}}": [
        "12: term: months: B of job is not said; add it",
        "12: term: months: C is no level of job; those are A, B",
    ],
    "term: {by: job}": ["12: term.months: the key is missing; write months: {A: 36, B: 60}"],
    "term: {horizn: 12}": ["12: term.horizn: there is no such key; write horizon"],
    "snapshot: taken": [
        "12: snapshot: taken is a text, and it has to be keys with values; write {column: last_credit_pull_d}"
    ],
    "snapshot: {column: c, format: '%m'}": [
        "12: snapshot: format %m says no year and month; write %Y-%m, %b-%y, … or days since 1899-12-30"
    ],
    "groups: {debts: All debts.}": ["12: groups: debts is the group of no feature; those are term, amount, job"],
    "not_loans: ['(Total']": [
        "12: not_loans: (Total is no pattern: missing ), unterminated subpattern at position 0; write \\( for a bracket "
        "that is meant as such, and so on"
    ],
    "not_loans: ['(?!a)b']": ["12: not_loans: (?!a)b is no pattern: (?! is not supported; write it without"],
    "not_loans: ^Total": ["12: not_loans: ^Total is a text, and it has to be a list; write [a, b]"],
    'files: {separator: "\\t", quote: none, encoding: cp1252, decimal: ",", thousands: "."}': [],
    "files: {separator: ;;, quote: ';', encoding: utf9, decimal: ',', thousands: ',', currency: [''], negative: true}": [
        "12: files.negative: there is no such key; write negative_in_brackets",
        "12: files: separator ';;' is not one sign; write one, in quotes",
        "12: files: decimal and thousands are both ,; write two signs",
        "12: files: currency holds an empty text; delete it",
        "12: files: encoding utf9 is none that Python knows; write utf-8, cp1252, latin-1 or utf-16",
    ],
    "files: {separator: x, quote: ',', nothing: [NA, null]}": [
        '12: files.nothing: YAML reads null as nothing, and it has to be a text; write "null" in quotes',
        "12: files: separator 'x' is not one sign; write one, in quotes",
    ],
    "files: {quote: ','}": ["12: files: quote and another sign are both ,; write the sign that the files have"],
    "layouts:\n  - {name: l, recognised_by: []}": [
        "13: layout l: recognised_by names no column; write those of its header that others lack"
    ],
    "layouts:\n  - {name: l, recognised_by: [y], year: {column: z, field: nope, month: 12}}": [
        "13: layout l: year: field: nope is the column of no month field; delete it, or write the column of one",
        "13: layout l: year reads z, by which the layout is not recognised; add it to recognised_by",
    ],
    "layouts:\n  - name: l\n    recognised_by: [y]\n    log1p: [amont]\n"
    "    texts: {job: {'1': C}, jobs: {'1': A}, status: {'0': fine}}\n    snapshot_month: 2019-13": [
        "15: layout l: log1p: amont is the column of no number field; write amount",
        "16: layout l: texts: job: C is no value of it; those are A, B",
        "16: layout l: texts: jobs is the column of no field, nor that of the outcome; write job",
        "16: layout l: texts: status: fine is no value of it; those are bad, good",
        "17: layout l: snapshot_month: 2019-13 is a text, and it has to be a day; write it as 2027-06-30",
    ],
    "layouts:\n  - {name: l, recognised_by: [y]}\n  - {name: l, recognised_by: [z]}": [
        "14: layout l: l is described twice; delete one"
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
    "kind: number, role: feature, unit: u, range: [0, 1], labels: d": [
        "field a: description: the key is missing; write description: …",
        "field a: labels: there is no such key; write levels",
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
    "kind: number, role: feature, unit: u, range: [9, 1], description: d": [
        "field a: range [9, 1] is empty; write [1, 9]"
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
    "kind: number, role: feature, description: d": [
        "field a: a number needs a unit and a range; write unit: dollars, range: [0, 1000000]"
    ],
    "kind: number, role: support, outside: clip, description: d": [
        "field a: only a number with a range can be clipped; delete outside"
    ],
    'kind: text, role: segment, outside: "null", description: d': [
        "field a: nothing is outside, as it has neither range nor levels; delete outside"
    ],
    "kind: nominal, role: feature, levels: [Yes, 010, 1.0, 2015-01-01, ~], description: d": [
        f'field a: levels: {said}, and it has to be a text; write "{text}" in quotes'
        for text, said in {
            "Yes": "YAML reads Yes as true",
            "010": "010 is a number",
            "1.0": "1.0 is a number",
            "2015-01-01": "YAML reads 2015-01-01 as a day",
            "~": "YAML reads ~ as nothing",
        }.items()
    ],
    "kind: nominal, role: feature, levels: A B, description: d": [
        "field a: levels: A B is a text, and it has to be a list; write [a, b]"
    ],
    "kind: nominal, role: feature, levels: [A, B, A, 'C '], words: {yes: A, B: A, c: D}, scale: 2, description: d": [
        'YAML reads the key yes as no text; write "yes" in quotes',
        "field a: scale is of numbers alone, and its kind is nominal; delete scale",
        "field a: level A is listed twice; delete one",
        "field a: 'C ' begins or ends with a blank, and no value read does; cut it off",
        "field a: B is a level and a word at once; delete it from one",
        "field a: word c stands for D, which is no value of it; write one of its levels",
    ],
    "kind: month, role: support, format: '%Y-%m', century: 1930, description: d": [
        "field a: century is of years in two digits, and no format holds %y; delete century"
    ],
    "kind: month, role: support, format: [YYYY-MM], description: d": [
        "field a: format YYYY-MM says no year and month; write %Y-%m, %b-%y, … or days since 1899-12-30"
    ],
    "kind: month, role: support, format: '%Y-%m %Q', description: d": [
        "field a: format %Y-%m %Q holds %Q, which is not read; write %Y, %y, %m, %b, %B, %d, %H, %M, %S"
    ],
    "kind: month, role: support, format: days since 1899-13-30, description: d": [
        "field a: format days since 1899-13-30 counts from a day that there is not; write days since 1899-12-30"
    ],
    "kind: month, role: support, format: ['%d-%m-%Y %H:%M', '%b-%y'], century: 1930, description: d": [],
    "kind: number, role: support, format: '%Y', description: d": [
        "field a: format is of months alone, and its kind is number; delete format"
    ],
    "kind: number, role: protected, risk: rising, opinion: true, reasons: {high: It is.}, description: d": [
        f"field a: what is protected is never a feature nor a reason; delete {key}"
        for key in ("opinion", "risk", "reasons")
    ],
    "column: job, kind: text, role: protected, description: d": [
        "field job: column job is protected by the field a; delete this field"
    ],
    "column: late_fees, kind: text, role: segment, description: d": [
        "field a: column late_fees is written after the loan was granted, as outcome or known_afterwards says; delete the "
        "field"
    ],
    "kind: nominal, role: cohort, levels: [A], description: d": [
        "field a: a nominal cannot be the cohort; write kind: number or ordered or text",
        "field a: a book with a date is cut by it; write role: segment instead of cohort",
    ],
    "kind: number, role: id, description: d": [
        "field a: id has the role id too, and exactly one field must have the role id; write role: support",
        "field a: a number cannot be the id; write kind: text",
    ],
    "kind: nominal, role: feature, levels: [A], risk: rising, description: d": [
        "field a: a nominal has no high and no low; delete risk"
    ],
    "kind: number, role: feature, unit: u, range: [0, 1], reasons: {hi: x, low: 'It is {val}.'}, description: d": [
        "field a: reasons.hi: there is no such key; write high",
        "field a: reasons.low 'It is {val}.' holds more than text and {value}",
    ],
}


def mistakes(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a contract: each line of the refusal, without the file."""
    path = folder / "contract.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        load_contract(path)
    except BadInput as refusal:
        lines = str(refusal).splitlines()
        assert all(line.startswith(f"{path}, line ") and line.endswith(".") for line in lines)
        return [line.removeprefix(f"{path}, line ")[:-1] for line in lines]
    return []


@pytest.mark.parametrize("lines", OF_FILE)
def test_mistakes_of_a_contract(tmp_path: Path, lines: str) -> None:
    assert mistakes(tmp_path, CONTRACT + lines) == OF_FILE[lines]


@pytest.mark.parametrize("keys", OF_FIELD)
def test_mistakes_of_a_field(tmp_path: Path, keys: str) -> None:
    sentences = [line.partition(": ")[2] for line in mistakes(tmp_path, f"{CONTRACT}  - {{name: a, {keys}}}")]
    assert sorted(sentences) == sorted(OF_FIELD[keys])


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title: X\n", "", "1: title: the key is missing; write title: …"),
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
        ("name: amount", "name: job", "11: field job: job is described twice; delete one, or name it otherwise"),
        ("name: amount", "name: outcome", "10: field outcome: outcome is the name of the column of outcomes in cleaned loans"),
        ("name: amount", "name: window", "10: field window: window is the name of the column of splits that says which"),
        ("name: amount, ", "", "10: field number 4: name: the key is missing; write name: …"),
        ("{name: job,", "{name: job, kind: number,", "11: the key kind stands twice, first on line 11; keep one of them"),
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


def test_the_contract_of_a_package_is_read_by_the_rules_of_its_time(tmp_path: Path) -> None:
    path = tmp_path / "contract.json"
    path.write_text(
        load_contract().model_dump_json().replace('"levels":["A",', '"levels":["A","A",', 1), encoding="utf-8"
    )
    with pytest.raises(BadInput, match=r"line 1: field grade: level A is listed twice; delete one\.$"):
        load_contract(path)
    packaged = load_packaged_contract(path)
    assert packaged.by_name["grade"].levels[:2] == ("A", "A")
    assert load_packaged_contract(path) == Contract.model_validate(packaged, strict=True)


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
  start: {max_depth: 4, learning_rate: 2e-2}
  search:
    max_depth: {low: 5, high: 3}
    learning_rate: {low: 0, high: 0.01, log: true}
    max_leaves: {low: {depth: 4}, high: 2}
    eta: {low: 1, high: 2}
  least_gain: -1
  rounds_at_most: 2000
  stop_after_rounds: fifty
forest: {trees: 5}
logistic_regression: {C: 0.01, enabled: 'no'}
"""
    )
    with pytest.raises(BadInput) as refusal:
        load_search_space(path)
    assert [line.removeprefix(f"{path}, line ") for line in str(refusal.value).splitlines()] == [
        "4: xgboost.search.max_depth: low (5) must be below high (3); exchange them.",
        "5: xgboost: learning_rate starts at 0.02, outside of 0 to 0.01; change one of the two.",
        "5: xgboost.search.learning_rate: low (0) must be above 0 on a log scale; write more, or log: false.",
        "6: xgboost.search.max_leaves.low: it is keys with values, and it has to be a whole number or a number; write a whole number.",
        "7: xgboost: eta is searched but has no start; write start: {eta: …}.",
        "8: xgboost.least_gain: -1 is not allowed; write a number of at least 0.",
        "10: xgboost.stop_after_rounds: fifty is a text, and it has to be a whole number; write a whole number.",
        "11: forest: there is no such key; write random_forest.",
        "12: logistic_regression.enabled: no is a text, and it has to be true or false; write true or false.",
    ]


LOADS: dict[str, Callable[[Path], object]] = {
    "contract": load_contract,
    "policy": load_policy,
    "search_space": load_search_space,
}
SHIPPED = {name: yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8")) for name in LOADS}
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


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where there is a value in a file."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*place, key)
        yield from places(value, (*place, key))


@given(st.sampled_from(list(LOADS)), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_a_file_says_it_loads_or_its_mistakes_are_told(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = deepcopy(SHIPPED[name])
    for _ in range(data.draw(st.integers(1, 3))):
        *outer, key = data.draw(st.sampled_from(list(places(content))))
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
