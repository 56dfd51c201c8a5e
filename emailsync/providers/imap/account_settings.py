"""What the settings of an IMAP account say, checked; nothing here connects to anything."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emailsync.domain.errors import Misconfigured
from emailsync.providers.oauth.audiences import Audience

AUDIENCES: Final = {"google": Audience.GOOGLE_IMAP, "microsoft": Audience.OUTLOOK_IMAP}


class Security(StrEnum):
    """How the connection is protected; the values are those of an account's settings."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class ImapAccountSettings(BaseModel):
    """`provider_configs.settings` of an IMAP account."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(ge=1, le=65_535)
    security: Security
    username: str = Field(min_length=1, max_length=320)
    oauth: Literal["google", "microsoft"] | None = None  #: who issues its tokens; None: a password
    auth: str | None = None  #: this and the next two: how it comes to them, see SignIn
    permission: str | None = None
    tenant: str | None = None

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> "ImapAccountSettings":
        """Return the settings of a stored account.

        Raises:
            Misconfigured: naming the first wrong setting, never its value.
        """
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Misconfigured(f"the account's setting {where}: {first['msg']}") from error
