"""Who agreed to what, and every token that was given out: the issuers' side of the truth.

Plain Python for tests in the same process; `control.py` offers it to others.
"""

import json
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

GMAIL_READ_ONLY = "https://www.googleapis.com/auth/gmail.readonly"
GRAPH_MAIL_READ = "https://graph.microsoft.com/Mail.Read"


class Rotation(StrEnum):
    """What a refresh does to the refresh token."""

    NONE = "none"  #: it goes on and no other one comes: Google's way
    NEW = "new"  #: another one comes and the old one goes on: Microsoft's way
    ONE_TIME = "one_time"  #: another one comes and the old one is dead (RFC 9700 section 4.14)


@dataclass(slots=True)
class Client:
    """A registered application."""

    secret: str | None
    unauthorised: bool = False  #: answered by unauthorized_client
    redirect_uris: Collection[str] | None = None  #: that are registered; None: whatever is asked


@dataclass(slots=True)
class User:
    """A mailbox's owner who agreed, and what the issuer has to say about it meanwhile."""

    address: str
    scopes: frozenset[str]
    error: Mapping[str, object] | None = None  #: answered to each refresh, such as invalid_rapt


@dataclass(slots=True)
class ServiceAccount:
    """An account of a program, with domain-wide delegation."""

    key: rsa.RSAPrivateKey
    scopes: frozenset[str]  #: that the domain's administrator authorised it for


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token was issued for."""

    address: str
    client_id: str


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What an access token opens, and until when by the ledger's clock."""

    address: str
    expires_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What an authorization code was given for (RFC 6749 section 4.1.2, RFC 7636 section 4.4)."""

    issuer: str
    address: str
    client_id: str
    redirect_uri: str
    challenge: str  #: of the method S256
    scopes: frozenset[str]
    expires_at_s: float


@dataclass(slots=True)
class OAuthLedger:
    """Everything the emulated issuers know."""

    rotation: Rotation = Rotation.NONE
    access_token_life_s: float = 3_599
    code_life_s: float = 60
    answers_as: str | None = None  #: `iss` of answers to the browser; None: as the issuer does
    clock: Callable[[], float] = time.time
    clients: dict[str, Client] = field(default_factory=dict)
    people: set[str] = field(default_factory=set)  #: who may sign in, and agreed to nothing yet
    users: dict[str, User] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    directories: set[str] = field(default_factory=set)  #: Microsoft's, that admitted the client
    service_accounts: dict[str, ServiceAccount] = field(default_factory=dict)
    refresh_tokens: dict[str, RefreshToken] = field(default_factory=dict)
    access_tokens: dict[str, AccessToken] = field(default_factory=dict)
    granted: Counter[str] = field(default_factory=Counter)  #: access tokens given out, by address
    refused: Counter[str] = field(default_factory=Counter)  #: answers without a token, by error

    def add_client(self, client_id: str, secret: str | None) -> None:
        """Register an application."""
        self.clients[client_id] = Client(secret)

    def add_user(
        self,
        address: str,
        *,
        client_id: str,
        scopes: Collection[str] = (GMAIL_READ_ONLY, GRAPH_MAIL_READ),
        refresh_token: str | None = None,
    ) -> str:
        """Let a mailbox's owner agree; return the refresh token."""
        self.users[address] = User(address, frozenset(scopes))
        token = refresh_token or f"1//{secrets.token_urlsafe(48)}"
        self.refresh_tokens[token] = RefreshToken(address, client_id)
        return token

    def agree(self, asked: Code) -> str:
        """Let somebody agree in the browser; return the code, good for once."""
        code = f"4/{secrets.token_urlsafe(32)}"
        self.codes[code] = asked
        return code

    def redeem(self, code: str) -> Code | None:
        """Return what a code was given for, this once; None: it is not good (any more)."""
        asked = self.codes.pop(code, None)
        return asked if asked is not None and self.clock() < asked.expires_at_s else None

    def add_service_account(self, email: str, scopes: Collection[str]) -> str:
        """Make a service account; return its key as Google's console gives it, in JSON."""
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self.service_accounts[email] = ServiceAccount(key, frozenset(scopes))
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return json.dumps(
            {
                "type": "service_account",
                "client_email": email,
                "private_key_id": "1",
                "private_key": pem.decode("ascii"),
                "token_uri": "https://oauth2.googleapis.com/token",
            }
        )

    def revoke(self, address: str) -> None:
        """Let the owner take back what was agreed: every token of the mailbox is dead."""
        for token in self.refresh_tokens_of(address):
            del self.refresh_tokens[token]
        self.expire_access_tokens(address)

    def expire_access_tokens(self, address: str | None = None) -> None:
        """Let the access tokens of a mailbox, or with None all, open nothing any more."""
        for token, access in list(self.access_tokens.items()):
            if address in (None, access.address):
                del self.access_tokens[token]

    def refresh_tokens_of(self, address: str) -> Sequence[str]:
        """Return the refresh tokens of a mailbox that live, oldest first."""
        return [token for token, each in self.refresh_tokens.items() if each.address == address]

    def issue(self, address: str) -> str:
        """Give out an access token."""
        now_s = self.clock()
        self._forget_expired(now_s)
        self.granted[address] += 1
        token = f"ya29.{secrets.token_urlsafe(48)}"
        self.access_tokens[token] = AccessToken(address, now_s + self.access_token_life_s)
        return token

    def accept(self, access_token: str, address: str) -> None:
        """Let a token open a mailbox for ever, as if it had been given out."""
        self.access_tokens[access_token] = AccessToken(address, math.inf)

    def rotate(self, refresh_token: str) -> str | None:
        """Do to a refresh token what a refresh does; return the new one, if one comes."""
        if self.rotation is Rotation.NONE:
            return None
        issued_for = self.refresh_tokens[refresh_token]
        if self.rotation is Rotation.ONE_TIME:
            del self.refresh_tokens[refresh_token]
        fresh = f"1//{secrets.token_urlsafe(48)}"
        self.refresh_tokens[fresh] = issued_for
        return fresh

    def mailbox_of(self, token: str) -> str | None:
        """Return the address that an access token opens now; see `TokenAuthority`."""
        access = self.access_tokens.get(token)
        if access is None or access.expires_at_s <= self.clock():
            return None
        return access.address

    def _forget_expired(self, now_s: float) -> None:
        """Look at the two oldest for each new one: more are forgotten than come."""
        for token in list(self.access_tokens)[:2]:
            if self.access_tokens[token].expires_at_s <= now_s:
                del self.access_tokens[token]
