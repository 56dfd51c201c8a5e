-- sql/queries/accounts.sql: what the operator does with accounts. Whatever changes how an account is
-- synced takes its lease away: a run under way is fenced off and stops.

-- name: make_tenant
-- Make the tenant $1 unless it is there.
INSERT INTO tenants (id) VALUES ($1) ON CONFLICT (id) DO NOTHING

-- name: tenant
-- Return what the priority of the tenant's accounts comes from.
SELECT plan, last_login_at, now() AS now FROM tenants WHERE id = $1

-- name: add
-- Add an account; it is due at once.
INSERT INTO provider_configs (
    tenant_id, id, provider_type, email_address, settings, credentials, endpoint, sync_priority
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: wake
-- Tell the daemons that an account became due.
SELECT pg_notify('emailsync_wake', '')

-- name: accounts
-- Return accounts with their endpoints' circuits, and the time: of the tenant $1, with the id $2, with
-- the address $3, where those are given.
SELECT tenant_id, id, account.provider_type, email_address, settings, account.endpoint, status,
    is_active, sync_priority, last_synced_at, next_sync_at, attempt, sync_error_count, last_error,
    last_error_class, last_error_at, circuit_state, circuit_failures, circuit_retry_at, lease_owner,
    lease_until, leased_at, created_at, circuits.state AS endpoint_state,
    circuits.failures AS endpoint_failures, circuits.retry_at AS endpoint_retry_at, now() AS now
FROM provider_configs AS account
LEFT JOIN circuits ON circuits.provider_type = account.provider_type
    AND circuits.endpoint = account.endpoint
WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::uuid IS NULL OR id = $2)
    AND ($3::text IS NULL OR lower(email_address) = lower($3))
ORDER BY tenant_id, email_address, account.provider_type

-- name: pause
-- Stop syncing the account.
UPDATE provider_configs
SET status = 'paused', lease_epoch = lease_epoch + 1, lease_owner = NULL, lease_until = '-infinity',
    updated_at = now()
WHERE tenant_id = $1 AND id = $2
RETURNING id

-- name: resume
-- Sync the account again and at once, its failures forgotten.
UPDATE provider_configs
SET status = 'active', is_active = true, next_sync_at = now(), attempt = 1, auth_refusals = 0,
    sync_error_count = 0, last_error = NULL, last_error_class = NULL, last_error_at = NULL,
    circuit_state = 'CLOSED', circuit_failures = 0, circuit_retry_at = NULL, updated_at = now()
WHERE tenant_id = $1 AND id = $2
RETURNING id

-- name: set_credentials
-- Replace the credentials, so that no run with the old ones reports them refused, nor renews them.
UPDATE provider_configs
SET credentials = $3, credentials_version = credentials_version + 1, renewal_until = NULL,
    lease_epoch = lease_epoch + 1, lease_owner = NULL,
    lease_until = '-infinity', updated_at = now()
WHERE tenant_id = $1 AND id = $2
RETURNING id

-- name: remove
-- Remove the account with everything of it, and tell the feed that its mail is gone: whoever follows
-- it has to hear of that too. The feed itself is kept as long as any other part of it.
WITH told AS (
    INSERT INTO changes (tenant_id, provider_id, message_id, kind)
    SELECT tenant_id, provider_id, id, 'deleted' FROM messages
    WHERE tenant_id = $1 AND provider_id = $2 AND deleted_at IS NULL
)
DELETE FROM provider_configs WHERE tenant_id = $1 AND id = $2
RETURNING id, pg_notify('emailsync_changes', $1)

-- name: runs
-- Return the last $3 runs of the account, latest first. Plan: sync_runs_provider_idx.
SELECT queue, instance_id, attempt, result, error_class, error, started_at, duration_ms, created,
    updated, deleted, quarantined, unexplained, fetched_bytes
FROM sync_runs WHERE tenant_id = $1 AND provider_id = $2
ORDER BY id DESC LIMIT $3

-- name: completeness
-- Return how much of the account is stored.
SELECT count(*) AS folders,
    count(*) FILTER (WHERE backfill_before IS NOT NULL) AS backfilling_folders,
    count(*) FILTER (WHERE remote_count <> stored_count) AS differing_folders,
    coalesce(sum(stored_count), 0)::bigint AS stored_messages,
    coalesce(sum(remote_count), 0)::bigint AS remote_messages,
    (
        SELECT count(DISTINCT remote_id) FROM quarantine
        WHERE tenant_id = $1 AND provider_id = $2
    ) AS quarantined
FROM folders WHERE tenant_id = $1 AND provider_id = $2
