"""Have Dagster run a job, in its queue and in the code server, and wait until it has ended; in the platform's image.

    pipeline.py JOB [arguments of `dagster job launch`]

Where `LOAN_DEFAULT_DATA` names files of this machine and there are none, synthetic loans are written there first.
"""

import subprocess
import sys
import time
import uuid
from glob import glob
from pathlib import Path

import dagster as dg

from loan_default.adapters.storage import is_remote
from loan_default.operations.runs import read_failures
from loan_default.settings import load_settings

WORKSPACE = Path(__file__).with_name("workspace.yaml")


def main(job: str, *arguments: str) -> int:
    """Run the job and return the exit code: 0 where it succeeded; say why it failed."""
    settings = load_settings()
    data = settings.data
    if data and not is_remote(data) and not glob(data):
        loans = Path(data).with_name("synthetic.csv")
        subprocess.run(["loan-default", "sample-data", "--out", str(loans)], check=True)
    run_id, began = str(uuid.uuid4()), time.monotonic()
    launch = ["dagster", "job", "launch", "-w", str(WORKSPACE), "-j", job, "--run-id", run_id, *arguments]
    if code := subprocess.run(launch, check=False).returncode:  # the command has said why
        return code
    with dg.DagsterInstance.get() as instance:
        while not (run := instance.get_run_by_id(run_id)) or not run.is_finished:
            time.sleep(1)
    print(f"{job}: run {run_id} ended as {run.status.value} after {time.monotonic() - began:.0f} s.")
    for failure in read_failures(settings):
        if failure.run.run_id == run_id:
            print(failure.reason)
    return 0 if run.is_success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
