"""Links to pages lead where the pages are."""

from loan_default.adapters.web_pages import WebPages


def test_every_address_lies_below_that_of_the_pages() -> None:
    pages = WebPages("https://pages.example")
    assert pages.batch("2018-10_a") == "https://pages.example/batches/2018-10_a"
    assert pages.evidently("2018-10") == "https://pages.example/batches/2018-10/evidently"
    assert (pages.version(3), pages.card(3)) == (
        "https://pages.example/versions/3",
        "https://pages.example/versions/3/card",
    )
