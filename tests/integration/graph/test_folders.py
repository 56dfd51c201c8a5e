"""Which folders of a Microsoft mailbox are synced, what they are called and what they are for."""

from collections.abc import Mapping
from pathlib import Path

import orjson

from emailsync.config import StoreSettings
from emailsync.emulators.faults import Fault
from emailsync.emulators.graph.items import ROOT
from emailsync.providers.graph.folder_tree import MAX_PATH_CHARS
from graph_account import GraphAccount, graph_account
from oauth_rig import running_issuers

NO_RAW = StoreSettings(raw=False)
GERMAN = {
    "inbox": "Posteingang",
    "drafts": "Entwürfe",
    "sentitems": "Gesendete Elemente",
    "deleteditems": "Gelöschte Elemente",
    "junkemail": "Junk-E-Mail",
    "archive": "Archiv",
}


async def roles(account: GraphAccount) -> Mapping[str, str]:
    rows = await account.connection.fetch("SELECT path, role FROM folders WHERE role IS NOT NULL")
    return {row["path"]: row["role"] for row in rows}


async def test_roles_come_from_well_known_names_in_any_language(
    database_url: str, tmp_path: Path
) -> None:
    async with graph_account(database_url, tmp_path / "keys", display_names=GERMAN) as account:
        await account.sync()

        assert await roles(account) == {
            "Posteingang": "inbox",
            "Entwürfe": "drafts",
            "Gesendete Elemente": "sent",
            "Gelöschte Elemente": "trash",
            "Junk-E-Mail": "junk",
            "Archiv": "archive",
        }


async def test_a_mailbox_without_a_well_known_folder_has_no_such_role(
    database_url: str, tmp_path: Path
) -> None:
    """In a chain of requests the first 404 holds up what follows: it is asked again."""
    async with graph_account(database_url, tmp_path / "keys", messages=5) as account:
        account.mailbox.delete_folder("junkemail")
        account.mailbox.delete_folder("archive")

        await account.sync()

        assert set((await roles(account)).values()) == {"inbox", "drafts", "sent", "trash"}
        await account.assert_equal()


async def test_names_with_slashes_stay_apart(database_url: str, tmp_path: Path) -> None:
    async with graph_account(database_url, tmp_path / "keys", folders=()) as account:
        above = account.mailbox.create_folder("A")
        account.mailbox.create_folder("B", above.id)
        account.mailbox.create_folder("A/B")
        account.mailbox.create_folder("A\\")
        await account.sync()
        account.mailbox.rename_folder(above.id, "A/")
        await account.sync()

        rows = await account.connection.fetch("SELECT path FROM folders WHERE path LIKE 'A%'")

    paths = {row["path"] for row in rows} - {"Archive"}
    assert paths == {"A\\/", "A\\//B", "A\\/B", "A\\\\"}


async def test_folders_however_deep_have_paths_of_bounded_length_and_are_read_once(
    database_url: str, tmp_path: Path
) -> None:
    async with graph_account(database_url, tmp_path / "keys", folders=()) as account:
        above, names = ROOT, []
        for level in range(40):
            names.append(f"{level}-{'x' * 200}")
            above = account.mailbox.create_folder(names[-1], above).id
        await account.sync()
        before = await account.row_versions()

        await account.sync()

        rows = await account.connection.fetch("SELECT path FROM folders WHERE path LIKE '0-%'")
        assert await account.row_versions() == before
    assert len(rows) == len(names)
    assert max(len(row["path"]) for row in rows) == MAX_PATH_CHARS
    assert {row["path"] for row in rows} >= {"/".join(names[:depth]) for depth in range(1, 15)}


async def test_what_lies_in_a_hidden_folder_is_gone_and_keeps_its_row_when_it_comes_back(
    database_url: str, tmp_path: Path
) -> None:
    async with graph_account(database_url, tmp_path / "keys", messages=20, store=NO_RAW) as account:
        hidden = account.mailbox.create_folder("Conversation Action Settings", is_hidden=True)
        await account.sync()
        ids = await account.message_ids()
        message = account.mailbox.in_folder("inbox")[0]
        account.mailbox.move(message.id, hidden.id)
        await account.sync()
        assert len(await account.message_ids()) == 19
        account.mailbox.move(message.id, "inbox")

        await account.sync()

        assert await account.message_ids() == ids
        await account.assert_equal()


async def test_a_message_in_a_folder_that_was_made_since_the_listing_is_placed_there(
    database_url: str, tmp_path: Path
) -> None:
    async with graph_account(database_url, tmp_path / "keys", messages=20, store=NO_RAW) as account:
        await account.sync()
        ids = await account.message_ids()
        link = await account.connection.fetchval("SELECT last_delta_link FROM provider_configs")
        stale = orjson.dumps({"value": [], "@odata.deltaLink": link}).decode()
        account.emulator.faults.add(
            Fault(
                on=r"mailFolders/delta\?\$deltatoken",
                status=200,
                headers={"content-type": "application/json"},
                body=stale,
            )
        )
        made = account.mailbox.create_folder("Just made")
        account.mailbox.move(account.mailbox.in_folder("inbox")[0].id, made.id)

        await account.sync()

        assert await account.message_ids() == ids
        assert len(await account.message_ids("Just made")) == 1
        account.emulator.faults.clear()
        await account.sync()
        await account.assert_equal()


async def test_a_folder_that_a_listing_leaves_out_is_not_gone(
    database_url: str, tmp_path: Path
) -> None:
    async with graph_account(database_url, tmp_path / "keys", messages=20, store=NO_RAW) as account:
        await account.sync()
        link = await account.connection.fetchval("SELECT last_delta_link FROM provider_configs")
        inbox = account.mailbox.folder("inbox")
        short = {
            "value": [{"id": inbox.id, "displayName": "Inbox", "parentFolderId": "root"}],
            "@odata.deltaLink": link,
        }
        account.mailbox.expire_tokens("")
        account.emulator.faults.add(
            Fault(
                on=r"mailFolders/delta\?\$select",
                status=200,
                headers={"content-type": "application/json"},
                body=orjson.dumps(short).decode(),
            )
        )

        await account.sync()

        await account.assert_equal()


async def test_an_application_reads_the_mailbox_by_its_owners_name(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        running_issuers(tmp_path) as issuers,
        graph_account(
            database_url,
            tmp_path / "keys",
            messages=20,
            store=NO_RAW,
            issuer=issuers.emulator,
            oauth=issuers.settings.current.oauth,
        ) as account,
    ):
        issuers.ledger.directories.add("contoso.example")
        await account.sync()
        account.mailbox.move(account.mailbox.in_folder("inbox")[0].id, "archive")
        await account.sync()

        await account.assert_equal()
        link = (await account.links())["Inbox"][0]
        assert link is not None
        assert "/v1.0/users/ada@example.test/" in link
