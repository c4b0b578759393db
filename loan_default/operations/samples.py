"""Synthetic loans and applications, written where a person asks for them.

How they are drawn is `risk.data.synthetic`'s, and `risk.data.synthetic_book`'s for another contract than the shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from loan_default.operations.book import read_contract
from loan_default.risk.errors import BadInput
from loan_default.settings import SHIPPED_BOOK, Settings

if TYPE_CHECKING:
    from loan_default.risk.contract.book import Contract


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


def write_sample(request: SampleRequest, settings: Settings | None = None) -> None:
    """Write seeded synthetic loans in the published layout, or a batch of applications; of the settings' contract.

    Raises:
        BadInput: the file's name is not that of a CSV, or no usable loans of the contract can be made.
    """
    target = request.out
    if not target.name.endswith((".csv", ".csv.gz")) or target.is_dir():
        raise BadInput(f"{target} cannot be written; name a file that ends in .csv or .csv.gz.")
    target.parent.mkdir(parents=True, exist_ok=True)
    contract = _other_contract(settings)
    if contract is None:
        _write_published(request)
        return
    from loan_default.risk.data.synthetic_book import write_book

    write_book(target, contract, request.rows, seed=request.seed, month=request.month, shift=request.shift)
    if reason := _why_unusable(target, contract, with_outcome=request.month is None):
        target.unlink()
        raise BadInput(
            f"No loans of the contract {contract.name} can be made from its ranges, levels and units: {reason}"
        )


def _other_contract(settings: Settings | None) -> Contract | None:
    """Load the contract that is set, unless it describes LendingClub's loans, which are made as they are published."""
    if settings is None or settings.contract is None:
        return None
    contract = read_contract(settings)
    return None if contract.name == SHIPPED_BOOK else contract


def _write_published(request: SampleRequest) -> None:
    from loan_default.risk.data.synthetic import make_applications, write_csv, write_loans

    if request.month is None:
        write_loans(request.out, request.rows, seed=request.seed, footer=True, shift=request.shift)
    else:
        applications = make_applications(request.rows, seed=request.seed, month=request.month, shift=request.shift)
        write_csv(applications, request.out)


def _why_unusable(file: Path, contract: Contract, *, with_outcome: bool) -> str | None:
    """Say why the contract refuses the file that was made of it, if it does."""
    from loan_default.risk.data.cleaning import clean_application_file, clean_loans

    with TemporaryDirectory() as folder:
        cleaned, rejected = Path(folder, "cleaned.parquet"), Path(folder, "rejected.parquet")
        try:
            if with_outcome:
                report = clean_loans([file], contract, cleaned=cleaned, rejected=rejected)
            else:
                report = clean_application_file(file, contract, cleaned=cleaned, rejected=rejected)
        except BadInput as error:
            return str(error)
    if report.rejected_share > contract.expect.rejected_share_at_most:
        return f"{report.rejected_share:.0%} of the rows would be rejected. The first: {report.first_rejection}"
    return None
