"""Defines the error that a user can cause: input that cannot be used. Its text is a sentence for that user.

Everything else that goes wrong is a fault of ours and keeps its own type and stack trace. Its sentences are
tested where they are raised, as in `risk/contract/test_loading.py`.
"""


class BadInput(ValueError):
    """A file, a row or a setting that cannot be used: says which, what is wrong and what to do."""


class DamagedRecord(BadInput):
    """A record of the storage that cannot be read: `name` is that of its file without the suffix, `kind` its kind."""

    def __init__(self, name: str, sentence: str, kind: str | None = None) -> None:
        super().__init__(name, sentence, kind)
        self.name, self.sentence, self.kind = name, sentence, kind

    def __str__(self) -> str:
        """Return the sentence."""
        return self.sentence
