"""MLflow, as this platform uses it: runs and their metrics, model packages, the registry and its aliases.

All of it goes through `Tracking`, be the store an SQLite file or a server. What a package holds and how it scores
belongs in `risk.model.scorer`; which version deserves an alias in `risk.validation.promotion`; the MLflow run of a
Dagster run in `defs.mlflow_run`. MLflow takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from loan_default.adapters import gcs
from loan_default.adapters.identity import NoIdentity, identify_to_mlflow

if TYPE_CHECKING:
    import mlflow.entities.model_registry as registry
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from loan_default.risk.contract.book import Contract

_PATIENCE = 5.0  # seconds in which a bucket is asked again, where MLflow has asked already
EXPERIMENT, MODEL_NAME = "loan_default", "loan_default_model"  # of the book whose contract ships
# By which MLflow's pages open its runs, and not traces of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
STAGING, PRODUCTION, PREVIOUS = "staging", "production", "previous"
_UNAUTHENTICATED = 401
_ABOVE_SCORING = ("validation", "monitoring", "value")  # floors of `risk` that no floor below imports

# What this process and the servers it starts ask of MLflow. A value that is already set wins.
MLFLOW_ENVIRONMENT: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # alembic's migrations too
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else a uv.lock in the working directory is copied into each model
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that serve language models, not us
    # MLflow's defaults, 7 retries and 120 s, keep asking a dead server for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}

# The distributions that any logged model needs in order to answer, besides MLflow itself; its candidate needs more.
SERVING_DISTRIBUTIONS = ("numpy", "pandas", "polars", "pydantic", "pyyaml")


class TrackingError(RuntimeError):
    """MLflow cannot be reached, or refused; the message is one sentence that names the store and the wish."""


@dataclass(frozen=True)
class SignatureField:
    """One input of the REST schema, in natural units; an optional one may be absent or null."""

    name: str
    type: Literal["double", "string"]
    required: bool


@dataclass(frozen=True)
class ModelVersion:
    """One version of the registered model, as the registry knew it when asked."""

    name: str
    version: int
    run_id: str
    created_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def package_uri(self) -> str:
        """The address of the model package among the version's artifacts."""
        return f"models:/{self.name}/{self.version}/artifacts/package"


@dataclass(frozen=True)
class Tracking:
    """A tracking store and its model registry.

    `tracking_uri` is `sqlite:///path`, `postgresql://…` or the address of a server. `artifact_root` is the folder or `gs://`
    prefix for new experiments; empty leaves the choice to the server. Every method raises `TrackingError`.
    """

    tracking_uri: str
    artifact_root: str
    experiment: str = EXPERIMENT
    model_name: str = MODEL_NAME

    # --- runs

    def ensure_experiment(self) -> str:
        """Return the experiment's id; the first call creates it with its artifact location."""
        with self._client(f"open the experiment {self.experiment}") as client:
            if client.get_experiment_by_name(self.experiment) is None:
                with _accepting("RESOURCE_ALREADY_EXISTS"):  # another process may be creating it too
                    client.create_experiment(self.experiment, self._artifact_location(), _EXPERIMENT_TAGS)
            experiment = client.get_experiment_by_name(self.experiment)
            assert experiment is not None
        if (command := self.restoring_command()) is not None:
            raise TrackingError(f"The experiment {self.experiment} is deleted in MLflow; run {command}.")
        return str(experiment.experiment_id)

    def restoring_command(self) -> str | None:
        """Return the command that restores the experiment, where it is deleted: MLflow records nothing in it then."""
        with self._client(f"read the experiment {self.experiment}") as client:
            experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None or experiment.lifecycle_stage != "deleted":
            return None
        restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        return f"MLFLOW_TRACKING_URI={self.tracking_uri} {restore}"

    def other_location(self) -> str | None:
        """Return where the experiment keeps its artifacts, if that is not what `artifact_root` says."""
        with self._client(f"read the experiment {self.experiment}") as client:
            experiment = client.get_experiment_by_name(self.experiment)
            location = "" if experiment is None else str(experiment.artifact_location).rstrip("/")
            if not location or location.startswith("mlflow-artifacts:"):  # only the server knows
                return None
            return None if self._artifact_location() in (None, location) else location

    def find_run(self, tag: str, value: str) -> str | None:
        """Return the id of the newest run of the experiment that carries this tag, if any."""
        with self._client(f"find the run with {tag} {value}") as client:
            experiment = client.get_experiment_by_name(self.experiment)
            if experiment is None:
                return None
            runs = client.search_runs([experiment.experiment_id], f"tags.`{tag}` = '{value}'", max_results=1)
            return str(runs[0].info.run_id) if runs else None

    def latest_runs(self, tag: str, status: str, at_most: int) -> dict[str, str]:
        """Return the experiment's runs of a status, last ended first, that carry this tag: their ids, and its value."""
        with self._client(f"list the runs that are {status}") as client:
            experiment = client.get_experiment_by_name(self.experiment)
            if experiment is None:
                return {}
            runs = client.search_runs(
                [experiment.experiment_id],
                f"attributes.status = '{status}'",
                order_by=["attributes.end_time DESC"],
                max_results=at_most,
            )
            return {run.info.run_id: run.data.tags[tag] for run in runs if tag in run.data.tags}

    def end_run(self, run_id: str, status: str) -> None:
        """End the run as `FINISHED` or `FAILED`."""
        with self._client(f"end the run {run_id}") as client:
            client.set_terminated(run_id, status)

    def log_parameters(self, run_id: str, parameters: Mapping[str, object]) -> None:
        """Record the run's parameters; MLflow refuses to change one."""
        with self._client("log parameters") as client:
            from mlflow.entities import Param

            client.log_batch(run_id, params=[Param(name, str(value)) for name, value in parameters.items()])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        """Record the run's metrics."""
        with self._client("log metrics") as client:
            from mlflow.entities import Metric

            now = time.time_ns() // 1_000_000
            client.log_batch(run_id, [Metric(name, float(value), now, 0) for name, value in metrics.items()])

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Tag the run; a tag that exists is replaced."""
        with self._client("tag the run") as client:
            from mlflow.entities import RunTag

            client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def rename_run(self, run_id: str, name: str) -> None:
        """Give the run another name in MLflow's pages."""
        with self._client("name the run") as client:
            client.update_run(run_id, name=name)

    def log_input(self, run_id: str, name: str, *, fingerprint: str, source: str, profile: Mapping[str, Any]) -> None:
        """Record the data that the run learned from: its name, fingerprint, where it lay, counts of it."""
        with self._client("log the data") as client:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            texts = {"source": json.dumps({"uri": source}), "profile": json.dumps(profile)}
            dataset = Dataset(name=name, digest=fingerprint, source_type="uri", **texts)
            client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def log_json(self, run_id: str, name: str, record: Mapping[str, Any]) -> None:
        """Store a record as JSON under `name`, such as `decision.json`."""
        with self._client(f"log {name}") as client:
            client.log_dict(run_id, dict(record), name)

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Store text under `name`, such as `model_card.md`."""
        with self._client(f"log {name}") as client:
            client.log_text(run_id, text, name)

    def log_folder(self, run_id: str, folder: Path, name: str) -> None:
        """Store the content of `folder` as the folder `name` of the run."""
        with self._client(f"log {name}") as client:
            client.log_artifacts(run_id, str(folder), name)

    def download_folder(self, run_id: str, name: str, into: Path) -> Path:
        """Return the run's folder `name` as a folder below `into`, downloading it the first time."""
        with self._client(f"download {name} of the run {run_id}") as client:
            return _download_once(into / name, lambda scratch: client.download_artifacts(run_id, name, scratch))

    def read_folder(self, run_id: str, name: str) -> dict[str, bytes]:
        """Return the files of the run's folder `name` as they are now, by their names; none where there is none."""
        with self._client(f"read {name} of the run {run_id}") as client, TemporaryDirectory() as scratch:
            if not client.list_artifacts(run_id, name):
                return {}
            folder = Path(client.download_artifacts(run_id, name, scratch))
            return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    def read_json(self, run_id: str, name: str) -> Any:
        """Return the JSON document that the run stored under `name`."""
        return json.loads(self._read_text(run_id, name))

    def _read_text(self, run_id: str, name: str) -> str:
        with self._client(f"read {name} of the run {run_id}") as client, TemporaryDirectory() as scratch:
            return Path(client.download_artifacts(run_id, name, scratch)).read_text(encoding="utf-8")

    def find_json(self, run_id: str, name: str) -> Any | None:
        """Return the JSON document that the run stored under `name`, None where it stored none."""
        text = self.find_text(run_id, name)
        return None if text is None else json.loads(text)

    def find_text(self, run_id: str, name: str) -> str | None:
        """Return the text that the run stored under `name`, None where it stored none."""
        with self._client(f"list what the run {run_id} stored") as client:
            names = {artifact.path for artifact in client.list_artifacts(run_id)}
        return self._read_text(run_id, name) if name in names else None

    def run_url(self, run_id: str, ui_url: str) -> str:
        """Return the page of the run in the MLflow UI at `ui_url`, among pages of model training and not of GenAI."""
        with self._client(f"read the run {run_id}") as client:
            experiment_id = client.get_run(run_id).info.experiment_id
        return f"{ui_url.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"

    # --- model packages

    def log_model_package(
        self,
        run_id: str,
        package: Path,
        *,
        input_example: Mapping[str, object],
        fields: Sequence[SignatureField],
        requirements: Sequence[str],
        code: Path,
    ) -> str:
        """Log the folder `package` as a servable model of the run and return its URI.

        `code` is the folder of the `loan_default` package; the model carries the part of it that scores, so it
        answers where nothing of ours is installed. `requirements` are exact pins: without them MLflow spends
        18 s starting a process to guess them. MLflow scores `input_example` once and warns if that fails.
        """
        with self._client("log the model") as client, self.as_default(), TemporaryDirectory() as scratch:
            import mlflow.pyfunc
            from mlflow.models import Model

            run = client.get_run(run_id)
            # Created here rather than by log_model, which puts it into whichever experiment is active.
            logged = client.create_logged_model(
                run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
            )
            # What mlflow.pyfunc.log_model calls; this one takes a run id and so needs no active run.
            with _without_traces():
                Model.log(
                    artifact_path=None,
                    flavor=mlflow.pyfunc,
                    run_id=run_id,
                    model_id=logged.model_id,
                    python_model=code / "serving" / "pyfunc_model.py",
                    artifacts={"package": str(shutil.copytree(package, Path(scratch, "package")))},
                    code_paths=[str(_copy_scoring_code(code, Path(scratch, "loan_default")))],
                    signature=_signature(fields),
                    input_example=_example_frame(input_example, fields),
                    pip_requirements=list(requirements),
                )
            return f"models:/{logged.model_id}"

    def download_package(self, version: ModelVersion, folder: Path) -> Path:
        """Return the model package of `version` as a folder below `folder`, downloading it the first time."""
        with self._client(f"download version {version.version}"), self.as_default():
            from mlflow.artifacts import download_artifacts

            target = folder / f"{version.name}-{version.version}-{version.run_id}"
            return _download_once(target, lambda scratch: download_artifacts(version.package_uri, dst_path=scratch))

    # --- registry

    def register(self, run_id: str, model_uri: str, tags: Mapping[str, str]) -> ModelVersion:
        """Register a logged model as the next version and point `staging` at it."""
        with self._client("register a model version") as client, self.as_default():
            with _accepting("RESOURCE_ALREADY_EXISTS"):
                client.create_registered_model(self.model_name)
            registered = client.create_model_version(
                self.model_name,
                model_uri,
                run_id,
                tags=dict(tags),
                model_id=model_uri.removeprefix("models:/"),
                await_creation_for=0,
            )
            client.set_registered_model_alias(self.model_name, STAGING, registered.version)
        return self.get(int(registered.version))

    def get(self, version: int) -> ModelVersion:
        """Return one version."""
        with self._client(f"read version {version}") as client, _accepting("RESOURCE_DOES_NOT_EXIST"):
            entity = client.get_model_version(self.model_name, str(version))
            return _as_version(entity, entity.aliases)
        raise TrackingError(f"MLflow has no version {version} of {self.model_name}.")

    def versions(self) -> tuple[ModelVersion, ...]:
        """Return the versions (at most 10,000), newest first; none where nothing has been registered yet."""
        with self._client("list the model versions") as client:
            # The store leaves aliases out of its search results.
            aliases = self._aliases(client)
            entities = client.search_model_versions(f"name = '{self.model_name}'", order_by=["version_number DESC"])
            return tuple(_as_version(v, [a for a in aliases if aliases[a] == int(v.version)]) for v in entities)

    def version_of(self, alias: str) -> ModelVersion | None:
        """Return the version that `alias` points at, if any."""
        return self.versions_of(alias)[0]

    def versions_of(self, *aliases: str) -> list[ModelVersion | None]:
        """Return the version that each alias points at, None where it points at none."""
        with self._client(f"read the alias{'es' * (len(aliases) > 1)} {', '.join(aliases)}") as client:
            numbers = self._aliases(client)
        versions = {number: self.get(number) for number in {numbers[alias] for alias in aliases if alias in numbers}}
        return [versions.get(numbers[alias]) if alias in numbers else None for alias in aliases]

    def move_alias(self, alias: str, version: int) -> None:
        """Point `alias` at `version`."""
        with self._client(f"point {alias} at version {version}") as client:
            client.set_registered_model_alias(self.model_name, alias, str(version))

    def promote(self, version: int, tags: Mapping[str, str]) -> ModelVersion:
        """Tag `version`, point `production` at it and `previous` at the version it replaces.

        `production` moves last and in one step: whoever follows it always finds a complete version. Promoting
        the production version again leaves `previous` alone.
        """
        replaced = self.version_of(PRODUCTION)
        self.set_version_tags(version, tags)
        if replaced is not None and replaced.version != version:
            self.move_alias(PREVIOUS, replaced.version)
        self.move_alias(PRODUCTION, version)
        return self.get(version)

    def describe(self, version: int, text: str) -> None:
        """Say in Markdown what the version is; on its run's page, and the model's unless another is in production."""
        production = self.version_of(PRODUCTION)
        with self._client(f"describe version {version}") as client:
            entity = client.update_model_version(self.model_name, str(version), text)
            if production is None or production.version == version:
                client.update_registered_model(self.model_name, f"Version {version}:\n\n{text}")
            client.set_tag(str(entity.run_id), "mlflow.note.content", text)

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Tag the version; a tag that exists is replaced."""
        with self._client(f"tag version {version}") as client:
            for name, value in tags.items():
                client.set_model_version_tag(self.model_name, str(version), name, value)

    # --- the conversation with MLflow

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Make this store MLflow's default for a while; part of its API takes no other."""
        load_environment()
        import mlflow

        before = os.environ.get("MLFLOW_TRACKING_URI")  # MLflow keeps it equal to its own setting
        mlflow.set_tracking_uri(self.tracking_uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type] # it takes None too

    @contextmanager
    def _client(self, wish: str) -> Iterator[MlflowClient]:
        """Lend the client; `wish` says what for in the one sentence that MLflow's errors become."""
        load_environment()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from requests import RequestException

        errors: tuple[type[Exception], ...] = (MlflowException, *self._database_errors())
        try:
            if self.tracking_uri.startswith("postgresql"):
                _connect_once(self.tracking_uri)
            identify_to_mlflow(self.tracking_uri)
            yield MlflowClient(self.tracking_uri, registry_uri=self.tracking_uri)
        except NoIdentity as error:
            raise TrackingError(str(error)) from error
        except errors as error:
            if isinstance(error.__context__, RequestException):
                trouble = f"cannot be reached to {wish}: start it or correct MLFLOW_TRACKING_URI"
            elif isinstance(error, MlflowException) and error.get_http_status_code() == _UNAUTHENTICATED:
                log_in = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
                trouble = f"lets nobody {wish} by this log-in: correct {log_in}"
            else:
                self._check_artifacts()
                trouble = f"refused to {wish}: {_first_sentence(str(error))}"
            sentence = f"MLflow at {self.tracking_uri} {trouble}."
            raise TrackingError(re.sub(r"//[^/@\s]+@", "//", sentence)) from error  # no password in a log
        except gcs.error_types(self.artifact_root) as error:
            raise TrackingError(str(gcs.explain_error(error, self.artifact_root, "used"))) from error

    def _check_artifacts(self) -> None:
        """Say what is wrong with the bucket of artifacts; MLflow says little of it."""
        try:
            gcs.check_listing(self.artifact_root, patience=_PATIENCE)
        except OSError as error:
            raise TrackingError(str(error)) from error

    def _database_errors(self) -> tuple[type[Exception], ...]:
        """Return what a database raises; behind a server there is none, and mlflow-skinny brings no SQLAlchemy."""
        if self.tracking_uri.startswith("http"):
            return ()
        from sqlalchemy.exc import SQLAlchemyError

        return (SQLAlchemyError,)

    def _aliases(self, client: MlflowClient) -> dict[str, int]:
        """Return every alias of the registered model and its version; none before the first registration."""
        with _accepting("RESOURCE_DOES_NOT_EXIST"):
            aliases = client.get_registered_model(self.model_name).aliases
            return {alias: int(version) for alias, version in aliases.items()}
        return {}

    def _artifact_location(self) -> str | None:
        """Return where a new experiment keeps its artifacts; None leaves it to the server."""
        if not self.artifact_root:
            return None
        is_uri = "://" in self.artifact_root
        root = self.artifact_root.rstrip("/") if is_uri else Path(self.artifact_root).resolve().as_uri()
        return f"{root}/{self.experiment}"


def load_environment() -> None:
    """Set `MLFLOW_ENVIRONMENT` where unset; MLflow reads parts of it only when it is imported."""
    for name, value in MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def signature_fields(contract: Contract) -> list[SignatureField]:
    """Describe an application to a client: the features, and the months that features are derived from.

    Levels and months travel as text. What is derived, and the months, may be absent.
    """
    return [
        SignatureField(
            field.name,
            "double" if field.kind == "number" else "string",
            required=field.required and field.role == "feature" and not field.derived,
        )
        for field in contract.with_role("time", "feature", "support")
    ]


def serving_requirements(distributions: Iterable[str]) -> tuple[str, ...]:
    """Pin what a logged model needs, its candidate's `distributions` among it, to the versions installed here."""
    return tuple(f"{name}=={installed_version(name)}" for name in (*SERVING_DISTRIBUTIONS, *distributions))


@cache
def _connect_once(uri: str) -> None:
    """Let a database that refuses say so at once: MLflow asks it ten times, for a hundred seconds."""
    import sqlalchemy

    sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect().close()


def _first_sentence(text: str) -> str:
    """Return the first line; one that ends in a colon only leads to the next that is no heading."""
    lines = [line.strip().rstrip(".") for line in text.splitlines() if not line.startswith("#")]
    return f"{lines[0]} {lines[1]}" if lines[0].endswith(":") and len(lines) > 1 else lines[0]


@contextmanager
def _accepting(code: str) -> Iterator[None]:
    """Take MLflow's error `code` for an answer."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


@contextmanager
def _without_traces() -> Iterator[None]:
    """Undo what MLflow leaves behind when it tries the logged model: an import path, and bytecode in the model."""
    import sys

    path, sparing = list(sys.path), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, sparing


def _as_version(entity: registry.ModelVersion, aliases: Sequence[str]) -> ModelVersion:
    """Turn MLflow's entity into ours."""
    return ModelVersion(
        name=entity.name,
        version=int(entity.version),
        run_id=entity.run_id or "",
        created_at=datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC),
        tags=dict(entity.tags),
        aliases=tuple(sorted(aliases)),
    )


def _signature(fields: Sequence[SignatureField]) -> ModelSignature:
    """Describe the inputs in the contract's order, and the parameter that chooses the answer's form."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec(field.type, field.name, required=field.required) for field in fields]),
        params=ParamSchema([ParamSpec("output", "string", "full")]),
    )


def _example_frame(example: Mapping[str, object], fields: Sequence[SignatureField]) -> pd.DataFrame:
    """Return the example as a frame of one row, without its nulls, which MLflow would store as NaN, no JSON.

    Numbers become floats: MLflow takes no integer for a double.
    """
    import pandas as pd

    row = {name: value for name, value in example.items() if value is not None}
    numbers = [field.name for field in fields if field.type == "double" and field.name in row]
    return pd.DataFrame([row]).astype(dict.fromkeys(numbers, "float64"))


def _copy_scoring_code(code: Path, target: Path) -> Path:
    """Copy the package's marker and `risk` up to its floor `model` to `target`: the code of a logged model."""
    shutil.copytree(code / "risk", target / "risk", ignore=shutil.ignore_patterns("__pycache__", *_ABOVE_SCORING))
    shutil.copy(code / "__init__.py", target)
    return target


def _download_once(target: Path, download: Callable[[str], str]) -> Path:
    """Return the folder `target`, which appears whole or not at all: it is downloaded beside itself, then renamed.

    Unlike a file it replaces no other: where two processes download it, the second leaves the first one's.
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent) as scratch:
            try:
                Path(download(scratch)).rename(target)
            except OSError:
                if not target.exists():  # else another process was faster
                    raise
    return target
