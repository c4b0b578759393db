"""The reviewed files of a home, read anew when somebody has changed them."""

import os
from pathlib import Path

import yaml

from loan_default.operations.book import read_contract, read_policy
from loan_default.risk.reviewed_file import CONF
from loan_default.settings import Settings


def test_a_policy_is_read_anew_once_it_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    settings = Settings(tmp_path, policy=path)
    policy = yaml.safe_load((CONF / "policy.yaml").read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    assert read_policy(settings) == read_policy(settings)
    policy["drift"]["score_psi_limit"] = 0.5
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    os.utime(path, (1, 1))
    assert read_policy(settings).drift.score_psi_limit == 0.5


def test_the_shipped_contract_holds_where_none_is_named(tmp_path: Path) -> None:
    assert read_contract(Settings(tmp_path)).name == "lendingclub"
