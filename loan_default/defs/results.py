"""How a step ends in Dagster: files that belong together are reported together, and a failure is one sentence.

What a step does is `steps`'s; tables and checks of a result are made by `metadata` and `checks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, ParamSpec

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from loan_default.adapters.parquet_table import find_damage
from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.storage import explain_os_error
from loan_default.adapters.tracking import TrackingError
from loan_default.defs.book import Event, own_key, with_own_keys
from loan_default.defs.checks import check_results
from loan_default.defs.metadata import OWNERS, REJECTED
from loan_default.defs.step_spans import step_span
from loan_default.risk.errors import BadInput
from loan_default.settings import load_settings
from loan_default.steps.gates import GateFailed

Parameters = ParamSpec("Parameters")
Asset = tuple[str, str]  # its name, and what it is


def file_specs(table: Asset, rejected: Asset, report: Asset, **attributes: Any) -> list[dg.AssetSpec]:
    """Describe what a step makes of files that came in: a table of the usable rows, the rejected ones, and a report.

    The step stores them itself; IO managers only read them for others.

    Args:
        table: the asset's name and what it is.
        rejected: likewise, of `metadata.REJECTED`'s columns.
        report: likewise, a record.
        attributes: of all three, as `dagster.AssetSpec` takes them.
    """
    frame, record = {"kinds": {"polars", "parquet"}}, {"kinds": {"json"}}
    columns = {"metadata": {"dagster/column_schema": REJECTED}}
    return [
        dg.AssetSpec(key, description=description, owners=OWNERS, **own, **attributes).with_io_manager_key(io_manager)
        for (key, description), io_manager, own in (
            (table, "parquet", frame),
            (rejected, "parquet", frame | columns),
            (report, "json", record),
        )
    ]


def report_together(
    context: dg.AssetExecutionContext, content: Iterable[str], *results: dg.MaterializeResult[None]
) -> Iterator[Event]:
    """Report assets whose files one step stored together, whichever of them were selected.

    A selected asset is reported with its checks. Another is reported as materialized: its file was written too, as
    a table and the report on it must be of the same input.

    Args:
        context: of the step.
        content: fingerprints of all that was read. Their data version changes with it and with the code, so that
            reading the same again leaves nothing downstream out of date.
        results: of the assets.
    """
    partition = context.partition_key if context.has_partition_key else None
    codes = sorted({f"{code}" for code in context.assets_def.code_versions_by_key.values()})
    version = dg.DataVersion(hashlib.sha256("\n".join([*codes, *content]).encode()).hexdigest())
    for result in results:
        assert result.asset_key is not None
        key = own_key(result.asset_key, context.assets_def)
        if key in context.selected_asset_keys:
            yield result._replace(data_version=version)
        else:
            tags = {DATA_VERSION_TAG: version.value}
            yield dg.AssetMaterialization(key, metadata=result.metadata, partition=partition, tags=tags)


def log_warnings(context: dg.AssetExecutionContext, sentences: Iterable[str]) -> None:
    """Warn in the log of a run by each sentence."""
    for sentence in sentences:
        context.log.warning(sentence)


@contextmanager
def user_errors() -> Iterator[None]:
    """Fail the step with one sentence where a user can mend it; input that cannot be used is not tried again."""
    try:
        yield
    except BadInput as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except (TrackingError, ServerError) as error:
        raise dg.Failure(str(error)) from None
    except OSError as error:
        raise dg.Failure(explain_os_error(error)) from error
    except Exception as error:
        settings = load_settings()
        if damage := find_damage(error, settings.layout, settings.staging):
            raise dg.Failure(str(damage), allow_retries=False) from error
        raise


def explain_failures(compute: Callable[Parameters, Any]) -> Callable[Parameters, Iterator[Any]]:
    """Decorate an asset's function: what a user can mend is one sentence, and a gate that failed has its checks.

    Its events get the keys of the book, and its run a span.
    """

    @wraps(compute)
    def events(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Iterator[Any]:
        with step_span():
            try:
                with user_errors():
                    result = compute(*args, **kwargs)
                    yield from map(_under_own_keys, result if isgeneratorfunction(compute) else [result])
            except GateFailed as error:
                yield from _selected_checks(error)
                raise dg.Failure(str(error), allow_retries=False) from None

    return events


def _under_own_keys(event: Any) -> Any:
    if isinstance(event, dg.MaterializeResult | dg.AssetMaterialization | dg.AssetCheckResult):
        return with_own_keys(event, dg.AssetExecutionContext.get().assets_def)
    return event


def _selected_checks(error: GateFailed) -> Iterator[Event]:
    context = dg.AssetExecutionContext.get()
    for result in check_results(error.asset, error.findings):
        key = dg.AssetCheckKey(own_key(error.asset, context.assets_def), str(result.check_name))
        if key in context.selected_asset_check_keys:
            yield with_own_keys(result, context.assets_def)
