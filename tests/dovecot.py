"""A private Dovecot, the real server that the tests sync from.

Every user exists and has the password `PASSWORD`, but for two kinds that show by their name. What
happens inside a mailbox is the matter of `dovecot_mailbox.py`.
"""

import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import trustme

from dovecot_mailbox import DovecotMailbox
from servers import (
    LOOPBACK,
    POLL_S,
    START_TIMEOUT_S,
    OrdinaryUser,
    ServerFailedError,
    accepts_connections,
    folder_of,
    free_port,
    ordinary_user,
    running,
)

PASSWORD = "secret"
DENIED_PREFIX = "denied"  #: these users are answered NO [AUTHENTICATIONFAILED] to any password
UNAVAILABLE_PREFIX = "unavailable"  #: these NO [UNAVAILABLE]: the server cannot tell

#: The same mailboxes behind three addresses, which differ in what the server admits to know.
CONDSTORE_HOST = "127.0.0.2"  #: CONDSTORE, no QRESYNC
PLAIN_HOST = "127.0.0.3"  #: neither, and no LIST-STATUS, SPECIAL-USE, MOVE or ESEARCH

CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap
listen = {host}, {condstore_host}, {plain_host}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}

# TLS when the client asks; passwords in the clear are welcome on loopback.
ssl = yes
ssl_cert = <{folder}/server.pem
ssl_key = <{folder}/server.pem
disable_plaintext_auth = no
auth_mechanisms = plain login

# A refused password answers at once instead of after two seconds, however often it is tried.
auth_failure_delay = 0
auth_verbose = yes
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
passdb {{
  driver = static
  args = nopassword=yes
  username_filter = {denied_prefix}*
  deny = yes
}}
passdb {{
  driver = static
  args = password={{PLAIN}}{password}
  username_filter = !{unavailable_prefix}*
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u allow_all_users=yes
}}

first_valid_uid = 1
mail_location = mdbox:~/mdbox
mail_fsync = never
mdbox_rotate_size = 64M
mail_max_userip_connections = 1000

namespace inbox {{
  inbox = yes
  separator = /
  mailbox Archive {{
    auto = create
    special_use = \\Archive
  }}
  mailbox Drafts {{
    auto = create
    special_use = \\Drafts
  }}
  mailbox Junk {{
    auto = create
    special_use = \\Junk
  }}
  mailbox Sent {{
    auto = create
    special_use = \\Sent
  }}
  mailbox Trash {{
    auto = create
    special_use = \\Trash
  }}
}}

local {condstore_host} {{
  imap_capability = IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE UIDPLUS MOVE ESEARCH \\
    LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE
}}
local {plain_host} {{
  imap_capability = IMAP4rev1 LITERAL+ UIDPLUS NAMESPACE
}}

# Processes that serve many logins: without a fork for each.
service imap-login {{
  chroot =
  service_count = 0
  client_limit = 1000
  process_min_avail = 1
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service auth {{
  client_limit = 5000
}}
service imap {{
  service_count = 1000
  process_limit = 1000
  process_min_avail = 2
}}
service stats {{
  chroot =
}}
"""


XOAUTH2 = """
auth_mechanisms = plain login xoauth2
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {settings}
}}
"""
XOAUTH2_SETTINGS = """
tokeninfo_url = {tokeninfo_url}
username_attribute = email
"""


@dataclass(frozen=True, slots=True)
class DovecotServer:
    """A running Dovecot. `port` speaks plain text and STARTTLS, `tls_port` TLS at once."""

    port: int
    tls_port: int
    ca_file: Path  #: what a client must trust to accept the server's certificate
    log: Path
    host: str = LOOPBACK
    condstore_host: str = CONDSTORE_HOST
    plain_host: str = PLAIN_HOST

    def mailbox(self, user: str) -> DovecotMailbox:
        """Return the mailbox of a user, who exists from the first login on."""
        return DovecotMailbox(self.host, self.port, user, PASSWORD)

    def login_attempts(self, user: str) -> int:
        """Return how often this user has logged in, or was refused and has hung up since."""
        self._await_log()
        line = f"imap-login: Info: .*: user=<{re.escape(user)}>, method="
        return len(re.findall(line, self.log.read_text()))

    def _await_log(self) -> None:
        """Return when the log tells all that has happened: Dovecot writes it in order, but late."""
        probe = f"probe-{uuid4()}"
        self.mailbox(probe).folders()
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while f"Login: user=<{probe}>" not in self.log.read_text():
            if time.monotonic() > give_up_at:
                raise ServerFailedError("Dovecot does not log its logins")
            time.sleep(POLL_S)


@contextmanager
def running_dovecot(tokeninfo_url: str | None = None) -> Iterator[DovecotServer]:
    """Run a Dovecot with no mailboxes in a folder of its own.

    Args:
        tokeninfo_url: where it asks whose an access token is, to which a token is appended; it then
            offers XOAUTH2. None: passwords only.
    """
    program = _find_program()
    user = ordinary_user()
    with folder_of(user) as folder:
        port, tls_port = free_port(), free_port()
        log = folder / "dovecot.log"
        ca_file = _issue_certificate(folder)
        configuration = _write_configuration(folder, user, port=port, tls_port=tls_port)
        if tokeninfo_url is not None:
            _offer_xoauth2(configuration, tokeninfo_url)
        with running(
            user.command([program, "-F", "-c", configuration], on_parent_death=signal.SIGTERM),
            cwd=folder,
            log=log,
            ready=lambda: accepts_connections(port) and accepts_connections(tls_port),
            stop_signal=signal.SIGTERM,
        ):
            yield DovecotServer(port, tls_port, ca_file, log)


def _find_program() -> str:
    # Debian keeps it where an ordinary user's PATH does not look.
    program = shutil.which("dovecot") or shutil.which("dovecot", path="/usr/sbin")
    if program is None:
        raise ServerFailedError("Dovecot is missing: apt-get install dovecot-imapd")
    return program


def _issue_certificate(folder: Path) -> Path:
    """Write the server's certificate with its key, and the authority's; return the latter."""
    authority = trustme.CA()
    authority.issue_cert(LOOPBACK, "localhost").private_key_and_cert_chain_pem.write_to_path(
        folder / "server.pem"
    )
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    return ca_file


def _write_configuration(folder: Path, user: OrdinaryUser, *, port: int, tls_port: int) -> Path:
    path = folder / "dovecot.conf"
    path.write_text(
        CONFIGURATION.format(
            folder=folder,
            host=LOOPBACK,
            condstore_host=CONDSTORE_HOST,
            plain_host=PLAIN_HOST,
            user=user.name,
            group=user.group,
            uid=user.uid,
            gid=user.gid,
            password=PASSWORD,
            denied_prefix=DENIED_PREFIX,
            unavailable_prefix=UNAVAILABLE_PREFIX,
            port=port,
            tls_port=tls_port,
        )
    )
    return path


def _offer_xoauth2(configuration: Path, tokeninfo_url: str) -> None:
    settings = configuration.with_name("oauth2.conf")
    settings.write_text(XOAUTH2_SETTINGS.format(tokeninfo_url=tokeninfo_url))
    with configuration.open("a") as file:
        file.write(XOAUTH2.format(settings=settings))
