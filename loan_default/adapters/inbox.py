"""The inbox: which batch files have come in whole, and which are refused.

Files are recognised by size and time of change, as `file_listing` has them; content is read only where these are new.
What a batch is called is `layout`'s to say, reading the applications is `risk`'s, and asking for runs is `defs`'s.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loan_default.adapters.file_listing import File, local_copy
from loan_default.adapters.layout import batch_name
from loan_default.risk.errors import BadInput


def split_tokens(text: str) -> set[str]:
    """Split tokens that were written one behind the other."""
    return {text[start : start + 8] for start in range(0, len(text), 8)}


@dataclass(frozen=True)
class ReadyBatch:
    """A batch that can be scored: its name, a fingerprint of its content, and the state and the token of its file."""

    batch: str
    fingerprint: str
    state: str
    token: str


@dataclass(frozen=True)
class ScanState:
    """A scan's findings, for the next one.

    `settled`: the tokens of files that need no other scan. Of the others `states`, `fingerprints` of those that did not
    change, `refused`: why some are no batches, and `requested`: the fingerprint of each batch when it was last asked
    for. Dagster keeps all of it with each tick, so it must be small where there are many files.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    requested: Mapping[str, str] = field(default_factory=dict)
    settled: str = ""

    def to_json(self) -> str:
        """Write the state as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> ScanState:
        """Read what `to_json` wrote; where it is anything else, each file waits for one more scan."""
        try:
            record = json.loads(text or "{}")
            settled = record.pop("settled", "")
            fields = {name: dict(values) for name, values in record.items()}
            texts = [settled, *(value for values in fields.values() for value in values.values())]
            return cls(**fields, settled=settled) if all(isinstance(text, str) for text in texts) else cls()
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls()


@dataclass(frozen=True)
class InboxScan:
    """The content of the inbox: batches that are whole, oldest first, files that may still change, what is refused."""

    ready: tuple[ReadyBatch, ...]
    changing: tuple[str, ...]
    refused: Mapping[str, str]
    states: Mapping[str, str]
    fingerprints: Mapping[str, str]
    batch_of: Mapping[str, str]  # of files that are neither refused nor settled
    settled: tuple[str, ...]  # tokens

    def next_state(self, requested: Mapping[str, str], done: Collection[str] = ()) -> ScanState:
        """Return the state for the next scan; `done` batches are settled, and those that are gone are forgotten."""
        pending = {name: batch for name, batch in self.batch_of.items() if batch not in done}
        return ScanState(
            states={name: self.states[name] for name in pending},
            fingerprints={name: self.fingerprints[name] for name in pending if name in self.fingerprints},
            refused=self.refused,
            requested={batch: requested[batch] for batch in pending.values() if batch in requested},
            settled="".join([*self.settled, *(ready.token for ready in self.ready if ready.batch in done)]),
        )


def scan_inbox(
    files: Sequence[File],
    batches: Iterable[str],
    before: ScanState,
    *,
    most_bytes: int,
    staging: Path,
) -> InboxScan:
    """Scan the inbox for files that are whole: those whose state is that of the last scan.

    Args:
        files: what the inbox holds, oldest first.
        batches: those that were registered before.
        before: the state after the last scan; where it is lost, each file waits for one more.
        most_bytes: to be read now; further files wait for the next scan.
        staging: where objects are copied to when they are read.
    """
    batch_of, refused = _name_batches(files, batches)
    tokens, settled = split_tokens(before.settled), []
    states, pending, fingerprints, ready, changing = {}, {}, {}, [], []
    for file in files:
        if file.name not in batch_of:
            continue
        if file.token in tokens:
            settled.append(file.token)
            continue
        states[file.name] = file.state
        pending[file.name] = batch_of[file.name]
        unchanged = before.states.get(file.name) == file.state
        fingerprint = before.fingerprints.get(file.name) if unchanged else None
        if unchanged and fingerprint is None and most_bytes > 0:
            most_bytes -= file.size
            fingerprint = read_fingerprint(staging, file)
        if fingerprint is None:
            changing.append(file.name)
        else:
            fingerprints[file.name] = fingerprint
            ready.append(ReadyBatch(batch_of[file.name], fingerprint, file.state, file.token))
    return InboxScan(tuple(ready), tuple(changing), refused, states, fingerprints, pending, tuple(settled))


def _name_batches(files: Sequence[File], batches: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the batch of each file, and why a file has none; the case of letters makes no other batch."""
    first: dict[str, str] = {batch.casefold(): batch for batch in batches}
    files_of: dict[str, list[str]] = defaultdict(list)
    batch_of, refused = {}, {}
    for file in files:
        try:
            batch = batch_name(file.name)
        except BadInput as error:
            refused[file.name] = str(error)
            continue
        same = first.setdefault(batch.casefold(), batch)
        if same != batch:
            refused[file.name] = f"{file.name}: batch {same} differs only by case; rename the file."
        elif files_of[batch]:
            refused[file.name] = f"{file.name}: {files_of[batch][0]} is the same batch in another form; remove one."
        else:
            batch_of[file.name] = batch
            files_of[batch].append(file.name)
    return batch_of, refused


def read_fingerprint(staging: Path, file: File) -> str:
    """Read the file, and return the fingerprint that the batch's report will have."""
    from loan_default.risk.data.loan_files import fingerprint

    return fingerprint([local_copy(staging, file)])
