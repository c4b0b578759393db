"""The logged model's own file: MLflow runs it wherever the model is served, with only `risk` beside it.

It turns MLflow's input into a Polars frame and a `Scorer`'s answer into JSON; scoring belongs in `risk.model.scorer`,
the platform's own server in the rest of this room. It imports neither from here nor from `adapters`: neither
travels with the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import polars as pl
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from loan_default.risk.model.scorer import Scorer


class LoanDefaultModel(PythonModel):
    """A model that scores applications in natural units: dollars, percent, months, FICO points."""

    scorer: Scorer

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model package that was logged beside this file."""
        from loan_default.risk.model.scorer import Scorer

        self.scorer = Scorer.load(Path(context.artifacts["package"]))

    # The DataFrame hint keeps MLflow from wrapping `predict` in its own validation, and from warning about it. MLflow
    # also takes a `predict` without a context, which its own annotation does not say.
    def predict(  # type: ignore[override]
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]] | list[float] | list[int]:
        """Return one answer for each row, in the form that the parameter `output` names.

        `full` (the default): `pd`, `score`, `decision`, `reasons`, `reason_codes`, where the version has a value
        `expected_loss` and `npv`, where it has hazards `pd_12m`, `pd_curve`, `pd_hazard` and `expected_life`;
        `pd`: the probability alone;
        `label`: 1 where the decision is to decline, otherwise 0; `offers`: `full`, and what would have to change for a
        better decision, or why nothing would, for few applications at once. Input that the contract refuses is the
        caller's mistake: HTTP 400 with the sentence that says so. MLflow itself refuses what lacks a required field,
        and drops, with a warning in its log, a field that the signature does not know.
        """
        output = (params or {}).get("output", "full")
        if output not in ("full", "pd", "label", "offers"):
            raise MlflowException.invalid_parameter_value(
                f"The parameter output is {output!r}; it must be 'full', 'pd', 'label' or 'offers'."
            )
        records, features = self._clean(model_input)
        scores = self.scorer.score(features, with_reasons=output in ("full", "offers"))
        if output == "pd":
            return scores["pd"].to_list()
        if output == "label":
            return (scores["decision"] == "decline").cast(pl.Int64).to_list()
        scores = scores.drop("raw_score")
        return self._offers(records, features, scores) if output == "offers" else scores.to_dicts()

    def _offers(self, records: pl.DataFrame, features: pl.DataFrame, scores: pl.DataFrame) -> list[dict[str, Any]]:
        """Add offers, each scored as any application is."""
        from loan_default.risk.model.offers import OFFERS_AT_MOST
        from loan_default.risk.model.scored_offers import add_offers

        if records.height > OFFERS_AT_MOST:
            raise MlflowException.invalid_parameter_value(
                f"{records.height:,} applications in a request for offers; at most {OFFERS_AT_MOST} are taken."
            )
        return add_offers(self.scorer, records, features, scores)

    def _clean(self, model_input: pd.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the applications as they were sent, and their features as the contract reads them."""
        from loan_default.risk.data.applications import clean_applications
        from loan_default.risk.data.loan_files import from_pandas
        from loan_default.risk.errors import BadInput

        try:
            records = from_pandas(model_input)
            return records, clean_applications(records, self.scorer.contract)
        except BadInput as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


mlflow.models.set_model(LoanDefaultModel())
