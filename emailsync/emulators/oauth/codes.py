"""Authorization codes at the token endpoints: each is good once, for whoever asked for it."""

import base64
import hashlib
import hmac
from collections.abc import Mapping

from emailsync.emulators.oauth.ledger import Code, OAuthLedger


def redeemed(ledger: OAuthLedger, issuer: str, form: Mapping[str, str]) -> Code | None:
    """Return what the form's code was given for; None: it is not good for this form.

    A code that somebody tried in vain is spent all the same (RFC 6749 section 4.1.3, RFC 7636
    section 4.6).
    """
    asked = ledger.redeem(form.get("code", ""))
    if asked is None:
        return None
    fits = (
        asked.issuer == issuer
        and asked.client_id == form.get("client_id")
        and asked.redirect_uri == form.get("redirect_uri")
        and hmac.compare_digest(asked.challenge, s256(form.get("code_verifier", "")))
    )
    return asked if fits else None


def s256(verifier: str) -> str:
    """Return the challenge of a verifier (RFC 7636 section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
