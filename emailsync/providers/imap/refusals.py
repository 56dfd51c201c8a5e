"""What a refusal means: NO, BAD, BYE and the errors of a connection -> a `SyncError`.

The rules are a table, first match wins. Response codes (RFC 5530) come before texts: a code is the
server's word, a text is what somebody has seen. Sources of texts stand beside them.
"""

import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final

from emailsync.domain.errors import (
    AuthRefused,
    AuthUnproven,
    FolderGone,
    Misconfigured,
    ServerRefused,
    SyncError,
    Throttled,
    Unreachable,
)
from emailsync.providers.imap.answers import Condition

MAX_READ_CHARS: Final = 1_000
"""Of a server's text; RFC 9051 has lines of some hundred. Patterns with `.*` in them take quadratic
time, and a text of 64 kB that was made for it would hold up the event loop for ten seconds."""
MAX_QUOTED_CHARS: Final = 200  #: of a server's text in an error message
TOO_MANY_CONNECTIONS: Final = timedelta(minutes=5)  #: others' connections have to end first
OVER_QUOTA: Final = timedelta(hours=1)  #: a rolling window of a day; asking hourly is no hammering
LONGEST_WAIT: Final = timedelta(hours=1)

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]+")


class Phase(Enum):
    """What was being asked when the refusal came."""

    LOGIN = auto()
    FOLDER = auto()  #: a command that names a folder
    WORK = auto()  #: anything else


Make = Callable[[str], SyncError]


@dataclass(frozen=True, slots=True)
class Rule:
    """If the code or a piece of the text fits, in this phase, the refusal means `make`."""

    make: Make
    codes: frozenset[str] = frozenset()
    text: re.Pattern[str] | None = None
    phase: Phase | None = None  #: None: whenever

    def fits(self, condition: Condition, phase: Phase) -> bool:
        """Return whether the rule speaks of this refusal."""
        if self.phase is not None and self.phase is not phase:
            return False
        if condition.code is not None and condition.code.name in self.codes:
            return True
        return self.text is not None and self.text.search(condition.text) is not None


def _by_code(make: Make, *codes: str, phase: Phase | None = None) -> Rule:
    return Rule(make, codes=frozenset(codes), phase=phase)


def _by_text(make: Make, pattern: str, *, phase: Phase | None = None) -> Rule:
    return Rule(make, text=re.compile(pattern, re.IGNORECASE), phase=phase)


def _after(wait: timedelta) -> Make:
    return lambda message: Throttled(message, retry_after=wait)


def _as_suggested(message: str) -> SyncError:
    found = re.search(r"backoff time:? *(\d{1,12})", message, re.IGNORECASE)
    asked = timedelta(milliseconds=int(found[1])) if found else None
    return Throttled(message, retry_after=min(asked, LONGEST_WAIT) if asked else None)


RULES: Final = (
    # Texts that say more than the code beside them.
    _by_text(_as_suggested, r"request is throttled|suggested backoff"),  # Exchange Online
    _by_text(
        _after(TOO_MANY_CONNECTIONS),
        r"too many (?:simultaneous |concurrent |open )*(?:connections|sessions)"  # Gmail, Zoho
        r"|maximum number of (?:simultaneous )?connections"  # Dovecot mail_max_userip_connections
        r"|connection limit|too many logins",
    ),
    # RFC 5530 and the codes of RFC 9051; THROTTLED is Gmail's own.
    _by_code(Throttled, "THROTTLED"),
    _by_code(Throttled, "LIMIT"),
    _by_code(_after(OVER_QUOTA), "OVERQUOTA"),
    _by_code(AuthRefused, "AUTHENTICATIONFAILED", "EXPIRED", "AUTHORIZATIONFAILED"),
    _by_code(Misconfigured, "PRIVACYREQUIRED"),
    _by_code(Unreachable, "UNAVAILABLE", phase=Phase.LOGIN),
    _by_code(FolderGone, "NONEXISTENT", "TRYCREATE", phase=Phase.FOLDER),
    _by_code(AuthUnproven, "CONTACTADMIN", "NOPERM", phase=Phase.LOGIN),
    _by_code(
        ServerRefused,
        *("UNAVAILABLE", "INUSE", "SERVERBUG", "CLIENTBUG", "CORRUPTION", "CANNOT", "NOPERM"),
        *("CONTACTADMIN", "EXPUNGEISSUED", "NONEXISTENT", "TRYCREATE", "BADCHARSET"),
    ),
    # Texts without a code of their own.
    _by_text(_after(OVER_QUOTA), r"bandwidth limit|exceeded command or bandwidth"),  # Gmail
    _by_text(Throttled, r"rate ?limit|try again (?:later|in)|throttl|too many (?:requests|failed)"),
    _by_text(ServerRefused, r"authenticated but not connected"),  # Exchange: too frequent logins
    _by_text(
        Unreachable,
        r"server unavailable|temporar|internal (?:server )?error|service (?:is )?not available"
        r"|system (?:is )?busy,? try|backend|shutting down|maintenance|timed? ?out",
    ),
    _by_text(
        AuthRefused,
        r"application-specific password|web ?login required|log ?in via your web browser"  # Gmail
        r"|not enabled for imap|imap (?:access )?is disabled|basic authentication is disabled",
        phase=Phase.LOGIN,
    ),
    _by_text(
        Misconfigured,
        r"(?:plaintext|cleartext) (?:authentication|login)s? (?:is |are )?(?:disallowed|disabled)",
        phase=Phase.LOGIN,
    ),
    _by_text(
        FolderGone,
        r"(?:mailbox|folder).*(?:do(?:es)?n'?t exist|does not exist|not found|not exist)"
        r"|unknown mailbox|no such (?:mailbox|folder)|doesn't exist\.?$|could not be found",
        phase=Phase.FOLDER,
    ),
)


def refusal(condition: Condition, phase: Phase) -> SyncError:
    """Return what a NO, a BAD or a BYE means.

    A NO to a login that gives no reason proves nothing; a BAD blames our command, not the
    credentials; a BYE is the server's own affair unless it names one of the causes above.
    """
    condition = condition._replace(text=condition.text[:MAX_READ_CHARS])
    message = _told(condition)
    for rule in RULES:
        if rule.fits(condition, phase):
            return rule.make(message)
    if condition.status == "BYE":
        return Unreachable(message)
    if condition.status == "NO" and phase is Phase.LOGIN:
        return AuthUnproven(message)
    return ServerRefused(message)


def _told(condition: Condition) -> str:
    code = f"[{condition.code.name[:MAX_QUOTED_CHARS]}] " if condition.code else ""
    said = f"{condition.status} {code}{condition.text}"
    return f"the server answered: {_UNPRINTABLE.sub('?', said)[:MAX_QUOTED_CHARS].strip()}"


# Certificates that no waiting repairs: the account names another server than it reaches, or the
# server's authority is nobody's. X509_V_ERR_* of openssl/x509_vfy.h. An expired or not yet valid
# certificate is the provider's mishap of a day: retried, under the endpoint's circuit.
_HOPELESS_CERTIFICATE: Final = {
    18: "it is self-signed",
    19: "its authority is self-signed and not known here",
    20: "its authority is not known here",
    21: "its chain is incomplete",
    62: "it is for another host name",
    64: "it is for another address",
}
_HOPELESS_TLS: Final = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")


def connection_error(error: OSError, server: str) -> SyncError:
    """Return what a failed connection means.

    Refused, reset, silent and unroutable are one text, so that it tells nothing about a network.

    Args:
        error: of connecting, of the TLS handshake, or `TimeoutError`.
        server: host and port, for the message.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _HOPELESS_CERTIFICATE.get(error.verify_code)
        if reason is None:
            return Unreachable(f"the certificate of {server} is not valid now")
        return Misconfigured(
            f"the certificate of {server} cannot be trusted: {reason}; correct the host name, or"
            " have the operator add the authority to imap.ca_file"
        )
    if isinstance(error, ssl.SSLError):
        if error.reason in _HOPELESS_TLS:
            return Misconfigured(f"{server} speaks no TLS of version 1.2 or later")
        return Unreachable(f"{server} does not speak TLS as expected on this port")
    if isinstance(error, socket.gaierror):
        return Unreachable(f"{server} could not be resolved")
    return Unreachable(f"{server} could not be reached")
