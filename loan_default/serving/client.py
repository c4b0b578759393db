"""The client of the scoring server: a file of applications is sent through it, and its answers are written.

The conversation with the server is `adapters.scoring_server`'s, reading the file `risk.data.cleaning`'s; scoring
without a server is `risk.model.scorer`'s.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl

from loan_default.adapters.scoring_server import connect, read_answers, scoring_request, server_message
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.cleaning import clean_application_file
from loan_default.risk.errors import BadInput
from loan_default.risk.files import write_atomically

if TYPE_CHECKING:
    import httpx

_BUSY = (429, 503)
_RETRIES, _FIRST_PAUSE, _LONGEST_PAUSE = 5, 0.25, 30.0
_REQUESTS_READ_AT_ONCE = 100


@dataclass(frozen=True)
class ClientReport:
    """The result of a file: rows answered, seconds of sending, versions that answered, applications by decision.

    `rejected_file` says why each rejected row was not sent; None where none was rejected.
    """

    rows: int
    seconds: float
    versions: tuple[int, ...]
    decisions: dict[str, int]
    rejected: int
    rejected_file: Path | None


def score_file(
    path: Path,
    url: str,
    output: Path,
    *,
    contract: Contract,
    token: str = "",
    rows_per_request: int = 500,
    connections: int = 4,
) -> ClientReport:
    """Score a file of applications by the server at `url`.

    Args:
        path: CSV, CSV.GZ or Parquet of applications; rows that the contract rejects are not sent.
        url: of the server, as http://host:port.
        output: CSV to write, in the file's order: id, pd, score, decision, reasons (one text), reason_codes (JSON),
            model_version. Rejected rows go to `<its stem>.rejected.csv` beside it.
        contract: what an application is.
        token: for scoring, if the server asks for one.
        rows_per_request: how many applications are sent at once.
        connections: how many requests are under way at once.

    Raises:
        BadInput: the file cannot be used, the output cannot be written, or the server refuses the file's rows.
            Nothing is written then.
        ServerError: the server cannot be reached, refuses the token, or stays busy. Nothing is written then.
    """
    if output.is_dir() or (output.parent.is_dir() and not os.access(output.parent, os.W_OK)):
        raise BadInput(f"{output} cannot be written; name another file to write.")
    rejected_csv = output.with_name(f"{output.stem}.rejected.csv")
    if path.resolve() in (output.resolve(), rejected_csv.resolve()):
        raise BadInput(f"{path} would be overwritten by its own scores; name another file to write.")
    with TemporaryDirectory() as folder:
        cleaned, rejected = Path(folder, "cleaned.parquet"), Path(folder, "rejected.parquet")
        cleaning = clean_application_file(path, contract, cleaned=cleaned, rejected=rejected)
        chunks = _chunks(cleaned, contract, rows_per_request)
        began, decisions, versions = time.monotonic(), Counter[str](), set[int]()
        with write_atomically(output) as part:
            with part.open("wb") as file, connect(url, token, connections=connections) as client:
                for scored in _in_order(lambda chunk: _scored(client, url, chunk), chunks, connections):
                    scored.write_csv(file, include_header=not decisions)
                    decisions.update(scored["decision"])
                    versions.update(int(version) for version in scored["model_version"][0].split(","))
            seconds = time.monotonic() - began
            _write_rejected(rejected, rejected_csv, cleaning.rejected)
    return ClientReport(
        rows=cleaning.kept,
        seconds=seconds,
        versions=tuple(sorted(versions)),
        decisions=dict(decisions),
        rejected=cleaning.rejected,
        rejected_file=rejected_csv if cleaning.rejected else None,
    )


def _chunks(cleaned: Path, contract: Contract, rows: int) -> Iterator[pl.DataFrame]:
    """Read the applications, so many at a time: the id first, then every feature."""
    applications = pl.scan_parquet(cleaned, glob=False).select(contract.id_name, *contract.feature_names)
    count, step = applications.select(pl.len()).collect().item(), _REQUESTS_READ_AT_ONCE * rows
    for first in range(0, count, step):
        yield from applications.slice(first, step).collect().iter_slices(rows)


def _in_order(
    work: Callable[[pl.DataFrame], pl.DataFrame], chunks: Iterator[pl.DataFrame], at_once: int
) -> Iterator[pl.DataFrame]:
    """Yield the result of `work` for each chunk, in their order, with few of them waiting in memory."""
    waiting: deque[Future[pl.DataFrame]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(work, chunk))
                if len(waiting) > 2 * at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # after a failure
                future.cancel()


def _scored(client: httpx.Client, url: str, chunk: pl.DataFrame) -> pl.DataFrame:
    ids = chunk.to_series(0)
    response = _patiently(client, scoring_request(chunk.columns, chunk.rows()))
    if response.status_code == 400 and (message := server_message(response)):
        raise BadInput(
            f"The scoring server at {url} refused the {chunk.height:,} applications from {ids[0]} (its row 0) to "
            f"{ids[-1]}: {message}"
        )
    answers, version = read_answers(url, response, chunk.height)
    return pl.DataFrame([ids]).with_columns(
        *(pl.Series(name, [answer[name] for answer in answers]) for name in ("pd", "score", "decision")),
        pl.Series("reasons", [" ".join(answer["reasons"]) for answer in answers]),
        pl.Series(
            "reason_codes", [_json(answer.get("reason_codes", [])) for answer in answers]
        ),  # older versions: none
        pl.lit(version).alias("model_version"),
    )


def _json(codes: list[dict[str, Any]]) -> str:
    """Write reason codes as the CSV of a batch has them."""
    return json.dumps(codes, separators=(",", ":"))


def _patiently(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    """Ask; where the server is busy, wait as long as it says and ask again, a few times."""
    response = client.post("/invocations", json=body)
    for retry in range(_RETRIES):
        if response.status_code not in _BUSY:
            break
        retry_after = response.headers.get("Retry-After", "")
        time.sleep(min(float(retry_after) if retry_after.isdecimal() else _FIRST_PAUSE * 2**retry, _LONGEST_PAUSE))
        response = client.post("/invocations", json=body)
    return response


def _write_rejected(rejected: Path, target: Path, count: int) -> None:
    if not count:
        target.unlink(missing_ok=True)  # an earlier run's would be taken for this one's
        return
    with write_atomically(target) as part:
        pl.read_parquet(rejected, glob=False).write_csv(part)
