"""The OpenAPI document as a page of the API that it describes, itself included."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import orjson
from starlette.responses import Response

from emailsync.api.endpoints import Access, Endpoint, PlainCall, Table
from emailsync.api.openapi import JSON, document


def described(table: Table) -> Table:
    """Return the table with an entry that describes all of it."""
    return _Description(table).table


class _Description:
    def __init__(self, table: Table) -> None:
        self.table: Table = (
            *table,
            Endpoint(
                "GET",
                "/openapi.json",
                Access.ANY_TOKEN,
                "This document",
                self.show,
                {200: JSON},
            ),
        )

    async def show(self, call: PlainCall) -> Response:
        """Return the document."""
        del call
        return Response(self._json, media_type=JSON)

    @cached_property
    def _json(self) -> bytes:
        content: Mapping[str, Any] = document(self.table)
        return orjson.dumps(content)
