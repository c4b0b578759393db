"""Tells why an applicant was declined or sent to a person: the groups of fields that speak most against it, as they add
to its risk or lower its value, and the side of each that the contract has a sentence for.

A side is that of the value against the typical loan of development, so a sentence is true of the applicant it is said
to. Every group can be told, the lender's own opinion too: a field without a sentence for the side is told as the fact
that it is. Measuring contributions is the model's, the sentences are the contract's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import NamedTuple, TypedDict

import numpy as np

from loan_default.risk.arrays import Floats
from loan_default.risk.contract.field import LoanField
from loan_default.risk.contract.reasons import Side
from loan_default.risk.model.features import FeatureSpace

Values = Floats | Sequence[Sequence[float]]  # (n, features) of a contract, as `FeatureSpace.values` gives them
# What keeps a row from an approval: the position of a feature that is absent, or of one, or two together, unlike loans.
Needed = int | tuple[int, ...]
_SHARE_DIGITS = 4


class ReasonCode(TypedDict):
    """One reason for programs: the group, its field that adds most, the side of its value, the group's share.

    `share` is of the sum of what all groups that speak against the application add: to the log-odds of its default, or
    to what its value falls short of the typical loan's; rounded to four digits.
    """

    group: str
    field: str
    side: Side
    share: float


class Explanation(NamedTuple):
    """The reasons of one applicant, strongest first, as sentences and as codes of the same order."""

    sentences: list[str]
    codes: list[ReasonCode]


@dataclass(frozen=True)
class ReasonFinder:
    """Finds the reasons of predictions by one feature space, whose population says what is typical."""

    space: FeatureSpace

    def explain(
        self,
        contributions: Floats,
        values: Values,
        at_most: int,
        needed: Sequence[Sequence[Needed]] | None = None,
    ) -> list[Explanation]:
        """Explain by what fields add to the risk: contributions (n, columns) to the margin, from the model."""
        return self.explain_by_field(field_contributions(contributions, self.space), values, at_most, needed)

    def explain_by_field(
        self,
        by_field: Floats,
        values: Values,
        at_most: int,
        needed: Sequence[Sequence[Needed]] | None = None,
    ) -> list[Explanation]:
        """Return for each row what it lacks, where that alone decided, and the groups that speak most against it.

        Args:
            by_field: (n, features) what speaks against each loan.
            values: (n, features) of the same loans.
            at_most: how many reasons a row may have; only groups that speak against it count.
            needed: for each row what alone keeps it from an approval, absent or as no loan had it.
        """
        by_group = np.add.reduceat(by_field[:, self._order], self._starts, axis=1)
        strongest = np.argsort(-by_group, axis=1, kind="stable")
        lacking = needed or [()] * len(by_field)
        rows = zip(by_field.tolist(), by_group.tolist(), strongest.tolist(), lacking, strict=True)
        return [
            self._explanation(self._named(*row), row[1], numbers, at_most)
            for row, numbers in zip(rows, values, strict=True)
        ]

    def _named(
        self, by_field: list[float], by_group: list[float], strongest: list[int], needed: Sequence[Needed]
    ) -> Iterator[tuple[int, Needed]]:
        """Yield the positions of the groups that are reasons of a row, and of the fields that each is told by."""
        named = [(self._group_of[each if isinstance(each, int) else each[0]], each) for each in needed]
        yield from named
        groups = {group for group, _ in named}
        for group in strongest:
            if by_group[group] <= 0:
                return
            if group not in groups:
                yield group, max(self._groups[group][1], key=by_field.__getitem__)

    def _explanation(
        self,
        named: Iterable[tuple[int, Needed]],
        by_group: list[float],
        values: Sequence[float] | Floats,
        at_most: int,
    ) -> Explanation:
        """Tell the first reasons, and no sentence twice: where a group would, the next is told."""
        raised = sum(added for added in by_group if added > 0)
        explanation = Explanation([], [])
        for group, each in named:
            if len(explanation.sentences) == at_most:
                break
            index = each if isinstance(each, int) else each[0]
            name, members, sentence = self._groups[group]
            field, value = self.space.contract.features[index], float(values[index])
            side = side_of(field, value, self._typical[index])
            share = round(max(by_group[group], 0.0) / raised, _SHARE_DIGITS) if raised else 0.0
            if not isinstance(each, int):
                sentence = self._unlike(each, values)
            elif sentence is None or any(map(isnan, map(values.__getitem__, members))):  # it tells of all of them
                sentence = field.reason(side, _plain_value(field, value))
            if sentence in explanation.sentences:
                continue
            explanation.sentences.append(sentence)
            explanation.codes.append({"group": name, "field": field.name, "side": side, "share": share})
        return explanation

    def _unlike(self, positions: tuple[int, ...], values: Sequence[float] | Floats) -> str:
        """Say that a value is unlike those of loans, or that two are, of which each alone is common."""
        fields = [self.space.contract.features[position] for position in positions]
        names = " and ".join(field.short for field in fields)
        if len(fields) > 1:
            return f"{names}, taken together, are as hardly any loan had them."
        value = _plain_value(fields[0], float(values[positions[0]]))
        assert value is not None, "what is absent is not unlike loans"
        return f"{names}: {fields[0].say(value)}, as no loan had."

    @cached_property
    def _typical(self) -> list[float | None]:
        """Return for each feature the number of its typical value, None where it is not known."""
        return [self.space.population.typical_number(field) for field in self.space.contract.features]

    @cached_property
    def _groups(self) -> list[tuple[str, list[int], str | None]]:
        """Return each group, in the contract's order: its name, the positions of its features, its own sentence."""
        contract = self.space.contract
        members: dict[str, list[int]] = {}
        for index, field in enumerate(contract.features):
            members.setdefault(field.group, []).append(index)
        return [(name, indices, contract.groups.get(name)) for name, indices in members.items()]

    @cached_property
    def _group_of(self) -> dict[int, int]:
        """Return for each feature the position of its group among `_groups`."""
        return {index: group for group, (_, members, _) in enumerate(self._groups) for index in members}

    @cached_property
    def _order(self) -> list[int]:
        """Return the positions of the features, those of a group beside each other."""
        return [index for _, members, _ in self._groups for index in members]

    @cached_property
    def _starts(self) -> list[int]:
        """Return where in `_order` each group begins."""
        sizes = [len(members) for _, members, _ in self._groups]
        return [0, *np.cumsum(sizes)[:-1].tolist()]


def side_of(field: LoanField, value: float, typical: float | None) -> Side:
    """Return the side of a number, or of a level's position; `level` where it has none: nominal, typical, not known."""
    if value != value:
        return "missing"
    if field.kind == "nominal" or typical is None or value == typical:
        return "level"
    return "high" if value > typical else "low"


def _plain_value(field: LoanField, value: float) -> float | str | None:
    """Return the value as `LoanField.reason` takes it."""
    if value != value:
        return None
    return field.levels[int(value) - 1] if field.levels else value


def field_contributions(contributions: Floats, space: FeatureSpace) -> Floats:
    """Add up contributions by matrix column (n, columns) to those by field of the contract (n, features)."""
    added = np.add.reduceat(contributions, space.starts, axis=1)
    if not space.without_opinion:
        return added
    by_field = np.zeros((len(added), len(space.contract.features)))
    by_field[:, space.used] = added
    return by_field
