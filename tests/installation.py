"""A configured `emailsyncd`: its settings file, its key, its database, and the command.

All that a test of the whole product needs to know; it talks to the product by the command only,
and looks at the result by SQL as an application would.
"""

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from daemon import COMMAND, Daemon, running_daemon
from dovecot import DovecotServer
from dovecot_mailbox import DovecotMailbox, Snapshot, StoredMessage
from servers import LOOPBACK, free_port

COMMAND_TIMEOUT_S = 110.0  #: below the time that a test has

STORED = """
SELECT folders.path, message_folders.uid, encode(messages.raw_sha256, 'hex') AS sha256,
       is_read, is_starred, is_answered, is_draft, keywords
FROM provider_configs
JOIN folders ON (folders.tenant_id, folders.provider_id)
              = (provider_configs.tenant_id, provider_configs.id)
LEFT JOIN (message_folders JOIN messages ON (messages.tenant_id, messages.id)
                                          = (message_folders.tenant_id, message_folders.message_id)
                                        AND messages.deleted_at IS NULL)
       ON (message_folders.tenant_id, message_folders.folder_id) = (folders.tenant_id, folders.id)
WHERE provider_configs.email_address = $1
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """One operator's `emailsyncd` on one database."""

    folder: Path
    database_url: str
    settings: Mapping[str, Any]  #: what every test needs

    @property
    def settings_file(self) -> Path:
        """The TOML file that all commands use."""
        return self.folder / "config.toml"

    def configure(self, changes: Mapping[str, Any] | None = None) -> None:
        """Write the settings file: what every test needs, with `changes` on top."""
        self.settings_file.write_text(toml(_merged(self.settings, changes or {})))

    @property
    def http_url(self) -> str:
        """Where the daemon's pages are."""
        return f"http://{self.settings['http']['listen']}"

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `emailsyncd --config F` with these words to its end, whatever that is."""
        return subprocess.run(
            [COMMAND, "--config", self.settings_file, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def add_account(
        self, mailbox: DovecotMailbox, *, tenant: str = "acme", words: tuple[str, ...] = ()
    ) -> None:
        """Add the mailbox as an account of a tenant; its user name is its address."""
        done = self.run(
            *("account", "add", "--tenant", tenant, "--type", "imap", "--email", mailbox.user),
            *("--host", mailbox.host, "--port", str(mailbox.port), "--security", "none"),
            *("--username", mailbox.user, "--password-stdin", *words),
            stdin=f"{mailbox.password}\n",
        )
        assert done.returncode == 0, done.stderr

    def daemon(
        self, environ: Mapping[str, str] | None = None, launcher: Sequence[str] = ()
    ) -> AbstractAsyncContextManager[Daemon]:
        """Return the running daemon as a context."""
        return running_daemon(
            self.settings_file, folder=self.folder, environ=environ, launcher=launcher
        )

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        """Return the rows that an application would see."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    async def stored(self, email_address: str) -> Snapshot:
        """Return what is stored of an account, in the form of `DovecotMailbox.snapshot`."""
        snapshot: Snapshot = {}
        for row in await self.fetch(STORED, email_address):
            folder = snapshot.setdefault(row["path"], {})
            if row["uid"] is not None:
                folder[row["uid"]] = StoredMessage(row["sha256"], _flags(row))
        return dict(sorted(snapshot.items()))


def new_installation(folder: Path, database_url: str, server: DovecotServer) -> Installation:
    """Write a key and a settings file into `folder`; `server` may be synced from."""
    key_file = folder / "keys"
    key_file.touch(mode=0o600)
    key_file.write_text(f"test:{base64.b64encode(bytes(range(32))).decode()}\n")
    settings = {
        "email_sync": {"state_dir": str(folder / "state")},
        "database": {"url": database_url},
        "http": {"listen": f"{LOOPBACK}:{free_port()}"},
        "credentials": {"key_file": str(key_file)},
        "imap": {
            "allow_private_hosts": True,
            "allowed_ports": [server.port, server.tls_port],
            "ca_file": str(server.ca_file),
        },
        "logging": {"format": "json"},
    }
    installation = Installation(folder, database_url, settings)
    installation.configure()
    return installation


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both_tables = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both_tables else value
    return merged


def toml(table: Mapping[str, Any], path: str = "") -> str:
    """Return a table as TOML; its strings, numbers, booleans and arrays are spelled as in JSON."""
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"[{path}]"] if path and values else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    tables = [
        toml(value, f"{path}.{key}" if path else key)
        for key, value in table.items()
        if isinstance(value, Mapping)
    ]
    return "\n".join([*lines, *tables]) + "\n"


def _flags(row: asyncpg.Record) -> frozenset[str]:
    names = {
        "\\Seen": "is_read",
        "\\Flagged": "is_starred",
        "\\Answered": "is_answered",
        "\\Draft": "is_draft",
    }
    return frozenset(flag for flag, column in names.items() if row[column]).union(row["keywords"])
