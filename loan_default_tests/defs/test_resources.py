"""Resources hold settings and display no secret; what they open is of the home that the settings describe."""

import os
import sys
from pathlib import Path

import dagster as dg

from loan_default.defs.resources import (
    NotificationsResource,
    ScoringServerResource,
    StorageResource,
    StudiesResource,
    build_resources,
)
from loan_default.settings import Settings
from loan_default_tests.homes import unset_environment

SECRET = "hush"


def test_every_resource_is_of_the_home(tmp_path: Path) -> None:
    resources = build_resources(Settings(tmp_path / "home"))
    storage = resources["storage"]
    assert isinstance(storage, StorageResource)
    workspace = storage.workspace("run-1")
    assert str(workspace.layout.root) == str(tmp_path / "home" / "storage")
    with workspace.scratch("cleaned.parquet") as (path,):
        path.touch()
        assert path == tmp_path / "home" / "staging" / "run-1-cleaned.parquet"
    assert not path.exists()


def test_no_configuration_displays_a_secret(tmp_path: Path) -> None:
    settings = Settings(tmp_path, study_storage=f"postgresql://ann:{SECRET}@host/studies")
    with unset_environment():
        os.environ |= {"SLACK_WEBHOOK_URL": SECRET, "LOAN_DEFAULT_API_TOKENS": SECRET, "SMTP_PASSWORD": SECRET}
        resources = build_resources(settings)
        notifications, server = resources["notifications"], resources["scoring_server"]
        assert isinstance(notifications, NotificationsResource)
        assert isinstance(server, ScoringServerResource)
        assert (notifications.channels.slack, notifications.channels.smtp_password) == (SECRET, SECRET)
        assert server.server.token == SECRET
    displayed = [resource for resource in resources.values() if isinstance(resource, dg.ConfigurableResource)]
    assert len(displayed) >= 8
    assert all(SECRET not in repr(resource.model_dump()) for resource in displayed)
    studies = resources["studies"]
    assert isinstance(studies, StudiesResource)
    assert SECRET in studies.storage
    assert SECRET not in repr(studies)


def test_the_server_is_started_at_the_address_that_clients_ask(tmp_path: Path) -> None:
    resource = ScoringServerResource(url="http://127.0.0.1:5099", home=str(tmp_path), model="m", supervised=False)
    assert resource.command[:2] == [sys.executable, "-m"]
    assert resource.command[-4:] == ["--host", "127.0.0.1", "--port", "5099"]
