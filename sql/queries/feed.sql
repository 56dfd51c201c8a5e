-- sql/queries/feed.sql: reading the change feed. Its order is (xact, seq): a transaction that ends
-- late has a smaller number than those that began after it, so what is settled is final, and a reader
-- that stops at the first change that is not settled overtakes nothing.

-- name: changes
-- Return up to $3 changes behind the position ($1, $2), of all tenants. One is settled when no
-- transaction that began before its own is still running. Plan: changes_feed_idx.
SELECT tenant_id, seq, provider_id, message_id, kind, at, xact::text::bigint AS xact,
    xact < pg_snapshot_xmin(pg_current_snapshot()) AS is_settled
FROM changes WHERE (xact, seq) > ($1::text::xid8, $2)
ORDER BY xact, seq LIMIT $3

-- name: tenant_changes
-- Return the changes of the tenant $4 as `changes` does. Plan: changes_pkey.
SELECT tenant_id, seq, provider_id, message_id, kind, at, xact::text::bigint AS xact,
    xact < pg_snapshot_xmin(pg_current_snapshot()) AS is_settled
FROM changes WHERE tenant_id = $4 AND (xact, seq) > ($1::text::xid8, $2)
ORDER BY xact, seq LIMIT $3
