"""What the UI shows of a result: tables, pictures, column schemas and checks, from plain values.

Measuring and judging are `risk`; this module only turns findings and figures into Dagster's words.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any

import dagster as dg

from loan_default.adapters import storage as files
from loan_default.adapters.scoring_server import ServerError
from loan_default.adapters.tracking import TrackingError
from loan_default.risk.contract import Contract, LoanField
from loan_default.risk.errors import BadInput
from loan_default.risk.markdown import markdown_table
from loan_default.risk.policy import Finding

OWNERS = ["team:credit-risk"]
_REJECTED = {
    "file": ("string", "File that holds the row; empty for a repeated id."),
    "row": ("int", "Number of the row, from 1 below the header."),
    "id": ("string", "The lender's number, or file and row."),
    "field": ("string", "Field that cannot be used."),
    "value": ("string", "What the file says there."),
    "problem": ("string", "Field and kind of problem, for counting."),
    "reason": ("string", "What is wrong and what is allowed, as a sentence."),
}
REJECTED = dg.TableSchema([dg.TableColumn(name, *told) for name, told in _REJECTED.items()])


def described(description: str, *, domain: str, kinds: set[str]) -> dict[str, Any]:
    """What every asset says of itself beside its group."""
    return {"description": description, "kinds": kinds, "tags": {"domain": domain}, "owners": OWNERS}


def check_specs(asset: str, rules: Iterable[str]) -> list[dg.AssetCheckSpec]:
    """The checks that an asset reports itself; they show what its gate decided."""
    return [dg.AssetCheckSpec(rule, asset=asset) for rule in rules]


def check_results(asset: str, findings: Iterable[Finding]) -> list[dg.AssetCheckResult]:
    """Findings as results of the checks of the same names."""
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=finding.rule,
            passed=finding.passed,
            description=finding.sentence,
            metadata={"found": finding.sentence},
        )
        for finding in findings
    ]


@contextmanager
def user_errors() -> Iterator[None]:
    """What a user can mend fails the step with its one sentence; retrying does not help input that cannot be used."""
    try:
        yield
    except BadInput as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except (TrackingError, ServerError) as error:
        raise dg.Failure(str(error)) from None
    except OSError as error:
        raise dg.Failure(files.trouble(error)) from error


def in_one_sentence(does: Callable[..., Any]) -> Callable[..., Any]:
    """An asset's function, wherever in it a user's error is met."""
    if isgeneratorfunction(does):

        @wraps(does)
        def steps(*given: Any, **named: Any) -> Iterator[Any]:
            with user_errors():
                yield from does(*given, **named)

        return steps

    @wraps(does)
    def step(*given: Any, **named: Any) -> Any:
        with user_errors():
            return does(*given, **named)

    return step


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.MarkdownMetadataValue:
    """A table that the UI shows formatted."""
    return dg.MetadataValue.md(markdown_table(columns, rows))


def bullets(sentences: Iterable[str]) -> dg.MarkdownMetadataValue:
    """Sentences, one below the other."""
    return dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in sentences) or "none")


def picture(png: bytes, name: str) -> dg.MarkdownMetadataValue:
    """A PNG image inside the event, so that the UI needs no other server to show it."""
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})")


def column_schema(contract: Contract, more: Mapping[str, tuple[str, str]]) -> dg.TableSchema:
    """The contract's fields, and further columns given as name → (type, description)."""
    fields = [_column(field) for field in contract.fields if field.role != "support"]
    added = [dg.TableColumn(name, kind, description) for name, (kind, description) in more.items()]
    return dg.TableSchema([*fields, *added])


def _column(field: LoanField) -> dg.TableColumn:
    kind = {"number": "float", "month": "date"}.get(field.kind, "string")
    described = field.description + (f" In {field.unit}." if field.unit else "")
    tags = {"role": field.role, "kind": field.kind}
    return dg.TableColumn(
        field.name, kind, described, dg.TableColumnConstraints(nullable=field.nullable, other=[field.allowed]), tags
    )
