"""Entries of a log: decisions of one version on applications whose numbers are all one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import Predictions
from loan_default.serving.decision_id import DecisionIds
from loan_default.serving.decision_records import Entry
from loan_default_tests.packages import contract, scorer

AT = datetime(2026, 11, 3, 9, 59, 30, 123456, tzinfo=UTC)
FEATURES = contract().features


def first_at(time: datetime) -> int:
    """Draw an id that is decided at this microsecond."""
    microseconds = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return DecisionIds(lambda: microseconds * 1_000 + 500).draw()


def values_of(number: float) -> list[float]:
    return [number if field.kind == "number" else 1.0 for field in FEATURES]


def entry(request_id: str = "r1", at: datetime = AT, number: float = 36, count: int = 1, **named: Any) -> Entry:
    values = values_of(number)
    applications = Applications(["loan-7"] * count, [values] if count == 1 else np.array([values] * count))
    predictions = Predictions([0.125] * count, [604] * count, ["approve"] * count, [[]] * count, [[]] * count)
    logged = Entry(first_at(at), 3, scorer("xgboost"), applications, predictions, request_id=request_id)
    return msgspec.structs.replace(logged, **named)
