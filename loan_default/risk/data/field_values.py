"""Turns the columns of a loan table into the contract's fields in natural units, with the rules of a usable row.

Everything here is an expression over a lazy frame. Reading one text or month belongs in `parsing`, running the
expressions over files in `cleaning`, over single applications in `applications`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import date
from typing import Any

import polars as pl
import polars.selectors as cs

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.columns import FOLLOWED_FROM, LAST_PAYMENT, MATURES, MONTHS_PAID, OUTCOME, OUTCOME_KNOWN
from loan_default.risk.contract.field import LoanField
from loan_default.risk.contract.file_format import FileFormat, FileLayout
from loan_default.risk.contract.outcome import OutcomeKnown
from loan_default.risk.data.delimited import FAULT, ROW
from loan_default.risk.data.loan_files import LoanTable, Source
from loan_default.risk.data.parsing import (
    Vocabulary,
    as_exact_text,
    as_text,
    numeric_words,
    read_month,
    read_number,
    read_parts,
    source_column,
    translate_words,
    why_no_date,
    why_no_month,
    why_no_number,
)
from loan_default.risk.data.rejections import FAULTY, RAW, RAW_SNAPSHOT, UNSEEN, RowRule
from loan_default.risk.expressions import Expression
from loan_default.risk.loan_order import term_months
from loan_default.risk.month_texts import MONTH_CODES, coded_month_number, month_number, months_after_number

_LOST = "[\\x00\ufffd]"  # a nought, and what stands for bytes that are not of the file's encoding
_NO_LETTERS = f"[\ufffd{''.join(UNSEEN)}]"

_COMPUTED = "computed:"  # prefix of the columns that hold what is derived, until it is there where the file has nothing
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_EXACT = 2**53  # beyond this not every whole number is a float
_REMEDIES = {  # where letters were lost
    "text": "save the file as UTF-8, or say its encoding under files in the contract",
    "parquet": "they were lost before the Parquet file was written; write it anew from its source",
}

Dtypes = Mapping[str, pl.DataType]


def parse_table(table: LoanTable, contract: Contract, *, with_outcome: bool) -> tuple[pl.LazyFrame, list[RowRule]]:
    """Put the contract's fields beside the file's columns, and give the rules that a usable row keeps.

    Returns:
        A frame with `ROW` and `FAULT` as the table has them, each field under its name (null where the file lacks it or
        no value can be read), what the file says of it under `RAW` + name, and with the outcome also `outcome` and,
        where loans mature, `matures`; and the rules, those of reading first.
    """
    frame, dtypes = _from_layout(table, contract.files)
    fields = (*contract.fields, *contract.outcome.fields) if with_outcome else contract.application_fields
    present = [field for field in fields if field.column in dtypes]
    faults = [FAULT] if FAULT in dtypes else []
    frame = frame.select(ROW, *faults, *_raw_columns(present, dtypes, contract, with_outcome=with_outcome))
    frame = frame.with_columns(
        _value(field, dtypes[field.column], contract.files).alias(field.name)
        if field.column in dtypes
        else _null(field)
        for field in fields
    )
    limited = [field for field in fields if field.outside != "reject"]
    frame = frame.with_columns(_limit(field, pl.col(field.name)) for field in limited if not field.derived)
    frame = _with_derived(frame, contract, {field.name for field in fields}, dtypes)
    frame = frame.with_columns(_loan_id(table, contract))
    rules = [*([FAULTY] if faults else []), *_field_rules(table, contract, fields, dtypes)]
    if with_outcome:
        frame = frame.with_columns(_outcome(contract, dtypes))
        rules += _outcome_rules(contract, dtypes)
        if not contract.outcomes_are_final:
            frame = frame.with_columns(_maturity(contract, dtypes))
        if rule := contract.outcome.known:
            frame = frame.with_columns(_last_payment(contract, rule, dtypes))
    return frame, rules


def _field_rules(table: LoanTable, contract: Contract, fields: Sequence[LoanField], dtypes: Dtypes) -> list[RowRule]:
    """List the rules on single fields: whether each was read as it stands, then whether its value is allowed."""
    present = [field for field in fields if field.column in dtypes]
    rules = [
        _reading_rule(field, dtypes[field.column], contract, table.source)
        for field in present
        if not _always_readable(field, dtypes)
    ]
    rules += [
        _letters_rule(field, dtypes[field.column], _REMEDIES[table.source])
        for field in present
        if field.kind == "text" and table.source != "request" and dtypes[field.column] in _TEXTS
    ]
    rules += [
        _figures_rule(field)
        for field in present
        if field.kind == "text" and table.source != "request" and dtypes[field.column].is_float()
    ]
    rules += [rule for field in fields for rule in _value_rules(field)]
    if table.read_on:
        past = (contract.time_name if contract.has_time else None, LAST_PAYMENT)
        rules += [_future_rule(field, table.read_on) for field in present if field.name in past]
    return rules


def no_loan(contract: Contract) -> pl.Expr:
    """Return true for the published file's summary lines, and for lines with neither an id nor any required value.

    Where nothing is required these are lines without any value.
    """
    required = contract.lacking((field for field in contract.fields if field.required), ())
    needed = [*contract.with_role("id"), *required] if required else contract.fields
    blank = pl.all_horizontal(cs.by_name([RAW + field.name for field in needed], require_all=False).is_null())
    if not contract.not_loans:
        return blank
    return blank | pl.col(contract.id_name).str.contains("|".join(contract.not_loans)).fill_null(False)


# --- layouts --------------------------------------------------------------------------------------------------


def _from_layout(table: LoanTable, files: FileFormat) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    """Turn the table's layout back into natural units."""
    frame, dtypes, layout = table.frame, dict(table.dtypes), table.layout
    if layout is None:
        return frame, dtypes
    for column, texts in layout.texts.items():
        if column in dtypes:
            text = as_text(source_column(column, dtypes[column], files.nothing, texts), dtypes[column])
            words = Vocabulary.of(texts, files.decimal)
            frame = frame.with_columns(words.translate(text, text, pl.String).alias(column))
            dtypes[column] = pl.String()
    for column in (name for name in layout.log1p if name in dtypes):
        natural = (plain_number(pl.col(column), dtypes[column], files).exp() - 1).round(2).cast(pl.String)
        natural = natural.str.replace(".", files.decimal, literal=True)
        frame = frame.with_columns(pl.coalesce(natural, pl.col(column).cast(pl.String)).alias(column))
        dtypes[column] = pl.String()
    return _complete_year(frame, dtypes, layout, files.nothing)


def _complete_year(
    frame: pl.LazyFrame, dtypes: dict[str, pl.DataType], layout: FileLayout, nothing: Sequence[str]
) -> tuple[pl.LazyFrame, dict[str, pl.DataType]]:
    if layout.year is None:
        return frame, dtypes
    dtype = dtypes[layout.year.column]
    year = as_text(source_column(layout.year.column, dtype, nothing), dtype).str.strip_suffix(".0")
    frame = frame.with_columns(pl.format("{}-{}", year, pl.lit(f"{layout.year.month:02d}")).alias(layout.year.field))
    return frame, {**dtypes, layout.year.field: pl.String()}


# --- values ---------------------------------------------------------------------------------------------------


def _raw_columns(
    present: list[LoanField], dtypes: Dtypes, contract: Contract, *, with_outcome: bool
) -> Iterator[pl.Expr]:
    files, dated_by = contract.files, contract.dated_by
    for field in present:
        yield _raw_column(field, dtypes[field.column], files).alias(RAW + field.name)
    if with_outcome:
        column, own = contract.outcome.column, contract.outcome.label_of
        yield source_column(column, dtypes[column], files.nothing, own).alias(RAW + OUTCOME)
    if dated_by is not None and dated_by.column in dtypes:
        yield source_column(dated_by.column, dtypes[dated_by.column], files.nothing).alias(RAW_SNAPSHOT)


def _raw_column(field: LoanField, dtype: pl.DataType, files: FileFormat) -> pl.Expr:
    """Return what the file says of a field; null where it says nothing."""
    empty = [word for word, meaning in field.words.items() if meaning is None]
    raw = source_column(field.column, dtype, [*files.nothing, *empty], [*field.levels, *_meanings(field)])
    numbers = [*numeric_words(empty).values()]
    if field.kind != "number" or not numbers:
        return raw
    return pl.when(~_number_of_file(field, raw, dtype, files).is_in(numbers).fill_null(False)).then(raw)


def _raw(field: LoanField) -> pl.Expr:
    return pl.col(RAW + field.name)


def _meanings(field: LoanField) -> dict[str, Any]:
    """Return the words that stand for a value, with it."""
    return {word: meaning for word, meaning in field.words.items() if meaning is not None}


def _value(field: LoanField, dtype: pl.DataType, files: FileFormat) -> pl.Expr:
    if field.levels and _are_coded(field.levels, dtype):
        return _raw(field)
    if field.kind == "number":
        return _number(field, dtype, files)
    if field.kind in ("ordered", "nominal"):
        return _level(field, dtype, files)
    if field.kind == "month":
        return read_month(_raw(field), dtype, field.format, field.century)
    return as_exact_text(_raw(field), dtype)


def _number(field: LoanField, dtype: pl.DataType, files: FileFormat) -> pl.Expr:
    """Read the natural value as Float64; null where there is none or none can be read."""
    number = _number_of_file(field, _raw(field), dtype, files)
    # A hundred times 0.07 is 7.000000000000001 for a processor: figures that no file has are rounded away.
    value = number if field.scale == 1 else (number * field.scale).round_sig_figs(15)
    texts = _meanings(field)
    numbers = {written: texts.pop(word) for word, written in numeric_words(texts).items()}
    value = translate_words(number, numbers, value, pl.Float64)
    if dtype.is_numeric() or not texts:
        return value
    return Vocabulary.of(texts).translate(as_text(_raw(field), dtype), value, pl.Float64)


def _number_of_file(field: LoanField, raw: pl.Expr, dtype: pl.DataType, files: FileFormat) -> pl.Expr:
    """Read a field's number as the file has it, before it is scaled."""
    percent = field.scale == 1 and (field.unit or "").startswith("percent")
    if field.parts and not dtype.is_numeric():
        return read_parts(as_text(raw, dtype), field.parts)
    return plain_number(raw, dtype, files, strip=field.strip, percent=percent)


def plain_number(
    raw: pl.Expr, dtype: pl.DataType, files: FileFormat, *, strip: str = "", percent: bool = False
) -> pl.Expr:
    """Read a number of a column that is one already, or a text as the book's files write it; null of another text."""
    if dtype.is_numeric():
        number = raw.cast(pl.Float64)
        return pl.when(number.is_not_nan()).then(number)  # half the steps of `fill_nan`
    text = as_text(raw, dtype)
    return read_number(text.str.strip_chars(" \t" + strip) if strip else text, files, percent=percent)


def _level(field: LoanField, dtype: pl.DataType, files: FileFormat) -> pl.Expr:
    vocabulary = Vocabulary.of(dict(zip(field.levels, field.levels, strict=True)) | _meanings(field), files.decimal)
    words = {vocabulary.spell(word): vocabulary.spell(level) for word, level in _meanings(field).items()}
    levels = [*map(vocabulary.spell, field.levels)]
    text = vocabulary.spell_column(as_text(_raw(field), dtype))
    level = translate_words(text, words, text, pl.String).cast(pl.Enum(levels), strict=False)
    return level if levels == [*field.levels] else level.to_physical().cat.to(pl.Enum(field.levels))


def _null(field: LoanField) -> pl.Expr:
    kinds: dict[str, Any] = {"number": pl.Float64, "month": pl.Date, "text": pl.String}
    return pl.lit(None, dtype=kinds.get(field.kind) or pl.Enum(field.levels)).alias(field.name)


def _with_derived(frame: pl.LazyFrame, contract: Contract, names: Set[str], dtypes: Dtypes) -> pl.LazyFrame:
    """Compute the derived fields of these names, those that are derived from others after these."""
    pending: dict[str, Expression] = {}
    for name, expression in contract.expressions.items():
        if name not in names:
            continue
        if not pending.keys().isdisjoint(expression.of):
            frame, pending = _derive(frame, pending, contract, dtypes), {}
        pending[name] = expression
    return _derive(frame, pending, contract, dtypes)


def _derive(
    frame: pl.LazyFrame, expressions: Mapping[str, Expression], contract: Contract, dtypes: Dtypes
) -> pl.LazyFrame:
    """Compute fields from those that they derive from, where the file does not give them."""
    fields = [contract.by_name[name] for name in expressions]
    frame = frame.with_columns(
        expression.columns(*(_argument(contract.by_name[source], dtypes) for source in expression.of)).alias(
            _COMPUTED + name
        )
        for name, expression in expressions.items()
    )
    values = [pl.coalesce(field.name, pl.col(_COMPUTED + field.name).fill_nan(None)) for field in fields]
    return frame.with_columns(
        (value if field.outside == "reject" else _limit(field, value)).alias(field.name)
        for field, value in zip(fields, values, strict=True)
    )


def _argument(field: LoanField, dtypes: Dtypes) -> pl.Expr:
    """Return what an expression takes of the field: its number, or the number of its month."""
    return _month_number(field, dtypes).cast(pl.Float64) if field.kind == "month" else pl.col(field.name)


def _month_number(field: LoanField, dtypes: Dtypes) -> pl.Expr:
    """Count the months of a month field since 1920, without asking the calendar where it was read as codes."""
    if dtypes.get(field.column) == MONTH_CODES:
        return coded_month_number(_raw(field))
    return month_number(pl.col(field.name))


def _loan_id(table: LoanTable, contract: Contract) -> pl.Expr:
    """Return the loan's own id, or the name of its file and its row where the file gives none."""

    def name_missing(columns: Sequence[pl.Series]) -> pl.Series:
        ids, rows = columns
        return ids if not ids.null_count() else ids.zip_with(ids.is_not_null(), f"{table.name}-" + rows.cast(pl.String))

    return pl.map_batches([contract.id_name, ROW], name_missing, return_dtype=pl.String, is_elementwise=True)


def _limit(field: LoanField, value: pl.Expr) -> pl.Expr:
    """Clip a value of the field to its range, or make it null outside of it, as the contract says."""
    if field.range is None:
        return value
    if field.outside == "clip":
        return value.clip(*field.range)
    return pl.when(value.is_between(*field.range)).then(value).alias(field.name)


def _status(contract: Contract, dtypes: Dtypes) -> pl.Expr:
    return as_text(pl.col(RAW + OUTCOME), dtypes[contract.outcome.column])


def _outcome(contract: Contract, dtypes: Dtypes) -> pl.Expr:
    null, statuses = pl.lit(None, dtype=pl.Int8), contract.outcome.label_of
    if _are_coded(statuses, dtypes[contract.outcome.column]):
        return translate_words(pl.col(RAW + OUTCOME), statuses, null, pl.Int8).alias(OUTCOME)
    vocabulary = Vocabulary.of(statuses, contract.files.decimal)
    return vocabulary.translate(_status(contract, dtypes), null, pl.Int8).alias(OUTCOME)


def _are_coded(words: Iterable[str], dtype: pl.DataType) -> bool:
    """Tell whether a column was read as codes of these words."""
    return isinstance(dtype, pl.Enum) and dtype == pl.Enum([*words])


def _maturity(contract: Contract, dtypes: Dtypes) -> pl.Expr:
    months = term_months(contract) + contract.outcome.grace_months
    issued = _month_number(contract.by_name[contract.time_name], dtypes)
    return months_after_number(issued, months).alias(MATURES)


def _last_payment(contract: Contract, rule: OutcomeKnown, dtypes: Dtypes) -> Iterator[pl.Expr]:
    """Return in which month the outcome was known, and how many months were paid.

    Where the file does not say that, or says one before the issue, an outcome is known when the loan matures. Where
    outcome files say it, `loan_status` does.
    """
    issued = _month_number(contract.by_name[contract.time_name], dtypes)
    elapsed, defaulted = [_month_number(field, dtypes) - issued for field in rule.fields], pl.col(OUTCOME) == 1
    months = elapsed[0] if elapsed else pl.lit(None, dtype=pl.Int32)
    is_in_file = rule.last_payment in dtypes
    never_paid = defaulted & pl.col(LAST_PAYMENT).is_null() if is_in_file else pl.lit(False)
    paid = pl.when(never_paid).then(0).when(months >= 0).then(months).cast(pl.Int32)
    until_known = pl.when(defaulted).then(paid + rule.months_after_default).otherwise(paid)
    month = pl.coalesce(months_after_number(issued, until_known), pl.col(MATURES))
    yield pl.when(pl.col(OUTCOME).is_not_null()).then(month).alias(OUTCOME_KNOWN)
    yield paid.alias(MONTHS_PAID)
    if contract.outcome.is_told_by_files:
        yield pl.lit(None, dtype=pl.Date).alias(FOLLOWED_FROM)


# --- rules ----------------------------------------------------------------------------------------------------


def _always_readable(field: LoanField, dtypes: Dtypes) -> bool:
    """Tell whether no value of the file can be rejected for want of being readable."""
    dtype = dtypes[field.column]
    if field.kind == "number":
        return dtype.is_numeric()
    if field.kind == "month":
        return dtype == MONTH_CODES
    return bool(field.levels) and (field.outside == "null" or _are_coded(field.levels, dtype))


def _reading_rule(field: LoanField, dtype: pl.DataType, contract: Contract, source: Source) -> RowRule:
    """Reject a row where the file says something of the field and nothing could be read from it."""
    text = as_text(_raw(field), dtype)
    changed = field.outside == "null" or field.derived  # null by its range, or computed in the place of what is there
    value = _value(field, dtype, contract.files) if changed else pl.col(field.name)
    unreadable = value.is_null() & text.is_not_null()
    if field.kind == "month":
        by_format, plain = why_no_date(text, field.allowed), pl.lit(f"is no month; it must be {field.allowed}")
        otherwise = plain if source == "request" or field.format else by_format
        why = why_no_month(_raw(field), dtype, field.format, otherwise)
        return RowRule(field.name, f"{field.name}: impossible date", unreadable, why)
    if field.kind == "number":
        allowed, is_file = f"is no number; it must be {field.allowed}", source != "request"
        reason = why_no_number(text, field.allowed) if is_file else allowed
        return RowRule(field.name, f"{field.name}: unreadable number", unreadable, reason)
    return RowRule(field.name, f"{field.name}: unknown level", unreadable, f"is not {field.allowed}")


def _letters_rule(field: LoanField, dtype: pl.DataType, remedy: str) -> RowRule:
    """Reject a row in which letters of the field were lost: two ids would become one; one by signs unseen, two."""
    text = as_text(_raw(field), dtype)
    lost, unseen = (
        f"holds bytes that are no letters; {remedy}",
        "holds a sign that nobody sees; take it out of the file",
    )
    why = pl.when(text.str.contains(_LOST)).then(pl.lit(lost)).otherwise(pl.lit(unseen))
    broken = text.str.contains(_NO_LETTERS if field.role == "id" else _LOST)
    return RowRule(field.name, f"{field.name}: unreadable text", broken, why)


def _figures_rule(field: LoanField) -> RowRule:
    """Reject a row whose text is a number of more figures than a float holds: two ids would become one."""
    why = "is a float, which has lost its last figures; write the column as text or as whole numbers"
    return RowRule(field.name, f"{field.name}: unreadable text", _raw(field).abs() > _EXACT, why)


def _value_rules(field: LoanField) -> Iterator[RowRule]:
    name, value = field.name, pl.col(field.name)
    if not field.nullable:
        yield RowRule(name, f"{name}: missing", value.is_null(), f"is missing; it must be {field.allowed}")
    if field.range is not None and field.outside == "reject":
        outside = ~value.is_between(*field.range)
        scaled = f"times {field.scale:g} " if field.scale != 1 else ""
        yield RowRule(name, f"{name}: out of range", outside, f"{scaled}is outside of {field.allowed}")


def _future_rule(field: LoanField, today: date) -> RowRule:
    """Reject a row that tells as past what is to come."""
    why = f"lies in the future, after {today:%Y-%m-%d}"
    return RowRule(field.name, f"{field.name}: in the future", pl.col(field.name) > today, why)


def _outcome_rules(contract: Contract, dtypes: Dtypes) -> list[RowRule]:
    column, status = contract.outcome.column, _status(contract, dtypes)
    if _are_coded(contract.outcome.label_of, dtypes[column]):
        status, unknown = pl.col(RAW + OUTCOME), pl.lit(False)
    else:
        unknown = ~Vocabulary.of(contract.outcome.label_of, contract.files.decimal).lists(status)
    return [
        RowRule(column, f"{column}: missing", status.is_null(), "is missing; every loan needs a status"),
        RowRule(
            column,
            f"{column}: unknown status",
            unknown,
            f"is no status that the contract lists: {', '.join(contract.outcome.label_of)}",
        ),
    ]
