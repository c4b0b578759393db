"""A loaded version: its canary, the form of its trees, and the same answer from every way in."""

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loan_default.risk.data.applications import clean_applications
from loan_default.risk.errors import BadInput
from loan_default.risk.model import canary, onnx_export
from loan_default.risk.model.calibration import PD_DIGITS
from loan_default.risk.model.online_features import check
from loan_default.risk.model.scorer import VALUED, Predictions
from loan_default.risk.model.timing import TIMED
from loan_default.risk.policy import UnknownFields
from loan_default.serving import served_model
from loan_default.serving.decoding import decode
from loan_default.serving.protocol import Refused
from loan_default.serving.pyfunc_model import LoanDefaultModel
from loan_default.serving.served_model import ServedModel
from loan_default_tests.packages import KINDS, applications, contract, package, scorer, timed_scorer, valued_scorer

UNKNOWN_FIELDS: tuple[UnknownFields, UnknownFields] = ("refuse", "ignore")
AS_JSON, AS_CSV = "application/json", "text/csv"


def body_of(sent: list[dict[str, Any]]) -> bytes:
    return json.dumps({"inputs": sent}).encode()


def without_dti() -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Applications of which every second lacks a field that hardly any loan lacked."""
    sent, features = applications()
    dti = pl.when(pl.int_range(pl.len()) % 2 == 1).then("dti")
    return [
        {**application, "dti": None} if row % 2 == 0 else application for row, application in enumerate(sent)
    ], features.with_columns(dti)


@pytest.mark.parametrize("kind", KINDS)
def test_quick_careful_and_batch_say_the_same(tmp_path: Path, kind: str) -> None:
    model = ServedModel.load(package(tmp_path, kind), 3)
    sent, features = without_dti()
    quick = [model.read_quickly(body_of([application]), at_most=1) for application in sent]
    many = model.read_quickly(body_of(sent), at_most=40)
    careful = model.read(pl.DataFrame(sent).write_csv().encode(), AS_CSV, at_most=40)
    assert many is not None
    batch = scorer(kind).score(features)
    low = (batch["pd"] < scorer(kind).policy.approve_below).to_list()
    assert kind == "logistic_regression" or any(low[::2])  # the regression finds none of them so safe
    assert "approve" not in batch["decision"][::2].to_list()
    singly = [model.predict(request.applications) for request in quick if request]
    for predictions in (
        Predictions(
            *([column[0] for column in columns] for columns in zip(*(each[:5] for each in singly), strict=True))
        ),
        model.predict(many.applications),
        model.predict(careful.applications),
    ):
        assert predictions.pds == batch["pd"].to_list()
        assert predictions.scores == batch["score"].to_list()
        assert predictions.decisions == batch["decision"].to_list()
        assert predictions.reasons == batch["reasons"].to_list()
        for codes, expected in zip(predictions.reason_codes, batch["reason_codes"].to_list(), strict=True):
            assert [{**code, "share": 0} for code in codes] == [{**code, "share": 0} for code in expected]
            assert [c["share"] for c in codes] == pytest.approx([c["share"] for c in expected], abs=2e-4)
    assert any(batch.filter(pl.col("decision") == "review")["reason_codes"].list.len())
    assert model.quick_form == (kind if kind in ("logistic_regression", "lightgbm") else "onnx")


def test_a_valued_version_says_the_same_values_however_it_is_asked(tmp_path: Path) -> None:
    model = ServedModel.load(package(tmp_path, of=valued_scorer), 3)
    sent, features = applications()
    expected = valued_scorer("xgboost").score(features, with_reasons=False).select(*VALUED).rows()
    read = model.read(body_of(sent), AS_JSON, at_most=40)
    assert model.predict(read.applications).values == expected
    quick = [model.read_quickly(body_of([application]), at_most=1) for application in sent]
    assert [model.predict(each.applications).values for each in quick if each] == [[value] for value in expected]


@pytest.mark.parametrize("kind", ["xgboost", "logistic_regression"])
@pytest.mark.slow
def test_a_version_with_hazards_says_the_same_of_when_loans_default_however_it_is_asked(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ServedModel.load(package(tmp_path, kind, of=timed_scorer), 3)
    sent, features = applications()
    expected = timed_scorer(kind).score(features, with_reasons=False).select(*TIMED).rows()
    assert len({len(curve) for _, curve, *_ in expected}) == 2  # of 36 and of 60 months
    read = model.read(body_of(sent), AS_JSON, at_most=40).applications
    assert model.predict(read).timings == expected
    quick = [model.read_quickly(body_of([application]), at_most=1) for application in sent]
    assert [model.predict(each.applications).timings for each in quick if each] == [[timing] for timing in expected]
    monkeypatch.setattr(served_model, "_ROWS_FOR_ONNX", 0)
    assert model.predict(read).timings == expected
    assert [each.__module__ for each in model.quick_hazards] == ["loan_default.serving.served_model"] * 2  # by ONNX


def test_many_rows_take_the_other_form_and_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    sent = model.read(body_of(applications()[0]), AS_JSON, at_most=40).applications
    few = model.predict(sent)
    monkeypatch.setattr(served_model, "_ROWS_FOR_ONNX", 1)
    assert model.predict(sent) == few


def test_what_is_odd_is_read_closely(tmp_path: Path) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    odd = body_of([{**applications()[0][0], "issue_d": "2018-10-01"}])
    assert model.read_quickly(odd, at_most=1) is None
    assert len(model.read(odd, AS_JSON, at_most=1).applications.ids) == 1


@pytest.mark.parametrize("text", ["36", "36.0", "36 months", " 36"])
def test_a_text_is_a_number_in_every_form(tmp_path: Path, text: str) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    expected = model.read(body_of([{**applications()[0][0], "term": 36}]), AS_JSON, at_most=1).applications
    sent = {**applications()[0][0], "term": text}
    for body, form in ((body_of([sent]), AS_JSON), (pl.DataFrame([sent]).write_csv().encode(), AS_CSV)):
        assert np.array_equal(model.read(body, form, at_most=1).applications.values, expected.values, equal_nan=True)
    with pytest.raises(BadInput, match="Row 0: term 'many' is no number; it must be 6 to 120 months"):
        model.read(body_of([{**sent, "term": "many"}]), AS_JSON, at_most=1)


def test_the_canary_is_known_whichever_way_it_was_read(tmp_path: Path) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    application = dict(model.canary.application)
    for change, is_canary in ({}, True), ({"id": "a"}, False), ({"loan_amnt": application["loan_amnt"] + 25}, False):
        read = model.read(body_of([{**application, **change}]), AS_JSON, at_most=1).applications
        assert model.is_canary(read, model.predict(read)) is is_canary


@pytest.mark.slow
def test_trees_that_disagree_are_not_used(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / onnx_export.FILE).write_bytes(onnx_export.to_onnx(scorer("random_forest").model.booster))  # type: ignore[attr-defined]
    model = ServedModel.load(tmp_path, 1)
    assert model.quick_form == "xgboost"
    sent = model.read(body_of(applications()[0]), AS_JSON, at_most=40).applications
    expected = scorer("xgboost").score(applications()[1])["pd"].to_list()
    assert model.predict(sent).pds == pytest.approx(expected, abs=1e-12)


def test_a_package_that_forgot_its_canary_is_refused(tmp_path: Path) -> None:
    record = json.loads((package(tmp_path) / canary.FILE).read_text())
    (tmp_path / canary.FILE).write_text(json.dumps({**record, "pd": record["pd"] + 0.01}))
    with pytest.raises(BadInput, match="Version 5 gives its canary the PD"):
        ServedModel.load(tmp_path, 5)


def test_trial_rows_reach_every_tree(tmp_path: Path) -> None:
    X = served_model._trial_rows(scorer("xgboost"))
    assert np.isnan(X).any(axis=0).all()
    assert scorer("xgboost").model.margins(X).std() > 0.1


@pytest.mark.parametrize(
    ("raw_id", "expected"),
    [
        ("A-1", "A-1"),
        (5, "5"),
        (5.0, "5"),
        (None, None),
        (" 007 ", "007"),
        ("#N/A", None),
        (2**63 + 1, f"{2**63 + 1}"),
        (12345678901234567, "12345678901234567"),
    ],
)
def test_an_id_is_text_whatever_it_came_as(tmp_path: Path, raw_id: object, expected: str | None) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    application = {**applications()[0][0], "id": raw_id}
    assert model.read(body_of([application]), AS_JSON, at_most=1).applications.ids == [expected]
    closely = {**application, "issue_d": "2018-10-01"}
    assert model.read(body_of([closely]), AS_JSON, at_most=1).applications.ids == [expected]


def test_an_id_is_never_rounded(tmp_path: Path) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    usual, odd = applications()[0][0], {**applications()[0][0], "issue_d": "2018-10-01"}
    long = 2**64 - 1
    for application in ({**usual, "id": long}, {**odd, "id": long}):
        assert model.read(body_of([application]), AS_JSON, at_most=1).applications.ids == [str(long)]
    for application in ({**usual, "id": 1e17}, {**usual, "id": long + 1}, {**odd, "id": long + 1}):
        with pytest.raises(
            BadInput, match=r"Row 0: id 1.*e\+.* has lost its last figures as a number; send it as text"
        ):
            model.read(body_of([application]), AS_JSON, at_most=1)
    for text in ("0012345678901234567890", "007"):
        table = pl.DataFrame([{**usual, "id": text}]).write_csv().encode()
        assert model.read(table, AS_CSV, at_most=1).applications.ids == [text]


def decisions_by_way(model: ServedModel, sent: list[dict[str, Any]]) -> dict[str, tuple[list[float], list[str]]]:
    """Return PDs and decisions of the applications as each way in gives them."""

    def by_rest(rows: int) -> tuple[list[float], list[str]]:
        pds, decisions = [], []
        for start in range(0, len(sent), rows):
            read = model.read(body_of(sent[start : start + rows]), AS_JSON, at_most=rows)
            predictions = model.predict(read.applications, with_reasons=False)
            pds += predictions.pds
            decisions += predictions.decisions
        return pds, decisions

    pyfunc = LoanDefaultModel()
    pyfunc.scorer = model.scorer
    by_pyfunc: Any = pyfunc.predict(pd.DataFrame(sent))
    batch = model.scorer.score(clean_applications(pl.DataFrame(sent), model.scorer.contract), with_reasons=False)
    return {
        **{f"{rows} rows": by_rest(rows) for rows in (1, 100, 101)},
        "batch": (batch["pd"].to_list(), batch["decision"].to_list()),
        "pyfunc": ([row["pd"] for row in by_pyfunc], [row["decision"] for row in by_pyfunc]),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_an_applicant_at_a_cut_off_gets_one_decision_on_every_way(tmp_path: Path, kind: str) -> None:
    """The cut-offs are put at the PD of an applicant and beside it, where its last digit decides."""
    model, sent = ServedModel.load(package(tmp_path, kind), 1), [*applications()[0]] * 3
    pds, _ = decisions_by_way(model, sent)["1 rows"]
    for pd_of_one, step in product(pds[:4], (-1, 0, 1)):
        cut_off = round(pd_of_one + step * 10**-PD_DIGITS, PD_DIGITS)
        policy = model.scorer.policy.model_copy(update={"approve_below": cut_off, "decline_from": cut_off})
        at_cut_off = replace(model, scorer=replace(model.scorer, policy=policy))
        ways = decisions_by_way(at_cut_off, sent)
        for way, (of_way, decisions) in ways.items():
            assert of_way == pds, way
            assert decisions == ways["1 rows"][1], way
        if pd_of_one >= cut_off:
            assert ways["batch"][1][pds.index(pd_of_one)] == "decline"


def test_unknown_fields_are_refused_or_ignored(tmp_path: Path) -> None:
    refusing, ignoring = (ServedModel.load(package(tmp_path), 1, word) for word in UNKNOWN_FIELDS)
    usual = applications()[0][:2]
    sent = [{**application, "colour": number} for number, application in enumerate(usual)]
    split = json.dumps({"dataframe_split": {"columns": [*sent[0]], "data": [[*row.values()] for row in sent]}})
    bodies = [(body_of(sent), AS_JSON), (split.encode(), AS_JSON), (pl.DataFrame(sent).write_csv().encode(), AS_CSV)]
    expected = ignoring.read(body_of(usual), AS_JSON, at_most=2).applications.values
    for body, form in bodies:
        with pytest.raises(BadInput, match=r"colour is no field .* or set serving\.unknown_fields to ignore"):
            refusing.read(body, form, at_most=2)
        for closely in (body, body.replace(b"Oct-2018", b"2018-10-01")):
            assert np.array_equal(ignoring.read(closely, form, at_most=2).applications.values, expected, equal_nan=True)


def test_what_is_required_is_required_of_each_application(tmp_path: Path) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    usual = applications()[0][0]
    without = {name: value for name, value in usual.items() if name != "dti"}
    for sent, row in (([without], 0), ([usual, without], 1)):
        for form in (AS_JSON, f"{AS_JSON}; charset=utf-8"):
            with pytest.raises(BadInput, match=f"Row {row}: dti is missing; it must be 0 to 100 percent"):
                model.read(body_of(sent), form, at_most=2)
    assert model.read(body_of([{**usual, "dti": None}]), AS_JSON, at_most=1)


def test_scoring_stops_where_nobody_waits_any_more(tmp_path: Path) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    applications_read = model.read(body_of(applications()[0] * 30), AS_JSON, at_most=2_000).applications
    assert len(model.predict(applications_read, until=time.monotonic() + 60).pds) == 1_200
    with pytest.raises(Refused, match="took too long"):
        model.predict(applications_read, until=time.monotonic() - 1)
    with pytest.raises(Refused, match="took too long"):
        model.read(pl.DataFrame(applications()[0]).write_csv().encode(), AS_CSV, at_most=40, until=0)


def test_parts_make_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ServedModel.load(package(tmp_path), 1)
    read = model.read(body_of(applications()[0]), AS_JSON, at_most=40).applications
    together = model.predict(read)
    monkeypatch.setattr(served_model, "_ROWS_OF_PART", 7)
    assert model.predict(read) == together


# What applications may hold instead of what they usually do, some of it right, some of it wrong.
ODD_TEXTS = (
    "",
    "n/a",
    "36",
    "36.0",
    " 36 ",
    "3.61",
    "x",
    "YACHT",
    "rent",
    "RENT",
    "A",
    "1",
    "Café",
    'a "b", c',
    "-9",
    "NaN",
)
ODD_MONTHS_AND_NUMBERS = (
    "2018-10-01",
    "Oct-2018",
    "1e3",
    "1,000",
    True,
    False,
    0,
    1,
    -1,
    3.61,
    1e300,
    10**9,
    2**60 + 1,
)
ODD_VALUES = st.sampled_from([None, *ODD_TEXTS, *ODD_MONTHS_AND_NUMBERS])


def answer_of(model: ServedModel, body: bytes, form: str, rows: int) -> tuple[Any, ...]:
    """Return what decides of applications, and what is logged of them; of refused ones that they are."""
    try:
        read = model.read(body, form, at_most=rows).applications
    except BadInput as refused:
        assert str(refused).endswith(".")
        return ("refused",)
    predictions = model.predict(read)
    return (*map(str, read.ids), np.asarray(read.values).tobytes(), *map(repr, predictions))


def texts_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    """Write CSV as Python does; a boolean as JSON has it."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    for row in rows:
        writer.writerow([str(value).lower() if type(value) is bool else value for value in map(row.get, names)])
    return file.getvalue().encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.slow
def test_the_same_applications_get_one_answer_in_every_form(every_form: ServedModel, data: st.DataObject) -> None:
    """Quick and careful path, JSON's forms, spellings of its type and CSV: any field may be odd or null."""
    fields = {field.name: field for field in contract().application_fields}
    rows = [
        {**row, "id": f"A-{number}"} for number, row in enumerate(applications()[0][: data.draw(st.integers(1, 3))])
    ]
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True), label="changed"):
        field = fields[name]
        usual = st.floats(*field.range) if field.range else st.sampled_from([*field.levels, None])
        for row in rows:
            row.setdefault(name, None)
        rows[-1][name] = data.draw(usual | ODD_VALUES, label=name)
    absent = data.draw(st.lists(st.sampled_from(sorted(rows[0])), max_size=1), label="absent of all")
    names = [name for name in rows[0] if name not in absent]
    sent = [{name: row[name] for name in names} for row in rows]
    split = {"columns": names, "data": [[row[name] for name in names] for row in sent]}
    forms: dict[str, Any] = {"dataframe_records": sent, "instances": sent, "dataframe_split": split}
    forms["inputs"] = {name: [row[name] for row in sent] for name in names}
    expected = answer_of(every_form, json.dumps({"dataframe_records": sent}).encode(), AS_JSON, 3)
    for form, content in forms.items():
        body = json.dumps({form: content}).encode()
        for spelling in (AS_JSON, f"{AS_JSON}; charset=utf-8"):
            assert answer_of(every_form, body, spelling, 3) == expected, form
        decoded = decode(body, AS_JSON, at_most=3)
        assert carefully(every_form, decoded.names, decoded.rows) == expected, form
    assert answer_of(every_form, texts_of(sent, names), AS_CSV, 3) == expected


@pytest.mark.parametrize("unknown", ["null", "absent"])
@pytest.mark.slow
def test_each_field_may_be_left_out_on_every_way_or_on_none(every_form: ServedModel, unknown: str) -> None:
    (usual, *_), _ = applications()
    for name in sorted(field.name for field in contract().application_fields):
        sent = {**usual, name: None} if unknown == "null" else {key: usual[key] for key in usual if key != name}
        expected = carefully(every_form, tuple(sent), [[*sent.values()]])
        for form in (AS_JSON, f"{AS_JSON}; charset=utf-8"):
            assert answer_of(every_form, body_of([sent]), form, 1) == expected, name
        assert answer_of(every_form, texts_of([sent], [*sent]), AS_CSV, 1) == expected, name


def carefully(model: ServedModel, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Return the same as `answer_of`, by the careful path alone."""
    try:
        read = check(names, rows, model.scorer.contract)
    except BadInput:
        return ("refused",)
    return (*map(str, read.ids), np.asarray(read.values).tobytes(), *map(repr, model.predict(read)))


@pytest.fixture(scope="module")
def every_form(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    return ServedModel.load(package(tmp_path_factory.mktemp("every_form")), 1)
