"""The hot statements use the indexes that were made for them, on many rows and on few.

Seeded rows are analysed, as autovacuum or the store itself does after the first hundred messages.
"""

from typing import Any

import asyncpg
import pytest

from emailsync.store.database import Database
from emailsync.store.queries import load_queries
from emailsync.store.statistics import PlannerStatistics
from plans import MAIL, scans
from store_rig import StoreRig, add_account

LEASES = load_queries("leases")
MESSAGES = load_queries("messages", "pages", "folders")

ACCOUNTS = """
INSERT INTO provider_configs (tenant_id, provider_type, email_address, endpoint, sync_priority,
    next_sync_at)
SELECT 'acme', 'imap', number || '@example.test', 'imap.example.test:993', 1 + number % 4,
    now() + make_interval(secs => CASE WHEN number % 100 = 0 THEN -number ELSE number END)
FROM generate_series(1, 20000) AS number
"""


@pytest.fixture
async def many_accounts(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """20,000 accounts of which 200 are due."""
    await add_account(connection)
    await connection.execute(ACCOUNTS)
    await connection.execute("ANALYZE")


@pytest.mark.usefixtures("many_accounts")
async def test_a_claim_reads_what_is_due_and_no_more(database: Database) -> None:
    found = await scans(database, LEASES["claim_due"], ([3], 50, "one", 60.0, 50))

    indexes = [index for index, _ in found["provider_configs"]]
    assert "provider_configs_due_idx" in indexes
    assert set(indexes) <= {
        "provider_configs_due_idx",
        "provider_configs_lease_idx",
        "provider_configs_pkey",
        "provider_configs_id_idx",
    }


@pytest.mark.usefixtures("many_accounts")
async def test_looking_for_the_next_due_account_reads_one_row(database: Database) -> None:
    found = await scans(database, LEASES["next_due"], ([3],))

    (first, *_) = [
        condition
        for index, condition in found["provider_configs"]
        if index == "provider_configs_due_idx"
    ]
    assert "sync_priority" in first


@pytest.fixture
async def much_mail(rig: StoreRig) -> StoreRig:
    """20,000 messages in one folder, a twentieth of them deleted."""
    await rig.connection.execute(MAIL, 20_000)
    await rig.connection.execute("ANALYZE")
    return rig


NAMES = [f"name {number}" for number in range(1, 101)]
HASHES = [bytes([number]) * 32 for number in range(100)]
NUMBERS = list(range(1, 101))


@pytest.mark.parametrize(
    ("name", "values", "index"),
    [
        ("live_ids", [NAMES], "messages_remote_id_idx"),
        ("adopt_vanished", [NAMES, HASHES, 7], "messages_vanished_idx"),
        (
            "update_flags",
            [NAMES, *[[True] * 100] * 4, ["{}"] * 100],
            "messages_remote_id_idx",
        ),
        ("settle", [None], "messages_detached_idx"),
        ("settle", [NAMES], "messages_detached_idx"),
        ("lookup", [NAMES], "messages_detached_idx"),
        ("inventory", ["name 5", 100], "messages_detached_idx"),
        ("detached", ["name 5", 100], "messages_detached_idx"),
        ("revive", [NAMES, True], "messages_vanished_name_idx"),
        ("leave_folder", [1, NAMES], "messages_remote_id_idx"),
    ],
)
async def test_messages_are_looked_up_by_their_index(
    much_mail: StoreRig, name: str, values: list[Any], index: str
) -> None:
    key = much_mail.lease.key
    values = [key.tenant_id, key.account_id, *values]

    found = await scans(much_mail.database, MESSAGES[name], values)

    assert index in [used for used, _ in found["messages"]]
    assert {used for used, _ in found["messages"]} <= {
        index,
        "messages_remote_id_idx",
        "messages_pkey",
    }


async def test_what_a_page_should_have_taken_over_is_looked_for_among_vanished_rows_alone(
    much_mail: StoreRig,
) -> None:
    """Each page of new mail asks it."""
    key = much_mail.lease.key
    values = [key.tenant_id, key.account_id, HASHES, NAMES]

    found = await scans(much_mail.database, MESSAGES["has_vanished"], values)

    indexes = {used for used, _ in found["messages"]}
    assert indexes == {"messages_vanished_idx", "messages_vanished_name_idx"}


@pytest.mark.parametrize(
    ("name", "values", "index"),
    [
        ("remove_uids", [NUMBERS], "message_folders_uid_idx"),
        ("placements", [5_000, 100], "message_folders_uid_idx"),
    ],
)
async def test_placements_are_looked_up_by_uid(
    much_mail: StoreRig, name: str, values: list[Any], index: str
) -> None:
    values = [much_mail.lease.key.tenant_id, much_mail.inbox, *values]

    found = await scans(much_mail.database, MESSAGES[name], values)

    ((used, condition),) = found["message_folders"]
    assert used == index
    assert "uid" in condition


async def test_a_page_of_a_large_folder_is_read_along_the_names(much_mail: StoreRig) -> None:
    """Sorting the whole folder for each of its pages would take the square of its messages."""
    key = much_mail.lease.key
    values = [key.tenant_id, key.account_id, "name 5", 100, much_mail.inbox]

    found = await scans(much_mail.database, MESSAGES["folder_inventory"], values)

    ((used, condition),) = found["messages"]
    assert used == "messages_remote_id_idx"
    assert "remote_id > " in condition


async def test_a_table_that_fills_is_analysed_before_its_plans_are_slow(rig: StoreRig) -> None:
    statistics = PlannerStatistics(rig.database)
    await rig.connection.execute(MAIL, 500)
    believed = "SELECT reltuples FROM pg_class WHERE relname = 'messages'"

    await statistics.add(99)
    before = await rig.connection.fetchval(believed)
    await statistics.add(1)
    after = await rig.connection.fetchval(believed)

    assert (before, after) == (-1, 500)


async def test_a_table_that_is_known_already_is_not_analysed_again(rig: StoreRig) -> None:
    await rig.connection.execute(MAIL, 500)
    await rig.connection.execute("ANALYZE messages")
    await rig.connection.execute(MAIL.replace("'name '", "'more '"), 500)

    await PlannerStatistics(rig.database).add(400)

    believed = "SELECT reltuples FROM pg_class WHERE relname = 'messages'"
    assert await rig.connection.fetchval(believed) == 500
