"""An examination is stored as JSON and read again as it was."""

import json
from collections.abc import Mapping

import polars as pl
import pytest

from loan_default.risk.metrics import Interval
from loan_default.risk.model.scorer import Scorer
from loan_default.risk.validation.alternatives import Alternative
from loan_default.risk.validation.examination.data_quality import FieldQuality
from loan_default.risk.validation.examination.report import Examination, FieldShift, Parity, draw_loans, examine


@pytest.mark.slow
def test_a_record_is_read_again_as_it_was(scorer: Scorer, windows: Mapping[str, pl.DataFrame]) -> None:
    examination = examine(
        scorer,
        windows["test"].head(150),
        quality=(FieldQuality("dti", 0.1, None, {"2010": 0.5}),),
        shifts=(FieldShift("dti", None, False), FieldShift("annual_inc", 0.3, True)),
        parity=Parity(10, "onnx", 1e-8, 0, 0),
        alternatives=(Alternative("another_seed", 0.7, 0.1, Interval(0.0, -0.1, 0.1), Interval(0.0, 0.0, 0.0), 0.5),),
        by_decision=(),
        seed=1,
    )
    assert examination.rows == 150
    assert examination.sensitivity.fields
    assert Examination.from_dict(json.loads(json.dumps(examination.to_dict()))) == examination


def test_loans_are_drawn_by_their_id_however_they_are_cut() -> None:
    loans = pl.DataFrame({"id": [str(number) for number in range(2_000)]})
    drawn = draw_loans("id", 0.25, loans)
    assert 400 < drawn.height < 600
    parts = pl.concat([draw_loans("id", 0.25, loans.slice(start, 700)) for start in (0, 700, 1_400)])
    assert parts.equals(drawn)
    assert draw_loans("id", 1.0, loans).equals(loans)
