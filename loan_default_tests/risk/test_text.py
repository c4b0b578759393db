"""Long lists and numbers in few words."""

import re
from pathlib import Path

import loan_default
from loan_default.risk.text import percent, plural, shorten_names, shorten_number, shorten_sentences


def test_a_number_has_few_decimals_and_none_is_lost_to_nothing() -> None:
    numbers = [0, -0.0, 1.467077243, 24_000, 1_496.24, 0.5, -0.001234, 1e-7]
    assert [*map(shorten_number, numbers)] == ["0", "0", "1.47", "24,000", "1,496.24", "0.5", "-0.0012", "1e-07"]


def test_a_share_is_written_in_one_form_by_code_and_docs() -> None:
    assert (percent(0.1523), percent(0.5, 0), percent(12.5), percent(None)) == ("15.2%", "50%", "1,250.0%", "–")
    assert percent(-0.0004) == "0.0%"
    package = Path(loan_default.__file__).parent
    texts = [package.parent / "README.md", *package.rglob("*.py"), *package.rglob("*.html"), *package.rglob("*.yaml")]
    texts += [page for folder in ("docs", "examples") for page in (package.parent / folder).rglob("*.md")]
    parted = re.compile(r"\d[ \N{NO-BREAK SPACE}]%(?![\w}])")
    assert [path.name for path in texts if parted.search(path.read_text(encoding="utf-8"))] == []


def test_things_are_counted_in_words_that_fit_their_number() -> None:
    assert [plural(count, "row") for count in (0, 1, 2_000)] == ["0 rows", "1 row", "2,000 rows"]
    assert (plural(1, "batch", "batches"), plural(3, "batch", "batches")) == ("1 batch", "3 batches")


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


def test_no_difference_is_written_with_the_sign_of_nothing() -> None:
    """Python's option `z` writes -0.001 with two decimals as +0.00."""
    signed = re.compile(r":\+,?\.\d")
    sources = Path(loan_default.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if signed.search(path.read_text(encoding="utf-8"))] == []
