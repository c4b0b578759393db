"""Names for frames in the signatures of assets, without importing Polars when definitions are loaded.

Dagster reads annotations at run time and takes these for Any; type checkers see Polars' own types.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    LazyFrame = pl.LazyFrame
else:
    LazyFrame = Any
