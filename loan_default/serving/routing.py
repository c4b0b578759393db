"""Routing to a challenger that is tried: the same loan always goes to the same version, to be answered or unseen."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from loan_default.risk.arrays import Floats
from loan_default.risk.model.online_features import Applications

if TYPE_CHECKING:
    from loan_default.serving.decision_records import DecidingVersion
    from loan_default.serving.served_model import ServedModel

_ALL_HASHES = 2**64


def is_challenged(loan_id: str | None, share: float) -> bool:
    """Tell whether a loan is among the share (0 to 1) that goes to the challenger; one without an id never is."""
    if not loan_id:
        return False
    return int.from_bytes(blake2b(loan_id.encode(), digest_size=8).digest()) < share * _ALL_HASHES


class Challenger(Protocol):
    """Whatever knows the version that is tried, if there is one."""

    @property
    def model(self) -> ServedModel | None:
        """The version, None where there is none."""


class RememberedVersion:
    """The version that a server's follower had last for an alias, as its file tells; no registry is asked."""

    def __init__(self, last: Path) -> None:
        self._last, self._remembered = last, b""
        self._model: ServedModel | None = None

    @property
    def model(self) -> ServedModel | None:
        """The version, loaded when the file changes; None where there is none, or it cannot be loaded."""
        from loan_default.serving.follower import recall_version

        try:
            remembered = self._last.read_bytes()
        except FileNotFoundError:
            return None
        if remembered != self._remembered:
            self._model, self._remembered = recall_version(self._last), remembered
        return self._model


class ShadowScoring:
    """A challenger that scores a share (0 to 1) of what others decided, when that becomes a file of the log."""

    def __init__(self, challenger: Challenger, share: float) -> None:
        self._challenger, self._share = challenger, share

    def __call__(
        self, deciding: DecidingVersion, ids: Sequence[str | None], values: Floats
    ) -> tuple[int, Sequence[float | None]] | None:
        """Return the challenger's version and its PD of each row (n), None of a row that is not of the share.

        Nothing is returned where there is no other version, or it needs more than the rows (n, features) hold.
        """
        model = self._challenger.model
        if not self._share or model is None or model.version == deciding.version:
            return None
        columns = {field: index for index, field in enumerate(deciding.fields[: values.shape[1]])}
        needed = [(field.name, field.levels) for field in model.scorer.contract.features]
        chosen = [index for index, loan_id in enumerate(ids) if is_challenged(loan_id, self._share)]
        if not chosen or not columns.keys() >= set(needed):
            return None
        rows = values[np.ix_(chosen, [columns[field] for field in needed])]
        predictions = model.predict(Applications([ids[index] for index in chosen], rows), with_reasons=False)
        pds = dict(zip(chosen, predictions.pds, strict=True))
        return model.version, [pds.get(index) for index in range(len(ids))]
