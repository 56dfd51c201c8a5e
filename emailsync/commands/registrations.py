"""Whether the settings let the accounts that live on OAuth tokens have any."""

from collections.abc import Sequence

from emailsync.commands.findings import Finding, Verdict
from emailsync.config import OAuthSettings
from emailsync.providers.oauth.classifier import Grant, Issuer
from emailsync.providers.oauth.registration import problems
from emailsync.store.overview import RegistrationUse


def registration_findings(
    settings: OAuthSettings, uses: Sequence[RegistrationUse]
) -> Sequence[Finding]:
    """Return one finding a registration that accounts need: missing, refused, or well."""
    return [_finding(settings, use) for use in uses]


def _finding(settings: OAuthSettings, use: RegistrationUse) -> Finding:
    name = f"oauth.{use.issuer}"
    grant = Grant.APPLICATION if use.by_application else Grant.USER
    accounts = f"{use.accounts} account{'s' * (use.accounts != 1)}"
    if missing := problems(settings, Issuer(use.issuer), grant):
        return Finding(name, Verdict.FAILED, f"{accounts} cannot sync: {'; '.join(missing)}")
    if use.waiting:
        return Finding(name, Verdict.FAILED, f"{use.waiting} of {accounts} wait: {use.problem}")
    return Finding(name, Verdict.OK, f"registered, for {accounts}")
