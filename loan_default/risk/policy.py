"""What the lender has decided: the typed form of `conf/policy.yaml`, and the decision on one applicant's PD.

Promotion, drift and retraining decisions live here too: pure functions of evidence and policy that return
frozen decisions with their reasons. Measuring belongs in `evaluation` and `drift`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class _Section(BaseModel):
    """A part of the policy: unknown keys are refused, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DriftPolicy(_Section):
    """When a batch counts as drifted. PSI limits follow the usual reading: 0.1 moderate, 0.25 a shift."""

    feature_psi_limit: float = Field(gt=0)
    score_psi_limit: float = Field(gt=0)
    drifted_share_limit: float = Field(gt=0, le=1)
    least_rows: int = Field(ge=1)
    report_sample_rows: int = Field(ge=100)
