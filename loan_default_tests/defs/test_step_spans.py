"""A span of each step, in real runs, by the receiver of a test."""

from pathlib import Path

import dagster as dg
import pytest

from loan_default.definitions import build_definitions
from loan_default.defs.results import explain_failures
from loan_default.risk.errors import BadInput
from loan_default.settings import Settings
from loan_default_tests.traces import receiver


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["2018-10"]))
@explain_failures
def good(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult()


@dg.asset(deps=[good], partitions_def=dg.StaticPartitionsDefinition(["2018-10"]))
@explain_failures
def bad(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    raise BadInput("loans.csv is empty.")


def run() -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [good, bad], partition_key="2018-10", resources={"io_manager": dg.mem_io_manager}, raise_on_error=False
    )


@pytest.mark.integration
def test_each_step_is_a_span_of_the_trace_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        result = run()
    first, second = received.spans
    assert [(span.name, span.failed) for span in (first, second)] == [("good", False), ("bad", True)]
    assert {span.trace_id for span in received.spans} == {result.run_id.replace("-", "")}
    assert {span.service for span in received.spans} == {"loan-default-pipeline"}
    assert first.ended <= second.began
    assert first.attributes == {
        "dagster.run_id": result.run_id,
        "dagster.job": result.dagster_run.job_name,
        "dagster.step": "good",
        "dagster.asset_keys": ["good"],
        "dagster.partition": "2018-10",
    }
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.user_failure_data is not None
    assert failure.user_failure_data.description == "loans.csv is empty."


def test_without_a_receiver_steps_run_as_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert [event.step_key for event in run().all_events if event.is_step_success] == ["good"]


def test_every_asset_that_is_computed_has_a_span() -> None:
    assets = build_definitions(Settings(home=Path("/nowhere"))).assets or []
    computed = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition) and asset.is_executable]
    assert len(computed) == 16
    for asset in computed:
        assert hasattr(asset.op.compute_fn.decorated_fn, "__wrapped__"), asset.key  # type: ignore[union-attr]
