"""The entry point of the command: arguments to a function, errors to one sentence and an exit code.

0 where all went well, 1 for a user's mistake and what could not be done, 2 for wrong arguments, 130 for Ctrl-C.
What the commands are is in the modules imported here, which register them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import CycloptsError, UnknownCommandError, UnusedCliTokensError, ValidationError

from loan_default.cli import contracts, monitoring, policies, scoring, servers, setup, training  # noqa: F401 - registers
from loan_default.cli.app import app
from loan_default.cli.terminal import errors
from loan_default.risk.errors import BadInput

FAILED, WRONG_ARGUMENTS, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    try:
        code: int = app(sys.argv[1:] if argv is None else argv)
    except CycloptsError as error:
        return _report(_sentence(error), WRONG_ARGUMENTS)
    except BadInput as error:
        return _report(str(error), FAILED)
    except KeyboardInterrupt as interrupt:
        return _report(str(interrupt) or "Interrupted.", INTERRUPTED)
    except Exception as error:
        sentence = _expected(error)
        if sentence is None:
            raise
        return _report(sentence, FAILED)
    finally:
        sys.stdout.flush()
    return code


def _report(sentence: str, code: int) -> int:
    errors().print(f"loan-default: {sentence}", markup=False, soft_wrap=True)
    return code


def _sentence(error: CycloptsError) -> str:
    """Return what is wrong with the arguments, without the name of a group that only validation knows."""
    if isinstance(error, UnusedCliTokensError):
        command, unused = " ".join(error.command_chain or ()), " ".join(error.unused_tokens or ())
        return (
            f'Command "{command}" takes no "{unused}" there; its options have names: see loan-default {command} --help.'
        )
    text = error.exception_message if isinstance(error, ValidationError) and error.group else str(error)
    if isinstance(error, UnknownCommandError) and text.endswith("..."):  # after the first few, as they were registered
        text = f"{text.partition(' Available commands: ')[0]} loan-default --help lists all commands."
    return " ".join(text.split())


def _expected(error: Exception) -> str | None:
    """Return the sentence of an error that the outside world may cause; None for one that is a fault of ours.

    Its classes are imported here, as they load what most commands never need.
    """
    from loan_default.adapters.parquet_table import find_damage
    from loan_default.adapters.scoring_server import ServerError
    from loan_default.adapters.storage import explain_os_error
    from loan_default.adapters.tracking import TrackingError
    from loan_default.operations.runs import JobFailed
    from loan_default.settings import load_settings

    if isinstance(error, OSError):
        return explain_os_error(error)
    if isinstance(error, JobFailed | ServerError | TrackingError):
        return str(error)
    settings = load_settings()
    damage = find_damage(error, settings.layout, settings.staging)
    return str(damage) if damage else None
