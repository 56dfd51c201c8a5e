"""The issuers' error answers, as they are documented and seen."""

from collections.abc import Sequence

from starlette.responses import JSONResponse

BAD_REQUEST = 400
UNAUTHORIZED = 401


class Refused(Exception):
    """A request for a token is answered by an error."""

    def __init__(
        self,
        error: str,
        description: str,
        *,
        status: int = BAD_REQUEST,
        suberror: str | None = None,
        numbers: Sequence[int] = (),
    ) -> None:
        super().__init__(error)
        self.error = error
        self.status = status
        self.body: dict[str, object] = {"error": error, "error_description": description}
        if numbers:  # Microsoft's form
            told = f"AADSTS{numbers[0]}: {description} Trace ID: 0 Correlation ID: 0 Timestamp: 0"
            self.body |= {"error_description": told, "error_codes": list(numbers)}
        if suberror is not None:
            self.body["suberror" if numbers else "error_subtype"] = suberror

    def response(self) -> JSONResponse:
        """Return the answer."""
        return JSONResponse(self.body, self.status)
