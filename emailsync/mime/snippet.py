"""The first words of a message, for a list: from the text, or from the HTML stripped.

Linear and bounded: it looks at the beginning only. It is a preview, not a renderer: nothing that
comes out of here is safe to show as HTML.
"""

import html
import re
from typing import Final

SNIPPET_CHARS: Final = 200  #: two lines of a message list
_USUAL_WORDS: Final = SNIPPET_CHARS // 5  #: as long as words are, enough
_USUAL_CHARS: Final = 3 * SNIPPET_CHARS  #: in which they stand
_MAX_WORDS: Final = SNIPPET_CHARS // 2 + 1  #: of one letter and a blank each
_TEXT_WINDOW_CHARS: Final = 4 * 1024
_LINE_WINDOW_CHARS: Final = 1024  #: padding included
_HTML_WINDOW_CHARS: Final = 128 * 1024  #: style sheets of newsletters come first, and are long
_ENOUGH_CHARS: Final = 3 * SNIPPET_CHARS  #: of raw text; entities and blanks shrink it

_TAG: Final = re.compile(r"<(?:!--|(/?[a-zA-Z][a-zA-Z0-9]*)[^>]*>?|[!?/][^>]*>?)")
_HIDDEN: Final = frozenset({"style", "script", "head", "title", "template", "noscript"})
_INLINE: Final = frozenset({"a", "b", "em", "font", "i", "s", "small", "span", "strong", "u"})
#: Invisible characters that newsletters pad their preview with.
_PADDING: Final = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u2060-\u2064\ufeff]+")


def snippet(text: str | None, html_text: str | None) -> str:
    """Return about 200 readable characters on one line; "" when there are none."""
    shown = _shorten(_own_words(text[:_TEXT_WINDOW_CHARS])) if text else ""
    if not shown and html_text:
        shown = _shorten(html.unescape(_strip_tags(html_text[:_HTML_WINDOW_CHARS])))
    return shown or (_shorten(text[:_TEXT_WINDOW_CHARS]) if text else "")


def _own_words(text: str) -> str:
    """Return the text without quoted lines and without what follows the signature's dashes."""
    if ">" not in text and "\n-- \n" not in text:
        return text
    lines = text.partition("\n-- \n")[0].split("\n")
    return "\n".join(line for line in lines if not line.lstrip().startswith(">"))


def _shorten(text: str) -> str:
    line = _first_words(text[:_USUAL_CHARS], _USUAL_WORDS)
    if len(line) < SNIPPET_CHARS:
        line = _first_words(text, _MAX_WORDS)
    return line[:SNIPPET_CHARS].rstrip()


def _first_words(text: str, count: int) -> str:
    line = " ".join(text.split(None, count)[:count])[:_LINE_WINDOW_CHARS]
    return line if line.isascii() else " ".join(_PADDING.sub("", line).split())


def _strip_tags(source: str) -> str:
    """Return the readable beginning of an HTML text, entities still in it."""
    readable: list[str] = []
    length = position = 0
    while length < _ENOUGH_CHARS:
        tag = _TAG.search(source, position)
        text = source[position : tag.start() if tag else len(source)]
        readable.append(text)
        length += 0 if text.isspace() else len(text)
        if tag is None:
            break
        name = (tag[1] or "").lower()
        if name == "blockquote" and length:
            break  # the message that is answered
        position = _end_of(source, tag, name)
        if name.lstrip("/") not in _INLINE:
            readable.append(" ")
    return "".join(readable)


def _end_of(source: str, tag: re.Match[str], name: str) -> int:
    """Return where reading goes on: after the tag, or after all that it hides."""
    if tag[0] == "<!--":
        closing = "-->"
    elif name in _HIDDEN:
        closing = f"</{name}"
    else:
        return tag.end()
    end = source.find(closing, tag.end())
    if end < 0:
        end = source.find(closing.upper(), tag.end())
    return len(source) if end < 0 else end + (3 if tag[0] == "<!--" else 0)
