import pytest
from hypothesis import given
from hypothesis import strategies as st

from emailsync.domain.uid_set import MAX_UID, UidSet

uids = st.sets(st.integers(1, 60))


def members(uid_set: UidSet) -> set[int]:
    return {uid for first, last in uid_set.ranges() for uid in range(first, last + 1)}


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("1:5,7", [(1, 5), (7, 7)]),
        ("7,1:5,6", [(1, 7)]),
        ("5:1", [(1, 5)]),
        ("3:*", [(3, MAX_UID)]),
        ("*", [(MAX_UID, MAX_UID)]),
        ("1,,2", [(1, 2)]),
        ("0,0:3", [(1, 3)]),
        ("1:99999999999", [(1, MAX_UID)]),
        ("", []),
    ],
)
def test_sequence_sets_are_read_as_servers_write_them(
    text: str, ranges: list[tuple[int, int]]
) -> None:
    assert list(UidSet.parse(text).ranges()) == ranges


@pytest.mark.parametrize(
    "text", ["a", "1;2", "1:2:3", "1_0", "-1", "1:", "NIL", "1 2", "9" * 9_999]
)
def test_what_is_no_sequence_set_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        UidSet.parse(text)


def test_the_largest_range_costs_no_more_than_the_smallest() -> None:
    everything = UidSet.parse("1:4294967295")

    assert everything.count == MAX_UID
    assert list(everything.among([5, 9])) == [5, 9]
    assert [half.count for half in everything.halves()] == [2**31 - 1, 2**31]


@given(uids)
def test_a_set_holds_what_it_was_made_of(some: set[int]) -> None:
    uid_set = UidSet.of(some)

    assert members(uid_set) == some
    assert uid_set.count == len(some)
    assert bool(uid_set) == bool(some)
    assert all((uid in uid_set) == (uid in some) for uid in range(62))
    assert not some or (uid_set.first, uid_set.last) == (min(some), max(some))


@given(uids, uids)
def test_sets_combine_like_sets(left: set[int], right: set[int]) -> None:
    a, b = UidSet.of(left), UidSet.of(right)

    assert members(a.minus(b)) == left - right
    assert UidSet.union([a, b]) == UidSet.of(left | right)
    assert list(a.among(sorted(right))) == sorted(left & right)
    assert (a == b) == (left == right)


@given(uids.filter(bool))
def test_halves_are_a_set_cut_in_two(some: set[int]) -> None:
    low, high = UidSet.of(some).halves()

    assert low.count == len(some) // 2
    assert not low or low.last < high.first
    assert UidSet.union([low, high]) == UidSet.of(some)


@given(uids, st.integers(21, 40))
def test_the_wire_form_is_short_enough_and_complete(some: set[int], limit: int) -> None:
    pieces = list(UidSet.of(some).wire(limit))

    assert all(0 < len(piece) <= limit for piece in pieces)
    assert UidSet.union(UidSet.parse(piece) for piece in pieces) == UidSet.of(some)


def test_equal_sets_are_equal_keys() -> None:
    assert len({UidSet.of([1, 2]), UidSet([(1, 2)]), UidSet.parse("2:1")}) == 1
    assert repr(UidSet.of([1, 2, 4])) == "UidSet('1:2,4')"
