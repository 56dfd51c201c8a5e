"""One migrated database for many tests, one after the other: to make one takes longer than most.

Between two tests its rows go, whoever is still connected is thrown out, and its sequences start
again. A database that a test has changed otherwise (its schema, its settings, its statistics), or
has made large, is thrown away.
"""

from dataclasses import dataclass, field

from postgres import PostgresCluster

EMPTY = """
DO $$
DECLARE
    filled regclass;
BEGIN
    PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    SET LOCAL session_replication_role = replica;  -- no foreign keys, no triggers
    FOR filled IN
        SELECT oid FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            AND relname <> 'schema_migrations'
    LOOP
        EXECUTE format('DELETE FROM %s', filled);
    END LOOP;
    PERFORM setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S';
END
$$"""

#: Everything about a database but its rows; objects from 16384 on are not the server's own.
STATE = """
SELECT
    (SELECT sum(hashtext(a::text)) FROM pg_attribute a WHERE attrelid >= 16384),
    (SELECT sum(hashtext(c::text)) FROM pg_constraint c WHERE oid >= 16384),
    (SELECT sum(hashtext(t::text)) FROM pg_trigger t WHERE oid >= 16384),
    (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
    (SELECT sum(reltuples) FROM pg_class WHERE oid >= 16384),
    (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
     WHERE datname = current_database()),
    pg_database_size(current_database()) > 24 * 1024 * 1024  -- 9 MiB at first; garbage adds up
"""


@dataclass
class ReusedDatabase:
    """A database of a cluster, a copy of `template`, which has no rows."""

    cluster: PostgresCluster
    template: str
    _name: str | None = field(default=None, init=False)
    _fresh: str = field(default="", init=False)  #: its state when it was made

    def lend(self) -> str:
        """Return the URL of a database with the template's schema and no rows."""
        if self._name is None:
            self._name = self.cluster.create_database(template=self.template)
            self._fresh = self.cluster.execute(STATE, self._name)
        return self.cluster.url(self._name)

    def take_back(self) -> None:
        """Make it as good as new, or leave it to the next one to get a new one."""
        assert self._name is not None, "it was not lent"
        if self.cluster.execute(STATE, self._name) == self._fresh:
            self.cluster.execute(EMPTY, self._name)
        else:
            self.drop()

    def drop(self) -> None:
        """Throw it away, if there is one."""
        if self._name is not None:
            self.cluster.drop_database(self._name)
            self._name = None
