"""The emulated Graph's callers, folders, ids and refusals, on a real socket."""

import pytest

from emailsync.emulators.graph.items import DISPLAY_NAMES
from graph_client import ADA, BOB, graph_client, mail

# Who may ask


async def test_a_user_is_known_by_their_own_token() -> None:
    async with graph_client() as client:
        user = await client.json("/me")

    assert user["mail"] == user["userPrincipalName"] == ADA


@pytest.mark.parametrize("token", ["", "expired"])
async def test_without_a_valid_token_there_is_a_challenge(token: str) -> None:
    async with graph_client() as client:
        answer = await client.get("/me/messages", bearer=token)
        refused = await client.error("/me/messages", bearer=token)

    assert refused == (401, "InvalidAuthenticationToken")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_continuous_access_evaluation_sends_claims() -> None:
    async with graph_client() as client:
        client.mailbox.access.claims = "eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="
        answer = await client.get("/me/messages")

    assert answer.status_code == 401
    assert 'error="insufficient_claims"' in answer.headers["www-authenticate"]
    assert 'claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="' in answer.headers["www-authenticate"]


async def test_an_application_reads_any_mailbox_by_name_or_id_and_has_no_own() -> None:
    async with graph_client() as client:
        by_name = await client.json(f"/users/{ADA}/mailFolders/inbox", bearer="app-token")
        by_id = await client.json(
            f"/users/{client.mailbox.user_id}/mailFolders/inbox", bearer="app-token"
        )
        refused = await client.error("/me/messages", bearer="app-token")

    assert by_name["id"] == by_id["id"]
    assert refused == (400, "BadRequest")


async def test_a_user_reads_no_mailbox_of_another() -> None:
    async with graph_client() as client:
        refused = await client.error(f"/users/{BOB}/messages")

    assert refused == (403, "ErrorAccessDenied")


async def test_a_mailbox_can_be_closed_missing_or_unlicensed() -> None:
    async with graph_client() as client:
        client.mailbox.access.is_denied = True
        denied = await client.error("/me/messages")
        client.mailbox.access.is_denied = False
        client.mailbox.access.is_enabled = False
        disabled = await client.error("/me/messages")
        unknown = await client.error("/users/no@example.test/messages", bearer="app-token")

    assert denied == (403, "ErrorAccessDenied")
    assert disabled == (404, "MailboxNotEnabledForRESTAPI")
    assert unknown == (404, "ErrorInvalidUser")


async def test_the_clients_own_request_id_comes_back() -> None:
    async with graph_client() as client:
        answer = await client.get("/me/messages/nonsense", **{"client-request-id": "mine"})

    assert answer.headers["client-request-id"] == "mine"
    assert answer.json()["error"]["innerError"]["client-request-id"] == "mine"
    assert answer.headers["request-id"] == answer.json()["error"]["innerError"]["request-id"]


# Folders


async def test_folders_are_listed_one_level_at_a_time_and_ten_at_a_time() -> None:
    async with graph_client() as client:
        client.mailbox.create_folder("One more")
        first = await client.json("/me/mailFolders")
        second = await client.json(first["@odata.nextLink"])
        projects = next(
            folder
            for folder in first["value"] + second["value"]
            if folder["displayName"] == "Projects"
        )
        below = await client.json(f"/me/mailFolders/{projects['id']}/childFolders")

    assert len(first["value"]) == 10
    assert [f["displayName"] for f in below["value"]] == ["2026"]
    assert projects["childFolderCount"] == 1
    assert below["value"][0]["parentFolderId"] == projects["id"]


@pytest.mark.parametrize("name", ["inbox", "SentItems", "msgfolderroot", "junkemail"])
async def test_well_known_names_serve_as_ids_and_are_no_property(name: str) -> None:
    async with graph_client() as client:
        folder = await client.json(f"/me/mailFolders/{name}")
        same = await client.json(f"/me/mailFolders('{folder['id']}')")

    assert folder["id"] == same["id"] == client.mailbox.folder(name).id
    assert "wellKnownName" not in folder


async def test_display_names_are_those_of_the_mailboxs_language() -> None:
    async with graph_client() as client:
        client.emulator.ledger.add_mailbox(BOB, display_names={"inbox": "Posteingang"})
        inbox = await client.json("/me/mailFolders/inbox", bearer="bob-token")

    assert inbox["displayName"] == "Posteingang"


async def test_folders_count_their_messages() -> None:
    async with graph_client() as client:
        read = client.mailbox.deliver(mail("one"))
        client.mailbox.deliver(mail("two"))
        client.mailbox.set_read(read.id)
        inbox = await client.json("/me/mailFolders/inbox")

    assert (inbox["totalItemCount"], inbox["unreadItemCount"]) == (2, 1)


async def test_hidden_folders_are_shown_on_request() -> None:
    async with graph_client() as client:
        client.mailbox.create_folder("Clutter", is_hidden=True)
        plain = await client.json("/me/mailFolders?$top=50")
        whole = await client.json("/me/mailFolders?$top=50&includeHiddenFolders=true")

    assert [f["displayName"] for f in plain["value"]] == [
        *DISPLAY_NAMES.values(),
        "Projects",
        "Travel",
    ]
    assert [f["displayName"] for f in whole["value"]][-1] == "Clutter"


# Ids


async def test_a_move_ends_the_regular_id_and_leaves_the_immutable_one() -> None:
    async with graph_client() as client:
        made = client.mailbox.deliver(mail())
        regular = (await client.json(f"/me/messages/{made.id}", prefer=""))["id"]
        client.mailbox.move(made.id, "archive")
        moved = (await client.json(f"/me/messages/{made.id}", prefer=""))["id"]
        immutable = (await client.json(f"/me/messages/{moved}"))["id"]
        old = await client.error(f"/me/messages/{regular}")

    assert len({regular, moved, immutable}) == 3
    assert immutable == made.id
    assert old == (404, "ErrorItemNotFound")


async def test_ids_are_case_sensitive() -> None:
    async with graph_client(messages=200) as client:
        ids = {message.id for message in client.mailbox.messages.values()}
        other = await client.get(f"/me/messages/{next(iter(ids)).lower()}")

    assert len({name.casefold() for name in ids}) < len(ids)
    assert other.status_code in {400, 404}


async def test_how_many_requests_asked_for_immutable_ids_is_known() -> None:
    async with graph_client() as client:
        await client.get("/me/messages")
        await client.get("/me/messages", prefer="")
        await client.parts({"id": "1", "url": "/me/messages", "headers": {}})
        await client.get("/me", prefer="")

    assert client.emulator.service.id_types == {"immutable": 1, "regular": 2}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/me/messages/nonsense", (400, "ErrorInvalidIdMalformed")),
        ("/me/mailFolders/nonsense/messages", (400, "ErrorInvalidIdMalformed")),
        ("/me/nothing", (400, "BadRequest")),
        ("/me/messages?$top=x", (400, "ErrorInvalidUrlQuery")),
        ("/me/messages?$filter=isRead eq true", (400, "ErrorInvalidUrlQuery")),
    ],
)
async def test_what_is_not_understood_is_refused(path: str, expected: tuple[int, str]) -> None:
    async with graph_client() as client:
        refused = await client.error(path)

    assert refused == expected


async def test_what_was_deleted_is_not_found() -> None:
    async with graph_client() as client:
        made, folder = client.mailbox.deliver(mail()), client.mailbox.create_folder("Gone")
        client.mailbox.delete(made.id)
        client.mailbox.delete_folder(folder.id)
        refused = [
            await client.error(path)
            for path in (f"/me/messages/{made.id}", f"/me/mailFolders/{folder.id}/messages")
        ]

    assert refused == [(404, "ErrorItemNotFound")] * 2
