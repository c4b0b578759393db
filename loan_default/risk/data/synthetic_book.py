"""Makes seeded loans of any contract, from its ranges, levels and units: a file as the book's own are written.

They have no likeness to the book's loans: each field leans on one latent risk as far as the contract says how PD moves
with it. LendingClub's loans, which are like the published ones, are `synthetic`'s.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import TERM
from loan_default.risk.contract.field import LoanField
from loan_default.risk.contract.outcome import Horizon, ProductTerm
from loan_default.risk.data.synthetic_draws import by_level, months_since_1900, pick_levels
from loan_default.risk.files import write_atomically

_MONTHS = 72  # of issue, before the month in which the file was taken
_SNAPSHOT = date(2019, 12, 1)
_MISSING = 0.03
_TERMS = (12, 24, 36, 48, 60)
_LEANING = {"rising": 0.5, "falling": -0.5}
_LONG_RANGE = 1_000  # times: such a field is drawn on a log scale
_WHOLE = ("count", "months", "days")
_SLOPE, _RATE = (
    1.2,
    0.2,
)  # of the outcome's log-odds by the latent risk; and the default rate, where the contract allows


def make_book(
    contract: Contract, rows: int, *, seed: int, month: date | None = None, shift: float = 0.0
) -> pl.DataFrame:
    """Make a table of texts in the columns of the book's files.

    Args:
        contract: what a loan is.
        rows: how many loans.
        seed: the same one makes the same table.
        month: of applications that have no outcome yet; None makes loans with outcomes.
        shift: how far the population has moved: 0 is the usual one, 1 plainly another.
    """
    rng = np.random.default_rng((seed, month is not None))
    risk = rng.standard_normal(rows) + shift
    issued = _issue_months(rng, rows, month)
    columns: dict[str, list[str | None]] = {}
    for field in contract.fields:
        if field.derived or (month is not None and field.role == "protected"):
            continue
        columns[field.column] = _texts(field, contract, _Draw(rng, risk, issued, seed))
    if month is None:
        columns[contract.outcome.column] = _statuses(contract, rng, risk, issued, columns)
        if contract.snapshot:
            text = _month_text(contract.snapshot.format, _SNAPSHOT)
            columns[contract.snapshot.column] = [text] * rows
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def write_book(
    path: Path, contract: Contract, rows: int, *, seed: int, month: date | None = None, shift: float = 0.0
) -> None:
    """Write such a table as the book's files are written; gzipped where the path ends in `.gz`."""
    table = make_book(contract, rows, seed=seed, month=month, shift=shift)
    files = contract.files
    text = table.write_csv(
        separator=files.separator,
        quote_char=files.quote or '"',
        quote_style="necessary" if files.quote else "never",
        null_value="" if "" in files.nothing else files.nothing[0],
    )
    content = text.encode(files.encoding, errors="replace")
    if path.name.endswith(".gz"):
        import gzip

        content = gzip.compress(content, mtime=0)
    with write_atomically(path) as part:
        part.write_bytes(content)


class _Draw:
    """The loans so far: their latent risk, their months of issue, and chance."""

    def __init__(self, rng: np.random.Generator, risk: Floats, issued: npt.NDArray[np.int64], seed: int) -> None:
        self.rng, self.risk, self.issued, self.seed = rng, risk, issued, seed

    def latent(self, field: LoanField) -> Floats:
        """Return a standard normal variable that leans on the risk as the contract says; a protected field does not."""
        lean = _LEANING.get(field.risk or "", 0.3 * ((zlib.crc32(field.name.encode()) % 201) / 100 - 1))
        lean = 0.0 if field.role == "protected" else lean
        latent: Floats = lean * self.risk + np.sqrt(1 - lean**2) * self.rng.standard_normal(len(self.risk))
        return latent


def _issue_months(rng: np.random.Generator, rows: int, month: date | None) -> npt.NDArray[np.int64]:
    last = months_since_1900(month or _SNAPSHOT)
    return np.full(rows, last) if month else last - rng.integers(0, _MONTHS, rows)


def _texts(field: LoanField, contract: Contract, draw: _Draw) -> list[str | None]:
    rows = len(draw.risk)
    if field.role == "id":
        return [f"{1 + draw.seed % 98}{number:08d}" for number in range(rows)]
    if field.kind == "month":
        months = draw.issued if field.role == "time" else draw.issued - draw.rng.integers(12, 360, rows)
        return [_month_text(field.format, _month(number)) for number in months.tolist()]
    if field.kind == "text":
        return [f"T{number:02d}" for number in draw.rng.integers(0, 20, rows).tolist()]
    if field.levels:
        cuts = np.quantile(latent := draw.latent(field), np.linspace(0, 1, len(field.levels) + 1)[1:-1])
        texts: list[str | None] = [field.levels[int(level)] for level in np.searchsorted(cuts, latent)]
        return _with_gaps(field, texts, draw)
    numbers = _numbers(field, contract, draw)
    return _with_gaps(field, [_number_text(number, contract) for number in (numbers / field.scale).tolist()], draw)


def _with_gaps(field: LoanField, texts: list[str | None], draw: _Draw) -> list[str | None]:
    if not field.nullable or field.required or field.name == TERM:
        return texts
    missing = draw.rng.random(len(texts)) < _MISSING
    return [None if gap else text for text, gap in zip(texts, missing.tolist(), strict=True)]


def _numbers(field: LoanField, contract: Contract, draw: _Draw) -> Floats:
    """Draw numbers around the middle of the field's range, on a log scale where that is long."""
    low, high = field.range or (0.0, 100.0)
    if field.name == TERM and field.unit == "months":
        terms = [months for months in _TERMS if low <= months <= high][-2:] or [round((low + high) / 2)]
        return by_level(terms, pick_levels(draw.rng, len(draw.risk), np.ones(len(terms))))
    latent, values = draw.latent(field), draw.risk
    if low >= 0 and high >= _LONG_RANGE * max(low, 1):
        first, last = np.log(max(low, 1)), np.log(high)
        values = np.exp((first + last) / 2 + (last - first) / 12 * latent)
    else:
        values = (low + high) / 2 + (high - low) / 8 * latent
    rounded: Floats = np.clip(np.round(values, 0 if field.unit in _WHOLE else 2), low, high)
    return rounded


def _number_text(number: float, contract: Contract) -> str:
    text = np.format_float_positional(float(f"{number:.12g}"), trim="-")
    return text.replace(".", contract.files.decimal)


def _month(number: int) -> date:
    return date(1900 + number // 12, number % 12 + 1, 1)


def _month_text(formats: tuple[str, ...], month: date) -> str:
    """Write a month by the first of a field's formats."""
    form = formats[0] if formats else "%Y-%m"
    count, since, start = form.partition(" since ")
    if not since:
        return month.strftime(form.replace("%-", "%"))
    first = date.fromisoformat(start)
    if count == "months":
        return str((month.year - first.year) * 12 + month.month - first.month)
    days = (month - first).days
    return str(days if count == "days" else days * 86_400)


def _statuses(
    contract: Contract,
    rng: np.random.Generator,
    risk: Floats,
    issued: npt.NDArray[np.int64],
    columns: Mapping[str, list[str | None]],
) -> list[str | None]:
    """Draw how each loan ended; what has not matured by the snapshot is unresolved where the book has a word for it."""
    least, most = contract.expect.default_rate_between
    rate = float(np.clip(_RATE, least + (most - least) / 4, most - (most - least) / 4))
    chances = 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) * np.sqrt(1 + 0.35 * _SLOPE**2) + _SLOPE * risk)))
    defaulted = rng.random(len(risk)) < chances
    outcome, open_words = contract.outcome, contract.outcome.unresolved
    due = issued + np.nan_to_num(_terms(contract, columns, len(risk))) + outcome.grace_months
    running = np.zeros(len(risk), bool)
    if contract.has_time and not contract.outcomes_are_final and open_words:
        running = due > months_since_1900(_SNAPSHOT)
    return [
        open_words[0] if runs else (outcome.defaulted if bad else outcome.repaid)[0]
        for runs, bad in zip(running.tolist(), defaulted.tolist(), strict=True)
    ]


def _terms(contract: Contract, columns: Mapping[str, list[str | None]], rows: int) -> Floats:
    """Return the term of each loan in months, as the contract gives it."""
    term = contract.term
    if isinstance(term, int):
        return np.full(rows, float(term))
    if isinstance(term, Horizon):
        return np.full(rows, float(term.horizon))
    if isinstance(term, ProductTerm):
        levels = columns[contract.by_name[term.by].column]
        return np.array([float(term.months.get(level or "", 0)) for level in levels])
    if TERM not in contract.by_name or contract.by_name[TERM].column not in columns:
        return np.zeros(rows)
    field = contract.by_name[TERM]
    texts = columns[field.column]
    return np.array([float((text or "0").replace(contract.files.decimal, ".")) * field.scale for text in texts])
