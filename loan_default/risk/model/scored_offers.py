"""Finds offers by a version alone, where no server of ours scores them: under plain MLflow.

Which changes are tried, and which of them are told, is `offers`'s. Tested in `serving/test_offered_changes.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import polars as pl

from loan_default.risk.data.applications import clean_applications
from loan_default.risk.model.offers import Answer, Application, offers_or_why
from loan_default.risk.model.scorer import Scorer


def add_offers(
    scorer: Scorer, records: pl.DataFrame, features: pl.DataFrame, scores: pl.DataFrame
) -> list[dict[str, Any]]:
    """Return the scores of applications (n rows) as records with `offers`, and with `no_offer` where there is none.

    Args:
        scorer: the version.
        records: as they were sent.
        features: as they were read.
        scores: what the version said of them.
    """
    contract, answers = scorer.contract, []
    for sent, read, answer in zip(records.to_dicts(), features.to_dicts(), scores.to_dicts(), strict=True):
        application = sent | {field.name: read[field.name] for field in contract.features if field.name in sent}
        offers = offers_or_why(contract, application, answer["decision"], partial(_score, scorer), answer.get("npv"))
        answers.append({**answer, **offers.to_dict()})
    return answers


def _score(scorer: Scorer, applications: Sequence[Application]) -> list[Answer]:
    """Score applications; those of the same fields together, as one that lacks a field is not one that is null."""
    answers: list[Answer] = []
    for _, group in groupby(applications, key=lambda each: {*each}):
        frame = pl.DataFrame([dict(each) for each in group], infer_schema_length=None, strict=False)
        scores = scorer.score(clean_applications(frame, scorer.contract), with_reasons=False)
        worth = scores["npv"].to_list() if "npv" in scores.columns else [None] * scores.height
        decided = scores["decision"].cast(pl.String).to_list()
        answers += map(Answer, decided, scores["pd"].to_list(), worth)
    return answers
