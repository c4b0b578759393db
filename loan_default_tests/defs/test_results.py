"""How a step ends: what it stored together, the sentence of a failure, and the checks of a gate, in real runs."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.tracking import TrackingError
from loan_default.defs.book import BookNames, Event
from loan_default.defs.checks import check_results, check_specs
from loan_default.defs.results import explain_failures, file_specs, report_together, user_errors
from loan_default.risk.errors import BadInput
from loan_default.risk.policy import Finding
from loan_default.settings import Settings
from loan_default.steps.gates import GateFailed
from loan_default_tests.homes import definitions_of

BATCHES = dg.StaticPartitionsDefinition(["2018-10"])
IO_MANAGERS = {"parquet": dg.mem_io_manager, "json": dg.mem_io_manager}
PASSED, FAILED = Finding("readable", True, "It can be read."), Finding("complete", False, "1 of 2 rows is missing.")


@dg.multi_asset(
    specs=file_specs(("loans", "Usable rows."), ("rejected", "Unusable rows."), ("report", "Counts.")),
    check_specs=check_specs("loans", ["readable", "complete"]),
    partitions_def=BATCHES,
    can_subset=True,
)
@explain_failures
def read_loans(context: dg.AssetExecutionContext) -> Iterator[Event]:
    if context.run.tags.get("gate") == "failed":
        raise GateFailed("loans", [PASSED, FAILED])
    checks = check_results("loans", [PASSED, FAILED])
    yield from report_together(
        context,
        [context.run.tags.get("file", "loans.csv")],
        dg.MaterializeResult(asset_key="loans", metadata={"rows": 2}, check_results=checks),
        *(dg.MaterializeResult(asset_key=key) for key in ("rejected", "report")),
    )


def run(*keys: str, **tags: str) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [read_loans],
        selection=[*keys],
        partition_key="2018-10",
        resources=IO_MANAGERS,
        tags=tags,
        raise_on_error=False,
    )


def materialized(result: dg.ExecuteInProcessResult) -> dict[str, str | None]:
    """The partition of each asset that Dagster holds for materialized."""
    events = result.get_asset_materialization_events()
    return {event.asset_key.to_user_string(): event.partition for event in events if event.asset_key}


@pytest.mark.parametrize("keys", [["loans"], ["report"], ["loans", "report"]])
def test_files_that_were_stored_together_are_materialized_together(keys: list[str]) -> None:
    result = run(*keys)
    assert result.success
    assert materialized(result) == dict.fromkeys(("loans", "rejected", "report"), "2018-10")
    checks = {check.check_name for check in result.get_asset_check_evaluations()}
    assert checks == ({"readable", "complete"} if "loans" in keys else set())


@dg.asset(partitions_def=BATCHES, deps=["loans", "report"])
def windows() -> None: ...


@pytest.mark.parametrize("keys", [["loans"], ["rejected"], ["loans", "rejected", "report"]])
@pytest.mark.parametrize(("file", "status"), [("loans.csv", StaleStatus.FRESH), ("others.csv", StaleStatus.STALE)])
def test_only_other_files_leave_what_was_made_of_them_out_of_date(
    keys: list[str], file: str, status: StaleStatus
) -> None:
    assets = [read_loans, windows]
    graph = dg.Definitions(assets, resources=IO_MANAGERS).resolve_asset_graph()
    with dg.DagsterInstance.ephemeral() as instance:
        for selection, tags in ((["loans", "rejected", "report", "windows"], {}), (keys, {"file": file})):
            assert dg.materialize(
                assets,
                selection=selection,
                partition_key="2018-10",
                resources=IO_MANAGERS,
                tags=tags,
                instance=instance,
            ).success
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        assert resolver.get_status(dg.AssetKey("windows"), "2018-10") == status


@pytest.mark.parametrize("keys", [["loans"], ["report"]])
def test_a_gate_that_failed_stops_the_step_and_has_its_checks_where_they_were_selected(keys: list[str]) -> None:
    result = run(*keys, gate="failed")
    (step,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert step.user_failure_data is not None
    assert step.user_failure_data.description == FAILED.sentence
    assert materialized(result) == {}
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == ({"readable": True, "complete": False} if "loans" in keys else {})


def test_bad_input_fails_the_step_without_retries() -> None:
    with pytest.raises(dg.Failure) as raised, user_errors():
        raise BadInput("loans.csv is empty.")
    assert raised.value.description == "loans.csv is empty."
    assert not raised.value.allow_retries


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), user_errors():
        _ = 1 / 0


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TrackingError("MLflow cannot be reached."), "MLflow cannot be reached."),
        (ServerError("No server answers."), "No server answers."),
        (OSError(28, "No space left on device", "/a"), "There is no room left at /a; make some"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence_in_a_function_and_in_a_generator(error: Exception, sentence: str) -> None:
    @explain_failures
    def value(count: int) -> int:
        raise error

    @explain_failures
    def values(count: int) -> Iterator[int]:
        yield count
        raise error

    events: Iterator[Any] = values(1)
    assert next(events) == 1
    for iterator in (value(1), events):
        with pytest.raises(dg.Failure) as raised:
            next(iterator)
        assert str(raised.value.description).startswith(sentence)


def test_every_asset_explains_its_failures(tmp_path: Path) -> None:
    for asset in definitions_of(Settings(home=tmp_path)).assets or []:
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable:
            function: Any = asset.op.compute_fn
            compute = function.decorated_fn
            assert getattr(compute, "__wrapped__", None), f"{compute.__name__} is not decorated by explain_failures"


def test_what_is_reported_by_plain_names_is_recorded_under_the_books() -> None:
    module = ModuleType("a_module_of_assets")
    vars(module).update(read_loans=read_loans)
    for gate, reported in (("", {"loans", "rejected", "report"}), ("failed", set())):
        result = dg.materialize(
            BookNames("hmeq").assets([module]),
            resources=IO_MANAGERS,
            instance=_with_batch(),
            partition_key="2018-10",
            tags={"gate": gate},
            raise_on_error=False,
        )
        assert materialized(result).keys() == {f"hmeq/{name}" for name in reported}
        assert {check.asset_key.to_user_string() for check in result.get_asset_check_evaluations()} == {"hmeq/loans"}


def _with_batch() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("hmeq_batches", ["2018-10"])
    return instance
