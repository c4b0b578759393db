"""Loads contracts that say something else than the shipped one."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.reviewed_file import CONF
from loan_default_tests.risk.contract.drafts import Change, LoadChanged

SHIPPED = yaml.load((CONF / "contract.yaml").read_bytes(), yaml.CSafeLoader)


@pytest.fixture
def changed(tmp_path: Path) -> LoadChanged:
    """Return a function that loads the shipped contract after a change to it."""

    def load(change: Change) -> Contract:
        data = deepcopy(SHIPPED)
        change(data, {field["name"]: field for field in data["fields"]})
        path = tmp_path / "contract.yaml"
        path.write_text(json.dumps(data), encoding="utf-8")  # JSON is YAML too, and written in less time
        return load_contract(path)

    return load
