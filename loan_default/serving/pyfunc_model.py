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
        `label`: 1 where the decision is to decline, otherwise 0. Input that the contract refuses is the
        caller's mistake: HTTP 400 with the sentence that says so. MLflow itself refuses what lacks a required field,
        and drops, with a warning in its log, a field that the signature does not know.
        """
        output = (params or {}).get("output", "full")
        if output not in ("full", "pd", "label"):
            raise MlflowException.invalid_parameter_value(
                f"The parameter output is {output!r}; it must be 'full', 'pd' or 'label'."
            )
        scores = self.scorer.score(self._clean(model_input), with_reasons=output == "full")
        if output == "pd":
            return scores["pd"].to_list()
        if output == "label":
            return (scores["decision"] == "decline").cast(pl.Int64).to_list()
        return scores.drop("raw_score").to_dicts()

    def _clean(self, model_input: pd.DataFrame) -> pl.DataFrame:
        """Check the applications against the contract."""
        from loan_default.risk.data.applications import clean_applications
        from loan_default.risk.data.loan_files import from_pandas
        from loan_default.risk.errors import BadInput

        try:
            return clean_applications(from_pandas(model_input), self.scorer.contract)
        except BadInput as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


mlflow.models.set_model(LoanDefaultModel())
