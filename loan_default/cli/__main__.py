"""Run the command as `python -m loan_default.cli`, where it is not installed as a program: in the scoring image.

Tested in `cli/test_scoring.py`, which runs it.
"""

import sys

from loan_default.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
