"""When a removal has to be confirmed."""

from emailsync.domain.deletion_guard import needs_second_listing


def test_a_large_share_of_a_folder_is_confirmed_before_it_is_removed() -> None:
    assert needs_second_listing(removing=51, stored=100)
    assert needs_second_listing(removing=1_000, stored=0)


def test_a_small_share_or_a_few_messages_are_believed() -> None:
    assert not needs_second_listing(removing=50, stored=60)
    assert not needs_second_listing(removing=200, stored=1_000)
