"""Batches of applications as partitions, named after their files as `adapters.layout` says."""

import dagster as dg

batches = dg.DynamicPartitionsDefinition(name="batch")
