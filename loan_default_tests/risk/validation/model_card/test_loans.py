"""Files, windows, what loans lack and what the test window covers."""

from dataclasses import replace

from loan_default.risk.validation.model_card.page import model_card
from loan_default_tests.risk.validation.model_card.cards import (
    card_inputs,
    cleaned,
    evaluated,
    lines,
    section,
)


def test_data_are_told_with_what_was_lost_and_why() -> None:
    data = section(model_card(card_inputs()), "Data")
    assert "accepted.csv.gz (fingerprint `0123456789abcdef`), as of 2019-03. 4 lines are no loans." in data
    assert "/some/where" not in data
    assert "Of 42,996 loans 42,990 were kept and 6 rejected." in data
    assert "| annual_inc: missing | 4 |\n| dti: no \\| number | 2 |" in data
    assert "have empty throughout: `fico_range_low`, `mort_acc`." in data
    assert "sets aside 10,000 that are resolved but not matured, beside 3,000 that are not resolved" in data
    assert "never seen a value of 2 fields" in section(model_card(card_inputs()), "Limits")
    assert "| train | all | 2010-01 to 2012-01 | 20,000 | 4,000 | 20.0% |" in data


def test_only_the_most_frequent_problems_are_listed() -> None:
    problems = {f"field_{number}: missing": number for number in range(1, 15)}
    data = section(model_card(card_inputs(cleaning=cleaned(problems=problems))), "Data")
    assert data.index("field_14: missing") < data.index("field_5: missing")
    assert "field_4: missing" not in data
    assert "and 4 rarer problems." in data


def test_sound_file_has_no_table_of_problems_and_nothing_set_aside() -> None:
    all_matured = replace(card_inputs().splits, immature=0, unresolved=0)
    card = model_card(card_inputs(cleaning=cleaned(problems={}, rejected=0, missing_fields=()), splits=all_matured))
    assert "rejected for" not in card
    assert "sets aside" not in card
    assert "have empty throughout: none." in card
    assert "No field is empty throughout." in section(card, "Limits")


def test_windows_of_the_same_months_are_warned_of() -> None:
    mixed = card_inputs(
        splits=replace(card_inputs().splits, out_of_time=False), evaluation=evaluated(out_of_time=False)
    )
    assert "**The loans span too few months to be cut by month**" in section(model_card(mixed), "Data")
    assert "of the same months as the training" in section(model_card(mixed), "In short")
    assert "too few months" not in model_card(card_inputs())


def test_what_fields_lack_is_shown_by_year_and_zeros_are_told() -> None:
    card = model_card(card_inputs())
    assert lines(card, "Quality of the data", "Field")[0] == ["Field", "All", "2017", "2018"]
    assert "1 of 2 fields lack no value." in section(card, "Quality of the data")
    rows = lines(card, "Quality of the data", "`mort_acc`")
    assert rows == [["`mort_acc`", "40.0%", "90.0%", "10.0%"], ["`mort_acc`", "60.0%"]]
    assert "Of `mort_acc` the share that is missing differs by 50% or more" in section(card, "Quality of the data")


def test_coverage_shows_what_is_sold_beside_what_is_tested() -> None:
    text = section(model_card(card_inputs()), "Coverage")
    assert "issued 2018-01 to 2018-12, whatever their outcome" in text
    assert "| `term` | 36 | 70.0% | 300 |" in text
    assert "Not measured for this version." in section(
        model_card(card_inputs(evaluation=evaluated(coverage=None))), "Coverage"
    )
