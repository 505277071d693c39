"""What the tables of formats say, beside what is read and the page that shows them."""

import media_page

from connectors.media.formats import FORMATS, MIMES, TITLES, supported
from connectors.media.sniff import BY_NAME, SIGNATURES

REFUSED_BY_ITS_READER = {"image/x-canon-cr3"}
"""Told apart so that it is refused by its name."""


def test_the_page_has_the_tables_of_the_code():
    assert media_page.page_with(media_page.tables()) == media_page.PAGE.read_text(encoding="utf-8"), (
        "docs/media.md is stale: run python tests/media_page.py"
    )


def test_every_signature_is_of_a_format_in_the_table():
    assert {kind.mime for _, kind in SIGNATURES} - REFUSED_BY_ITS_READER <= TITLES.keys()
    assert {(kind.modality, kind.mime) for kind in BY_NAME.values()} <= {
        (each.modality, each.mime) for each in FORMATS
    }


def test_no_name_promises_two_formats_or_is_read_and_refused():
    named = [suffix for each in FORMATS for suffix in each.suffixes]
    refused = [suffix for _, _, names in media_page.UNREAD for suffix in names]
    assert len(set(named)) == len(named) and len(set(refused)) == len(refused)
    assert not set(named) & set(refused)
    assert set(MIMES) == set(named)


def test_the_message_lists_every_format_once():
    line = supported()
    for each in FORMATS:
        assert line.count(f" {each.title}") + line.count(f"({each.title}") >= 1, each.title
