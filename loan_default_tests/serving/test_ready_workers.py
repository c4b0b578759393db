"""A worker that is ready is known to the others until it ends, however it does."""

import subprocess
import sys
from pathlib import Path

import pytest

from loan_default.serving.ready_workers import ReadyWorkers

OTHER = """
import sys
from pathlib import Path
from loan_default.serving.ready_workers import ReadyWorkers

workers = ReadyWorkers(Path(sys.argv[1]))
print(workers.join(), workers.join(), flush=True)
sys.stdin.read()
"""


@pytest.mark.integration
def test_one_that_joined_is_known_until_it_is_killed(tmp_path: Path) -> None:
    here = ReadyWorkers(tmp_path / "ready")
    assert not here.exist()
    command = [sys.executable, "-c", OTHER, str(tmp_path / "ready")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True False\n"
        assert here.exist()
        other.kill()
    assert not here.exist()
    assert here.join()
    assert here.exist()
    assert ReadyWorkers(tmp_path / "ready").join(), "several share it"
