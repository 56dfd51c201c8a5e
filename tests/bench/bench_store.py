"""How many messages a second one connection stores: `python tests/bench/bench_store.py`.

Most messages are small and a tenth carry an attachment. Postgres is Debian's, with fsync.
"""

import argparse
import asyncio
import hashlib
import random
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from emailsync.config import LiveSettings, Settings
from emailsync.crypto import KeyRing
from emailsync.domain.accounts import AccountId, AccountKey, Lease, TenantId
from emailsync.domain.folders import FolderChanges, FolderCursor, FolderId, RemoteFolder
from emailsync.domain.mail import Address, Attachment, Flags, ParsedMessage
from emailsync.domain.pages import (
    FetchedMessage,
    PageChanges,
    Placement,
    ReadyMessage,
    ReadyPage,
    imap_remote_id,
)
from emailsync.store.database import open_database
from emailsync.store.mail import PostgresMailStore
from emailsync.store.migrations import migrate
from postgres import running_cluster

PAGE_BYTES = 8 * 1024 * 1024


def messages(count: int, folder: FolderId) -> Iterator[ReadyMessage]:
    """Mail of plain words with, in every tenth, a base64 part that does not compress."""
    chance = random.Random(26)
    words = [hashlib.sha256(str(number).encode()).hexdigest()[:7] for number in range(4_000)]
    noise = chance.randbytes(1_200_000).hex()
    for uid in range(1, count + 1):
        text = " ".join(chance.choices(words, k=int(chance.lognormvariate(6.2, 0.6))))
        heavy = chance.random() < 0.1
        start = chance.randrange(400_000)
        size = int(chance.lognormvariate(11.5, 1)) if heavy else 0
        part = noise[start : start + size]
        head = f"Subject: {text[:50]}\r\nMessage-ID: <{uid}@example.test>\r\n" + "X: y\r\n" * 30
        raw = f"{head}\r\n{text}\r\n{part}".encode()
        yield _message(folder, uid, raw=raw, text=text, part=part)


def _message(folder: FolderId, uid: int, *, raw: bytes, text: str, part: str) -> ReadyMessage:
    at = datetime.fromtimestamp(1_700_000_000 + uid, UTC)
    attachment = Attachment(
        position=0,
        filename="a.bin",
        content_type="application/octet-stream",
        size_bytes=len(part),
        content_id=None,
        is_inline=False,
        sha256=hashlib.sha256(part.encode()).digest(),
    )
    return ReadyMessage(
        fetched=FetchedMessage(
            remote_id=imap_remote_id(folder, 7, uid),
            placements=(Placement(folder, uid),),
            flags=Flags(is_read=uid % 2 == 0),
            received_at=at,
            size_bytes=len(raw),
            raw=raw,
            adopts=True,
        ),
        parsed=ParsedMessage(
            message_id=f"{uid}@example.test",
            thread_key=f"{uid}@example.test",
            subject=text[:50],
            from_=Address("A Sender", f"sender{uid % 300}@example.test"),
            to=(Address("", "me@example.test"),),
            sent_at=at,
            snippet=text[:200],
            body_text=text,
            headers={f"x-{number}": ["value"] for number in range(30)},
            attachments=(attachment,) if part else (),
        ),
        raw_sha256=hashlib.sha256(raw).digest(),
    )


def pages(mail: list[ReadyMessage], folder: FolderId) -> Iterator[ReadyPage]:
    """Cut as sessions cut: at most 100 messages or 8 MiB."""
    page: list[ReadyMessage] = []
    size = 0
    for message in mail:
        page.append(message)
        size += message.fetched.size_bytes
        if len(page) == 100 or size > PAGE_BYTES or message is mail[-1]:
            last = message.fetched.placements[0].uid or 0
            cursor = FolderCursor(uid_validity=7, uid_next=last + 1)
            yield ReadyPage(messages=page, changes=PageChanges(cursors={folder: cursor}))
            page, size = [], 0


async def measure(url: str, count: int) -> None:
    await migrate(url)
    setup = await asyncpg.connect(url)
    key = AccountKey(TenantId("t"), AccountId(uuid4()))
    await setup.execute("INSERT INTO tenants (id) VALUES ('t')")
    await setup.execute(
        "INSERT INTO provider_configs (tenant_id, id, provider_type, email_address, endpoint)"
        " VALUES ($1, $2, 'imap', 'a@b', 'h:1')",
        *(key.tenant_id, key.account_id),
    )
    lease = Lease(key, 0)
    async with open_database(url, pool_max=4) as database:
        store = PostgresMailStore(database, KeyRing({"k": bytes(32)}), LiveSettings(Settings()))
        inbox = RemoteFolder(remote_id="INBOX", path="INBOX")
        (folder,) = await store.stored_mail(lease).save_folders(FolderChanges(seen=(inbox,)))
        mail = list(messages(count, folder.id))
        sizes = sorted(message.fetched.size_bytes for message in mail)
        print(f"{count} messages, median {sizes[count // 2]}, mean {sum(sizes) // count} bytes")
        for name in ("first sync", "replay"):
            started, cpu = time.perf_counter(), time.process_time()
            for page in pages(mail, folder.id):
                await store.apply(lease, page)
            wall = time.perf_counter() - started
            cpu = time.process_time() - cpu
            print(f"{name}: {count / wall:,.0f} messages/s, {wall:.2f} s, client CPU {cpu:.2f} s")
    await setup.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory {peak} MB, the corpus included")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--messages", type=int, default=20_000)
    with running_cluster() as cluster:
        database_url = cluster.url(cluster.create_database())
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(database_url, arguments.parse_args().messages))
