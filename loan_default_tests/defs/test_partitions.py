"""Batches are partitions of one definition, by the name under which Dagster has kept them from the start."""

from loan_default.defs.partitions import batches


def test_partitions_are_registered_as_batch() -> None:
    assert batches.name == "batch"
