"""The fixtures that all tests may ask for: real servers, started once a test process, and a clock.

Under pytest-xdist each worker process has servers of its own, so nothing is shared between them.
"""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from clock import SettableClock
from dovecot import DovecotServer, running_dovecot
from dovecot_mailbox import DovecotMailbox
from emailsync.store.migrations import migrate
from installation import Installation, new_installation
from postgres import PostgresCluster, running_cluster
from reused_database import ReusedDatabase

SYSTEM = Path(__file__).parent / "system"

_user_numbers = itertools.count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let several processes begin with the longest tests: none is left with one at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: SYSTEM not in item.path.parents)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """A private PostgreSQL cluster; a crash of the machine is not among what is tested with it.

    What the planner knows of a table does not depend on how long a test took.
    """
    with running_cluster(durable=False, configuration="autovacuum = off\n") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def reused_database(postgres: PostgresCluster) -> ReusedDatabase:
    """The database that the tests get one after the other; it has the whole schema."""
    template = postgres.create_database("template_migrated")
    asyncio.run(migrate(postgres.url(template)))
    return ReusedDatabase(postgres, template)


@pytest.fixture
def empty_database_url(postgres: PostgresCluster) -> Iterator[str]:
    """The URL of a new database without a schema."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)


@pytest.fixture
def database_url(reused_database: ReusedDatabase) -> Iterator[str]:
    """The URL of a database with the whole schema and no rows."""
    yield reused_database.lend()
    reused_database.take_back()


@pytest.fixture(scope="session")
def dovecot() -> Iterator[DovecotServer]:
    """A private Dovecot; all tests share it, so each takes users of its own: see `mailbox`."""
    with running_dovecot() as server:
        yield server


@pytest.fixture
def mailbox(dovecot: DovecotServer) -> DovecotMailbox:
    """An empty mailbox of a user that nobody else uses."""
    return dovecot.mailbox(f"user{next(_user_numbers)}@example.test")


@pytest.fixture
def installation(tmp_path: Path, database_url: str, dovecot: DovecotServer) -> Installation:
    """A configured `emailsyncd` on a database of its own, with no accounts."""
    return new_installation(tmp_path, database_url, dovecot)


@pytest.fixture
def clock() -> SettableClock:
    """A clock that stands still until the test moves it."""
    return SettableClock()


@pytest.fixture
def loop_guard() -> Iterator[None]:
    """Fail the test when our code blocks its event loop: a file, a socket, a sleep, a lock."""
    with blockbuster_ctx("emailsync"):
        yield
