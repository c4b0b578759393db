"""The canary that travels with a model package."""

from pathlib import Path

import pytest

from loan_default.risk.errors import BadInput
from loan_default.risk.model import canary
from loan_default.risk.model.scorer import Scorer
from loan_default_tests.packages import applications, package


def test_a_package_keeps_an_application_and_its_pd(tmp_path: Path) -> None:
    stored = canary.read(package(tmp_path))
    assert stored.application["term"] == applications()[0][0]["term"]
    scored = Scorer.load(tmp_path).score(applications()[1].head(1))
    assert stored.pd == pytest.approx(scored["pd"].item(), abs=1e-12)


@pytest.mark.parametrize("text", [None, "{", "[]", '{"pd": 1}'])
def test_a_package_without_one_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / canary.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match="register the model again"):
        canary.read(tmp_path)
