"""Commands that run servers: the scoring server, and Dagster with MLflow for development."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter, validators

from loan_default.cli.app import SERVE, command
from loan_default.cli.arguments import Port, between


@command(SERVE, "serve", "serve --port 5002 --workers 4", "serve --stop")
def serve(
    *,
    host: Annotated[str | None, Parameter(metavar="ADDRESS")] = None,
    port: Port | None = None,
    workers: Annotated[int, between(1)] = 1,
    poll: Annotated[float, Parameter(metavar="SECONDS", validator=validators.Number(gt=0))] = 5.0,
    stop: bool = False,
) -> None:
    """Answer POST /invocations by the version in production, and follow it.

    Args:
        host: Address to listen on; another than loopback needs tokens. Default: 127.0.0.1; all on Vertex AI, SageMaker.
        port: Port to listen on. Default: that of LOAN_DEFAULT_SERVING_URL, 5001 unless set; on Vertex AI and SageMaker
            the port that these call.
        workers: Processes that share the port.
        poll: Seconds between looks at the registry.
        stop: Stop the server that runs.
    """
    from loan_default.adapters.sockets import bind
    from loan_default.cli.terminal import errors, output
    from loan_default.operations import home, scoring_server
    from loan_default.settings import SERVING_NEEDS

    settings = home.open_home(SERVING_NEEDS)
    if stop:
        pid = scoring_server.stop(settings)
        output().print("No scoring server runs." if pid is None else f"The scoring server (process {pid}) has stopped.")
        return
    with scoring_server.asking_registry(settings, workers) as registry:
        config = scoring_server.plan(settings, host, port, workers, poll)
        listener = bind(config.host, config.port)
        errors().print(f"Scoring: http://{config.host}:{config.port}/invocations   Ctrl-C stops it.")
        scoring_server.run(settings, config, listener, registry)


@command(SERVE, "web", "web --port 8080")
def web(
    *,
    host: Annotated[str | None, Parameter(metavar="ADDRESS")] = None,
    port: Port | None = None,
    quiet: bool = False,
) -> None:
    """Show the pages of this installation: overview, scoring, decisions, batches, versions, promised and realised.

    Args:
        host: Address to listen on; another than loopback needs users or a proxy that signs people in. Default:
            127.0.0.1.
        port: Port to listen on. Default: LOAN_DEFAULT_WEB_PORT, 5002 unless set.
        quiet: Leave the address out, as another program says it.
    """
    from loan_default.adapters.sockets import bind
    from loan_default.cli.terminal import errors
    from loan_default.operations import home
    from loan_default.settings import METRICS_NEEDS
    from loan_default.web import server

    settings = home.open_home(METRICS_NEEDS)
    config = server.plan(settings, host, port)
    listener = bind(config.host, config.port)
    if not quiet:
        errors().print(f"Pages: {config.url}   Ctrl-C stops them.")
    server.run(settings, config, listener)


@command(SERVE, "web-user anna", "web-user anna --role officer")
def web_user(name: str, /, *, role: Literal["viewer", "officer", "approver"] = "viewer") -> None:
    """Make a user of the pages: ask for a password, and print what belongs into LOAN_DEFAULT_WEB_USERS.

    Args:
        name: Name by which the person signs in.
        role: viewer looks; officer also scores and records overrides; approver may also approve what was declined.
    """
    from loan_default.cli.terminal import output, read_password
    from loan_default.web.people import new_entry

    output().print(new_entry(name, role, read_password()), markup=False, soft_wrap=True)


@command(SERVE, "evidently", "evidently --port 8000")
def evidently(*, port: Port = 5003, quiet: bool = False) -> None:
    """Show Evidently's reports on the newest batches in its own UI, on this machine.

    Args:
        port: Port of Evidently's UI.
        quiet: Leave the address out, as another program says it.
    """
    from loan_default.cli.terminal import errors
    from loan_default.operations import home
    from loan_default.operations.evidently import run_ui

    settings = home.open_home()
    if not quiet:
        errors().print(f"Evidently: http://127.0.0.1:{port}, once the newest reports are drawn   Ctrl-C stops it.")
    run_ui(settings, port)


@command(SERVE, "dev", "dev --port 3001 --mlflow-port 5004", "dev --evidently")
def dev(*, port: Port = 3000, mlflow_port: Port = 5000, evidently: bool = False, evidently_port: Port = 5003) -> int:
    """Start the Dagster UI and daemon, MLflow, and the pages, on this machine; Ctrl-C stops all.

    Args:
        port: Port of the Dagster UI.
        mlflow_port: Port of MLflow.
        evidently: Start Evidently's UI too.
        evidently_port: Port of Evidently's UI.
    """
    from loan_default.cli.terminal import errors, output
    from loan_default.operations import home
    from loan_default.operations.dev import DevServer, plan_dev, run_dev

    console, settings = output(), home.open_home()
    plan = plan_dev(settings, port, mlflow_port, evidently_port if evidently else None)
    names = [server.name for server in plan.servers]
    console.print(f"Starting {', '.join(names)}.")
    silent = {*names}

    def show(server: DevServer) -> None:
        silent.discard(server.name)
        console.print(f"{f'{server.name}:':12}{server.url}")
        if not silent:
            console.print("All answer. Ctrl-C stops them.")

    try:
        ended = run_dev(settings, plan, show)
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 0
    errors().print(f"loan-default: {ended.name} ended by itself with exit code {ended.exit_code}; all are stopped.")
    return 1
