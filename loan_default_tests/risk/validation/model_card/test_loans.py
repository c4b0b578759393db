"""Files, windows, what loans lack and what the test window covers."""

import re
from dataclasses import replace
from datetime import date

from loan_default.risk.data.splits import Cut, TermWindow
from loan_default.risk.validation.model_card.page import model_card
from loan_default_tests.risk.small_books import REVOLVING
from loan_default_tests.risk.validation.model_card.cards import (
    card_inputs,
    cleaned,
    evaluated,
    examined,
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
    single = model_card(card_inputs(cleaning=cleaned(lines_not_loans=1, missing_fields=("mort_acc",))))
    assert "1 line is no loan." in section(single, "Data")
    assert "never seen a value of 1 field (see Data)" in section(single, "Limits")
    assert "| train | 2010-01 to 2012-01 | 20,000 | 4,000 | 20.0% |" in data


def test_terms_are_told_where_there_are_several() -> None:
    terms = tuple(TermWindow(term, date(2010, 1, 1), date(2012, 1, 1), 10_000, 2_000) for term in (36, 60))
    splits = card_inputs().splits
    train, calibrate, test = splits.windows
    apart = replace(splits, windows=(replace(train, terms=terms), calibrate, test))
    data = section(model_card(card_inputs(splits=apart)), "Data")
    assert "| train | all | 2010-01 to 2012-01 | 20,000 | 4,000 | 20.0% |" in data
    assert "| train | 60 months | 2010-01 to 2012-01 | 10,000 | 2,000 | 20.0% |" in data


def test_young_loans_of_a_revolving_book_have_no_term_to_pay_back_early() -> None:
    assert "only the early payers and early defaulters are resolved" in section(model_card(card_inputs()), "Data")
    revolving = replace(card_inputs().scorer, contract=REVOLVING)
    inputs = card_inputs(scorer=revolving, evaluation=evaluated(several_terms=False), importance={"income": 1.0})
    card = model_card(inputs)
    assert "those of which the horizon of 12 months was over by 2019-03. Younger loans may still default, so" in card
    assert "2013-06 to 2014-03, which came after the training loans; 18.7% of them defaulted" in section(
        card, "In short"
    )
    assert not re.search("payers|of their term|last payment", card)


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


def test_only_terms_that_are_cut_apart_are_said_to_be() -> None:
    sentence, apart = "Each term is cut by its own months", Cut(36, date(2012, 2, 1), date(2013, 6, 1))
    splits = card_inputs().splits
    assert sentence not in model_card(card_inputs())
    for others, expected in ((replace(apart, term=None), False), (Cut(60, date(2012, 1, 1), date(2013, 1, 1)), True)):
        card = model_card(card_inputs(splits=replace(splits, cuts=(apart, others))))
        assert (sentence in section(card, "Data")) is expected


def test_what_a_layout_leaves_open_is_told_where_a_file_has_it() -> None:
    data = section(model_card(card_inputs(cleaning=cleaned(layouts=("main", "selected_features")))), "Data")
    assert (
        "Files of layout selected_features give only the year of `issue_d`; its month 10 stands for it, so months of "
        "issue and maturity are not the loans' own: loans of later months count as matured up to 2 months early."
    ) in data
    assert "Files of layout selected_features hold only loans that had ended when they were taken" in data
    assert "layout" not in section(model_card(card_inputs()), "Data")


def test_windows_of_the_same_months_are_warned_of() -> None:
    mixed = card_inputs(
        splits=replace(card_inputs().splits, out_of_time=False), evaluation=evaluated(out_of_time=False)
    )
    assert "**The loans span too few months to be cut by month**" in section(model_card(mixed), "Data")
    assert "did not all come after the training" in section(model_card(mixed), "In short")
    assert "too few months" not in model_card(card_inputs())


def test_what_fields_lack_is_shown_by_year_and_zeros_are_told() -> None:
    card = model_card(card_inputs())
    assert lines(card, "Quality of the data", "Field")[0] == ["Field", "All", "2017", "2018"]
    assert "Of 2 fields, 1 has a value in every kept loan, whatever its outcome. The others, by" in section(
        card, "Quality of the data"
    )
    rows = lines(card, "Quality of the data", "`mort_acc`")
    assert rows == [["`mort_acc`", "40.0%", "90.0%", "10.0%"], ["`mort_acc`", "60.0%"]]
    assert "Of `mort_acc` the share that is missing differs by 50% or more" in section(card, "Quality of the data")


def test_fields_that_all_loans_have_are_followed_by_no_table() -> None:
    full = tuple(replace(field, missing_share=0.0, zero_share=0.0) for field in examined().quality)
    quality = section(model_card(card_inputs(examination=examined(quality=full))), "Quality of the data")
    assert quality.strip() == "All 2 fields have a value in every kept loan, whatever its outcome."


def test_segments_that_no_loan_has_are_named() -> None:
    levels = evaluated().coverage
    assert levels is not None
    for coverage, sentence in ((levels, "| `term` | 36"), (replace(levels, levels=()), "The book has no other field")):
        covered = replace(coverage, empty=("purpose",))
        text = section(model_card(card_inputs(evaluation=evaluated(coverage=covered))), "Coverage")
        assert text.startswith("No loan has a value of `purpose`.")
        assert sentence in text


def test_coverage_shows_what_is_sold_beside_what_is_tested() -> None:
    text = section(model_card(card_inputs()), "Coverage")
    assert "issued 2018-01 to 2018-12, whatever their outcome" in text
    assert "| `term` | 36 | 70.0% | 300 |" in text
    assert "Not measured for this version." in section(
        model_card(card_inputs(evaluation=evaluated(coverage=None))), "Coverage"
    )
