"""Accounts at Gmail and Graph, as an operator adds, loses and gets them back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emailsync.emulators.oauth.ledger import GMAIL_READ_ONLY
from installation import Installation
from oauth_rig import CLIENT_ID, CLIENT_SECRET, SERVICE_ACCOUNT, oauth_settings
from provider_process import ProviderProcess, running_providers

ADDRESSES = [f"user{number}@example.test" for number in range(6)]
API = {"google": "gmail", "microsoft": "graph"}
MESSAGES = 3


def kind_of(address: str) -> str:
    return "google" if ADDRESSES.index(address) % 2 else "microsoft"


def of_kind(kind: str) -> Sequence[str]:
    return [address for address in ADDRESSES if kind_of(address) == kind]


def token_of(address: str) -> str:
    return f"1//refresh-token-of-{address.partition('@')[0]}"


def mailboxes(kind: str) -> Mapping[str, Any]:
    return {
        "mailboxes": [
            {"email": address, "messages": MESSAGES, "seed": ADDRESSES.index(address)}
            for address in of_kind(kind)
        ]
    }


ORDER = {
    "oauth": {
        "clients": {CLIENT_ID: CLIENT_SECRET},
        "users": [
            {"address": address, "client_id": CLIENT_ID, "refresh_token": token_of(address)}
            for address in ADDRESSES
        ],
        "rotation": "one_time",
        "directories": ["contoso.example"],
    },
    "gmail": mailboxes("google"),
    "graph": mailboxes("microsoft"),
}


@dataclass(frozen=True)
class Office:
    """An installation whose accounts live at the emulated providers."""

    installation: Installation
    providers: ProviderProcess
    folder: Path

    def configure(self) -> None:
        """Write the settings: our registration, and the hosts of both APIs."""
        registered = oauth_settings(self.providers.urls["oauth"], self.folder)
        oauth = json.loads(registered.model_dump_json(exclude_none=True))
        for kind, api in API.items():
            oauth[kind]["api_url"] = self.providers.urls[api]
        self.installation.configure({"oauth": oauth})

    def add(self, address: str, *words: str, token: str | None = None) -> Any:
        """Run `account add` for a mailbox."""
        return self.installation.run(
            *("account", "add", "--tenant", "acme", "--type", kind_of(address)),
            *("--email", address, "--refresh-token-stdin", *words),
            stdin=f"{token or token_of(address)}\n",
        )

    async def states(self) -> Mapping[str, str]:
        """Return the status of each account."""
        rows = await self.installation.fetch("SELECT email_address, status FROM provider_configs")
        return {row["email_address"]: row["status"] for row in rows}

    def findings(self) -> Mapping[str, str]:
        """Return what `check` says of our registrations."""
        found = json.loads(self.installation.run("check", "--json").stdout)
        return {
            each["name"]: f"{each['verdict']}: {each['detail']}"
            for each in found
            if each["name"].startswith("oauth")
        }


@pytest.fixture
def office(installation: Installation, tmp_path: Path) -> Iterator[Office]:
    with running_providers(ORDER) as providers:
        office = Office(installation, providers, tmp_path)
        office.configure()
        yield office


async def test_accounts_of_both_types_are_added_by_their_tokens_and_synced(office: Office) -> None:
    added = [office.add(address) for address in ADDRESSES]

    synced = office.installation.run("sync")

    assert [done.returncode for done in added] == [0] * len(ADDRESSES), added
    assert synced.returncode == 0, synced.stderr
    (stored,) = await office.installation.fetch(
        "SELECT count(*) FROM messages WHERE deleted_at IS NULL"
    )
    assert stored["count"] == len(ADDRESSES) * MESSAGES
    endpoints = await office.installation.fetch("SELECT DISTINCT endpoint FROM provider_configs")
    hosts = {office.providers.urls[api].removeprefix("http://") for api in API.values()}
    assert {row["endpoint"] for row in endpoints} == hosts
    assert set(office.findings()) == {"oauth.google", "oauth.microsoft"}
    assert all(each.startswith("ok") for each in office.findings().values())


async def test_an_organisations_mailboxes_are_opened_by_our_own_right(office: Office) -> None:
    key = office.providers.control(
        "oauth", "PUT", f"service-accounts/{SERVICE_ACCOUNT}", {"scopes": [GMAIL_READ_ONLY]}
    )
    (office.folder / "service-account").write_text(json.dumps(key))
    added = [
        office.installation.run(
            *("account", "add", "--tenant", "acme", "--type", kind, "--application"),
            *("--email", of_kind(kind)[0], *words),
        )
        for kind, words in (("google", ()), ("microsoft", ("--directory", "contoso.example")))
    ]

    synced = office.installation.run("sync")

    assert [done.returncode for done in added] == [0, 0], added
    assert synced.returncode == 0, synced.stderr
    (stored,) = await office.installation.fetch("SELECT count(*) FROM messages")
    assert stored["count"] == 2 * MESSAGES


async def test_a_revoked_consent_parks_its_own_account_until_a_new_token_comes(
    office: Office,
) -> None:
    for address in ADDRESSES:
        office.add(address)
    lost = of_kind("google")[0]
    office.providers.control("oauth", "POST", f"users/{lost}/revoke")

    synced = office.installation.run("sync")

    states = await office.states()
    assert synced.returncode == 3
    assert "connect it again" in synced.stdout + synced.stderr
    assert states == dict.fromkeys(ADDRESSES, "active") | {lost: "needs_reconnect"}
    agreed = office.providers.control("oauth", "PUT", f"users/{lost}", {"client_id": CLIENT_ID})
    resumed = office.installation.run(
        "account", "resume", lost, "--refresh-token-stdin", stdin=f"{agreed['refresh_token']}\n"
    )
    assert resumed.returncode == 0, resumed.stderr
    assert office.installation.run("sync", lost).returncode == 0
    assert set((await office.states()).values()) == {"active"}


async def test_a_wrong_client_secret_parks_nobody_and_is_told_to_the_operator(
    office: Office,
) -> None:
    for address in ADDRESSES:
        office.add(address, "--no-test")
    office.providers.control("oauth", "PUT", f"clients/{CLIENT_ID}", {"secret": "another"})

    synced = office.installation.run("sync")
    findings = office.findings()
    office.providers.control("oauth", "PUT", f"clients/{CLIENT_ID}", {"secret": CLIENT_SECRET})
    again = office.installation.run("sync")

    assert synced.returncode == 3
    for kind in API:
        assert findings[f"oauth.{kind}"].startswith("failed: 3 of 3 accounts wait")
        assert "invalid_client" in findings[f"oauth.{kind}"]
    assert again.returncode == 0, again.stderr
    assert set((await office.states()).values()) == {"active"}


def test_check_names_what_the_registration_of_existing_accounts_lacks(office: Office) -> None:
    nothing_needed = office.findings()
    for kind in API:
        office.add(of_kind(kind)[0], "--no-test")
    office.installation.configure(
        {"oauth": {"google": {"client_id": CLIENT_ID, "client_secret_file": "nowhere"}}}
    )

    findings = office.findings()

    assert nothing_needed == {}
    assert "oauth.google.client_secret_file" in findings["oauth.google"]
    assert "No such file" in findings["oauth.google"]
    assert "oauth.microsoft.client_id is missing" in findings["oauth.microsoft"]
    assert "oauth.microsoft.client_secret_file is missing" in findings["oauth.microsoft"]
    assert all(each.startswith("failed: 1 account cannot sync") for each in findings.values())


def test_a_token_that_opens_nothing_or_another_mailbox_is_refused_and_nothing_is_added(
    office: Office,
) -> None:
    mine, others = of_kind("google")[:2]

    refused = office.add(mine, token="1//stolen-and-canary")
    strangers = office.add(mine, token=token_of(others))

    assert (refused.returncode, strangers.returncode) == (1, 1)
    assert "nothing was added" in refused.stderr
    assert "canary" not in refused.stderr
    assert "another mailbox" in strangers.stderr
    assert json.loads(office.installation.run("account", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--type", "google", "--password-stdin"], "--refresh-token-stdin"),
        (["--type", "google", "--application", "--refresh-token-stdin"], "no secret"),
        (["--type", "google", "--directory", "contoso", "--refresh-token-stdin"], "Microsoft"),
        (["--type", "microsoft", "--application"], "tenant"),
        (["--type", "microsoft", "--oauth", "google", "--refresh-token-stdin"], "--oauth"),
        (["--type", "imap", "--host", "h", "--application"], "--oauth"),
        (["--type", "imap", "--host", "h", "--refresh-token-stdin"], "--password-stdin"),
        (["--type", "imap", "--oauth", "google", "--password-stdin"], "--refresh-token-stdin"),
        (["--type", "imap", "--oauth", "yahoo", "--password-stdin"], "google"),
        (["--type", "imap", "--password-stdin"], "--host"),
        (["--type", "imap", "--port", "993", "--password-stdin"], "--host"),
    ],
)
def test_words_that_do_not_go_together_are_wrong_usage(
    installation: Installation, words: list[str], says: str
) -> None:
    done = installation.run(
        "account", "add", "--tenant", "t", "--email", "a@example.test", *words, stdin="x\n"
    )

    assert done.returncode == 2
    assert says in done.stderr
