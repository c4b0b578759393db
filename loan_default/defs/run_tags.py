"""Tags of runs by which sensors, commands and pages find them again, and what each says.

Tags by which Dagster treats runs (limits, priorities, retries) are beside the jobs that have them, in `jobs`.
Tested in `defs/sensors` and `operations/test_runs.py`.
"""

BOOK_TAG = "loan_default/book"  # the loan book, of one that does not ship
VERSION_TAG = "loan_default/version"  # in production when the run was requested
DATA_TAG = "loan_default/data"  # the signature of the loan files then
REASON_TAG = "loan_default/reason"  # why the run was requested, as a sentence
AGAIN_TAG = "loan_default/again"  # the request to score again, which makes a run for each batch
RUN_KEY_TAG, PARTITION_TAG = "dagster/run_key", "dagster/partition"  # Dagster's own
