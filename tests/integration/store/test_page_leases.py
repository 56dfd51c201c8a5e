"""A page and the lease of its account: it prolongs the holder's and writes for no other."""

from collections.abc import Mapping

import pytest

from emailsync.domain.accounts import Lease
from emailsync.domain.errors import LeaseLost
from emailsync.domain.folders import FolderCursor
from emailsync.domain.pages import PageChanges, ReadyPage
from store_rig import StoreRig

CURSOR = FolderCursor(uid_validity=1, uid_next=2, highest_modseq=3)


async def test_a_holder_whose_epoch_is_over_writes_nothing(rig: StoreRig) -> None:
    await rig.connection.execute("UPDATE provider_configs SET lease_epoch = 2")
    page = ReadyPage(messages=[rig.message(1)], changes=PageChanges(cursors={rig.inbox: CURSOR}))
    before = await rig.row_versions()

    with pytest.raises(LeaseLost):
        await rig.store.apply(Lease(rig.lease.key, 1), page)

    assert await rig.row_versions() == before


@pytest.mark.parametrize("other", [{}, {"settle": True}], ids=["new mail", "with a change"])
async def test_a_page_prolongs_a_lease_that_is_half_over(
    rig: StoreRig, other: Mapping[str, bool]
) -> None:
    """Extending skips the accounts that it finds locked, as one that is written all the time is."""
    await rig.connection.execute(
        "UPDATE provider_configs SET lease_owner = 'us', lease_until = now() + interval '29 s'"
    )

    await rig.apply([rig.message(1)], **other)

    (row,) = await rig.rows(
        "SELECT lease_until > now() + interval '50 s' AS is_new FROM provider_configs"
    )
    assert row["is_new"]


async def test_a_page_leaves_a_young_lease_and_an_account_without_one_as_they_are(
    rig: StoreRig,
) -> None:
    await rig.apply([rig.message(1)])
    without = await rig.rows("SELECT lease_until::text FROM provider_configs")
    await rig.connection.execute(
        "UPDATE provider_configs SET lease_owner = 'us', lease_until = now() + interval '40 s'"
    )
    before = await rig.rows("SELECT xmin::text FROM provider_configs")

    await rig.apply([rig.message(2)])
    await rig.apply([rig.message(3)], settle=True)

    assert without == [{"lease_until": "-infinity"}]
    assert await rig.rows("SELECT xmin::text FROM provider_configs") == before


async def test_a_removed_account_is_a_lost_lease(rig: StoreRig) -> None:
    await rig.apply([rig.message(1)])
    await rig.connection.execute("DELETE FROM tenants")

    with pytest.raises(LeaseLost):
        await rig.apply([rig.message(2)])

    assert await rig.rows("SELECT FROM messages") == []
