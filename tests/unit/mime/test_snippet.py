"""The preview of a message."""

import pytest

from emailsync.mime.snippet import SNIPPET_CHARS, snippet


@pytest.mark.parametrize(
    ("text", "html", "expected"),
    [
        (None, None, ""),
        ("  one\n\n two\t", None, "one two"),
        ("> quoted\nanswer\n-- \nsignature", "<p>ignored", "answer"),
        ("> only\n> quotes", None, "> only > quotes"),
        ("", "<p>from html</p>", "from html"),
        (None, "<style>p{}</style><b>H</b>i &amp; <a href='x>y'>you</a>", "Hi & y'>you"),
        (None, "<HTML><HEAD><TITLE>t</TITLE></HEAD><BODY>body</BODY>", "body"),
        (None, "<!-- <p>no</p> --><p>yes", "yes"),
        (None, "<!--[if mso]>no<![endif]--><td>a</td><td>b</td>", "a b"),
        (None, "1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        (None, "answer<blockquote>what was asked", "answer"),
        (None, "<script>never closed", ""),
        (None, "pre\u200b\u034fheader&zwnj;&shy;", "preheader"),
        ("a" * 1_000, None, "a" * SNIPPET_CHARS),
    ],
)
def test_the_preview_holds_the_first_readable_words(
    text: str | None, html: str | None, expected: str
) -> None:
    assert snippet(text, html) == expected


@pytest.mark.parametrize(
    "unit", ["<", "<style>", "<!--", "<a", "&", "</", "<!--a-->", "\u200b", "> \n"]
)
def test_hostile_repetition_is_read_in_linear_time(unit: str) -> None:
    source = unit * (2_000_000 // len(unit))

    assert len(snippet(source, source)) <= SNIPPET_CHARS
    assert len(snippet(None, source)) <= SNIPPET_CHARS
