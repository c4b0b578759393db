"""The records of decisions in a journal, by column, and the table that they become: a row for each application.

A request's thread gathers what it decided into a record; what it takes to make a table of it is left to whoever reads.
How frames come on the disk is `journal`'s, when they become files `prediction_log`'s.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.book import Contract
from loan_default.risk.model.online_features import Applications
from loan_default.risk.model.scorer import DECISIONS, SCORED, VALUED, Predictions, Scorer
from loan_default.serving.decision_id import microseconds_of, text_of_rows, texts_from_bytes

if TYPE_CHECKING:
    from loan_default.serving.protocol import Output

_MANY_ROWS = 100  # of one request, which then has a record of its own
_ANSWERED: Mapping[str, pl.DataType] = {
    "decision_id": pl.String(),
    "request_id": pl.String(),
    "scored_at": pl.Datetime("us", "UTC"),
    "id": pl.String(),
    "pd": pl.Float64(),
    "score": pl.Int64(),
    "decision": pl.String(),
    "reasons": pl.List(pl.String),
    "reason_codes": SCORED["reason_codes"],
    **VALUED,  # null where the version has no value
    "model_version": pl.Int64(),
    "approve_below": pl.Float64(),
    "decline_from": pl.Float64(),
    "decision_by": pl.String(),
    "approve_npv_from": pl.Float64(),
    "decline_npv_below": pl.Float64(),
    "contract_fingerprint": pl.String(),
    "policy_fingerprint": pl.String(),
    "output": pl.String(),
    "caller": pl.String(),
    "on_behalf_of": pl.String(),
    "trace_id": pl.String(),
    "shadow_version": pl.Int64(),
    "shadow_pd": pl.Float64(),
}
_BRIEF = "decision_id scored_at id pd score decision model_version caller on_behalf_of"
BRIEF = {name: _ANSWERED[name] for name in _BRIEF.split()}  # columns of a list of decisions

_POSITION = ">u2"  # of a row in its request: what the last bytes of its decision's id say
_FIRST_POSITION = bytes(2)
_DECIDED = {decision: position for position, decision in enumerate(DECISIONS)}


def log_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Return the columns of a row: the answer, then the contract's features in natural units, its levels as text.

    Behind them stands a term that an application may say and no model sees. A file has the month of scoring as well, in
    the place of an application's own: it can be scored as a batch. In a book without a date it has none.
    """
    fields = {field.name: pl.Float64() if field.kind == "number" else pl.String() for field in contract.logged_fields}
    return {**_ANSWERED, **fields}


class DecidingVersion(msgspec.Struct, frozen=True, array_like=True, tag="version"):
    """The version that decided, once for all its rows in a segment: its cut-offs, fingerprints and fields.

    `fields`: names of the values in their order, and the levels of those that have some; `month`: the name of the field
    in the place of which the month of scoring stands.
    """

    version: int
    fields: tuple[tuple[str, tuple[str, ...]], ...]
    month: str | None
    approve_below: float
    decline_from: float
    contract_fingerprint: str
    policy_fingerprint: str
    decision_by: str = "pd"
    approve_npv_from: float = 0.0
    decline_npv_below: float = 0.0

    @classmethod
    def of(cls, version: int, scorer: Scorer) -> DecidingVersion:
        """Describe a version by what it was registered with."""
        contract, policy = scorer.contract, scorer.policy
        return cls(
            version,
            tuple((field.name, field.levels) for field in contract.logged_fields),
            contract.time_name if contract.has_time else None,
            policy.approve_below,
            policy.decline_from,
            contract.fingerprint,
            policy.fingerprint,
            policy.by,
            policy.approve_npv_from,
            policy.decline_npv_below,
        )


class Entry(msgspec.Struct, frozen=True):
    """One version's decisions on one request; `first` is the id of the request's first row.

    `positions`: of the rows in the request, where they are not all of it.
    """

    first: int
    version: int
    scorer: Scorer
    applications: Applications
    predictions: Predictions
    output: Output = "full"
    request_id: str = ""
    trace_id: str = ""
    caller: str = ""
    on_behalf_of: str = ""
    positions: Sequence[int] | None = None


class Decisions(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="decisions"):
    """One version's decisions on some requests, by column, as the journal keeps them: so they become a table quickly.

    Of each request: `firsts` (16 bytes), how many `rows` it has, and texts. Of each row: `positions` (2 bytes), and 8
    bytes a number `values` as `Applications` have them, `terms` if any, `pds`, `scores` and, of a version that has a
    value, what it is `worth` (`VALUED`); `decisions` as positions among all that there are (a byte), lists as JSON. The
    values of a single request stand by column, as they came.
    """

    version: int
    firsts: bytes
    rows: list[int]
    request_id: list[str]
    trace_id: list[str]
    caller: list[str]
    on_behalf_of: list[str]
    output: list[str]
    positions: bytes
    id: list[str | None]
    values: memoryview  # which reading does not copy
    terms: bytes
    pds: bytes
    scores: bytes
    decisions: bytes
    reasons: str
    reason_codes: str
    worth: bytes = b""

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Self:
        """Gather the entries of one version."""
        flat = chain.from_iterable
        applications, predictions = [entry.applications for entry in entries], [entry.predictions for entry in entries]
        return cls(
            version=entries[0].version,
            firsts=b"".join([entry.first.to_bytes(16) for entry in entries]),
            rows=[len(of_request.ids) for of_request in applications],
            request_id=[entry.request_id for entry in entries],
            trace_id=[entry.trace_id for entry in entries],
            caller=[entry.caller for entry in entries],
            on_behalf_of=[entry.on_behalf_of for entry in entries],
            output=[entry.output for entry in entries],
            positions=b"".join([_positions_of(entry) for entry in entries]),
            id=[*flat(of_request.ids for of_request in applications)],
            values=_values_of(applications),
            terms=_packed("d", flat(of_request.terms for of_request in applications if of_request.terms is not None)),
            pds=_packed("d", flat(of_request.pds for of_request in predictions)),
            scores=_packed("q", flat(of_request.scores for of_request in predictions)),
            decisions=bytes(map(_DECIDED.__getitem__, flat(of_request.decisions for of_request in predictions))),
            reasons=_json_of(flat(of_request.reasons for of_request in predictions)),
            reason_codes=_json_of(flat(of_request.reason_codes for of_request in predictions)),
            worth=_packed("d", flat(flat(of_request.values for of_request in predictions))),
        )


_Records = list[DecidingVersion | Decisions]
_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Records)

# Gives the challenger's version and its PD of each row, None of a row that it is not to score.
Shadow = Callable[[DecidingVersion, Sequence[str | None], Floats], tuple[int, Sequence[float | None]] | None]


def records_of(entries: Sequence[Entry]) -> Iterator[Decisions]:
    """Yield the records of one version's entries: a request of many rows has its own."""
    few = [entry for entry in entries if len(entry.applications.ids) < _MANY_ROWS]
    if few:
        yield Decisions.of(few)
    for entry in entries:
        if len(entry.applications.ids) >= _MANY_ROWS:
            yield Decisions.of([entry])


def encode(records: Iterable[DecidingVersion | Decisions]) -> bytes:
    """Write what a frame of the journal holds; `read_records` reads it."""
    return _encoder.encode([*records])


def read_records(payload: bytes) -> _Records:
    """Read what a frame of the journal holds."""
    return _decoder.decode(payload)


def table_of(deciding: DecidingVersion, records: Sequence[Decisions], shadow: Shadow | None = None) -> pl.DataFrame:
    """Build the rows of one version's decisions, with the columns of `log_schema`."""
    return complete_rows(deciding, [plain_rows(deciding, records, shadow)])


def brief_table(version: int, records: Sequence[Decisions]) -> pl.DataFrame:
    """Build the rows of one version's decisions with the columns of `BRIEF` alone, in a tenth of the time."""
    deciding = pl.lit(version, dtype=_ANSWERED["model_version"]).alias("model_version")
    return _answers(records).with_columns(*_answer_types(), deciding).select(*BRIEF)


def plain_rows(deciding: DecidingVersion, records: Sequence[Decisions], shadow: Shadow | None) -> pl.DataFrame:
    """Build the rows with plain values; few at once, as the interpreter is locked meanwhile."""

    def lists(name: str) -> pl.Series:
        of_record = [(getattr(record, name), len(record.id)) for record in records]
        if not any(text for text, _ in of_record):
            return pl.Series(name, [[]], _ANSWERED[name]).new_from_index(0, len(ids))
        texts_of = [text or f"[{','.join(['[]'] * rows)}]" for text, rows in of_record]
        return pl.Series(name, texts_of).str.json_decode(pl.List(_ANSWERED[name])).explode()

    ids, values = _texts(records, "id"), np.concatenate([_by_column(record) for record in records], axis=1)
    terms = _numbers(records, "terms", np.float64)
    shadow_version, shadow_pds = (shadow and shadow(deciding, ids, values.T)) or (None, [None] * len(ids))
    natural = [*values, *([terms] if terms.size else [])]
    worth = _numbers(records, "worth", np.float64).reshape(-1, len(VALUED)).T
    if not worth.size:
        worth = np.full((len(VALUED), len(ids)), np.nan)
    return _answers(records).hstack(
        [
            lists("reasons"),
            lists("reason_codes"),
            *(pl.Series(name, column) for name, column in zip(VALUED, worth, strict=True)),
            pl.Series("shadow_version", [shadow_version], pl.Int64).new_from_index(0, len(ids)),
            pl.Series("shadow_pd", shadow_pds, pl.Float64),
            *(pl.Series(name, column) for (name, _), column in zip(deciding.fields, natural, strict=True)),
        ]
    )


def complete_rows(deciding: DecidingVersion, rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Give rows of one version their types, levels, and what is the same in all; without the interpreter's lock."""
    of_version = {
        "model_version": deciding.version,
        "approve_below": deciding.approve_below,
        "decline_from": deciding.decline_from,
        "decision_by": deciding.decision_by,
        "approve_npv_from": deciding.approve_npv_from,
        "decline_npv_below": deciding.decline_npv_below,
        "contract_fingerprint": deciding.contract_fingerprint,
        "policy_fingerprint": deciding.policy_fingerprint,
    }
    names = [name for name, _ in deciding.fields]
    return (
        pl.concat(rows)
        .with_columns(
            *_answer_types(),
            pl.when(pl.col("shadow_pd").is_not_null()).then("shadow_version"),
            *(pl.lit(value, dtype=_ANSWERED[name]).alias(name) for name, value in of_version.items()),
            *(_natural(name, levels) for name, levels in deciding.fields),
            pl.col(*VALUED).fill_nan(None),
        )
        .select(*_ANSWERED, *names)
    )


def _positions_of(entry: Entry) -> bytes:
    count, positions = len(entry.applications.ids), entry.positions
    if positions is None and count == 1:  # as most are
        return _FIRST_POSITION
    return (np.arange(count) if positions is None else np.array(positions)).astype(_POSITION).tobytes()


def _packed(form: Literal["d", "q"], numbers: Iterable[float]) -> bytes:
    values = [*numbers]
    return struct.pack(f"={len(values)}{form}", *values)  # in a fourth of the time of an array


def _values_of(applications: Sequence[Applications]) -> memoryview:
    values = [of_request.values for of_request in applications]
    if all(type(of_request) is list for of_request in values):  # of one application: numpy takes ten times as long
        return memoryview(_packed("d", chain.from_iterable(row for (row,) in values)))
    if len(values) == 1:  # which are not copied where they stand by column, as they are read
        return np.ascontiguousarray(np.asarray(values[0], dtype=np.float64).T).data.cast("B")
    return memoryview(b"".join([np.asarray(of_request, dtype=np.float64).tobytes() for of_request in values]))


def _json_of(lists: Iterable[list[Any]]) -> str:
    """Write lists as JSON, in which nothing stands where all of them are empty."""
    values = [*lists]
    return orjson.dumps(values).decode() if any(values) else ""


def _answers(records: Sequence[Decisions]) -> pl.DataFrame:
    """Build what was decided, and of each row's request who asked and how, with plain values."""
    request_of = np.repeat(np.arange(len(rows := _texts(records, "rows"))), rows)
    named = ("request_id", "trace_id", "caller", "on_behalf_of", "output")
    firsts = b"".join([record.firsts for record in records])
    texts = {name: pl.Series([text or None for text in _texts(records, name)], dtype=pl.String) for name in named}
    of_request = pl.DataFrame({"first": texts_from_bytes(firsts), **texts})
    moments = microseconds_of(np.frombuffer(firsts, ">u8")[::2])
    return of_request[request_of].hstack(
        [
            pl.Series("row", _numbers(records, "positions", _POSITION).astype(np.int64)),
            pl.Series("scored_at", moments[request_of].astype(np.int64)),
            pl.Series("id", _texts(records, "id"), pl.String),
            pl.Series("pd", _numbers(records, "pds", np.float64)),
            pl.Series("score", _numbers(records, "scores", np.int64)),
            pl.Series("decision", _numbers(records, "decisions", np.uint8)),
        ]
    )


def _texts(records: Sequence[Decisions], name: str) -> list[Any]:
    return [*chain.from_iterable(getattr(record, name) for record in records)]


def _numbers(records: Sequence[Decisions], name: str, kind: Any) -> NDArray[Any]:
    return np.frombuffer(b"".join([getattr(record, name) for record in records]), dtype=kind)


def _by_column(record: Decisions) -> Floats:
    """Return the values of a record (fields, n)."""
    values = np.frombuffer(record.values)
    return values.reshape(-1, len(record.id)) if len(record.rows) == 1 else values.reshape(len(record.id), -1).T


def _answer_types() -> Iterator[pl.Expr]:
    """Yield ids, decisions and moments of plain values."""
    yield text_of_rows(pl.col("first"), pl.col("row")).alias("decision_id")
    yield _levels(pl.col("decision"), DECISIONS)
    yield pl.col("scored_at").cast(_ANSWERED["scored_at"])


def _natural(name: str, levels: Sequence[str]) -> pl.Expr:
    column = pl.col(name).fill_nan(None)
    return _levels(column.cast(pl.Int64) - 1, levels) if levels else column


def _levels(positions: pl.Expr, levels: Sequence[str]) -> pl.Expr:
    """Return the level at each position."""
    return pl.lit(pl.Series(levels)).gather(positions).alias(positions.meta.output_name())
