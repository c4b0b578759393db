"""Pages on batches: shares, limits and what moved; one batch with its rejected rows, which not everybody may read."""

import csv
import io
import ipaddress
import re
from html import unescape
from pathlib import Path
from threading import Event

import pytest
from starlette.testclient import TestClient

from loan_default.adapters import storage
from loan_default.defs.book import BookNames
from loan_default.defs.instance import open_instance
from loan_default.operations import evidently
from loan_default.operations.batch_detail import predictions_file
from loan_default.operations.batch_figures import BatchFigures
from loan_default.operations.book import read_contract, read_policy
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default.web.app import create_app
from loan_default.web.pages import batches
from loan_default.web.pages.batches import heat_map
from loan_default.web.people import People, Proxy, read_users

pytestmark = pytest.mark.integration


def _csv(client: TestClient, address: str) -> list[dict[str, str]]:
    response = client.get(address)
    assert response.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))


def _viewer(settings: Settings) -> TestClient:
    proxy = Proxy("X-User", (ipaddress.ip_network("127.0.0.1/32"),))
    app = create_app(settings, People(read_users("anna:viewer", "LOAN_DEFAULT_WEB_USERS"), proxy))
    return TestClient(app, "http://127.0.0.1:5002", client=("127.0.0.1", 1), headers={"X-User": "anna"})


def test_all_batches_are_listed_newest_first_with_shares_and_limits(pages: TestClient) -> None:
    text = unescape(pages.get("/batches").text)
    assert "The score's PSI is beyond its limit in 1 of 3 batches" in text
    assert "limit 0.25" in text
    assert "limit 15" in text
    assert text.count("<svg role=") == 5
    rows = _csv(pages, "/batches?csv=batches")
    assert [row["batch"] for row in rows] == ["2014-09", "2014-08", "2014-07"]
    assert [row["verdict"] for row in rows] == ["drifted", "stable", "stable"]
    assert [row["rows rejected"] for row in rows] == ["0", "3", "0"]
    for row in rows:
        assert sum(float(row[decision]) for decision in ("approved", "to review", "declined")) == pytest.approx(1)


def test_batches_that_were_not_scored_are_said_with_the_reason(empty_pages: TestClient, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home")
    for name in ("2018-10.csv", "late october.csv"):
        storage.write_text(settings.layout.inbox / name, "id\n1\n")
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions(str(BookNames(settings.book).batches.name), ["2018-09"])
    rows = {row["batch"]: row for row in _csv(empty_pages, "/batches?csv=unscored")}
    assert {name: row["state"] for name, row in rows.items()} == {
        "2018-10": "waiting", "late october.csv": "refused", "2018-09": "gone"
    }  # fmt: skip
    assert "loan-default score-again 2018-10" in rows["2018-10"]["why"]
    text = unescape(empty_pages.get("/batches").text)
    assert "Neither its file nor its predictions are there" in text


def test_the_map_shows_what_moved_most_first_and_its_csv_all_fields(pages: TestClient, pages_home: Settings) -> None:
    rows = _csv(pages, "/batches?csv=fields")
    fields = {*read_contract(pages_home).feature_names, "raw_score"}
    assert {row["field"] for row in rows} == fields
    widest = [max(float(row[batch] or 0) for batch in ("2014-07", "2014-08", "2014-09")) for row in rows]
    assert widest == sorted(widest, reverse=True)
    text = pages.get("/batches").text
    assert text.count('<tr><th scope="row">') == 15
    assert pages.get("/batches?fields=all").text.count('<tr><th scope="row">') == len(fields)
    assert "drifted" in text


def test_the_colours_of_the_map_follow_the_limit_of_the_policy(pages_home: Settings) -> None:
    psi = {"a": 0.04, "b": 0.06, "c": 0.2, "d": 0.25, "e": 0.6, "f": None}
    figures = BatchFigures("x", None, None, 1, 0, {}, 1, "", {}, 0.1, "drifted", 0.1, 0.1, psi, ("d", "e"), ())
    heat = heat_map([figures], read_contract(pages_home), read_policy(pages_home).drift)
    assert heat is not None
    assert {name: (cell.level, cell.drifted) for name, _, (cell,) in heat.rows} == {
        **{"a": (0, False), "b": (1, False), "c": (2, False)},
        **{"d": (3, True), "e": (4, True), "f": (None, False)},
    }


def test_a_limit_is_met_as_the_verdict_meets_it(pages_home: Settings) -> None:
    policy = read_policy(pages_home).drift
    figures = (policy.score_psi_limit, policy.drifted_share_limit)  # just at both
    batch = BatchFigures("x", None, None, 9, 0, {}, 1, "", {}, 0.1, "drifted", *figures, {}, (), ())
    titles = [chart.title for chart in batches.batch_charts([batch], policy)]
    assert "The score's PSI is within its limit" in titles
    assert "The share of drifted fields is beyond its limit" in titles
    titles = [chart.title for chart in batches.batch_charts([batch, batch], policy)]
    assert "The score's PSI is within its limit in all 2 batches" in titles
    assert "The share of drifted fields is beyond its limit in 2 of 2 batches" in titles


def test_a_batch_shows_its_fields_beside_the_reference(pages: TestClient) -> None:
    text = unescape(pages.get("/batches/2014-09").text)
    assert text.count("<svg role=") == 6
    assert "Draw all" in text
    assert "Evidently’s report on this batch" in text
    everything = pages.get("/batches/2014-09?fields=all").text
    assert everything.count("<svg role=") == len(_csv(pages, "/batches/2014-09?csv=drift"))
    drifted = [row for row in _csv(pages, "/batches/2014-09?csv=drift") if row["verdict"] == "drifted"]
    assert drifted
    assert "mean " in drifted[0]["batch"] or "(" in drifted[0]["batch"]
    (purpose,) = (row for row in _csv(pages, "/batches/2014-09?csv=drift") if row["field"] == "purpose")
    assert re.fullmatch(r"Paying off other debts \(\d+%\)", purpose["reference"])
    values = {row["value"] for row in _csv(pages, "/batches/2014-09?fields=all&csv=distribution-purpose")}
    assert "Paying off other debts" in values
    assert "debt_consolidation" not in values


def test_levels_with_an_order_stand_in_it(pages: TestClient) -> None:
    rows = _csv(pages, "/batches/2014-09?fields=all&csv=distribution-grade")
    levels = [row["value"] for row in rows]
    assert levels == sorted(levels)
    assert sum(float(row["batch"]) for row in rows) == pytest.approx(1)


def test_rejected_rows_say_what_is_wrong_and_the_value_only_to_whom_it_concerns(
    pages: TestClient, pages_home: Settings
) -> None:
    rows = _csv(pages, "/batches/2014-08?csv=rejected")
    assert [(row["row"], row["field"]) for row in rows] == [
        ("1", "annual_inc"),
        ("2", "annual_inc"),
        ("3", "annual_inc"),
    ]
    assert "'-5" in rows[0]["reason"]
    viewer = _viewer(pages_home)
    shown_to_viewer = viewer.get("/batches/2014-08").text
    assert "-5" not in shown_to_viewer.partition("Rows that could not be scored")[2]
    assert "annual_inc: out of range" in shown_to_viewer
    assert "officers and approvers" in shown_to_viewer
    assert "-5" not in viewer.get("/batches/2014-08?csv=rejected").text


def test_predictions_are_sent_as_a_file_to_whom_they_concern(pages: TestClient, pages_home: Settings) -> None:
    assert 'href="/batches/2014-08/predictions.csv"' in pages.get("/batches/2014-08").text
    response = pages.get("/batches/2014-08/predictions.csv")
    assert response.headers["content-disposition"] == 'attachment; filename="2014-08-predictions.csv"'
    lines = list(csv.DictReader(io.StringIO(response.text)))
    assert len(lines) == 297
    assert {"id", "pd", "decision"} <= lines[0].keys()
    viewer = _viewer(pages_home)
    assert viewer.get("/batches/2014-08/predictions.csv").status_code == 403
    assert "predictions.csv" not in viewer.get("/batches/2014-08").text


def test_predictions_that_are_gone_are_said_to_be(pages_home: Settings, tmp_path: Path) -> None:
    settings = Settings(tmp_path, storage=pages_home.storage)
    with pytest.raises(BadInput, match=r"^The predictions of batch 2031-01 are no longer there"):
        predictions_file(settings, "2031-01")


def test_a_batch_that_is_none_is_said_to_be_none(pages: TestClient) -> None:
    for address in ("/batches/2031-01", "/batches/2031-01/evidently"):
        response = pages.get(address)
        assert response.status_code == 400
        assert "No batch 2031-01 has been scored" in response.text


def test_evidentlys_page_is_shut_off_from_ours_and_says_that_it_is_being_drawn(
    pages: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Event()

    def read_page(settings: Settings, batch: str) -> str:  # takes seconds
        assert release.wait(60)
        return f"<script>drawn({batch})</script>"

    monkeypatch.setattr(evidently, "read_page", read_page)
    monkeypatch.setattr(evidently, "_PATIENCE_SECONDS", 0.01)
    waiting = pages.get("/batches/2014-09/evidently")
    assert waiting.headers["refresh"] == "1"
    assert "It is being drawn" in waiting.text
    monkeypatch.setattr(evidently, "_PATIENCE_SECONDS", 60)
    release.set()
    response = pages.get("/batches/2014-09/evidently")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert response.text == "<script>drawn(2014-09)</script>"
    assert "refresh" not in response.headers


def test_without_batches_the_page_says_what_to_do(empty_pages: TestClient) -> None:
    assert "Run <code>loan-default score FILE</code>" in empty_pages.get("/batches").text
