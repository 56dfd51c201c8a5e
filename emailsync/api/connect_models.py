"""What is sent and answered when a mailbox is connected in a browser."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, Field

from emailsync.api.endpoints import Anything, Sent
from emailsync.api.fields import NO_NUL, Address, TenantText
from emailsync.api.provider_models import Directory, Permission
from emailsync.api.return_to import MAX_CHARS

ReturnTo = Annotated[
    str,
    Field(
        max_length=MAX_CHARS,
        pattern=NO_NUL,
        description="Where the browser goes at the end: a path of http.public_url's host, or an "
        "address that http.return_to_allowed has. Without it a page tells the result.",
    ),
]


class ConnectOrder(Sent):
    """Whose mailbox is to be connected, and what for."""

    tenant_id: TenantText
    return_to: ReturnTo | None = None
    email_address: Annotated[
        Address | None, Field(description="The mailbox that is meant; no other one is accepted.")
    ] = None
    provider_id: Annotated[
        UUID | None, Field(description="The account that is to be connected again.")
    ] = None
    bind_browser: Annotated[
        bool,
        Field(
            description="The browser itself asks: only the one that has the answer's cookie "
            "finishes."
        ),
    ] = False


class MicrosoftConnectOrder(ConnectOrder):
    """The same at Microsoft, where an administrator may agree for a whole directory."""

    permission: Permission = "delegated"
    directory: Annotated[
        Directory | None, Field(description="Whose administrator is asked, by `application`.")
    ] = None


class ConnectStarted(BaseModel):
    """Where to send the browser."""

    connect_id: UUID  #: comes back with the browser: compare it with the one in its session
    consent_url: str
    expires_at: datetime


class CallbackQuery(Anything):
    """What an issuer sends back, whatever it adds (RFC 6749 section 4.1.2)."""

    state: str = ""
    code: str = Field(default="", repr=False)
    iss: str | None = None
    error: str = ""
    admin_consent: str = ""
    tenant: str = ""


class Failure(StrEnum):
    """Why a mailbox was not connected: the `reason` that the application is told."""

    ACCESS_DENIED = "access_denied"
    ACCOUNT_GONE = "account_gone"
    CODE_REFUSED = "code_refused"
    EXPIRED = "expired"
    MISCONFIGURED = "misconfigured"
    MISSING_SCOPE = "missing_scope"
    MIXED_UP = "mixed_up"
    NO_MAILBOX = "no_mailbox"
    OTHER_BROWSER = "other_browser"
    PROVIDER_REFUSED = "provider_refused"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    UNKNOWN_STATE = "unknown_state"
    WRONG_MAILBOX = "wrong_mailbox"


TOLD: Final = {
    Failure.ACCESS_DENIED: "You did not agree, so nothing was connected.",
    Failure.ACCOUNT_GONE: "The account was removed meanwhile, so nothing was connected.",
    Failure.CODE_REFUSED: "The provider did not accept the answer. Start again from the beginning.",
    Failure.EXPIRED: "This took too long. Start again from the beginning.",
    Failure.MISCONFIGURED: "This service is not set up for the provider. Tell its operator, whose "
    "log has the reason.",
    Failure.MISSING_SCOPE: "Reading mail was not allowed. Start again and leave every box ticked.",
    Failure.MIXED_UP: "The answer came from somebody else than was asked, so it was not used. "
    "Start again from the beginning.",
    Failure.NO_MAILBOX: "Whoever signed in has no mailbox at this provider.",
    Failure.OTHER_BROWSER: "Another browser began this. Start again in this one.",
    Failure.PROVIDER_REFUSED: "The provider refused. Start again from the beginning, or ask the "
    "administrator of your organisation.",
    Failure.PROVIDER_UNAVAILABLE: "The provider does not answer right now. Try again later.",
    Failure.UNKNOWN_STATE: "This page was used already, or took too long. Start again from the "
    "beginning.",
    Failure.WRONG_MAILBOX: "You signed in to another mailbox than the one that is meant. Start "
    "again and choose that one.",
}
