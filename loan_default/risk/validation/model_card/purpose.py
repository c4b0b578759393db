"""Writes what a version is, who answers for it, what it predicts, what it is for, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from loan_default.risk.contract.outcome import Horizon
from loan_default.risk.data.splits import Window
from loan_default.risk.evaluation import Evaluation
from loan_default.risk.markdown import markdown_table
from loan_default.risk.model.candidates.registry import candidate_class
from loan_default.risk.text import percent, plural
from loan_default.risk.validation.model_card.inputs import ModelCardInputs
from loan_default.risk.validation.model_card.wording import NOT_STATED, bullets, named


def summary(inputs: ModelCardInputs) -> Iterator[str]:
    """Say in some sentences how good the version is and what was decided."""
    evaluation, test, metrics = inputs.evaluation, inputs.splits.window("test"), inputs.evaluation.metrics
    approved, reviewed, declined = inputs.decisions.iter_rows(named=True)
    sentences = [
        f"It was tested on {evaluation.rows:,} loans{_came(test, evaluation)}; "
        f"{percent(evaluation.defaults / evaluation.rows)} of them defaulted. It reaches AUC {metrics['auc']}.",
        _calibration_error(metrics["ece"].value),
        f"At its cut-offs it approves {_share_of_loans(approved)}; a person reviews {_share_of_loans(reviewed)}; it "
        f"declines {_share_of_loans(declined)}.",
    ]
    if evaluation.looks is not None:
        looks = evaluation.looks.overlapping
        sentences.append(
            f"Loans of this test window had been looked at {plural(looks, 'time')} before."
            if looks
            else "Nobody had looked at loans of this test window before."
        )
    if inputs.promotion is not None:
        later = f", at {inputs.decided_at}; this card does not follow what was decided later" if inputs.decided else ""
        sentences.append(f"Promotion: **{inputs.promotion.verdict}**{later}.")
    yield bullets(sentences)


def _calibration_error(value: float) -> str:
    if value < 0.00005:
        return "In groups by PD its PDs are off by no more on average than chance alone makes (calibration error 0)."
    return (
        f"In groups by PD its PDs are off by {value * 100:.2f} percentage points on average, less what chance alone "
        "makes (calibration error)."
    )


def _share_of_loans(decision: Mapping[str, Any]) -> str:
    if not decision["loans"]:
        return "none of these loans"
    return f"{percent(decision['share'])} of these loans, of which {percent(decision['default_rate'])} defaulted"


def _came(test: Window, evaluation: Evaluation) -> str:
    """Say when the test loans came, as far as the book says it."""
    if evaluation.cut_by == "draw":
        return " drawn by a hash of their ids (the book has no date, and nothing was tested out of time)"
    if evaluation.cut_by == "cohort":
        return f" of {evaluation.cohort} {test.span}, later cohorts than the others (the book has no date)"
    return f" issued {test.span}, which {evaluation.came}"


def governance(inputs: ModelCardInputs) -> Iterator[str]:
    """Name who answers for the version, as the policy does."""
    stated = inputs.policy.governance
    rows = {
        "Owner": stated.owner,
        "Developer": stated.developer,
        "Validator": stated.validator,
        "Approver": stated.approver,
        "Tier": stated.tier,
        "Examined again by": stated.review_due,
        "Expires": stated.expires,
    }
    yield markdown_table(["", "As the policy says"], [(name, str(value or NOT_STATED)) for name, value in rows.items()])


def details(inputs: ModelCardInputs) -> Iterator[str]:
    """Say what kind of model it is, how its PDs and points come about, and by what parameters."""
    scorer, calibration = inputs.scorer, inputs.scorer.calibration
    and_open = " and the newest loans that had not matured" if inputs.splits.open_loans else ""
    trained_at, sign = f"{inputs.trained_at:%Y-%m-%d %H:%M %Z}", "-" if calibration.intercept < 0 else "+"
    yield bullets(
        [
            f"Loan book: {scorer.contract.title}.",
            f"Kind: {candidate_class(scorer.kind).card_words.kind}, trained {trained_at.strip()}.",
            f"PD = 1 / (1 + exp(-({calibration.slope:.4f} m {sign} {abs(calibration.intercept):.4f}))), where m is the "
            f"model's log-odds (Platt scaling, fitted on the calibrate window{and_open}). Loans are ranked by m.",
            f"Score: {scorer.policy.points_at_odds:g} points at {scorer.policy.odds:g} repaid loans to one default, "
            f"{scorer.policy.points_to_double_odds:g} points more each time these odds double.",
        ]
    )
    # as they were given: a learning rate of 0.02 is no measurement with four decimals
    rows = [
        (name, f"{value:g}" if isinstance(value, float) else str(value)) for name, value in inputs.parameters.items()
    ]
    yield markdown_table(["Parameter", "Value"], rows)


def target(inputs: ModelCardInputs) -> Iterator[str]:
    """Define default, and the horizon over which it is predicted."""
    outcome = inputs.scorer.contract.outcome
    unresolved = f"; as still open {_texts(outcome.unresolved)}" if outcome.unresolved else ""
    yield bullets(
        [
            "It predicts the probability (PD) that a loan defaults, from what is known on the day of the decision.",
            "Default: "
            + (outcome.definition or "what it is in the lender's operation is not stated; it is read as follows."),
            f"Counted as default is a `{outcome.column}` of {_texts(outcome.defaulted)}; as repaid "
            f"{_texts(outcome.repaid)}{unresolved}.",
            _horizon(inputs),
        ]
    )


def _horizon(inputs: ModelCardInputs) -> str:
    """Say when an outcome counts."""
    contract = inputs.scorer.contract
    months = contract.outcome.grace_months
    grace = f" and {months} months of grace" if months else ""
    if contract.outcomes_are_final:
        return (
            "Horizon: the contract says that all outcomes are final, so each counts; over how many months a default "
            "was looked for is not stated beyond that."
        )
    if isinstance(contract.term, Horizon):
        return (
            f"Horizon: {contract.term.horizon} months from issue; an outcome counts after these{grace}. A status says "
            "that a loan defaulted and not when, so a later default counts too where the file shows it."
        )
    terms = [part.term for part in inputs.splits.window("test").terms if part.term is not None]
    by_term = ", ".join(f"{term + months} months after issue for a term of {term}" for term in terms)
    return f"Horizon: an outcome counts at the end of the term{grace}{': ' + by_term if by_term else ''}."


def _texts(texts: tuple[str, ...]) -> str:
    return ", ".join(f"“{text}”" for text in texts) or "nothing"


_NEITHER_WHEN_NOR_HOW_MUCH = "telling when a loan defaults, or how much is lost then: it is not trained on either"


def use(inputs: ModelCardInputs) -> Iterator[str]:
    """Say what it is for and what it is not for."""
    yield "Meant for"
    yield bullets(
        [
            "ranking applications like the loans behind these figures, and approving, reviewing or declining them at "
            "the cut-offs below;",
            "telling an applicant who is not approved the main reasons.",
        ]
    )
    yield "Not meant for"
    opinions = inputs.opinions_used
    unfit = [
        "other products or populations",
        *([f"setting {named(opinions)}: the model takes what was set"] if opinions else []),
        *([] if inputs.scorer.value else [_NEITHER_WHEN_NOR_HOW_MUCH]),
    ]
    yield bullets([*(f"{purpose};" for purpose in unfit[:-1]), f"{unfit[-1]}."])


def limits(inputs: ModelCardInputs) -> Iterator[str]:
    """Say what is not in the data, and what the version rests on."""
    lacking, opinions = len(inputs.cleaning["missing_fields"]), inputs.opinions_used
    empty_fields = (
        f"The model has never seen a value of {plural(lacking, 'field')} (see Data), so no weight rests on one."
        if lacking
        else "No field is empty throughout."
    )
    selection = inputs.scorer.contract.selection or "The contract does not say who is in the files and who is not."
    yield bullets(
        [
            f"**Who is in the data.** {selection} {_learned_from(inputs)}; nothing was inferred of "
            "applications that were not granted. PDs of applicants unlike these loans are extrapolated.",
            _newest(inputs),
            f"**Missing values.** {empty_fields}",
            *(
                [
                    "**The lender's opinion is inside.** The model takes over the rules behind "
                    f"{named(opinions)}, and rests on these staying as they are."
                ]
                if opinions
                else []
            ),
        ]
    )


def _learned_from(inputs: ModelCardInputs) -> str:
    if inputs.splits.open_loans is None:
        return "Only loans with an outcome are learned from"
    return "Loans without an outcome are learned from by the probability of default that hazards give them"


def _newest(inputs: ModelCardInputs) -> str:
    """Say of what time the figures are."""
    splits, test = inputs.splits, inputs.splits.window("test")
    if splits.cut_by:
        cohort = f" but by {splits.cohort}, which is {test.span} in the test window" if test.cohorts else ""
        return (
            f"**No date.** The book does not say when its loans were granted{cohort}; how PDs hold later is not known."
        )
    matured = "Final outcomes only" if inputs.scorer.contract.outcomes_are_final else "Judged by matured loans only"
    return (
        f"**{matured}.** The newest loans behind these figures were issued in {test.last_month:%Y-%m}; what changed "
        "since then is not in them."
    )


def law(inputs: ModelCardInputs) -> Iterator[str]:
    """List what the lender's policy says of law; nothing where it says nothing."""
    if inputs.policy.governance.law:
        yield "As the lender's policy states, and not as advice:"
        yield bullets(inputs.policy.governance.law)
