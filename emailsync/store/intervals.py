"""The intervals between two syncs, in the form that SQL joins accounts with."""

from collections.abc import Sequence
from typing import Any

from emailsync.config import Settings
from emailsync.domain.accounts import ProviderType
from emailsync.domain.freshness import HELD_AT_MOST, PATIENCE_AT_LEAST
from emailsync.domain.priority import Priority


def interval_columns(settings: Settings) -> Sequence[Sequence[Any]]:
    """Return provider types, priorities and seconds: three arrays of one length."""
    pairs = [(provider_type, priority) for provider_type in ProviderType for priority in Priority]
    return (
        [provider_type for provider_type, _ in pairs],
        [priority for _, priority in pairs],
        [settings.intervals.of(kind).of(priority).total_seconds() for kind, priority in pairs],
    )


def situation_values(settings: Settings | None) -> Sequence[Any]:
    """Return the first five values of statements made of situations.sql; None: no intervals."""
    columns = ([], [], []) if settings is None else interval_columns(settings)
    return (*columns, PATIENCE_AT_LEAST.total_seconds(), HELD_AT_MOST.total_seconds())
