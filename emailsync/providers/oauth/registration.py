"""Our registration at the issuers: client id, secret, service account, as the settings name them.

What is missing is the operator's to add, and no account's fault. Files are read when they are
needed, so that a new secret works without a restart.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from emailsync.config import OAuthClientSettings, OAuthSettings
from emailsync.crypto import Secret, SecretFileError, read_secret_file
from emailsync.domain.errors import OperatorMustAct
from emailsync.providers.oauth.classifier import Grant, Issuer


def client_id(settings: OAuthSettings, issuer: Issuer) -> str:
    """Return the client's id.

    Raises:
        OperatorMustAct: the settings lack it.
    """
    given = _section(settings, issuer).client_id
    if not given:
        raise OperatorMustAct(f"oauth.{issuer}.client_id is missing in the settings")
    return given


def client_secret(settings: OAuthSettings, issuer: Issuer) -> Secret:
    """Return the client's secret.

    Raises:
        OperatorMustAct: the settings lack it, or its file cannot be used.
    """
    return _secret_of(_section(settings, issuer).client_secret_file, issuer, "client_secret_file")


def service_account(settings: OAuthSettings) -> Secret:
    """Return the JSON key of Google's service account.

    Raises:
        OperatorMustAct: the settings lack it, or its file cannot be used.
    """
    return _secret_of(settings.google.service_account_file, Issuer.GOOGLE, "service_account_file")


def problems(settings: OAuthSettings, issuer: Issuer, grant: Grant) -> Sequence[str]:
    """Return what is missing or unusable for such tokens, each named by its key."""
    needs: Sequence[Callable[[], object]]
    if (issuer, grant) == (Issuer.GOOGLE, Grant.APPLICATION):
        needs = (lambda: service_account(settings),)
    else:
        needs = (lambda: client_id(settings, issuer), lambda: client_secret(settings, issuer))
    return [problem for problem in map(_problem, needs) if problem]


def _problem(need: Callable[[], object]) -> str | None:
    try:
        need()
    except OperatorMustAct as error:
        return str(error)
    return None


def _section(settings: OAuthSettings, issuer: Issuer) -> OAuthClientSettings:
    return settings.google if issuer is Issuer.GOOGLE else settings.microsoft


def _secret_of(file: Path | None, issuer: Issuer, key: str) -> Secret:
    if file is None:
        raise OperatorMustAct(f"oauth.{issuer}.{key} is missing in the settings")
    try:
        text = read_secret_file(file).strip()
    except SecretFileError as error:
        raise OperatorMustAct(f"oauth.{issuer}.{key}: {error}") from error
    if not text:
        raise OperatorMustAct(f"oauth.{issuer}.{key}: {file} is empty")
    return Secret(text)
