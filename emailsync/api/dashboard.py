"""The dashboard's files, as they are in `emailsync/dashboard/`: no build step, nothing filled in.

They hold nothing that is secret, so anybody may have them; what they show, they ask the API for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field
from starlette.responses import Response

import emailsync
from emailsync.api.endpoints import Access, Anything, Call, Endpoint, Nothing, Sent, Table
from emailsync.api.problems import not_found

FOLDER: Final = Path(emailsync.__file__).parent / "dashboard"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HTML: Final = "text/html"
TYPES: Final = {".js": "text/javascript", ".css": "text/css"}


class FilePath(Sent):
    """A file's address."""

    name: Annotated[str, Field(pattern=r"^[a-z_]{1,50}$")]


class Dashboard:
    """The page `/` and the files that it loads; read once, so that answering opens none."""

    def __init__(self) -> None:
        self._page = (FOLDER / "index.html").read_bytes()
        self._files: Mapping[str, bytes] = {
            path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in TYPES
        }

    @property
    def table(self) -> Table:
        """The entries."""
        return (
            Endpoint("GET", "/", Access.OPEN, "The dashboard", self.page, {200: HTML}),
            Endpoint("GET", "/dashboard/{name}.js", Access.OPEN, "A script of the dashboard",
                     self.script, {200: TYPES[".js"]}),
            Endpoint("GET", "/dashboard/{name}.css", Access.OPEN, "A style sheet of the dashboard",
                     self.style, {200: TYPES[".css"]}),
        )  # fmt: skip

    async def page(self, call: Call[Nothing, Anything, Nothing]) -> Response:
        """Return the page, also to a browser that brings the outcome of a consent."""
        del call
        return _answer(self._page, HTML)

    async def script(self, call: Call[FilePath, Nothing, Nothing]) -> Response:
        """Return a script."""
        return self._file(call.path.name, ".js")

    async def style(self, call: Call[FilePath, Nothing, Nothing]) -> Response:
        """Return a style sheet."""
        return self._file(call.path.name, ".css")

    def _file(self, name: str, suffix: str) -> Response:
        content = self._files.get(name + suffix)
        if content is None:
            raise not_found()
        return _answer(content, TYPES[suffix])


def _answer(content: bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Security-Policy": POLICY})
