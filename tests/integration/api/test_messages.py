"""Synced mail over HTTP: lists, messages, bytes and attachments."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_rig import OTHER, ApiRig
from emailsync.domain.mail import Attachment
from emailsync.domain.pages import Placement, ReadyMessage
from emailsync.mime.fast import parse_fast
from emailsync.mime.tolerant import parse_tolerantly
from problems import refused

BYTES = bytes(range(256)) * 8
HOSTILE = 'evil"; filename=ok.txt\r\nX-Injected: 1\u202egpj.html'


def mail(*attachments: bytes, subject: str = "hello") -> bytes:
    """Return a message with a text and attachments."""
    parts = ["Content-Type: text/plain\r\n\r\nthe text"]
    for number, content in enumerate(attachments):
        parts.append(
            f'Content-Type: text/html; name="file {number}.html"\r\n'
            "Content-Disposition: attachment\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content).decode()
        )
    body = "".join(f"--x\r\n{part}\r\n" for part in parts)
    head = f"Subject: {subject}\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    return f"{head}{body}--x--\r\n".encode()


def ready(api: ApiRig, uid: int, raw: bytes, **fields: Any) -> ReadyMessage:
    """Return the message as a sync stores it."""
    parsed = parse_tolerantly(raw)
    given = {name: getattr(parsed, name) for name in ("subject", "body_text", "attachments")}
    values = {"raw": raw, "raw_sha256": hashlib.sha256(raw).digest(), "size_bytes": len(raw)}
    return api.mail.message(uid, **given | values | fields)


async def stored(api: ApiRig, raw: bytes, **fields: Any) -> str:
    """Store a message; return its path."""
    await api.mail.apply([ready(api, 1, raw, **fields)])
    (message,) = (await api.mail.ids()).values()
    return f"/tenants/acme/messages/{message}"


async def test_messages_are_listed_latest_first_in_pages_that_neither_repeat_nor_skip(
    api: ApiRig,
) -> None:
    """Several have one moment, and one has none of the server's."""
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    moments = [noon, noon, noon - timedelta(days=1), noon, None]
    await api.mail.apply(
        [ready(api, 1 + n, mail(subject=f"{n}"), received_at=at) for n, at in enumerate(moments)]
    )

    listed: list[str] = []
    asked: dict[str, Any] = {"limit": 2}
    while True:
        page = (await api.get("/tenants/acme/messages", params=asked)).json()
        listed += [message["subject"] for message in page["items"]]
        if page["next_cursor"] is None:
            break
        asked["cursor"] = page["next_cursor"]

    assert listed == ["4", "3", "1", "0", "2"]


async def test_a_list_may_be_of_one_account_or_folder(api: ApiRig) -> None:
    archive = await api.mail.folder("Archive")
    await api.mail.apply([ready(api, 1, mail(subject="inbox"))])
    await api.mail.apply(
        [ready(api, 2, mail(subject="archive"), placements=(Placement(archive, 2),))]
    )
    account = str(api.mail.lease.key.account_id)

    async def subjects(**asked: Any) -> list[str]:
        page = (await api.get("/tenants/acme/messages", params=asked)).json()
        return sorted(message["subject"] for message in page["items"])

    assert await subjects(provider_id=account) == ["archive", "inbox"]
    assert await subjects(folder_id=archive) == ["archive"]
    assert await subjects(provider_id=account, folder_id=api.mail.inbox) == ["inbox"]
    assert await subjects(provider_id="00000000-0000-0000-0000-000000000000") == []


async def test_deleted_messages_are_not_listed_but_can_be_looked_at(api: ApiRig) -> None:
    path = await stored(api, mail())
    await api.mail.connection.execute("UPDATE messages SET deleted_at = now()")

    listed = (await api.get("/tenants/acme/messages")).json()["items"]
    shown = (await api.get(path)).json()

    assert listed == []
    assert shown["deleted_at"] is not None


async def test_a_message_is_shown_whole(api: ApiRig) -> None:
    path = await stored(api, mail(BYTES))

    shown = (await api.get(path)).json()

    assert (shown["subject"], shown["body_text"]) == ("hello", "the text")
    assert (shown["from_address"], shown["from_name"]) == ("ann@example.test", "Ann")
    assert [folder["path"] for folder in shown["folders"]] == ["INBOX"]
    (attachment,) = shown["attachments"]
    assert (attachment["filename"], attachment["size_bytes"]) == ("file 0.html", len(BYTES))
    assert attachment["sha256"] == hashlib.sha256(BYTES).hexdigest()


async def test_the_raw_message_is_given_byte_for_byte_and_not_twice(api: ApiRig) -> None:
    """In pieces: it is larger than one."""
    raw = mail(bytes(3 * 1024 * 1024))
    path = await stored(api, raw)

    given = await api.get(f"{path}/raw")
    again = await api.get(f"{path}/raw", headers={"If-None-Match": given.headers["etag"]})

    assert given.content == raw
    assert given.headers["content-length"] == str(len(raw))
    assert given.headers["content-type"] == "message/rfc822"
    assert given.headers["content-disposition"].startswith("attachment;")
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("size", [3, 2 * 1024 * 1024], ids=["small", "in a worker process"])
async def test_an_attachment_is_given_decoded_as_a_download_of_no_type(
    api: ApiRig, size: int
) -> None:
    contents = [BYTES, b"<script>alert(1)</script>" * size, b""]
    path = await stored(api, mail(*contents))

    for position, content in enumerate(contents):
        given = await api.get(f"{path}/attachments/{position}")

        assert given.content == content
        assert given.headers["content-type"] == "application/octet-stream"
        assert given.headers["x-content-type-options"] == "nosniff"
        assert given.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert given.headers["content-disposition"] == (
            f"attachment; filename*=UTF-8''file%20{position}.html"
        )
        known = {"If-None-Match": given.headers["etag"]}
        assert (await api.get(f"{path}/attachments/{position}", headers=known)).status_code == 304


async def test_the_compiled_parser_and_the_attachments_agree_on_which_is_which(
    api: ApiRig,
) -> None:
    contents = [b"first", b"second"]
    raw = mail(*contents)
    path = await stored(api, raw, attachments=parse_fast(raw).attachments)

    given = [(await api.get(f"{path}/attachments/{n}")).content for n in range(2)]

    assert given == contents


async def test_the_hash_finds_an_attachment_wherever_it_lies(api: ApiRig) -> None:
    """What a provider lists may be in another order than the bytes of the message."""
    raw = mail(b"first", b"second")
    first, second = parse_tolerantly(raw).attachments
    path = await stored(api, raw, attachments=(second_at(0, second), second_at(1, first)))

    given = [(await api.get(f"{path}/attachments/{n}")).content for n in range(2)]

    assert given == [b"second", b"first"]


def second_at(position: int, attachment: Attachment) -> Attachment:
    """Return the attachment in another place."""
    return Attachment(
        position=position,
        filename=attachment.filename,
        content_type=attachment.content_type,
        size_bytes=attachment.size_bytes,
        content_id=attachment.content_id,
        is_inline=attachment.is_inline,
        sha256=attachment.sha256,
    )


async def test_a_hostile_file_name_names_a_file_and_no_header(api: ApiRig) -> None:
    path = await stored(api, mail(b"x"))
    await api.mail.connection.execute("UPDATE attachments SET filename = $1", HOSTILE)

    given = await api.get(f"{path}/attachments/0")

    assert "x-injected" not in given.headers
    disposition = given.headers["content-disposition"]
    assert disposition.startswith("attachment; filename*=UTF-8''evil%22%3B")
    assert disposition.isascii()


async def test_bytes_that_were_not_kept_are_not_found_and_say_why(api: ApiRig) -> None:
    path = await stored(api, mail(b"x"))
    await api.mail.connection.execute("UPDATE messages SET raw = NULL")

    for below in ("raw", "attachments/0"):
        assert "store.raw" in refused(await api.get(f"{path}/{below}"), 404)["detail"]


async def test_what_is_not_there_is_not_found(api: ApiRig) -> None:
    path = await stored(api, mail(b"x"))

    for absent in (
        "/tenants/acme/messages/999999",
        "/tenants/acme/messages/0",
        f"/tenants/acme/messages/{2**63}",
        "/tenants/acme/messages/x",
        "/tenants/acme/messages/999999/raw",
        f"{path}/attachments/1",
        f"{path}/attachments/-1",
        f"{path}/attachments/{2**31}",
    ):
        refused(await api.get(absent), 404)


async def test_another_tenants_message_is_one_that_does_not_exist(api: ApiRig) -> None:
    """Neither under its own tenant nor under the asker's."""
    path = await stored(api, mail(b"x"))

    for below in ("", "/raw", "/attachments/0"):
        refused(await api.get(path + below, OTHER), 404)
        refused(await api.get(path.replace("acme", "other") + below, OTHER), 404)
    assert (await api.get("/tenants/other/messages", OTHER)).json()["items"] == []
    refused(await api.get("/tenants/acme/messages", OTHER), 404)


async def test_mail_is_not_to_be_cached(api: ApiRig) -> None:
    path = await stored(api, mail(b"x"))

    for below in ("", "/raw", "/attachments/0"):
        assert (await api.get(path + below)).headers["cache-control"] == "no-store"
