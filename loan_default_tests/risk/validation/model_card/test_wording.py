"""Gaps, lists and counts are written alike on the whole card."""

from loan_default.risk.validation.model_card.wording import bullets, change, named, points


def test_figures_and_lists_are_written_for_people() -> None:
    assert (points(-0.034), points(0.0)) == ("-3.4", "+0.0")
    assert change(0.0045, -0.0007, 0.0094) == "+0.0045 (-0.0007 to +0.0094)"
    assert change(-0.00001, -0.00004, 0.0) == "+0.0000 (+0.0000 to +0.0000)"
    assert bullets(["A.", "B."]) == "- A.\n- B."
    assert named(["dti", "grade"]) == "`dti`, `grade`"
