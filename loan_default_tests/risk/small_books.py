"""Small loan books of other shapes than the shipped one: without a date, cut by cohort, revolving, of several products.

Each has 20 fields at most and loans that the project makes, so that tests of what such a book changes are quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from loan_default.risk.contract.book import Contract

_ID = {"name": "id", "kind": "text", "role": "id", "description": "The number of the loan."}
_ISSUED = {"name": "issued", "kind": "month", "role": "time", "description": "The month of issue."}
_WAVE = {"name": "wave", "kind": "ordered", "role": "cohort", "levels": list("abcdefgh"), "description": "The wave."}
_PRODUCT = {
    "name": "product",
    "kind": "nominal",
    "role": "segment",
    "levels": ["S", "L"],
    "description": "The product.",
}
OWED = {  # a feature of which it tells much that it is missing
    "name": "owed",
    "kind": "number",
    "role": "feature",
    "unit": "percent",
    "range": [0, 100],
    "risk": "rising",
    "missing": "informative",
    "description": "What is owed.",
    "reasons": {"high": "Much is owed: {value}.", "missing": "What is owed is not stated."},
}
_FEATURES = (
    {
        "name": "income",
        "kind": "number",
        "role": "feature",
        "unit": "dollars",
        "range": [0, 1_000_000],
        "risk": "falling",
        "description": "Income of a year.",
    },
    {"name": "home", "kind": "nominal", "role": "feature", "levels": ["rent", "own"], "description": "Housing."},
    {"name": "debt", "kind": "number", "role": "feature", "unit": "percent", "range": [0, 100], "description": "Debt."},
)
_PROTECTED = (
    {"name": "sex", "kind": "nominal", "role": "protected", "levels": ["f", "m"], "description": "Sex."},
    {"name": "age", "kind": "number", "role": "protected", "unit": "years", "range": [18, 99], "description": "Age."},
)


def make_contract(*fields: Mapping[str, Any], **keys: Any) -> Contract:
    """Describe a book of these fields beside its id, features and protected fields."""
    unresolved = [] if "outcomes" in keys else ["open"]
    return Contract.model_validate(
        {
            "name": "small",
            "title": "A small book",
            "known_afterwards": [],
            "outcome": {"column": "status", "defaulted": ["bad"], "repaid": ["good"], "unresolved": unresolved},
            "expect": {"rejected_share_at_most": 0.1, "default_rate_between": [0.01, 0.9]},
            "fields": [_ID, *fields, *_FEATURES, *_PROTECTED],
            **keys,
        }
    )


TIMELESS = make_contract(time="none", outcomes="final")
BY_WAVE = make_contract(_WAVE, time="none", outcomes="final")
FINAL = make_contract(_ISSUED, outcomes="final")
REVOLVING = make_contract(_ISSUED, term={"horizon": 12})
BY_PRODUCT = make_contract(_ISSUED, _PRODUCT, term={"by": "product", "months": {"S": 12, "L": 36}})
CONSTANT = make_contract(_ISSUED, term=24)
TERM_AS_SUPPORT = make_contract(
    _ISSUED,
    {"name": "term", "kind": "number", "role": "support", "unit": "months", "range": [1, 60], "description": "Term."},
)
BOOKS = {
    "timeless": TIMELESS,
    "by_wave": BY_WAVE,
    "final": FINAL,
    "revolving": REVOLVING,
    "by_product": BY_PRODUCT,
    "constant": CONSTANT,
    "term_as_support": TERM_AS_SUPPORT,
}


def make_file(rows: int, *, seed: int = 1) -> pl.DataFrame:
    """Make the table of a loan file that has the columns of every book; two in five of its loans default."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=rows)
    months = [date(2012 + month // 12, month % 12 + 1, 1) for month in rng.integers(0, 60, rows).tolist()]
    return pl.DataFrame(
        {
            "id": [f"L{number:06d}" for number in range(rows)],
            "issued": [f"{month:%Y-%m}" for month in months],
            "wave": rng.choice(list("abcdefgh"), rows),
            "product": rng.choice(["S", "L"], rows),
            "term": rng.choice([12, 36], rows),
            "income": np.round(60_000 - 15_000 * risk + rng.normal(0, 5_000, rows)).clip(0),
            "home": np.where(risk + rng.normal(size=rows) > 0, "rent", "own"),
            "debt": np.round(30 + 10 * risk + rng.normal(0, 5, rows), 1).clip(0, 100),
            "sex": rng.choice(["f", "m"], rows),
            "age": rng.integers(18, 80, rows),
            "status": np.where(rng.random(rows) < 1 / (1 + np.exp(0.5 - 1.5 * risk)), "bad", "good"),
        }
    )
