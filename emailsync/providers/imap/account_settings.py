"""What the settings of an IMAP account say, checked; nothing here connects to anything."""

from enum import StrEnum
from typing import Final, Literal

from pydantic import ConfigDict, Field

from emailsync.providers.oauth.audiences import Audience
from emailsync.providers.stored_settings import StoredSettings

MAX_USERNAME_CHARS: Final = 320
AUDIENCES: Final = {"google": Audience.GOOGLE_IMAP, "microsoft": Audience.OUTLOOK_IMAP}


class Security(StrEnum):
    """How the connection is protected; the values are those of an account's settings."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


class ImapAccountSettings(StoredSettings):
    """`provider_configs.settings` of an IMAP account."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(ge=1, le=65_535)
    security: Security
    username: str = Field(min_length=1, max_length=MAX_USERNAME_CHARS)
    oauth: Literal["google", "microsoft"] | None = None  #: who issues its tokens; None: a password
    auth: str | None = None  #: this and the next two: how it comes to them, see SignIn
    permission: str | None = None
    tenant: str | None = None
