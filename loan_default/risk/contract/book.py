"""Describes a loan book: the typed form of `conf/contract.yaml`, checked when it is loaded, and its fields by role.

Its sections stand in the modules beside it, what they say against each other in `consistency`, loading in `loading`.
Reading a file by the contract belongs in `data.loan_files` and `data.field_values`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from loan_default.risk.contract.columns import (
    FOLLOWED_FROM,
    LOAN_ID,
    MATURES,
    MONTHS_PAID,
    OUTCOME,
    OUTCOME_KNOWN,
    TERM,
)
from loan_default.risk.contract.consistency import contradictions
from loan_default.risk.contract.field import NAME, LoanField, Role
from loan_default.risk.contract.file_format import FileFormat, FileLayout
from loan_default.risk.contract.months import CENTURY
from loan_default.risk.contract.outcome import Expectation, Horizon, Outcome, Snapshot, Term
from loan_default.risk.contract.pricing import Pricing
from loan_default.risk.derivations import Operand, compile_expression
from loan_default.risk.expressions import Expression, in_order
from loan_default.risk.section import OneLine, Problem, Section

_OWN_NUMBER = {  # the field by which loans are known where a contract describes none
    "name": LOAN_ID,
    "kind": "text",
    "role": "id",
    "description": "Number of the loan; its file and row where the file has no numbers.",
}


class Contract(Section):
    """A loan book: what a loan is, how its files are written, and how it ends.

    Attributes:
        name: of the book: its models, folders and assets follow it.
        title: what people call the book.
        selection: who is in its files and who is not, for the model card.
        known_afterwards: columns that are written after the loan was granted, `*` for anything; a field that names one
            is refused.
        files: how its files are written.
        time: `none` says that the book has no date of issue; by default the field with the role `time` has it.
        outcomes: `final` says that every outcome is known, so that no loan has to mature.
        term: months of all loans, or by product, or a horizon; by default the field `term` has them.
        outcome: how a loan ended.
        snapshot: where a file says when it was taken.
        not_loans: regular expressions; lines whose id fits one are counted, and are no loans.
        expect: limits within which a loan file is sound; outside cleaning stops.
        layouts: other forms of the same loans, recognised by their header.
        pricing: the fields that say how much a loan lends and at which rate, by which its value is computed.
        bureau_score: the field with the credit bureau's score, which a notice of a decision states.
        groups: sentences of groups that are told as one reason, whichever of their fields adds most.
        fields: every field that is read.

    Raises (from loading, as `BadInput`): a field that names a column written after the loan was granted, two
    fields of one name, a derived field of fields that its function cannot take, an absent time or `term` field,
    a sentence for a side that is not known, a group of which only some fields are the lender's opinion.
    """

    name: str = Field(pattern=NAME, examples=["lendingclub"])
    title: OneLine
    selection: str | None = None
    known_afterwards: tuple[str, ...] = Field(examples=["[last_*, recoveries]"])
    files: FileFormat = Field(default=FileFormat(), examples=['{separator: ";"}'])
    time: Literal["none"] | None = None
    outcomes: Literal["final"] | None = None
    term: Term | None = None
    outcome: Outcome = Field(examples=["{column: loan_status, defaulted: [Charged Off], repaid: [Fully Paid]}"])
    snapshot: Snapshot | None = Field(default=None, examples=["{column: last_credit_pull_d}"])
    not_loans: tuple[str, ...] = ()
    bureau_score: str | None = None
    pricing: Pricing | None = Field(default=None, examples=["{amount: loan_amnt, rate: int_rate}"])
    expect: Expectation = Field(examples=["{rejected_share_at_most: 0.05, default_rate_between: [0.01, 0.60]}"])
    layouts: tuple[FileLayout, ...] = ()
    groups: Mapping[str, OneLine] = {}
    fields: tuple[LoanField, ...] = Field(examples=["[{name: …, kind: …, role: …, description: …}]"])

    @model_validator(mode="before")
    @classmethod
    def _number_loans(cls, data: Any) -> Any:
        """Add a field for the loan's number where none is described."""
        fields = data.get("fields") if isinstance(data, dict) else None
        if not isinstance(fields, tuple | list):
            return data
        described = [field if isinstance(field, dict) else getattr(field, "__dict__", {}) for field in fields]
        has_number = any(field.get("role") == "id" or field.get("name") == LOAN_ID for field in described)
        return data if has_number else {**data, "fields": (*fields, _OWN_NUMBER)}

    @property
    def caption(self) -> str:
        """Return nothing: there is one contract."""
        return ""

    def problems(self) -> Iterator[Problem]:
        """Yield what fields, outcome, layouts and groups say against each other."""
        return contradictions(self)

    @cached_property
    def _derivations(self) -> tuple[dict[str, Expression], list[tuple[str, str]]]:
        """Compile the derived fields, each after those that it is derived from, and say which cannot be, and why."""
        operands = {field.name: Operand(field.kind, field.unit) for field in self.fields}
        time = next((field.name for field in self.with_role("time")), None)
        compiled: dict[str, Expression] = {}
        problems: list[tuple[str, str]] = []
        for field in self.fields:
            if field.derived is None:
                continue
            try:
                compiled[field.name] = compile_expression(
                    field.derived, field.unit, operands, time=time, as_numbers=field.ignores_units
                )
            except ValueError as error:
                problems.append((field.name, str(error)))
        try:
            return in_order(compiled), problems
        except ValueError as error:
            name, _, sentence = str(error).removeprefix("field ").partition(": ")
            return {}, [*problems, (name, sentence)]

    @property
    def expressions(self) -> Mapping[str, Expression]:
        """Map each derived field to how it is computed, after the fields that it is derived from."""
        compiled, _ = self._derivations
        return compiled

    @property
    def derivation_mistakes(self) -> list[tuple[str, str]]:
        """Return the derived fields that cannot be computed, each with what is wrong."""
        _, mistakes = self._derivations
        return mistakes

    @cached_property
    def sources(self) -> Mapping[str, frozenset[str]]:
        """Map each derived field to all fields that it follows from, also by way of others."""
        sources: dict[str, frozenset[str]] = {}
        for name, expression in self.expressions.items():
            sources[name] = frozenset(expression.of).union(*(sources.get(source, ()) for source in expression.of))
        return sources

    def lacking(self, needed: Iterable[LoanField], present: Collection[str]) -> list[LoanField]:
        """Return which fields, needed or what they are derived from, are neither present nor can be computed."""
        absent: dict[str, LoanField] = {}
        for field in needed:
            if field.name not in present:
                expression = self.expressions.get(field.name)
                missing = (
                    self.lacking((self.by_name[name] for name in expression.of), present) if expression else [field]
                )
                absent |= {each.name: each for each in missing}
        return [*absent.values()]

    def is_known_afterwards(self, column: str) -> bool:
        """Tell whether the column is written after the loan was granted, and so can never be a feature."""
        if column in (self.outcome.column, *self._paid_columns):
            return True
        return any(fnmatchcase(column, pattern) for pattern in self.known_afterwards)

    @cached_property
    def _paid_columns(self) -> frozenset[str]:
        """Return the columns of the last payment and of what was paid; that of what was lent is known before."""
        return frozenset(field.column for field in self.outcome.fields) - {self.outcome.amounts.funded}

    @cached_property
    def by_name(self) -> dict[str, LoanField]:
        """Map each name to its field."""
        return {field.name: field for field in self.fields}

    def with_role(self, *roles: Role) -> tuple[LoanField, ...]:
        """Return the fields of these roles, in the contract's order."""
        return tuple(field for field in self.fields if field.role in roles)

    @cached_property
    def stored(self) -> tuple[LoanField, ...]:
        """Return the fields that cleaned loans have: all but support, and what says when a loan matures always."""
        return tuple(field for field in self.fields if field.role != "support" or field.name == self.term_source)

    @cached_property
    def features(self) -> tuple[LoanField, ...]:
        """Return the fields that a model may see."""
        return self.with_role("feature")

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Return the names of `features`, in the contract's order."""
        return tuple(field.name for field in self.features)

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """Return the names of the fields by whose levels loans are judged: the term, and the nominal features."""
        term = [TERM] if self.by_name.get(TERM) in self.stored else []
        return (*term, *(field.name for field in self.features if field.kind == "nominal" and field.name != TERM))

    @cached_property
    def opinions(self) -> frozenset[str]:
        """Return the names of the fields that are the lender's opinion, or derived from one."""
        own = {field.name for field in self.fields if field.opinion}
        return frozenset(own | {name for name, sources in self.sources.items() if own & sources})

    @cached_property
    def id_name(self) -> str:
        """Return the name of the field that identifies a loan."""
        return self.with_role("id")[0].name

    @cached_property
    def natural(self) -> Contract:
        """Return the contract of applications that a system sends: fields' names, natural units, usual months.

        The words for nothing, and those of each field, are the book's.
        """
        as_sent = {"format": (), "century": CENTURY, "scale": 1.0}
        fields = (field.model_copy(update={**as_sent, "column": field.name}) for field in self.fields)
        return self._with(fields=tuple(fields), files=FileFormat(nothing=self.files.nothing))

    @cached_property
    def logged(self) -> Contract:
        """Return the contract of the prediction log's files: as `natural`, and what they lack is not required."""
        present = {self.id_name, *self.feature_names, *([self.time_name] if self.has_time else [])}
        fields = (
            field if field.name in present else field.model_copy(update={"required": False, "nullable": True})
            for field in self.natural.fields
        )
        by_column = (field.model_copy(update={"column": LOAN_ID}) if field.role == "id" else field for field in fields)
        return self.natural._with(fields=tuple(by_column))

    def _with(self, **values: Any) -> Contract:
        """Return the same contract but for these values, which are not examined."""
        current = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**current, **values})

    @property
    def describes_number(self) -> bool:
        """Tell whether a field of it is the number of a loan, by which the loan is known again in another file."""
        return self.by_name[self.id_name].description != _OWN_NUMBER["description"]

    @property
    def has_time(self) -> bool:
        """Tell whether the book says when its loans were granted."""
        return self.time is None

    @property
    def outcomes_are_final(self) -> bool:
        """Tell whether the outcome of every loan is known, so that no loan has to mature."""
        return self.outcomes == "final"

    @cached_property
    def time_name(self) -> str:
        """Return the name of the field that orders loans in time.

        Raises:
            LookupError: the book has none (`has_time`).
        """
        if not self.has_time:
            raise LookupError(f"The book {self.name} has no date of issue.")
        return self.with_role("time")[0].name

    @property
    def dated_by(self) -> Snapshot | None:
        """Return the column that shows when a file was taken: that of the snapshot, or else of the last payments."""
        payments = self.outcome.known
        if self.snapshot or payments is None or payments.last_payment is None:
            return self.snapshot
        return Snapshot(column=payments.last_payment, format=payments.format, century=payments.century)

    @cached_property
    def cohort_name(self) -> str | None:
        """Return the name of the field by which older and newer loans are told apart where there is no date."""
        return next((field.name for field in self.with_role("cohort")), None)

    @property
    def order_name(self) -> str | None:
        """Return the name of the field that puts loans in order: the time, or else the cohort; None without either."""
        return self.time_name if self.has_time else self.cohort_name

    @cached_property
    def term_source(self) -> str | None:
        """Return the name of the field that says when a loan matures, if one does and loans mature."""
        if self.outcomes_are_final or isinstance(self.term, int | Horizon):
            return None
        return self.term.by if self.term else TERM

    @property
    def labels(self) -> list[str]:
        """Return the columns of cleaned loans that say how a loan ended, when that was known, and what it paid."""
        amounts = [field.name for field in self.outcome.amounts.fields]
        known = [OUTCOME_KNOWN, MONTHS_PAID] if self.outcome.known else []
        known += [FOLLOWED_FROM] if self.outcome.is_told_by_files else []
        return [OUTCOME, *([] if self.outcomes_are_final else [MATURES]), *known, *amounts]

    @cached_property
    def left_out_by_applicants(self) -> frozenset[str]:
        """Return the names of the time, and of a term that tells when a loan matures and nothing else."""
        term = self.by_name.get(self.term_source or "")
        names = {self.time_name} if self.has_time else set()
        return frozenset(names | ({term.name} if term and term.role == "support" else set()))

    @cached_property
    def logged_fields(self) -> tuple[LoanField, ...]:
        """Return the fields that the prediction log keeps: the features, and what tells when a loan matures."""
        term = self.by_name.get(self.term_source or "")
        return (*self.features, term) if term in self.with_role("support", "segment") else self.features

    @cached_property
    def application_fields(self) -> tuple[LoanField, ...]:
        """Return the fields that are read of an application: no protected one, and no cohort, which only files have."""
        return tuple(field for field in self.fields if field.role not in ("protected", "cohort"))
