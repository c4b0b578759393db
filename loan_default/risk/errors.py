"""Defines the error that a user can cause: input that cannot be used. Its text is a sentence for that user.

Everything else that goes wrong is a fault of ours and keeps its own type and stack trace. Its sentences are
tested where they are raised, as in `risk/contract/test_loading.py`.
"""


class BadInput(ValueError):
    """A file, a row or a setting that cannot be used: says which, what is wrong and what to do."""


class DamagedRecord(BadInput):
    """A record of the storage that cannot be read: `name` is that of its file without the suffix."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(sentence)
        self.name = name
