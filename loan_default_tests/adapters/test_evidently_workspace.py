"""Evidently's workspace: what is written there is read again, by the platform and by what Evidently's UI reads with."""

from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from loan_default.adapters.evidently_workspace import PROJECT, EvidentlyWorkspace

pytestmark = pytest.mark.integration  # Evidently takes seconds to import


def report(name: str) -> Any:
    from evidently import Dataset, Report
    from evidently.metrics import RowCount
    from pandas import DataFrame

    return Report([RowCount()]).run(Dataset.from_pandas(DataFrame({"dti": [1.0, 2.0]})), None, name=name)


def test_a_report_is_read_only_for_the_record_that_it_was_drawn_from(tmp_path: Path) -> None:
    workspace = EvidentlyWorkspace(UPath(tmp_path / "evidently"))
    assert workspace.read("2018-10", "a") is None
    workspace.write("2018-10", "a", report("first"))
    workspace.write("2018-11", "a", report("of another batch"))
    stored = workspace.read("2018-10", "a")
    assert stored is not None
    assert stored.get_name() == "first"
    assert workspace.read("2018-10", "b") is None
    workspace.write("2018-10", "b", report("second"))
    assert workspace.read("2018-10", "a") is None


def test_evidently_reads_the_project_its_panels_and_one_report_of_each_batch(tmp_path: Path) -> None:
    from evidently.ui.workspace import Workspace

    workspace = EvidentlyWorkspace(UPath(tmp_path / "evidently"))
    workspace.create("loan_default_model", "raw_score")
    for name in ("first", "second"):
        workspace.write("2018-10", name, report(name))
    theirs = Workspace(str(workspace.root))
    (project,) = theirs.list_projects()
    assert (project.id, project.name) == (PROJECT, "loan_default_model")
    (run,) = theirs.list_runs(PROJECT)
    assert theirs.get_run(PROJECT, run).name == "second"
    tabs = {tab.title: len(tab.panels) for tab in project.dashboard.model().tabs}
    assert tabs == {"Batches": 2, "Features": 1}

    project.dashboard.add_tab("Ours")
    workspace.create("loan_default_model", "raw_score")
    assert "Ours" in {tab.title for tab in project.dashboard.model().tabs}, "what people change stays"
