"""A file of applications goes to a stand-in of the server on loopback and comes back as answers."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loan_default.adapters.scoring_server import ServerError
from loan_default.risk.contract.book import Contract
from loan_default.risk.data.cleaning import clean_application_file
from loan_default.risk.data.synthetic import make_applications, write_csv
from loan_default.risk.errors import BadInput
from loan_default.serving import client
from loan_default.serving.client import ClientReport, score_file
from loan_default_tests.stores import free_port, serving

pytestmark = pytest.mark.integration

ROWS = 23
Reply = tuple[int, Mapping[str, str], Any]


@dataclass
class StandIn:
    """Answers by the amount asked for; what it is told to reply comes first, one reply for each request."""

    url: str = ""
    version: str = "3"
    replies: list[Reply] = field(default_factory=list)
    refuses: str = ""
    slow: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    peers: set[tuple[str, int]] = field(default_factory=set)

    @property
    def sizes(self) -> list[int]:
        return sorted(len(body["dataframe_split"]["data"]) for body in self.bodies)

    def reply(self, body: dict[str, Any]) -> Reply:
        self.bodies.append(body)
        split = body["dataframe_split"]
        applications = [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
        ids = [application["id"] for application in applications]
        if self.slow in ids:
            time.sleep(0.3)
        if self.refuses in ids:
            return 400, {}, {"error_code": "BAD_REQUEST", "message": f"Row {ids.index(self.refuses)}: dti is wrong."}
        if self.replies:
            return self.replies.pop(0)
        answers = [answer(application["loan_amnt"]) for application in applications]
        return 200, {"X-Model-Version": self.version}, {"predictions": answers}


def answer(amount: float) -> dict[str, Any]:
    declined = amount > 15_000
    return {
        "pd": amount / 1e6,
        "score": int(1000 - amount / 100),
        "decision": "decline" if declined else "approve",
        "reasons": ["The amount, asked for, is high.", "The term is long."] if declined else [],
        "reason_codes": [{"group": "term", "field": "term", "side": "high", "share": 0.5}] if declined else [],
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.stand_in.peers.add(self.client_address)
        self.stand_in.tokens.add(self.headers["Authorization"])
        status, headers, document = self.stand_in.reply(body) if self.path == "/invocations" else (404, {}, {})
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def standing_in() -> Iterator[StandIn]:
    stand_in = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Its", (Handler,), {"stand_in": stand_in}))
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield stand_in


@pytest.fixture
def server() -> Iterator[StandIn]:
    with standing_in() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def published() -> pl.DataFrame:
    return make_applications(ROWS, seed=5, month=date(2018, 10, 1), shift=0.0)


@pytest.fixture
def batch(published: pl.DataFrame, tmp_path: Path) -> Path:
    write_csv(published, tmp_path / "batch.csv")
    return tmp_path / "batch.csv"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "new" / "scored.csv"


def read(output: Path) -> pl.DataFrame:
    return pl.read_csv(output, schema_overrides={"id": pl.String})


def expected(published: pl.DataFrame) -> pl.DataFrame:
    rows = [answer(float(amount)) for amount in published["loan_amnt"]]
    answers = pl.DataFrame(rows)
    return answers.select(
        published["id"].cast(pl.String),
        "pd",
        "score",
        "decision",
        pl.col("reasons").list.join(" "),
        pl.Series("reason_codes", [json.dumps(row["reason_codes"], separators=(",", ":")) for row in rows]),
        pl.lit(3, dtype=pl.Int64).alias("model_version"),
    )


def test_answers_are_written_in_the_order_of_the_file(
    server: StandIn, batch: Path, output: Path, contract: Contract, published: pl.DataFrame
) -> None:
    server.slow = str(published["id"][0])
    report = score_file(batch, server.url, output, contract=contract, rows_per_request=5)
    wanted = expected(published)
    assert read(output).to_dicts() == wanted.to_dicts()
    assert wanted["decision"].n_unique() == 2
    assert report == ClientReport(
        rows=ROWS,
        seconds=report.seconds,
        versions=(3,),
        decisions=dict(wanted.group_by("decision").len().iter_rows()),
        rejected=0,
        rejected_file=None,
    )
    assert 0.3 < report.seconds < 30
    assert [path.name for path in output.parent.iterdir()] == ["scored.csv"]


def test_a_file_is_sent_in_pieces_over_few_connections(
    server: StandIn, batch: Path, output: Path, contract: Contract
) -> None:
    score_file(batch, server.url, output, contract=contract, rows_per_request=3, connections=2)
    assert server.sizes == [2, 3, 3, 3, 3, 3, 3, 3]
    assert 1 <= len(server.peers) <= 2
    assert server.tokens == {None}


def test_more_requests_than_are_read_at_once(
    server: StandIn,
    batch: Path,
    output: Path,
    contract: Contract,
    published: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "_REQUESTS_READ_AT_ONCE", 3)
    score_file(batch, server.url, output, contract=contract, rows_per_request=2, connections=1)
    assert server.sizes == [1] + 11 * [2]
    assert read(output)["id"].to_list() == published["id"].cast(pl.String).to_list()


def test_the_contract_says_what_is_sent(
    server: StandIn, batch: Path, output: Path, contract: Contract, tmp_path: Path
) -> None:
    score_file(batch, server.url, output, contract=contract)
    (body,) = server.bodies
    assert body["params"] == {"output": "full"}
    split = body["dataframe_split"]
    assert split["columns"] == [contract.id_name, *contract.feature_names]
    cleaned = tmp_path / "cleaned.parquet"
    clean_application_file(batch, contract, cleaned=cleaned, rejected=tmp_path / "rejected.parquet")
    assert split["data"] == [list(row) for row in pl.read_parquet(cleaned).select(split["columns"]).rows()]
    sent = dict(zip(split["columns"], zip(*split["data"], strict=True), strict=True))
    for field_ in contract.features:
        kinds = {type(value) for value in sent[field_.name]} - {type(None)}
        assert kinds <= ({float} if field_.kind == "number" else {str}), field_.name
    assert None in sent["mths_since_last_record"]


@pytest.mark.parametrize("name", ["batch.csv.gz", "batch.parquet"])
def test_other_forms_of_the_file_give_the_same(
    server: StandIn, output: Path, contract: Contract, published: pl.DataFrame, tmp_path: Path, name: str
) -> None:
    if name.endswith("gz"):
        write_csv(published, tmp_path / name)
    else:
        published.write_parquet(tmp_path / name)
    score_file(tmp_path / name, server.url, output, contract=contract)
    assert read(output)["pd"].to_list() == expected(published)["pd"].to_list()


def test_each_row_says_which_version_answered(server: StandIn, batch: Path, output: Path, contract: Contract) -> None:
    by_4 = [answer(1000.0)] * 20
    server.replies = [(200, {"X-Model-Version": "4"}, {"predictions": by_4})]
    report = score_file(batch, server.url, output, contract=contract, rows_per_request=20, connections=1)
    assert read(output)["model_version"].to_list() == [4] * 20 + [3] * 3
    assert report.versions == (3, 4)
    server.version = "3,5"  # a challenger answers a share of the applications
    assert score_file(batch, server.url, output, contract=contract).versions == (3, 5)
    assert set(read(output)["model_version"]) == {"3,5"}


def test_the_token_goes_with_every_request(server: StandIn, batch: Path, output: Path, contract: Contract) -> None:
    score_file(batch, server.url, output, contract=contract, token="secret", rows_per_request=5)
    assert server.tokens == {"Bearer secret"}


# --- rejected rows ----------------------------------------------------------------------------------------------


def test_rejected_rows_are_reported_and_not_sent(
    server: StandIn, output: Path, contract: Contract, published: pl.DataFrame, tmp_path: Path
) -> None:
    spoiled = pl.when(pl.int_range(pl.len()) == 2).then(pl.lit("-5")).otherwise(pl.col("annual_inc").cast(pl.String))
    write_csv(published.with_columns(spoiled.alias("annual_inc")), tmp_path / "batch.csv")
    report = score_file(tmp_path / "batch.csv", server.url, output, contract=contract)
    assert (report.rows, report.rejected, server.sizes) == (ROWS - 1, 1, [ROWS - 1])
    assert report.rejected_file == output.parent / "scored.rejected.csv"
    (why,) = read(report.rejected_file).to_dicts()
    assert why["id"] == str(published["id"][2])
    assert why["reason"].startswith("annual_inc '-5")
    assert why["id"] not in read(output)["id"].to_list()
    write_csv(published, tmp_path / "batch.csv")
    assert score_file(tmp_path / "batch.csv", server.url, output, contract=contract).rejected_file is None
    assert not report.rejected_file.exists()  # what was rejected earlier says nothing of this file


def test_a_file_without_a_usable_row_is_refused(
    server: StandIn, output: Path, contract: Contract, published: pl.DataFrame, tmp_path: Path
) -> None:
    write_csv(published.with_columns(annual_inc=pl.lit("-5")), tmp_path / "batch.csv")
    with pytest.raises(BadInput, match="none of the 23 loans is usable"):
        score_file(tmp_path / "batch.csv", server.url, output, contract=contract)
    assert not output.parent.exists()
    assert server.bodies == []


@pytest.mark.parametrize("name", ["loans.csv", "loans.rejected.csv"])
def test_a_file_is_not_overwritten_by_its_scores(
    server: StandIn, contract: Contract, published: pl.DataFrame, tmp_path: Path, name: str
) -> None:
    write_csv(published, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    with pytest.raises(BadInput, match="would be overwritten by its own scores; name another file"):
        score_file(tmp_path / name, server.url, tmp_path / "loans.csv", contract=contract)
    assert (tmp_path / name).read_bytes() == content


def test_a_place_that_cannot_be_written_is_said_before_anything_is_sent(
    server: StandIn, batch: Path, contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for output in (tmp_path, Path()):
        with pytest.raises(BadInput, match=f"^{output} cannot be written; name another file to write.$"):
            score_file(batch, server.url, output, contract=contract)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(BadInput, match=r"scored\.csv cannot be written; name another file to write\.$"):
        score_file(batch, server.url, tmp_path / "scored.csv", contract=contract)
    assert server.bodies == []
    assert [path.name for path in tmp_path.iterdir()] == ["batch.csv"]


# --- what goes wrong --------------------------------------------------------------------------------------------


def busy(status: int, **headers: str) -> Reply:
    document = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "Too many requests at once."}
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, document


def test_a_busy_server_is_asked_again_when_it_says(
    server: StandIn, batch: Path, output: Path, contract: Contract, published: pl.DataFrame
) -> None:
    server.replies = [busy(503, Retry_After="1"), busy(429)]
    report = score_file(batch, server.url, output, contract=contract)
    assert report.seconds > 1
    assert len(server.bodies) == 3
    assert read(output)["pd"].to_list() == expected(published)["pd"].to_list()


def test_patience_has_an_end(
    server: StandIn, batch: Path, output: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.replies = [busy(503, Retry_After="3600"), *[busy(503)] * 20]
    with pytest.raises(ServerError, match=rf"{server.url} refused to score: Too many requests at once\."):
        score_file(batch, server.url, output, contract=contract)
    assert pauses == [30, 0.5, 1, 2, 4]
    assert len(server.bodies) == 6
    assert not output.exists()


def test_refused_rows_are_named(
    server: StandIn, batch: Path, output: Path, contract: Contract, published: pl.DataFrame
) -> None:
    ids = [str(id_) for id_ in published["id"]]
    server.refuses = ids[12]
    sentence = rf"the 5 applications from {ids[10]} \(its row 0\) to {ids[14]}: Row 2: dti is wrong\."
    with pytest.raises(BadInput, match=sentence):
        score_file(batch, server.url, output, contract=contract, rows_per_request=5)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            (401, {}, {"error_code": "UNAUTHENTICATED", "message": "No."}),
            "refused the token to score; set LOAN_DEFAULT",
        ),
        ((413, {}, {"error_code": "BAD_REQUEST", "message": "At most 3 rows."}), r"refused to score: At most 3 rows\."),
        ((404, {}, "other"), r"Another program .* \(HTTP 404\)"),
        ((400, {}, "other"), r"Another program .* \(HTTP 400\)"),
        ((200, {"X-Model-Version": "3"}, {"predictions": [answer(1.0)]}), "gave 1 answers to 5 applications"),
        ((200, {}, {"predictions": []}), r"Another program .* \(HTTP 200\)"),
    ],
)
def test_a_failure_half_way_leaves_what_was_there(
    server: StandIn, batch: Path, tmp_path: Path, contract: Contract, reply: Reply, sentence: str
) -> None:
    output = tmp_path / "scored.csv"
    output.write_text("of an earlier run")
    server.replies = [(200, {"X-Model-Version": "3"}, {"predictions": [answer(1.0)] * 5}), reply]
    with pytest.raises(ServerError, match=sentence) as raised:
        score_file(batch, server.url, output, contract=contract, rows_per_request=5, connections=1)
    assert server.url in str(raised.value)
    assert output.read_text() == "of an earlier run"
    assert {path.name for path in tmp_path.iterdir()} == {"batch.csv", "scored.csv"}


def test_nothing_more_is_sent_after_a_failure(
    server: StandIn, batch: Path, output: Path, contract: Contract, published: pl.DataFrame
) -> None:
    server.replies, server.slow = [(401, {}, {"message": "No."})], str(published["id"][1])
    with pytest.raises(ServerError, match="refused the token"):
        score_file(batch, server.url, output, contract=contract, rows_per_request=1, connections=1)
    assert server.sizes in ([1], [1, 1])  # the second was under way


def test_an_unreachable_server_is_named(batch: Path, output: Path, contract: Contract) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ServerError, match=rf"No scoring server answers at {url} .*; start it with loan-default serve"):
        score_file(batch, url, output, contract=contract)
    assert not output.exists()
