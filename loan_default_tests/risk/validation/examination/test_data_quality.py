"""What loans lack is counted over all of them and by the year of their issue."""

from datetime import date

import polars as pl
import pytest

from loan_default.risk.contract.loading import load_contract
from loan_default.risk.validation.examination.data_quality import measure_quality


def test_shares_of_missing_and_zero_are_of_all_loans_and_by_year() -> None:
    rows = pl.DataFrame(
        {
            "issue_d": [date(2010, 1, 1), date(2010, 5, 1), date(2011, 2, 1), date(2012, 1, 1)],
            "dti": [0.0, None, 5.0, 7.0],
            "grade": [None, "A", "B", None],
        }
    )
    loans = pl.concat([rows] * 30).lazy()
    grade, dti = measure_quality(loans, load_contract())
    assert (grade.field, grade.missing_share, grade.zero_share) == ("grade", 0.5, None)
    assert grade.missing_by_year == {"2010": 0.5, "2011": 0.0, "2012": 1.0}
    assert (dti.field, dti.missing_share, dti.zero_share) == ("dti", 0.25, 0.25)
    assert dti.missing_by_year == {"2010": pytest.approx(0.5), "2011": 0.0, "2012": 0.0}


def test_a_year_of_few_loans_counts_among_all_only() -> None:
    years = pl.Series([date(2010, 1, 1)] * 30 + [date(2011, 2, 1)] * 29)
    loans = pl.DataFrame({"issue_d": years}).with_columns(dti=pl.lit(None, pl.Float64)).lazy()
    (dti,) = measure_quality(loans, load_contract())
    assert dti.missing_share == 1.0
    assert dti.missing_by_year == {"2010": 1.0}
