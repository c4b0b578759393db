"""MLflow's scoring protocol: a request's body to applications, answers to its JSON, refusals to its error form.

The JSON forms that loan systems send are decoded here, without a frame; every other form by MLflow's own decoders.
What an application may hold is `risk`'s to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from typing import Any, Literal, NamedTuple, get_args

import orjson

from loan_default.risk.scoring import Answer

Output = Literal["full", "pd", "label"]

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
_SAID = 300  # characters of what a library says of a body


class Refused(Exception):
    """A request that is not answered: an HTTP status, MLflow's error code, and one sentence."""

    def __init__(self, status: int, code: str, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence, self.retry_after = status, code, sentence, retry_after

    @property
    def body(self) -> bytes:
        """MLflow's error form, without a stack trace."""
        return orjson.dumps({"error_code": self.code, "message": self.sentence})


def invalid(sentence: str) -> Refused:
    """The caller's mistake."""
    return Refused(400, "INVALID_PARAMETER_VALUE", sentence)


class Request(NamedTuple):
    """Decoded input, field names and values of each application."""

    applications: list[dict[str, Any]]
    output: Output = "full"


def decode(body: bytes, content_type: str) -> Request:
    """Decode a request to score.

    Raises:
        Refused: 415 for a type that is not spoken, 400 for a body that is not what its type says.
    """
    kind, _, parameters = content_type.partition(";")
    kind, charset = kind.strip().lower(), parameters.strip().lower()
    if kind not in (JSON, CSV, PARQUET):
        said = f"Content-Type is {content_type!r}" if content_type else "Content-Type is missing"
        raise Refused(415, "BAD_REQUEST", f"{said}; it must be {JSON}, {CSV} or {PARQUET}.")
    if charset.replace(" ", "").strip('"') not in ("", "charset=utf-8", 'charset="utf-8'):
        raise Refused(415, "BAD_REQUEST", f"Content-Type is {content_type!r}; only charset=utf-8 is understood.")
    if kind == CSV:
        return Request(_by_mlflow(lambda mlflow: mlflow.parse_csv_input(StringIO(body.decode("utf-8")))))
    if kind == PARQUET:
        return Request(_by_mlflow(lambda mlflow: mlflow.parse_parquet_input(BytesIO(body))))
    return _decode_json(body)


def _decode_json(body: bytes) -> Request:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not valid JSON: {str(error)[:_SAID].rstrip('.')}.") from None
    forms = [name for name in FORMS if name in request] if isinstance(request, dict) else []
    if len(forms) != 1:
        raise invalid(f"The body must be a JSON object with exactly one of {', '.join(FORMS)}.")
    (form,) = forms
    if unknown := sorted(request.keys() - {form, "params"}):
        raise invalid(f"{unknown[0]!r} is no part of a request; beside {form} only params may stand.")
    output = _output(request.get("params"))
    given = request[form]
    if form == "dataframe_split":
        return Request(_rows_of_split(given), output)
    if isinstance(given, list) and all(type(row) is dict for row in given):
        return Request(given, output)
    if form == "dataframe_records":
        raise invalid("dataframe_records must be a list of objects, one for each application.")
    return Request(_by_mlflow(lambda mlflow: mlflow.infer_and_parse_data({form: given})), output)


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


def _rows_of_split(split: Any) -> list[dict[str, Any]]:
    columns = split.get("columns") if isinstance(split, dict) else None
    rows = split.get("data") if isinstance(split, dict) else None
    if not (isinstance(columns, list) and isinstance(rows, list) and all(type(name) is str for name in columns)):
        raise invalid("dataframe_split must be an object with columns, a list of names, and data, a list of rows.")
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise invalid(f"dataframe_split names the column {twice} twice.")
    for at, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise invalid(f"Row {at}: dataframe_split has {len(columns)} columns; each row must be a list of as many.")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _by_mlflow(parse: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """What one of MLflow's own decoders makes of it; whatever it raises is the caller's mistake."""
    import pandas as pd
    from mlflow.pyfunc import scoring_server

    from loan_default.risk.applications import from_pandas

    try:
        table = parse(scoring_server)
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    except Exception as error:  # pandas and pyarrow raise of everything
        said = " ".join(str(error).split())[:_SAID].rstrip(".")
        raise invalid(f"The body cannot be read as a table of applications: {said}.") from error
    if not all(isinstance(name, str) for name in frame.columns):
        raise invalid("The applications have no field names; send each as an object of field names and values.")
    return from_pandas(frame).to_dicts()


def encode(answers: Sequence[Answer], output: Output) -> bytes:
    """Answers in the form that was asked for, as MLflow's server writes them."""
    if output == "pd":
        predictions: list[Any] = [answer.pd for answer in answers]
    elif output == "label":
        predictions = [int(answer.decision == "decline") for answer in answers]
    else:
        predictions = [answer._asdict() for answer in answers]
    return orjson.dumps({"predictions": predictions})
