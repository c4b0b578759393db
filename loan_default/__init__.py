"""Train, promote, score and watch a model of loan default.

Importing the package loads nothing and works where it is not installed: a registered model carries it as plain files.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """Return `__version__` when it is asked for: reading what is installed takes 40 ms."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("loan-default")
        except PackageNotFoundError:
            return "0.0.0"  # as pyproject.toml calls what has no history
