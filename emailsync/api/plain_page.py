"""A page for people who came from elsewhere: one sentence, no script, no style, no link."""

from html import escape
from typing import Final

from starlette.responses import HTMLResponse

MEDIA_TYPE: Final = "text/html"
POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title></head>
<body><h1>{title}</h1><p>{text}</p></body>
</html>
"""


def plain_page(title: str, text: str, status: int) -> HTMLResponse:
    """Return a page that says this, whatever it is."""
    content = PAGE.format(title=escape(title), text=escape(text))
    return HTMLResponse(content, status, {"Content-Security-Policy": POLICY})
