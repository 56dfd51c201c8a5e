-- sql/queries/housekeeping.sql: what is removed when it is old, $2 rows at a time at most.

-- name: old_runs
-- Remove runs older than $1 days. Plan: sync_runs_started_idx.
DELETE FROM sync_runs WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM sync_runs WHERE started_at < now() - make_interval(days => $1) LIMIT $2
)

-- name: old_changes
-- Remove changes older than $1 days: who reads the feed later than that starts anew.
-- Plan: changes_at_idx.
DELETE FROM changes WHERE (tenant_id, seq) IN (
    SELECT tenant_id, seq FROM changes WHERE at < now() - make_interval(days => $1) LIMIT $2
)

-- name: deleted_messages
-- Remove messages deleted more than $1 days ago, their attachments with them.
-- Plan: messages_deleted_idx.
DELETE FROM messages WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM messages
    WHERE deleted_at < now() - make_interval(days => $1) LIMIT $2
    FOR UPDATE SKIP LOCKED
)

-- name: dead_instances
-- Forget daemons that were not seen for $1 days.
DELETE FROM instances WHERE id IN (
    SELECT id FROM instances WHERE seen_at < now() - make_interval(days => $1) LIMIT $2
)
