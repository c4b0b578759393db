"""Describes contracts as model packages hold them, which may say more than people write.

Keys of earlier releases become those of this one in `earlier`. Tested in `risk/contract/test_loading.py`.
"""

from __future__ import annotations

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.field import LoanField


class PackagedField(LoanField):
    """A field that may be derived as functions of earlier releases did: of numbers as they are, whatever their unit."""

    derived_as_numbers: bool = False

    @property
    def ignores_units(self) -> bool:
        """Tell whether it is derived of numbers as they are, whatever their units."""
        return self.derived_as_numbers


class PackagedContract(Contract):
    """The loan book of a model package."""

    fields: tuple[PackagedField, ...]
