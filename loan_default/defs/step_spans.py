"""A span of OpenTelemetry for each step, where a receiver is named; the trace of a run has the run's id.

How spans are sent is `adapters.tracing`'s, what a step does `steps`'s. `results.explain_failures` is around each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from loan_default.adapters.tracing import is_traced, open_provider

SERVICE = "loan-default-pipeline"


@contextmanager
def step_span() -> Iterator[None]:
    """Send a span of the step under way; it is sent when the step ends, as its process may end then too."""
    if not is_traced():
        yield
        return
    context = dg.AssetExecutionContext.get()
    provider = open_provider(SERVICE, trace_id=context.run.run_id.replace("-", ""))
    attributes = {
        "dagster.run_id": context.run.run_id,
        "dagster.job": context.run.job_name,
        "dagster.step": context.op_execution_context.op.name,
        "dagster.asset_keys": sorted(key.to_user_string() for key in context.selected_asset_keys),
        **({"dagster.partition": context.partition_key} if context.has_partition_key else {}),
    }
    try:
        tracer = provider.get_tracer("loan_default.defs")
        with tracer.start_as_current_span(context.op_execution_context.op.name, attributes=attributes):
            yield
    finally:
        provider.shutdown()
