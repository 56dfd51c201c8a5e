"""A local IMAP server with any number of users: pymap on its in-memory backend.

Mail is put in and changed from inside; clients see it over the wire only. The ledger says what lies
there, so that a client's result can be held against it.
"""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.dict import Config, Identity, Login
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxData, MailboxSet
from pymap.flags import FlagOp
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials.flag import Answered, Draft, Flag, Flagged, Seen
from pymap.user import UserMetadata
from pysasl.hashing import Cleartext

from emailsync.domain.mail import Flags
from emailsync.emulators.mail_generator import GeneratedMail

LOOPBACK = "127.0.0.1"
INBOX = "INBOX"
LATEST_CUT_S = 0.05  #: after a connection began; a sync without news takes as long


@dataclass(frozen=True, slots=True)
class Placement:
    """One message in one folder."""

    folder: str
    uid: int


@dataclass(slots=True)
class _Mailbox:
    folders: MailboxSet
    ledger: list[Placement] = field(default_factory=list)


class LocalImapServer:
    """Users, their mail, and the port to read it from."""

    def __init__(self) -> None:
        self.cut_share = 0.0  #: of the connections, which are reset at some moment; any time
        self._random = Random(1)  # repeatable
        self._config = Config(
            Namespace(passlib_cfg=None, proxy_protocol=None),
            host=LOOPBACK,
            port=0,
            tls_enabled=False,
            hash_context=Cleartext(),  # a slow hash would be all that a login costs
            demo_data=False,
            demo_user="",
            demo_password="",
        )
        self._config.apply_context()
        self._login = Login(self._config)
        self._mailboxes: dict[str, _Mailbox] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Serve clients while the context lasts; yield the port."""
        connected = IMAPServer(self._login, self._config)
        callback = ProxyProtocolReader(self._config.proxy_protocol).get_callback(connected)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self._random.random() < self.cut_share:
                wait_s = self._random.uniform(0, LATEST_CUT_S)
                asyncio.get_running_loop().call_later(wait_s, writer.transport.abort)
            await callback(reader, writer)

        async with await asyncio.start_server(serve, LOOPBACK, 0) as server:
            yield server.sockets[0].getsockname()[1]

    async def add_user(self, name: str, password: str, folders: Sequence[str]) -> None:
        """Make a user with an empty INBOX and these folders."""
        identity = Identity(name, self._login, None, frozenset())
        await identity.set(UserMetadata(self._config, name, password=password))
        mailbox = _Mailbox(MailboxSet())
        for folder in folders:
            await mailbox.folders.add_mailbox(folder)
        self._config.set_cache[name] = (mailbox.folders, FilterSet())
        self._mailboxes[name] = mailbox

    def ledger(self, user: str) -> Sequence[Placement]:
        """Return what lies in the user's folders now, in order of arrival."""
        return self._mailboxes[user].ledger

    async def deliver(self, user: str, folder: str, mail: GeneratedMail) -> None:
        """Put a message into a folder."""
        data = await self._folder(user, folder)
        message = await data.append(AppendMessage(mail.raw, mail.sent_at, _imap(mail.flags)))
        self._mailboxes[user].ledger.append(Placement(folder, message.uid))

    async def mark_read(self, user: str, placement: Placement) -> None:
        r"""Set \Seen."""
        data = await self._folder(user, placement.folder)
        async for message in data.messages():
            if message.uid == placement.uid:
                await data.update(placement.uid, message, frozenset({Seen}), FlagOp.ADD)
                return

    async def move(self, user: str, placement: Placement, folder: str) -> None:
        """Move a message to another folder, where it gets a new UID."""
        ledger = self._mailboxes[user].ledger
        source = await self._folder(user, placement.folder)
        uid = await source.move(placement.uid, await self._folder(user, folder))
        ledger.remove(placement)
        if uid is not None:
            ledger.append(Placement(folder, uid))

    async def expunge(self, user: str, placement: Placement) -> None:
        """Remove a message for good."""
        await (await self._folder(user, placement.folder)).delete([placement.uid])
        self._mailboxes[user].ledger.remove(placement)

    async def _folder(self, user: str, folder: str) -> MailboxData:
        return await self._mailboxes[user].folders.get_mailbox(folder)


def _imap(flags: Flags) -> frozenset[Flag]:
    """Return the system flags (RFC 9051 section 2.3.2); keywords are left out."""
    states = {
        Seen: flags.is_read,
        Flagged: flags.is_starred,
        Answered: flags.is_answered,
        Draft: flags.is_draft,
    }
    return frozenset(flag for flag, is_set in states.items() if is_set)
