"""One field: how its values are said, and keys of it that contradict each other."""

from pathlib import Path
from typing import Any

import pytest

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import list_levels
from loan_default.risk.contract.reasons import Side
from loan_default.risk.errors import BadInput
from loan_default_tests.risk.contract.drafts import Change, Fields, LoadChanged, mistakes_of_field

SAID = {
    ("emp_length", 10.0): "10+ years",
    ("emp_length", 0.0): "< 1 year",
    ("emp_length", 1.0): "1 year",
    ("annual_inc", 54321.456): "54,321.46 dollars a year",
    ("annual_inc", 1.0): "1 dollar a year",
    ("int_rate", 12.7): "12.7 percent a year",
    ("dti", 0.004): "0.004 percent",
    ("dti", 0.0): "0 percent",
    ("dti", 99.9): "99.9 percent",
    ("dti", 100.0): "100 percent or more",  # higher ones are clipped to it
    ("term", 120.0): "120 months",  # higher ones are rejected
    ("pub_rec", 2.0): "2",
    ("fico_range_low", 700.0): "700 FICO points",
    ("grade", "C"): "C",
    ("application_type", "Joint App"): "two borrowers",
}


@pytest.mark.parametrize(("name", "value"), SAID)
def test_a_value_is_said_for_people(contract: Contract, name: str, value: float | str) -> None:
    assert contract.by_name[name].say(value) == SAID[name, value]


def test_lower_values_that_are_clipped_are_said_too(contract: Contract) -> None:
    field = contract.by_name["dti"].model_copy(update={"range": (-100.0, 100.0)})
    assert [field.say(value) for value in (-100.0, -99.0)] == ["-100 percent or less", "-99 percent"]


def test_a_reason_is_the_sentence_of_its_side_or_else_a_fact(contract: Contract) -> None:
    sides: list[tuple[str, Side, float | str | None]] = [
        ("dti", "high", 31.5),
        ("dti", "low", 3.0),
        ("dti", "missing", None),
        ("purpose", "level", "small_business"),
        ("mths_since_last_record", "level", 70.0),
        ("revol_util", "missing", None),
    ]
    assert {(name, side): contract.by_name[name].reason(side, value) for name, side, value in sides} == {
        ("dti", "high"): "Existing debt payments take more of the income than typical: 31.5 percent.",
        ("dti", "low"): (
            "Monthly debt payments, without mortgage and this loan, as a share of monthly income: 3 percent."
        ),
        ("dti", "missing"): "The share of income that existing debt payments take is not known.",
        ("purpose", "level"): "The purpose of the loan: a small business.",
        ("mths_since_last_record", "level"): "Months since the last public record: 70 months.",
        ("revol_util", "missing"): "Revolving balance as a share of the revolving limit: not known.",
    }


def test_every_sentence_names_its_side(contract: Contract) -> None:
    """A sentence that compares does so with the typical value; one of the other side does not say the same."""
    words = {"high": ("more", "higher", "larger", "longer", "older"), "low": ("less", "fewer", "lower", "smaller")}
    words["low"] += ("shorter", "younger", "more recent")
    for field in contract.features:
        for side, comparatives in words.items():
            sentence = getattr(field.reasons, side)
            if sentence and "typical" in sentence:
                assert any(word in sentence.lower().split("typical")[0] for word in comparatives), sentence
        sentences = [sentence for sentence in field.reasons.model_dump().values() if sentence]
        assert len(set(sentences)) == len(sentences)
        assert all(sentence.endswith(".") for sentence in sentences)
        assert "{value}" not in field.reason("missing", None)


def test_allowed_values_in_words(contract: Contract) -> None:
    allowed = {name: contract.by_name[name].allowed for name in ("annual_inc", "grade", "issue_d", "zip_code")}
    assert allowed == {
        "annual_inc": "100 to 100,000,000 dollars a year",
        "grade": "one of A, B, C, D, E, F, G",
        "issue_d": "a month, as Dec-2015 or 2015-12",
        "zip_code": "any text",
    }
    assert list_levels([f"L{number}" for number in range(3_000)]) == "one of 3,000 levels, such as " + ", ".join(
        f"L{number}" for number in range(20)
    )


def test_what_people_read_in_a_line_has_no_line_break(changed: LoadChanged) -> None:
    def change(data: dict[str, Any], field: Fields) -> None:
        data["title"] = "Loans\nof 2012\n"
        field["grade"] |= {"description": "Grade \r\n given.", "labels": {"A": "first\n"}}
        field["purpose"]["reasons"] = {"level": "Of the\n  purpose: {value}."}

    contract = changed(change)
    grade = contract.by_name["grade"]
    assert (contract.title, grade.description, grade.labels["A"]) == ("Loans of 2012", "Grade given.", "first")
    assert contract.by_name["purpose"].reasons.level == "Of the purpose: {value}."


OF_FIELD = {  # the keys of a field more: its mistakes
    "kind: number, role: feature, unit: u, range: [9, 1], description: d": [
        "field a: range [9, 1] is empty; write [1, 9]"
    ],
    "kind: text, role: support, description: ' '": [
        "field a: description says nothing, and people read it as a reason and on the model card; write what it is"
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
    "kind: nominal, role: feature, levels: [A, B, A, 'C '], words: {yes: A, B: A, c: D}, scale: 2, description: d": [
        'field a: words: YAML reads the key yes as no text; write "yes" in quotes',
        "field a: scale is of numbers alone, and its kind is nominal; write kind: number, or delete scale",
        "field a: level A is listed twice; delete one",
        "field a: 'C ' begins or ends with a blank, and no value read does; cut it off",
        "field a: B is a level and a word at once; delete it from one",
        "field a: word c stands for D, which is no value of it; write one of its levels",
    ],
    "kind: nominal, role: feature, levels: [A, B], labels: {A: ' ', C: third}, description: d": [
        "field a: the label of A says nothing; write what people call it, or delete it",
        "field a: labels name C, which is no level of it; write one of its levels",
    ],
    "kind: number, role: support, format: '%Y', description: d": [
        "field a: format is of months alone, and its kind is number; delete format"
    ],
    "kind: nominal, role: feature, levels: [A, B], unit: percent, description: d": [
        "field a: unit is of numbers alone, and its kind is nominal; write kind: number, or delete unit"
    ],
    "kind: number, role: feature, unit: years, range: [0, 10], words: {many: 99, few: 1, none: null}, description: d": [
        "field a: word many stands for 99, and what is outside of 0 to 10 years is rejected; write null, or what is "
        "within"
    ],
    "kind: text, role: segment, words: {x: 3}, description: d": [
        "field a: word x stands for 3, which is no value of it; write null"
    ],
    "kind: number, role: support, risk: rising, group: debts, opinion: true, strip: -x, description: d": [
        "field a: only a feature has a risk, and its role is support; delete risk",
        "field a: only a feature has a group, and its role is support; delete group",
        "field a: no feature is derived from it and its role is support, so no model sees this opinion; delete opinion",
        "field a: strip holds -, which would be cut off numbers too; write the letters beside them",
    ],
    "kind: number, role: support, applicant_can: lower, description: d": [
        "field a: applicant_can is of features that an applicant can change, and it is no feature; delete applicant_can"
    ],
    "kind: number, role: feature, unit: u, range: [0, 9], risk: rising, applicant_can: raise, description: d": [
        "field a: applicant_can: raise would only add to the risk, which is rising; write lower"
    ],
    "kind: number, role: feature, unit: u, range: [0, 9], applicant_can: [3, 12], description: d": [
        "field a: applicant_can lists 12, which it cannot be; write values of it"
    ],
    "kind: number, role: feature, unit: u, range: [0, 9], applicant_can: change, description: d": [
        "field a: applicant_can: change is not of a number; write lower or raise, or the values that are offered"
    ],
    "kind: nominal, role: feature, levels: [A, B], applicant_can: lower, description: d": [
        "field a: applicant_can: lower is not of a nominal; write change, or the levels"
    ],
    "kind: nominal, role: feature, levels: [A, B], opinion: true, applicant_can: [C], description: d": [
        "field a: applicant_can is of features that an applicant can change, and it is the lender's opinion; delete "
        "applicant_can"
    ],
    "kind: number, role: support, missing: informative, description: d": [
        "field a: missing: informative is of a feature that a loan may lack, and its role is support; delete missing"
    ],
    "kind: ordered, role: feature, levels: [A], risk: rising, required: true, missing: informative, description: d": [
        "field a: missing: informative is of a feature that a loan may lack, and no loan may lack it; delete missing"
    ],
    "kind: number, role: support, strip: m, parts: {2: 1, yrs: 12}, description: d": [
        "field a: parts: '2' is no letters behind a number; write those of the file, as yrs or mon",
        'field a: parts: YAML reads the key 2 as no text; write "2" in quotes',
        "field a: strip and parts say both what letters a number has; delete strip",
    ],
    "kind: text, role: segment, parts: {yrs: 12}, description: d": [
        "field a: parts is of numbers alone, and its kind is text; write kind: number, or delete parts"
    ],
    "kind: number, role: support, parts: {yrs: 0}, description: d": [
        "field a: parts.yrs: 0 is not allowed; write a number of more than 0"
    ],
    "kind: nominal, role: feature, levels: [A, B], missing: informative, description: d": [
        "field a: missing: informative goes with a risk, as a model sees any other field's absence; delete missing"
    ],
    "kind: number, role: protected, risk: rising, opinion: true, reasons: {high: It is.}, description: d": [
        f"field a: what is protected is never a feature nor a reason; delete {key}"
        for key in ("opinion", "risk", "reasons")
    ],
}


@pytest.mark.parametrize("keys", OF_FIELD)
def test_mistakes_of_a_field(tmp_path: Path, keys: str) -> None:
    assert mistakes_of_field(tmp_path, keys) == sorted(OF_FIELD[keys])


WRONG: dict[str, tuple[Change, str]] = {
    "unknown key": (
        lambda data, field: field["dti"].update(colour="red"),
        "dti: colour: there is no such key; write column",
    ),
    "no unit": (lambda data, field: field["dti"].pop("unit"), "dti: a number needs a unit and a range"),
    "empty range": (lambda data, field: field["dti"].update(range=[9, 9]), r"dti: range \[9, 9\] is empty"),
    "range of texts": (
        lambda data, field: field["zip_code"].update(range=[1, 9]),
        "zip_code: range is of numbers alone",
    ),
    "no levels": (lambda data, field: field["grade"].pop("levels"), "grade: levels go with kinds ordered and nominal"),
    "levels": (lambda data, field: field["dti"].update(levels=["a"]), "dti: levels go with kinds ordered and nominal"),
    "clip": (
        lambda data, field: field["grade"].update(outside="clip"),
        "grade: only a number with a range can be clipped",
    ),
    "null": (lambda data, field: field["term"].update(outside="null"), "term: outside may only be null where"),
    "text": (lambda data, field: field["zip_code"].update(role="feature"), "zip_code: a text cannot be a feature"),
    "word": (lambda data, field: field["application_type"].update(words={"x": "Two"}), "word x stands for Two"),
    "number word": (lambda data, field: field["emp_length"].update(words={"x": "ten"}), "word x stands for ten"),
    "function": (
        lambda data, field: field["loan_to_income"].update(derived={"function": "percent_of", "of": ["dti", "dti"]}),
        "field loan_to_income: derived: it is now an expression; write derived: dti / dti",
    ),
    "derived text": (
        lambda data, field: field["zip_code"].update(derived="dti / 2"),
        "zip_code: derived is of numbers alone",
    ),
    "reason": (
        lambda data, field: field["dti"].update(reason="Bad."),
        "dti: reason: reason is now reasons, a sentence",
    ),
    "other side": (
        lambda data, field: field["dti"]["reasons"].update(low="Low."),
        "dti: reasons are high, low: risk is rising; write high",
    ),
    "wrong side": (
        lambda data, field: field["annual_inc"].update(reasons={"high": "High."}),
        "annual_inc: reasons are high: risk is falling; write low",
    ),
    "one side": (
        lambda data, field: field["emp_length"]["reasons"].pop("high"),
        "emp_length: reasons are low: a directional sentence where the side is not known",
    ),
    "level of a number": (
        lambda data, field: field["emp_length"].update(reasons={"level": "Employed."}),
        "emp_length: reasons are level: a directional sentence where the side is not known",
    ),
    "side of a level": (
        lambda data, field: field["purpose"]["reasons"].update(high="High."),
        "purpose: reasons are high, level: a nominal field has no high and no low; write level",
    ),
    "reasons of a segment": (
        lambda data, field: field["addr_state"].update(reasons={"missing": "No state."}),
        "addr_state: only a feature has reasons; its role is segment",
    ),
    "opinion without direction": (
        lambda data, field: field["int_rate"].pop("risk"),
        "a number that is the lender's opinion needs risk: rising or falling, as it is not known else which way the",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_contract_that_contradicts_itself_is_refused(changed: LoadChanged, name: str) -> None:
    change, sentence = WRONG[name]
    with pytest.raises(BadInput, match=sentence):
        changed(change)


@pytest.mark.parametrize(
    ("keys", "pair"),
    [
        ('levels: ["1", "1.0"]', "1 and 1.0"),
        ("levels: [rent, 'TRUE', 'true']", "TRUE and true"),
        ('levels: [rent, own], words: {"1": rent, "1.0": own}', "1 and 1.0"),
        ('levels: [rent, own], words: {"1": rent, "1.0": rent, "01": own}', None),
    ],
)
def test_levels_and_words_are_told_apart_whoever_wrote_them(tmp_path: Path, keys: str, pair: str | None) -> None:
    sentences = mistakes_of_field(tmp_path, f"kind: nominal, role: feature, {keys}, description: d")
    assert sentences == ([f"field a: {pair} are one, as a writer may write either; delete one"] if pair else [])
