"""Group `serving`: the scoring server, as far as Dagster knows it: that it serves the promoted version."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from loan_default.adapters.tracking import PRODUCTION
from loan_default.defs import metadata as shown
from loan_default.defs.resources import ModelRegistryResource, ScoringServerResource

_CHECK = "answers_the_canary_with_the_promoted_version"
_CANARY_TIMES = 20


@dg.asset(
    group_name="serving",
    deps=["promoted_model"],
    check_specs=shown.check_specs("model_server", [_CHECK]),
    **shown.described(
        "The REST scoring server: started if none runs, and seen to answer by the version in production.",
        domain="model",
        kinds={"mlflow", "onnx"},
    ),
)
@shown.in_one_sentence
def model_server(model_registry: ModelRegistryResource, scoring_server: ScoringServerResource) -> Iterator[Any]:
    """Have the promoted version served, and score its canary by it."""
    from loan_default.risk.model import canary

    version = model_registry.tracking.version_of(PRODUCTION)
    if version is None:
        raise dg.Failure("No version is in production; run full_pipeline_job first.", allow_retries=False)
    known = canary.read(model_registry.models.package(version))
    served = scoring_server.server.ensure(scoring_server.command, version.version, wait=scoring_server.wait_seconds)
    scored = [scoring_server.server.score(known.application) for _ in range(_CANARY_TIMES)]
    answer, by, _ = scored[-1]
    latency = sorted(milliseconds for *_, milliseconds in scored)[_CANARY_TIMES // 2]
    right = by == version.version and abs(answer["pd"] - known.pd) < 1e-6
    found = f"version {by} gave PD {answer['pd']:.6f}; version {version.version} must give {known.pd:.6f}"
    yield dg.AssetCheckResult(asset_key="model_server", check_name=_CHECK, passed=right, metadata={"found": found})
    if not right:
        raise dg.Failure(f"The server at {served.url} does not answer as it should: {found}.")
    yield dg.MaterializeResult(
        metadata={
            "url": dg.MetadataValue.url(f"{served.url}/health"),
            "version": version.version,
            "process": served.pid,
            "started_by_this_run": served.started,
            "canary_pd": answer["pd"],
            "canary_milliseconds": latency,
            "log": dg.MetadataValue.path(str(scoring_server.server.log)),
        }
    )
