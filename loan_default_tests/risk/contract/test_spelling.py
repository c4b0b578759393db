"""Words that are one to some writers are found where they mean different things."""

from loan_default.risk.contract.spelling import alike, spelling


def test_a_word_is_spelled_as_any_writer_may() -> None:
    words = {"1.0": "1", "-2.": "-2", "TRUE": "true", "01": "01", "1.5": "1.5", "T": "T", "A.0": "A.0"}
    assert {word: spelling(word) for word in words} == words


def test_words_of_different_meanings_that_are_one_to_some_writers() -> None:
    assert [*alike({"1": 0, "1.0": 1, "True": 2, "TRUE": 2, "a": 3, "A": 4})] == [("1", "1.0")]
