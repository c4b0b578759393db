"""Back-tests are asked for on loans that were cleaned."""

from pathlib import Path

import pytest

from loan_default.operations.backtest import back_test
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings


def test_without_loans_there_is_nothing_to_test(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No loans were cleaned yet; run loan-default clean --data FILE first"):
        back_test(Settings(home=tmp_path), None, 6)
