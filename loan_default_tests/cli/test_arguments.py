"""Types of arguments: what is taken, and the sentence on what is not."""

from datetime import date
from typing import Annotated

import pytest
from cyclopts import App, CycloptsError

from loan_default.cli.arguments import Month, Port, Reason, between

app = App(exit_on_error=False, print_error=False, result_action="return_value")


@app.default
def echo(
    *,
    month: Month | None = None,
    reason: Reason | None = None,
    port: Port | None = None,
    count: Annotated[int | None, between(2)] = None,
) -> tuple[object, ...]:
    """Return what was parsed."""
    return month, reason, port, count


def test_values_are_parsed() -> None:
    arguments = ["--month", "2018-02", "--reason", "Why.", "--port", "80", "--count", "2"]
    assert app(arguments) == (date(2018, 2, 1), "Why.", 80, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--month", "2018-13"], "'2018-13' is no month; write it as YYYY-MM."),
        (["--month", "2018-01-01"], "'2018-01-01' is no month; write it as YYYY-MM."),
        (["--reason", "  "], "It must not be empty."),
        (["--port", "0"], "Must be >= 1."),
        (["--port", "65536"], "Must be <= 65535."),
        (["--count", "1"], "Must be >= 2."),
        (["--count", "2.5"], "'2.5' is no whole number."),
    ],
)
def test_what_cannot_be_a_value_is_one_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises(CycloptsError) as error:
        app(arguments)
    assert str(error.value).endswith(message)
