"""What changed since the version before, and what is needed to make a version again."""

from dataclasses import replace

from loan_default.risk.contract.book import Contract
from loan_default.risk.validation.model_card.inputs import VersionFacts
from loan_default.risk.validation.model_card.page import model_card
from loan_default_tests.risk.validation.model_card.cards import CONTRACT, POLICY, card_inputs, lines, section


def test_only_what_differs_from_the_version_before_is_listed() -> None:
    inputs = card_inputs()
    described = CONTRACT.model_dump()
    fields = [field for field in described["fields"] if field["name"] != "mort_acc"]
    fewer = Contract.model_validate({**described, "layouts": (), "fields": fields})
    careful = POLICY.decision.model_copy(update={"approve_below": 0.1})
    scorer = replace(inputs.scorer, contract=fewer, policy=careful)
    before = VersionFacts(6, scorer, {"git_commit": "abc1234"}, {**inputs.parameters, "rounds": 900})
    card = model_card(card_inputs(before=before))
    assert lines(card, "Changes", "")[2:] == [
        ["Policy", "not recorded", "00aa11bb22cc33dd"],
        ["Parameter rounds", "900", "1250"],
        ["Decision: approve_below", "0.1", "0.15"],
    ]
    assert "Against version 6. The same: Git commit, Kind," in section(card, "Changes")
    assert "Fields added: `mort_acc`; left out: none." in section(card, "Changes")


def test_fields_are_compared_by_name_and_no_more_is_said() -> None:
    inputs = card_inputs()
    card = model_card(card_inputs(before=VersionFacts(6, inputs.scorer, {}, inputs.parameters)))
    assert "The fields have the same names." in section(card, "Changes")


def test_the_first_version_has_none_before_it() -> None:
    assert "There is no version before this one." in section(model_card(card_inputs()), "Changes")


def test_reproduction_names_code_data_policy_seed_and_libraries() -> None:
    card = model_card(card_inputs())
    rows = dict(lines(card, "How to reproduce", "")[2:])
    assert rows["Git commit"] == "`abc1234`"
    assert rows["Data"] == "`0123456789abcdef`"
    assert rows["Windows"] == f"`{card_inputs().splits.fingerprint}`"
    assert rows["Policy"] == "`00aa11bb22cc33dd`"
    assert rows["Contract"] == "not recorded"
    text = section(card, "How to reproduce")
    assert "Seed: 17." in text
    assert "polars 2.1.0, xgboost 3.2.0." in text
