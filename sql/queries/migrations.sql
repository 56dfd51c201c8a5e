-- sql/queries/migrations.sql: which schema a database has; nothing else touches schema_migrations.

-- name: lock
-- Keep every other daemon waiting until this session ends: two migrations never run side by side.
SELECT pg_advisory_lock(hashtextextended('emailsync.migrations', 0))

-- name: create_ledger
-- Make the table of what was applied, in an empty database.
CREATE TABLE IF NOT EXISTS schema_migrations (
    version int PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: has_ledger
-- Tell whether anything was ever applied.
SELECT to_regclass('schema_migrations') IS NOT NULL

-- name: applied
-- Return what was applied, in order.
SELECT version, name, checksum FROM schema_migrations ORDER BY version

-- name: record
-- Note a migration in the transaction that applied it.
INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)
