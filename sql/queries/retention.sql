-- sql/queries/retention.sql: rows whose time is over. Each statement removes a bounded number, so
-- that no transaction grows with what was left lying; the caller repeats it until it removes none.

-- name: remove_runs
-- Remove up to $2 runs that started before $1.
DELETE FROM sync_runs WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM sync_runs WHERE started_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
)

-- name: remove_changes
-- Remove up to $2 entries of the change feed that were written before $1.
DELETE FROM changes WHERE (tenant_id, xact, seq) IN (
    SELECT tenant_id, xact, seq FROM changes WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
)

-- name: remove_deleted
-- Remove up to $2 messages that were deleted before $1. Plan: messages_deleted_idx.
DELETE FROM messages WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM messages WHERE deleted_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
)

-- name: remove_instances
-- Remove up to $2 daemons that were seen last before $1: each start is an instance of its own.
DELETE FROM instances WHERE id IN (
    SELECT id FROM instances WHERE seen_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
)

-- name: remove_connect_flows
-- Remove up to $2 flows in the browser that were over before $1. Plan: connect_flows_expires_idx.
DELETE FROM connect_flows WHERE (tenant_id, id) IN (
    SELECT tenant_id, id FROM connect_flows WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED
)
