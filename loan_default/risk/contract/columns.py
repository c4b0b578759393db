"""Names the columns that the platform writes beside those of fields, which no field can have.

How one is made belongs where it is written: outcomes in `data.outcomes`, windows in `data.splitting`, and so on. That
no field has such a name is `consistency`'s to say. Tested in `risk/contract/test_consistency.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

OUTCOME = "outcome"  # column of cleaned loans: 1 defaulted, 0 repaid, null unresolved
MATURES = "matures"  # column of cleaned loans: month by which its outcome is known, the term and the grace being over
OUTCOME_KNOWN = "outcome_known"  # column of cleaned loans: month in which its outcome was known, null while unresolved
LAST_PAYMENT = "last_payment"  # field of the month of the last payment, of which cleaned loans have `MONTHS_PAID`
MONTHS_PAID = "months_paid"  # column of cleaned loans: months from its issue to its last payment
FOLLOWED_FROM = "followed_from"  # column of cleaned loans: the first month in which outcome files told that it ran
AMOUNT = "amount_"  # begins the columns of cleaned loans with what was lent, paid and recovered
EXPOSURE = f"{AMOUNT}exposure"  # column of cleaned loans: owed at default, where outcome files tell balances
# Columns of open loans: how outcome files tell that they stand, and in which month.
STANDING_MONTH, STANDING_DAYS, STANDING_BALANCE = "standing_month", "standing_days_past_due", "standing_balance"
LOAN_ID = "id"  # column of the prediction log, and the field of a loan's number where a contract describes none
TERM = "term"  # field that every contract has: months from the first payment to the last

# Names of the columns that are written beside those of fields, which no field can have.
RESERVED: Mapping[str, str] = {
    OUTCOME: "the column of outcomes in cleaned loans",
    MATURES: "the column of cleaned loans by which month an outcome is known",
    OUTCOME_KNOWN: "the column of cleaned loans in which month an outcome was known",
    **dict.fromkeys((LAST_PAYMENT, MONTHS_PAID), "the last payment of a loan, which outcome.known names"),
    FOLLOWED_FROM: "since when outcome files tell how a loan stands",
    **dict.fromkeys(
        (AMOUNT + name for name in ("funded", "paid", "principal", "interest", "fees", "recovered", "cost")),
        "an amount that outcome.amounts names",
    ),
    EXPOSURE: "what is owed at default, by outcome files",
    **dict.fromkeys((STANDING_MONTH, STANDING_DAYS, STANDING_BALANCE), "how an open loan stands, by outcome files"),
    "window": "the column of splits that says which window a loan is in",
    **dict.fromkeys(("vintage", "quarter"), "a column of comparisons"),
    **dict.fromkeys(
        (
            *("pd", "raw_score", "score", "decision", "reasons", "reason_codes", "expected_loss", "npv"),
            *("pd_12m", "pd_curve", "pd_hazard", "expected_life"),
            "input_fingerprint",
        ),
        "a column of predictions",
    ),
    **dict.fromkeys(
        (
            *("decision_id", "request_id", "scored_at", "model_version", "approve_below", "decline_from"),
            *("decision_by", "approve_npv_from", "decline_npv_below"),
            *("contract_fingerprint", "policy_fingerprint", "output", "caller", "on_behalf_of"),
            *("trace_id", "shadow_version", "shadow_pd"),
        ),
        "a column of the prediction log",
    ),
}
