"""Batches of applications as partitions, named after their files."""

import re

import dagster as dg

from loan_default.risk.errors import BadInput

batches = dg.DynamicPartitionsDefinition(name="batch")

_ALLOWED = re.compile(r"[A-Za-z0-9._-]+")
_SUFFIX = re.compile(r"\.(csv|csv\.gz|parquet)$")


def batch_name(file_name: str) -> str:
    """`2018-10.csv` → `2018-10`.

    Raises:
        BadInput: the name has another suffix or a character outside of letters, figures, dot, dash and underscore.
    """
    name = _SUFFIX.sub("", file_name)
    if name == file_name:
        raise BadInput(f"{file_name}: a batch file ends in .csv, .csv.gz or .parquet.")
    if not _ALLOWED.fullmatch(name) or name.strip(".") == "":
        raise BadInput(
            f"{file_name}: a batch's name may hold letters, figures, '.', '-' and '_' only; rename the file."
        )
    return name
