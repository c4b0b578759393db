"""A loan book's own names in Dagster: the keys of its assets, the partitions of its batches, and the runs that are its.

The book whose contract ships has plain names; another's stand under its name, so that one instance holds several. Its
names in the storage and in MLflow are the settings' and `adapters.layout`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dagster as dg

from loan_default.defs.run_tags import BOOK_TAG

batches = dg.DynamicPartitionsDefinition(name="batch")  # named after their files, as `adapters.layout` says
Event = dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckResult


@dataclass(frozen=True)
class BookNames:
    """The names of a book; empty is that of the contract that ships."""

    book: str = ""

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of an asset of this book."""
        return dg.AssetKey([self.book, asset] if self.book else asset)

    @property
    def batches(self) -> dg.DynamicPartitionsDefinition:
        """The partitions of the batches of this book."""
        return dg.DynamicPartitionsDefinition(name=f"{self.book}_batches") if self.book else batches

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the runs of this book's jobs."""
        return {BOOK_TAG: self.book} if self.book else {}

    def assets(self, modules: Iterable[Any]) -> list[Any]:
        """Load the assets of modules under this book's names."""
        assets: list[Any] = [*dg.load_assets_from_modules([*modules], key_prefix=self.book or None, include_specs=True)]
        return [self._with_own_checks(each) for each in dg.map_asset_specs(self._own, assets)] if self.book else assets

    def _own(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.key.path[0] != self.book:  # Dagster prefixes no asset that is only described
            spec = spec.replace_attributes(key=self.key(spec.key.path[-1]))
        return spec.replace_attributes(partitions_def=self.batches) if spec.partitions_def else spec

    def _with_own_checks(self, assets: Any) -> Any:
        """Give checks of batches the partitions of this book, as `_own` does their assets, which Dagster does not."""
        if not isinstance(assets, dg.AssetsDefinition) or not assets.check_keys:
            return assets
        attributes = assets.get_attributes_dict()
        checks = {
            name: spec._replace(partitions_def=self.batches) if spec.partitions_def else spec
            for name, spec in attributes["check_specs_by_output_name"].items()
        }
        return dg.AssetsDefinition.dagster_internal_init(**{**attributes, "check_specs_by_output_name": checks})

    def runs(self, instance: dg.DagsterInstance, limit: int | None = None, **filters: Any) -> list[dg.RunRecord]:
        """Return the newest runs of this book that pass the filters, which are those of Dagster's `RunsFilter`.

        Dagster can filter neither by the lack of a tag nor by a book's assets: it is read until there are enough.
        """
        records = _newest_runs(instance, dg.RunsFilter(**filters), limit)
        return [*islice((record for record in records if self.owns(record.dagster_run)), limit)]

    def owns(self, run: dg.DagsterRun) -> bool:
        """Tell whether a run is this book's: by its tag, or by its assets where it is of no job."""
        prefixes = {key.path[0] for key in run.asset_selection or () if len(key.path) > 1}
        return (prefixes or {run.tags.get(BOOK_TAG, "")}) == {self.book}


def _newest_runs(instance: dg.DagsterInstance, filters: dg.RunsFilter, size: int | None) -> Iterator[dg.RunRecord]:
    """Yield runs of all books, the newest first, read `size` at a time."""
    cursor = None
    while records := instance.get_run_records(filters, limit=size, cursor=cursor):
        yield from records
        if size is None or len(records) < size:
            return
        cursor = records[-1].dagster_run.run_id


def own_key(asset: str | dg.AssetKey, assets: dg.AssetsDefinition) -> dg.AssetKey:
    """Return the key by which the book has an asset of this step, whose plain name is known."""
    plain = dg.AssetKey.from_coercible(asset)
    return next((key for key in assets.keys if key.path[-1] == plain.path[-1]), plain)


def with_own_keys(event: Event, assets: dg.AssetsDefinition) -> Event:
    """Return what a step reports by an asset's plain name under the key by which the book has it."""
    if event.asset_key is not None:
        event = event._replace(asset_key=own_key(event.asset_key, assets))
    if isinstance(event, dg.MaterializeResult) and event.check_results:
        event = event._replace(check_results=[with_own_keys(check, assets) for check in event.check_results])
    return event
