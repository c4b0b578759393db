"""MLflow's scoring protocol: a request's body to applications, answers to its JSON, refusals to its error form.

The JSON forms that loan systems send are decoded here, without a frame; every other form by MLflow's own decoders.
What an application may hold is `risk`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, NamedTuple, get_args

import msgspec
import orjson
import polars as pl

from loan_default.risk.model.scorer import Predictions

Output = Literal["full", "pd", "label"]

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
SPLIT = "dataframe_split"
FORMS = (SPLIT, "dataframe_records", "inputs", "instances")
PARAMS = ("params", "parameters")  # MLflow's name, and Vertex AI's, which goes with instances
_COLUMNS = 100  # callers send few sequences of columns; one that sends ever new ones must not fill the memory
_PANDAS_INDEX = r"^__index_level_\d+__$"  # column in which pandas keeps the names of rows
_MAX_REASON = 300  # characters of what a library says of a body


class Refused(Exception):
    """A request that is refused: an HTTP status, MLflow's error code, and one sentence."""

    def __init__(
        self,
        status: int,
        code: str,
        sentence: str,
        retry_after: int | None = None,
        *,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence = status, code, sentence
        self.retry_after, self.headers = retry_after, headers

    @property
    def body(self) -> bytes:
        """MLflow's error form, without a stack trace."""
        return orjson.dumps({"error_code": self.code, "message": self.sentence})


def invalid(sentence: str) -> Refused:
    """Refuse a caller's mistake."""
    return Refused(400, "INVALID_PARAMETER_VALUE", sentence)


class Request(NamedTuple):
    """Decoded input: field names, the values of each application in their order, and the form of the answer."""

    names: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    output: Output = "full"


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    output: Output = "full"


class _Columns(msgspec.Struct):
    columns: list[str]


class _Peek(msgspec.Struct):
    dataframe_split: _Columns


class QuickDecoder:
    """A decoder of the JSON forms that loan systems send, straight into applications of a type that msgspec knows.

    Rows of a `dataframe_split` are decoded in one pass as long as callers send the columns that they sent last.
    """

    def __init__(self, form: type[msgspec.Struct], row_form: Callable[[Sequence[str]], Any]) -> None:
        """Decode objects of `form`, and lists as the type of tuples that `row_form` gives for their columns' names."""
        self._form, self._row_form = form, row_form
        self._for_columns = lru_cache(_COLUMNS)(self._make)
        self._latest = self._make(())

    def decode(self, body: bytes) -> Request | None:
        """Decode a body; None where `decode` has to look, and to say what is wrong."""
        names, decoder = self._latest
        request = self._by(decoder, names, body)
        if request is None and (peeked := _decoded(_PEEK, body)) is not None:
            self._latest = names, decoder = self._for_columns(tuple(peeked.dataframe_split.columns))
            request = self._by(decoder, names, body)
        return request

    def _by(self, decoder: msgspec.json.Decoder[Any], names: tuple[str, ...], body: bytes) -> Request | None:
        if (decoded := _decoded(decoder, body)) is None:
            return None
        *forms, params, parameters = msgspec.structs.astuple(decoded)
        forms_sent = [applications for applications in forms if applications is not msgspec.UNSET]
        if len(forms_sent) != 1 or (parameters and (params or decoded.instances is msgspec.UNSET)):
            return None
        params = params or parameters
        applications = forms_sent[0]
        output: Output = params.output if params else "full"
        if type(applications) is list:
            return Request(self._form.__struct_fields__, [*map(msgspec.structs.astuple, applications)], output)
        return Request(names, applications.data, output) if tuple(applications.columns) == names else None

    def _make(self, names: tuple[str, ...]) -> tuple[tuple[str, ...], msgspec.json.Decoder[Any]]:
        """Return the names, and what decodes a body with lists of them; any body with objects too."""
        forms: dict[str, Any] = {name: list[self._form] for name in FORMS if name != SPLIT}  # type: ignore[name-defined]
        if (row := self._row_form(names)) is not None:
            forms[SPLIT] = msgspec.defstruct("Split", [("columns", list[str]), ("data", list[row])])  # type: ignore[valid-type]
        fields = [(name, kind | msgspec.UnsetType, msgspec.UNSET) for name, kind in forms.items()]
        params = [(name, _Params | None, None) for name in PARAMS]
        body = msgspec.defstruct("Body", [*fields, *params], forbid_unknown_fields=True)
        return names, msgspec.json.Decoder(body)


_PEEK = msgspec.json.Decoder(_Peek)


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def decode(body: bytes, content_type: str, *, at_most: int) -> Request:
    """Decode a request to score.

    Raises:
        Refused: 415 for a type that is not spoken, 400 for a body that is not what its type says or that holds no
            application, 413 for more than `at_most`.
    """
    request = _decode(body, content_type)
    if not request.rows:
        raise invalid("There is no application in the request; send at least one row.")
    if len(request.rows) > at_most:
        sentence = f"{len(request.rows):,} applications in one request; at most {at_most:,} are taken."
        raise Refused(413, "BAD_REQUEST", sentence)
    return request


def _decode(body: bytes, content_type: str) -> Request:
    kind, _, parameters = content_type.partition(";")
    kind, charset = kind.strip().lower(), parameters.strip().lower()
    if kind not in (JSON, CSV, PARQUET):
        sentence = f"Content-Type is {content_type!r}" if content_type else "Content-Type is missing"
        raise Refused(415, "BAD_REQUEST", f"{sentence}; it must be {JSON}, {CSV} or {PARQUET}.")
    if charset.replace(" ", "").strip('"') not in ("", "charset=utf-8", 'charset="utf-8'):
        raise Refused(415, "BAD_REQUEST", f"Content-Type is {content_type!r}; only charset=utf-8 is understood.")
    if kind == CSV:
        return _as_table(lambda: pl.read_csv(body, infer_schema=False))  # what is a number is the contract's to say
    if kind == PARQUET:
        return _as_table(lambda: pl.read_parquet(body).select(pl.exclude(_PANDAS_INDEX)))
    return _decode_json(body)


def _decode_json(body: bytes) -> Request:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not valid JSON: {str(error)[:_MAX_REASON].rstrip('.')}.") from None
    vertex = type(request) is dict and "instances" in request and "params" not in request
    params = request.pop(PARAMS[vertex], None) if type(request) is dict else None
    if type(request) is not dict or len(request) != 1 or (form := next(iter(request))) not in FORMS:
        raise invalid(_misformed(request))
    output = _output(params)
    content = request[form]
    if form == SPLIT:
        return _split(content, output)
    if type(content) is list and {dict}.issuperset(map(type, content)):
        return _records(content, output)
    if form == "dataframe_records":
        raise invalid("dataframe_records must be a list of objects, one for each application.")
    if type(content) is dict and {list}.issuperset(map(type, content.values())):
        return _lists(content, output)
    return _by_mlflow(lambda mlflow: mlflow.infer_and_parse_data({form: content}), output)


def _misformed(request: Any) -> str:
    forms = [name for name in FORMS if name in request] if isinstance(request, dict) else []
    if len(forms) != 1:
        return f"The body must be a JSON object with exactly one of {', '.join(FORMS)}."
    unknown = min(request.keys() - set(forms))
    return f"{unknown!r} is no part of a request; beside {forms[0]} only params may stand."


def _output(params: Any) -> Output:
    if params is None:
        return "full"
    if not isinstance(params, dict):
        raise invalid('params must be an object such as {"output": "pd"}.')
    if unknown := sorted(params.keys() - {"output"}):
        raise invalid(f"{unknown[0]!r} is no parameter; output is the only one.")
    output = params.get("output", "full")
    if output not in get_args(Output):
        raise invalid(f"The parameter output is {output!r}; it must be 'full', 'pd' or 'label'.")
    return output  # type: ignore[no-any-return]


def _records(records: Sequence[dict[str, Any]], output: Output) -> Request:
    """Turn objects into rows; where their fields differ, a row has None for a field that it lacks."""
    names = tuple(records[0]) if records else ()
    if all(tuple(row) == names for row in records):
        return Request(names, [[*row.values()] for row in records], output)
    names = tuple(dict.fromkeys(chain.from_iterable(records)))
    return Request(names, [[*map(row.get, names)] for row in records], output)


def _lists(columns: Mapping[str, Sequence[Any]], output: Output) -> Request:
    """Turn lists by field into rows; MLflow's own decoder makes text of numbers where one of them is null."""
    rows = len(next(iter(columns.values()), ()))
    if other := next((name for name, values in columns.items() if len(values) != rows), None):
        first = next(iter(columns))
        raise invalid(
            f"{first} has {rows} values and {other} {len(columns[other])}; each field needs one per application."
        )
    return Request(tuple(columns), [*zip(*columns.values(), strict=True)], output)


def _split(split: Any, output: Output) -> Request:
    columns = split.get("columns") if isinstance(split, dict) else None
    rows = split.get("data") if isinstance(split, dict) else None
    if not (isinstance(columns, list) and isinstance(rows, list) and all(type(name) is str for name in columns)):
        raise invalid("dataframe_split must be an object with columns, a list of names, and data, a list of rows.")
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise invalid(f"dataframe_split names the column {twice} twice.")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            sentence = f"Row {index}: dataframe_split has {len(columns)} columns; each row must be a list of as many."
            raise invalid(sentence)
    return Request(tuple(columns), rows, output)


def _as_table(read: Callable[[], pl.DataFrame]) -> Request:
    """Decode a table; whatever Polars raises is the caller's mistake."""
    try:
        table = read()
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise _no_table(error) from error
    return Request(tuple(table.columns), table.rows())


def _no_table(error: BaseException) -> Refused:
    reason = " ".join(str(error).split())[:_MAX_REASON].rstrip(".")
    return invalid(f"The body cannot be read as a table of applications: {reason}.")


def _by_mlflow(parse: Callable[[Any], Any], output: Output = "full") -> Request:
    """Decode by one of MLflow's own decoders; whatever it raises is the caller's mistake."""
    import pandas as pd
    from mlflow.pyfunc import scoring_server

    from loan_default.risk.data.loan_files import from_pandas

    try:
        table = parse(scoring_server)
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    except Exception as error:  # pandas and pyarrow raise of everything
        raise _no_table(error) from error
    if not all(isinstance(name, str) for name in frame.columns):
        raise invalid("The applications have no field names; send each as an object of field names and values.")
    return Request(tuple(frame.columns), from_pandas(frame).rows(), output)


def encode(predictions: Predictions, output: Output, decision_ids: Sequence[str] = ()) -> bytes:
    """Encode predictions in the form that was asked for, as MLflow's server writes them; the full one with ids."""
    values: list[Any]
    if output == "pd":
        values = predictions.pds
    elif output == "label":
        values = [int(decision == "decline") for decision in predictions.decisions]
    else:
        values = [
            {"pd": pd, "score": score, "decision": decision, "reasons": reasons, "reason_codes": codes}
            for pd, score, decision, reasons, codes in zip(*predictions, strict=True)
        ]
        for value, decision_id in zip(values, decision_ids, strict=False):
            value["decision_id"] = decision_id
    return orjson.dumps({"predictions": values})
