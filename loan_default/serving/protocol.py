"""MLflow's scoring protocol as this server speaks it: what a body decodes to, its limits, answers, refusals.

How each form is decoded is `json_body`, `csv_body` and `parquet_body`, which of them `decoding`. What an application
may hold is `risk`'s to say.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal

import msgspec
import orjson

from loan_default.risk.model.offers import FoundOffers
from loan_default.risk.model.scorer import Predictions

Output = Literal["full", "pd", "label", "offers"]
EXPLAINED: tuple[Output, ...] = ("full", "offers")  # with reasons

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
SPLIT = "dataframe_split"
FORMS = (SPLIT, "dataframe_records", "inputs", "instances")
PARAMS = ("params", "parameters")  # MLflow's name, and Vertex AI's, which goes with instances
DECISION_ID = b"x-decision-id"  # the header
COLUMNS_AT_MOST = 1_000  # no contract has as many fields
REASON_CHARACTERS = 300  # of what a library says of a body
_FIRST_CHARACTERS, _LAST_CHARACTERS = 500, 1_000  # of a sentence: the names that a caller sends may have any length
_VALUES_OF_ROW, _LISTS_OF_ROW = 100, 10  # of most rows: where a request has the most rows that it may have


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
        if len(sentence) > _FIRST_CHARACTERS + _LAST_CHARACTERS:
            sentence = f"{sentence[:_FIRST_CHARACTERS]} … {sentence[-_LAST_CHARACTERS:]}"
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


def too_large(sentence: str) -> Refused:
    """Refuse what is more than the server takes."""
    return Refused(413, "BAD_REQUEST", sentence)


class DecodedBody(msgspec.Struct, frozen=True):
    """Decoded input: field names, the values of each application in their order, and the form of the answer.

    A value that an object lacks, while another object has it, is `msgspec.UNSET`.
    """

    names: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    output: Output = "full"


class BodyLimits(msgspec.Struct, frozen=True, gc=False):
    """Bounds what a body may decode to, which is counted before it is decoded: rows, and what follows from them."""

    rows: int

    @property
    def values(self) -> int:
        """Return how many values all rows may have together."""
        return _VALUES_OF_ROW * self.rows + COLUMNS_AT_MOST

    @property
    def lists(self) -> int:
        """Return how many lists and objects a body may hold."""
        return _LISTS_OF_ROW * self.rows + COLUMNS_AT_MOST

    def check_rows(self, rows: int) -> None:
        """See that there is an application, and not too many.

        Raises:
            Refused: 400 for none, 413 for more than `rows`.
        """
        if not rows:
            raise invalid("There is no application in the request; send at least one row.")
        if rows > self.rows:
            raise too_large(f"{rows:,} applications in one request; at most {self.rows:,} are taken.")

    def check_values(self, values: int) -> None:
        """See that there are not more values than the rows may have.

        Raises:
            Refused: 413.
        """
        if values > self.values:
            raise too_large(f"{values:,} values in one request; at most {self.values:,} are taken.")


def repeated(names: Iterable[Hashable]) -> Any:
    """Return the first name that stands twice; None where each stands once."""
    before: set[Hashable] = set()
    return next((name for name in names if name in before or before.add(name)), None)  # type: ignore[func-returns-value]


def encode(
    predictions: Predictions,
    output: Output,
    decision_ids: Iterable[str] = (),
    offers: Sequence[FoundOffers] = (),
) -> bytes:
    """Encode predictions in the form that was asked for, as MLflow's server writes them; the full one with ids."""
    values: list[Any]
    if output == "pd":
        values = predictions.pds
    elif output == "label":
        values = [int(decision == "decline") for decision in predictions.decisions]
    else:
        values = [
            {"pd": pd, "score": score, "decision": decision, "reasons": reasons, "reason_codes": codes}
            for pd, score, decision, reasons, codes in zip(*predictions[:5], strict=True)
        ]
        for value, worth in zip(values, predictions.values, strict=False):
            value["expected_loss"], value["npv"] = worth
        for value, timing in zip(values, predictions.timings, strict=False):
            value["pd_12m"], value["pd_curve"], value["pd_hazard"], value["expected_life"] = timing
        for value, decision_id in zip(values, decision_ids, strict=False):
            value["decision_id"] = decision_id
        for value, own in zip(values, offers, strict=False):
            value.update(own.to_dict())
    return orjson.dumps({"predictions": values})
