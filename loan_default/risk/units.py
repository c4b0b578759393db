"""Units of numbers, as a contract writes them: what they measure, and by how much one is larger than another.

Arithmetic of units belongs here; which fields an expression combines, and how it says that they do not fit, in
`derivations`. A unit that is not known here ("dollars", "FICO points") measures a thing of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

TIME, COUNT = "months", "count"  # what durations measure, and what counts do; shares measure nothing: ()

_DAY = Fraction(12 * 4, 1461)  # months: a year has 365.25 days
_DURATIONS = {"day": _DAY, "week": 7 * _DAY, "month": Fraction(1), "quarter": Fraction(3), "year": Fraction(12)}
_SHARES = {
    "percent": Fraction(1, 100),
    "%": Fraction(1, 100),
    "basis points": Fraction(1, 10_000),
    "share": Fraction(1),
    "fraction": Fraction(1),
}
_MULTIPLES = {"thousand": 1_000, "thousands": 1_000, "million": 1_000_000, "millions": 1_000_000}
_WORDS = "|".join([*map(re.escape, _SHARES), COUNT, *(f"{duration}s?" for duration in _DURATIONS)])
_FURTHER = re.compile(rf"({_WORDS}) (?:of|since|ago)\b.*")  # "percent of income", "months since the last inquiry"
_EACH = re.compile(r"\s*/\s*| (?:a|an|per|each) ")
_MULTIPLE = re.compile(rf"({'|'.join(_MULTIPLES)}) (?:of )?(.+)")


# Factors by which people convert units where the units say so already, with what they convert.
_BY_HAND = {100.0: "percent", 1200.0: "percent", 12.0: "time", 360.0: "time", 365.0: "time", 365.25: "time"}


@dataclass(frozen=True)
class Unit:
    """A unit: the powers of what it measures, and its size in base units (months, shares, and the own of others)."""

    powers: tuple[tuple[str, int], ...] = ()
    size: Fraction = Fraction(1)

    def __mul__(self, other: Unit) -> Unit:
        return Unit(_combined(self.powers, other.powers, 1), self.size * other.size)

    def __truediv__(self, other: Unit) -> Unit:
        return Unit(_combined(self.powers, other.powers, -1), self.size / other.size)

    def power(self, measure: str) -> int:
        """Return how often the unit is multiplied by what is measured, negative where it is divided by it."""
        return dict(self.powers).get(measure, 0)

    @property
    def measures(self) -> str:
        """Say what it measures, in base units: "dollars a month"; "a share"."""
        above = [name for name, power in self.powers for _ in range(power)]
        below = [_singular(name) for name, power in self.powers for _ in range(-power)]
        return " a ".join([" × ".join(above) or "a share", *below])


def unit_of(text: str) -> Unit:
    """Read a unit: "months", "dollars a year", "percent of income", "thousand euros", "FICO points"."""
    text = " ".join(text.casefold().split())
    if match := _FURTHER.fullmatch(text):
        text = match[1]
    above, *below = _EACH.split(text)
    unit = _simple(above)
    for part in below:
        unit /= _simple(part, plural=True)
    return unit


def fits(unit: Unit, target: Unit, operands: Iterable[Unit]) -> bool:
    """Tell whether a number in one unit, computed of others, can be expressed in the other.

    Counts may be left out (dollars for each count are dollars); a plain number may count what no operand does.
    """
    plain = {Unit(tuple(power for power in each.powers if power[0] != COUNT)).powers for each in (unit, target)}
    if unit.powers == target.powers:
        return True
    if len(plain) == 1:
        return target.powers != ()
    counted = {name for each in operands for name, _ in each.powers}
    own = len(target.powers) == 1 and target.powers[0][1] == 1 and target.powers[0][0] not in {TIME, *counted}
    return unit in (Unit(), unit_of(COUNT)) and own


def converted_by_hand(factors: Iterable[float], units: Iterable[Unit]) -> Iterator[float]:
    """Yield factors by which people convert units, as 100 and 12, where these units say so already."""
    units = [*units]
    converted = {
        "percent": any(unit.size.denominator % 100 == 0 for unit in units),
        "time": any(unit.power(TIME) for unit in units),
    }
    for factor in factors:
        for value, kind in _BY_HAND.items():
            if converted[kind] and (math.isclose(factor, value) or math.isclose(1 / factor, value)):
                yield factor


def _simple(text: str, *, plural: bool = False) -> Unit:
    """Read a unit without a quotient; `plural` where the text has it in the singular, as "a year" does."""
    if text in _SHARES:
        return Unit((), _SHARES[text])
    if _singular(text) in _DURATIONS:
        return Unit(((TIME, 1),), _DURATIONS[_singular(text)])
    if match := _MULTIPLE.fullmatch(text):
        unit = _simple(match[2])
        return Unit(unit.powers, unit.size * _MULTIPLES[match[1]])
    return Unit(((text if not plural or text.endswith("s") or text == COUNT else f"{text}s", 1),))


def _singular(name: str) -> str:
    return name.removesuffix("s")


def _combined(
    left: tuple[tuple[str, int], ...], right: tuple[tuple[str, int], ...], sign: int
) -> tuple[tuple[str, int], ...]:
    merged = dict(left)
    for name, power in right:
        merged[name] = merged.get(name, 0) + sign * power
    return tuple(sorted((name, power) for name, power in merged.items() if power))
