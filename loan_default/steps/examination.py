"""Examine the newest version for its card: draw test loans, and measure what needs more than the version itself.

What is measured of fields and reasons is `risk.validation.examination`'s; drift is `risk.monitoring`'s, the server's
answers are `serving`'s.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce
from typing import TYPE_CHECKING

from loan_default.risk.policy import DriftPolicy

if TYPE_CHECKING:
    import polars as pl

    from loan_default.adapters.model_store import ModelStore
    from loan_default.adapters.tracking import ModelVersion
    from loan_default.risk.evaluation import Segment
    from loan_default.risk.model.scorer import Scorer
    from loan_default.risk.monitoring.drift import Profile, ReferenceProfile
    from loan_default.risk.validation.alternatives import Alternative
    from loan_default.risk.validation.examination.fairness import PeopleGroup
    from loan_default.risk.validation.examination.report import Examination, FieldShift, Parity
    from loan_default.steps.training import TrainingData

_SERVED_AT_MOST = 200  # one request each, as the server answers them


def examine_version(
    data: TrainingData,
    version: ModelVersion,
    models: ModelStore,
    policy: DriftPolicy,
    *,
    alternatives: tuple[Alternative, ...],
    by_decision: tuple[Segment, ...],
    fairness: tuple[PeopleGroup, ...] = (),
    seed: int,
) -> Examination:
    """Examine a registered version on loans of the test window.

    Args:
        data: the loans; those of all windows say what fields lack, those of test how the version behaves.
        version: of the registry.
        models: where it and the profile of its development are.
        policy: the limits beyond which a field has drifted.
        alternatives: what the version gains over others, for the record.
        by_decision: how it does within each of its decisions, likewise.
        fairness: how it does to groups of people, likewise.
        seed: of what is drawn.
    """
    import polars as pl

    from loan_default.risk.model.development import on_windows
    from loan_default.risk.validation.examination.data_quality import measure_quality
    from loan_default.risk.validation.examination.report import EXAMINED_AT_MOST, draw_loans, examine

    scorer = models.scorer(version)
    draw = partial(draw_loans, scorer.contract.id_name, EXAMINED_AT_MOST / data.splits.window("test").rows)
    loans = pl.concat(on_windows(data.engine, data.loans, data.contract, data.splits, ["test"], draw))
    return examine(
        scorer,
        loans,
        quality=measure_quality(data.loans.scan(), data.contract),
        shifts=_measure_shifts(data, version, scorer, models, policy),
        parity=_measure_parity(scorer, version, models, loans.head(_SERVED_AT_MOST)),
        alternatives=alternatives,
        by_decision=by_decision,
        fairness=fairness,
        seed=seed,
    )


def _measure_shifts(
    data: TrainingData, version: ModelVersion, scorer: Scorer, models: ModelStore, policy: DriftPolicy
) -> tuple[FieldShift, ...]:
    """Hold the test window against the profile of development, field by field and the raw score, the furthest first."""
    from loan_default.risk.model.development import on_windows
    from loan_default.risk.monitoring.drift import Profile, feature_drift, widest_figure
    from loan_default.risk.monitoring.reference_profile import name_scored_loans
    from loan_default.risk.validation.examination.report import FieldShift

    reference = models.reference(version).profile
    profile = partial(_profile, scorer, reference)
    parts = on_windows(data.engine, data.loans, data.contract, data.splits, ["test"], profile)
    table = feature_drift(reference, reduce(Profile.merge, parts), policy)
    shifts = (FieldShift(line["feature"], widest_figure(line), line["drifted"]) for line in table.to_dicts())
    against = name_scored_loans(reference)
    return tuple(
        replace(shift, field="score", against=against) if shift.field == reference.score else shift for shift in shifts
    )


def _profile(scorer: Scorer, reference: ReferenceProfile, loans: pl.DataFrame) -> Profile:
    from loan_default.risk.monitoring.drift import profile_batch
    from loan_default.risk.monitoring.reference_profile import scored_features

    return profile_batch(scored_features(scorer, loans), reference)


def _measure_parity(scorer: Scorer, version: ModelVersion, models: ModelStore, loans: pl.DataFrame) -> Parity:
    """Ask the scoring server's model for one application at a time, and the version itself for all of them together."""
    from loan_default.risk.model.online_features import Applications
    from loan_default.risk.validation.examination.report import Parity
    from loan_default.serving.served_model import ServedModel

    served = ServedModel.load(models.package(version), version.version)
    expected = scorer.score(loans)
    answers = [served.predict(Applications([None], [row])) for row in scorer.space.values(loans).tolist()]
    pds, decisions, reasons = (expected[name].to_list() for name in ("pd", "decision", "reasons"))
    return Parity(
        rows=loans.height,
        form=served.quick_form,
        difference=max((abs(answer.pds[0] - pd) for answer, pd in zip(answers, pds, strict=True)), default=0.0),
        decisions=sum(answer.decisions[0] != word for answer, word in zip(answers, decisions, strict=True)),
        reasons=sum(answer.reasons[0] != sentences for answer, sentences in zip(answers, reasons, strict=True)),
    )
