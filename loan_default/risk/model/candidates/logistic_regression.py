"""The candidate `logistic_regression`: what a scorecard could reach, by scikit-learn, kept as skops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from loan_default.risk.arrays import Floats, Matrix
from loan_default.risk.model.candidates.base import CandidateModel, CandidateParameters, CardWords
from loan_default.risk.model.development import Development, FittedOn
from loan_default.risk.model.estimators import shares

_ITERATIONS = 1_000
_LOANS_AT_MOST = 500_000


class RegressionParameters(CandidateParameters):
    """Parameters of a logistic regression.

    Attributes:
        C: inverse strength of the L2 penalty on standardised columns.
    """

    C: float = Field(gt=0, examples=[0.01])


@dataclass(frozen=True)
class LogisticRegression(CandidateModel):
    """Logistic regression on filled-in, transformed, standardised columns, by scikit-learn."""

    pipeline: Any  # sklearn.pipeline.Pipeline of `fill`, any transformers, `scale` and `logit`

    name: ClassVar[str] = "logistic_regression"
    section: ClassVar[type[CandidateParameters]] = RegressionParameters
    requirements: ClassVar[Mapping[str, str]] = {"scikit-learn": "sklearn", "skops": "skops"}
    card_words: ClassVar[CardWords] = CardWords(
        "a logistic regression (scikit-learn)", "size of the standardised coefficients", monotone=False
    )
    file_name: ClassVar[str] = "model.skops"

    @classmethod
    def fit(cls, development: Development, window: FittedOn, parameters: RegressionParameters, seed: int) -> Self:
        """Fit on arsinh of every value, medians and an indicator where it is missing, standardised.

        arsinh tames long tails as a logarithm does, and takes any value.
        """
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression as Logit
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        sample = development.sample(window, _LOANS_AT_MOST, seed)
        steps = [
            ("fill", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
            ("log", FunctionTransformer(np.arcsinh)),
            ("scale", StandardScaler()),
        ]
        transformed = (prepared := Pipeline(steps)).fit_transform(sample.X.astype(np.float64))
        loans, ends, weights = sample.endings
        logit = Logit(C=parameters.C, max_iter=_ITERATIONS).fit(transformed[loans], ends, weights)
        return cls(Pipeline([*prepared.steps, ("logit", logit)]))

    def margins(self, X: Matrix) -> Floats:
        """Return the log-odds (n,): a sum for each row, as a product of matrices rounds by their number."""
        logit = self.pipeline["logit"]
        terms = np.ascontiguousarray(self.pipeline[:-1].transform(X) * logit.coef_[0], dtype=np.float64)
        return np.asarray(terms.sum(axis=1) + logit.intercept_[0], dtype=np.float64)

    def contributions(self, X: Matrix) -> Floats:
        """Return coefficient times standardised value: exact SHAP values of a linear model, as the mean loan is 0.

        What the indicator of a missing value adds belongs to its column.
        """
        transformed = self.pipeline[:-1].transform(X) * self.pipeline["logit"].coef_[0]
        contributions = np.array(transformed[:, : X.shape[1]], dtype=np.float64)
        contributions[:, self._indicator_columns] += transformed[:, X.shape[1] :]
        return contributions

    def importance(self) -> Floats:
        coefficients = np.abs(self.pipeline["logit"].coef_[0])
        columns = len(coefficients) - len(self._indicator_columns)
        sizes = coefficients[:columns].copy()
        sizes[self._indicator_columns] += coefficients[columns:]
        return shares(sizes)

    @property
    def _indicator_columns(self) -> NDArray[np.intp]:
        """Return for each indicator of a missing value the column whose it is."""
        return np.asarray(self.pipeline["fill"].indicator_.features_, dtype=np.intp)

    def save(self, folder: Path) -> None:
        import skops.io

        skops.io.dump(self.pipeline, folder / self.file_name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        import skops.io

        # numpy.dtype: skops knows it for no safe type, and the imputer keeps that of its input
        return cls(skops.io.load(folder / cls.file_name, trusted=["numpy.dtype"]))
