-- sql/queries/statistics.sql: what the planner believes of the tables that a first sync fills.

-- name: is_outdated
-- Tell whether the planner believes in fewer messages than $1, or in none that were ever counted.
SELECT reltuples < $1 FROM pg_class WHERE oid = 'messages'::regclass

-- name: analyze
-- Let the planner look again, at the columns that statements look rows up by; every cached plan,
-- foreign keys' included, is made anew.
ANALYZE (SKIP_LOCKED)
    messages (tenant_id, id, provider_id, remote_id, raw_sha256, detached_at, deleted_at),
    message_folders, attachments (tenant_id, message_id, position), folders (tenant_id, id, provider_id),
    changes (tenant_id, seq)
