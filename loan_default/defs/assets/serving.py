"""Group `serving`: the scoring server, as far as Dagster knows it: that it serves the promoted version."""

import dagster as dg

from loan_default.defs.checks import check_results, check_specs
from loan_default.defs.metadata import MODEL, OWNERS, Metadata
from loan_default.defs.resources import ModelRegistryResource, ScoringServerResource
from loan_default.defs.results import explain_failures
from loan_default.steps.serving import CANARY_RULE, ServedVersion, serve_production


@dg.asset(
    group_name="serving",
    deps=["promoted_model"],
    check_specs=check_specs("model_server", [CANARY_RULE]),
    description="The REST scoring server: started if none runs, and seen to answer by the version in production.",
    kinds={"mlflow", "onnx"},
    tags=MODEL,
    owners=OWNERS,
)
@explain_failures
def model_server(
    model_registry: ModelRegistryResource, scoring_server: ScoringServerResource
) -> dg.MaterializeResult[None]:
    """Have the promoted version served, and score its canary by it."""
    server = scoring_server.server
    served = serve_production(
        model_registry.models, server, scoring_server.command, wait_seconds=scoring_server.wait_seconds
    )
    log = dg.MetadataValue.path(str(server.log))
    return dg.MaterializeResult(
        check_results=check_results("model_server", served.findings), metadata={**_served_metadata(served), "log": log}
    )


def _served_metadata(served: ServedVersion) -> Metadata:
    return {
        "url": dg.MetadataValue.url(f"{served.url}/health"),
        "version": served.version,
        "process": served.pid,
        "started_by_this_run": served.started,
        "canary_pd": served.canary_pd,
        "canary_milliseconds": served.canary_milliseconds,
    }
