"""Long lists in few words."""

from loan_default.risk.text import shorten_names, shorten_sentences


def test_what_is_too_much_is_counted() -> None:
    assert [shorten_names("abcd"[:count], 2) for count in range(5)] == [
        "",
        "a",
        "a, b",
        "a, b and 1 more",
        "a, b and 2 more",
    ]
    assert shorten_sentences(["A.", "B."], 2) == "A. B."
    assert shorten_sentences(["A", "B", "C"], 2, "; ") == "A; B (+1 more)"
