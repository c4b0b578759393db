"""What the tests share: the reviewed files, one book of synthetic loans, and real loans if there are any."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import polars as pl
import pytest
import urllib3.util.connection  # noqa: F401 - tries IPv6 by a socket when it is loaded, which is no test's doing
from hypothesis.internal.conjecture import providers
from upath import UPath
from xdist.scheduler import LoadFileScheduling

# As the platform sets them; read when XGBoost, numpy and MLflow are loaded, by whichever test comes first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.cleaning import clean_loans
from loan_default.risk.data.cleaning_report import CleaningReport
from loan_default.risk.data.synthetic import make_loans, write_csv
from loan_default.risk.model.search_space import SearchSpace, load_search_space
from loan_default.risk.policy import Policy, load_policy
from loan_default.settings import Settings
from loan_default_tests.databases import Postgres, programs, started_postgres
from loan_default_tests.shared import share
from loan_default_tests.tiers import (
    pytest_itemcollected,  # noqa: F401
    pytest_runtest_call,  # noqa: F401
    pytest_runtest_setup,  # noqa: F401
    tier_of,
)


class Cleaned(NamedTuple):
    path: Path
    report: CleaningReport


# Of the files that several processes share out, those that wait longest go first, or one process would end alone: only
# one of the first four needs the trained home, for which the others would wait.
LONGEST = (
    "test_faults.py",
    "test_dask_engine.py",
    "test_server.py",
    "test_attack.py",
    "test_load.py",
    "test_pipeline.py",
    "test_postgres.py",
    "test_browser.py",
    "test_clients.py",
    "test_on_gcs.py",
    "test_subsets.py",
    "test_observability.py",
    "test_serving.py",
    "test_containers.py",
)
EVIDENTLY = (
    "adapters/test_evidently_workspace.py",
    "operations/test_evidently.py",
    "risk/monitoring/test_drift.py",
    "risk/monitoring/test_evidently_report.py",
    "test_benchmarks.py",
)

# Hypothesis draws the same few examples in each run, so that a change fails by what it changed: `quick` for make
# test-unit, else `steady`. `thorough` draws many new ones (--hypothesis-profile). A machine that is busy makes no
# property untrue: there is no deadline.
SAME_EXAMPLES = {"quick": 12, "steady": 20}
for name, count in SAME_EXAMPLES.items():
    hypothesis.settings.register_profile(name, max_examples=count, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("thorough", max_examples=100, deadline=None, print_blob=True)
hypothesis.settings.load_profile("steady")


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Draw no constants of the modules that are loaded for the same examples: which these are hangs on tests before."""
    if hypothesis.settings.get_current_profile_name() in SAME_EXAMPLES:
        providers._get_local_constants = lambda: providers._local_constants


def pytest_collection_finish() -> None:
    """Keep the garbage collector from walking through all libraries and tests again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the files: the longest, others that need servers, stores and processes, and short ones until the end."""
    order = {name: position for position, name in enumerate(LONGEST)}
    longer = {item.path for item in items if tier_of(item) != "unit"}
    items.sort(key=lambda item: (order.get(item.path.name, len(order)), item.path not in longer))


class Files(LoadFileScheduling):  # type: ignore[misc] # xdist says no types
    """Share out files of tests, those that load Evidently as one: its import takes each process three seconds."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "Evidently's" if file.endswith(EVIDENTLY) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Files:
    return Files(config, log)


@pytest.fixture(scope="session")
def contract() -> Contract:
    return load_contract()


@pytest.fixture(scope="session")
def policy() -> Policy:
    return load_policy()


@pytest.fixture(scope="session")
def search_space() -> SearchSpace:
    return load_search_space()


@pytest.fixture(scope="session")
def loans() -> pl.DataFrame:
    """4,000 synthetic loans as published."""
    return make_loans(4_000, seed=5)


@pytest.fixture(scope="session")
def loans_csv(loans: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`loans` with the two lines of totals that follow them in the published file."""
    path = tmp_path_factory.mktemp("loans") / "loans.csv"
    write_csv(loans, path, footer=True)
    return path


@pytest.fixture(scope="session")
def cleaned(loans_csv: Path, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    """`loans_csv` cleaned: the Parquet file and the report."""
    folder = tmp_path_factory.mktemp("cleaned")
    path = folder / "cleaned.parquet"
    return Cleaned(path, clean_loans([loans_csv], contract, cleaned=path, rejected=folder / "rejected.parquet"))


@pytest.fixture(scope="session", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the processes of this run find what one of them made."""
    folder = tmp_path_factory.getbasetemp()
    share(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture(scope="session", autouse=True)
def _migrations() -> Iterator[None]:
    """Read Dagster's migrations once in a process: each new instance runs all their scripts to learn the newest."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    read, scripts = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def read_once(config: Config) -> ScriptDirectory:
        folder = config.get_main_option("script_location")
        if folder not in scripts:
            scripts[folder] = read(config)
        return scripts[folder]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ScriptDirectory, "from_config", read_once)
        yield


@pytest.fixture(scope="session")
def trained_home() -> Callable[[Path], Settings]:
    """Make homes with version 1 in production."""
    from loan_default_tests.homes import trained_home

    return trained_home


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    """The address of a bucket's API on loopback; mark tests that take it, or a `bucket`, `integration`."""
    from loan_default_tests.buckets import started_emulator

    with started_emulator() as address:
        yield address


@pytest.fixture
def bucket(emulator: str) -> Iterator[UPath]:
    """An empty bucket, which every client of Google's meanwhile asks for."""
    from loan_default_tests.buckets import asked_at, new_bucket

    with asked_at(emulator):
        yield new_bucket()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real loans; mark tests that take it `real_data`."""
    folder = os.environ.get("LOAN_DEFAULT_REAL_DATA")
    if not folder:
        pytest.skip("LOAN_DEFAULT_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real Postgres, for tests that are marked `integration`."""
    folder = programs()
    if folder is None:
        pytest.skip("Postgres is not installed; Debian's package postgresql is enough, it need not run")
    with started_postgres(folder) as started:
        yield started
