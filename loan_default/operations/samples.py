"""Synthetic loans and applications, written where a person asks for them.

How they are drawn is `risk.data.synthetic`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from loan_default.risk.errors import BadInput


@dataclass(frozen=True)
class SampleRequest:
    """A file to write: `rows` loans with outcomes, or, where a month is named, a batch of applications made in it.

    `shift` is 0 for the usual population and 1 for plainly another.
    """

    out: Path
    rows: int
    seed: int
    shift: float = 0.0
    month: date | None = None


def write_sample(request: SampleRequest) -> None:
    """Write seeded synthetic loans in the published layout, or a batch of applications.

    Raises:
        BadInput: the file's name is not that of a CSV.
    """
    from loan_default.risk.data.synthetic import make_applications, write_csv, write_loans

    target = request.out
    if not target.name.endswith((".csv", ".csv.gz")) or target.is_dir():
        raise BadInput(f"{target} cannot be written; name a file that ends in .csv or .csv.gz.")
    target.parent.mkdir(parents=True, exist_ok=True)
    if request.month is None:
        write_loans(target, request.rows, seed=request.seed, footer=True, shift=request.shift)
    else:
        write_csv(make_applications(request.rows, seed=request.seed, month=request.month, shift=request.shift), target)
