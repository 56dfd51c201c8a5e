-- sql/queries/accounts.sql: what the operator does with accounts. Whatever changes how an account is
-- synced takes its lease away: a run under way is fenced off and stops.

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

-- name: wake_for
-- Tell the daemons that the account $2 of the tenant $1 has another place in line.
SELECT pg_notify(
    'emailsync_wake', json_build_object('tenant', $1::text, 'account', $2::uuid)::text
)

-- name: accounts
-- Return up to $8 accounts behind the key ($6, $7), in the order of keys, with their endpoints' circuits
-- and the time: those of the tenant $9, with the id $10, the type $11, the status $12, the address $13,
-- the activity $14 and the text $15 in their address or tenant, where these are given. $1-$5: see
-- situations.sql. Plan: provider_configs_pkey, provider_configs_id_idx.
SELECT tenant_id, id, provider_type, email_address, settings, endpoint, status, is_active,
    sync_priority, last_synced_at, next_sync_at, attempt, sync_error_count, last_error,
    last_error_class, last_error_at, circuit_state, circuit_failures, circuit_retry_at, lease_owner,
    lease_until, leased_at, created_at, endpoint_state, endpoint_failures, endpoint_retry_at,
    now() AS now
FROM ({{situations}}) AS account
WHERE (tenant_id, id) > ($6::text, $7::uuid) AND removed_at IS NULL
    AND ($9::text IS NULL OR tenant_id = $9) AND ($10::uuid IS NULL OR id = $10)
    AND ($11::text IS NULL OR provider_type = $11) AND ($12::text IS NULL OR status = $12)
    AND ($13::text IS NULL OR lower(email_address) = lower($13))
    AND ($14::text IS NULL OR activity = $14)
    AND (
        $15::text IS NULL OR position(lower($15) IN lower(email_address)) > 0
        OR position(lower($15) IN lower(tenant_id)) > 0
    )
ORDER BY tenant_id, id LIMIT $8

-- name: pause
-- Stop syncing the account.
UPDATE provider_configs
SET status = 'paused', lease_epoch = lease_epoch + 1, lease_owner = NULL, lease_until = '-infinity',
    updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL
RETURNING id

-- name: resume
-- Sync the account again and at once, its failures forgotten.
UPDATE provider_configs
SET status = 'active', is_active = true, next_sync_at = now(), attempt = 1, auth_refusals = 0,
    sync_error_count = 0, last_error = NULL, last_error_class = NULL, last_error_at = NULL,
    circuit_state = 'CLOSED', circuit_failures = 0, circuit_retry_at = NULL, updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL
RETURNING id

-- name: set_credentials
-- Replace the credentials, so that no run with the old ones reports them refused, nor renews them.
UPDATE provider_configs
SET credentials = $3, credentials_version = credentials_version + 1, renewal_until = NULL,
    lease_epoch = lease_epoch + 1, lease_owner = NULL,
    lease_until = '-infinity', updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL
RETURNING id

-- name: change
-- Replace the settings by $3 with the endpoint $4, the credentials by $5 unless NULL, and is_active by
-- $6. What went wrong before is forgotten, and it is tried at once unless it is paused.
UPDATE provider_configs
SET settings = $3, endpoint = $4, credentials = coalesce($5, credentials),
    credentials_version = credentials_version + ($5::bytea IS NOT NULL)::int, renewal_until = NULL,
    is_active = $6, status = CASE WHEN status = 'paused' THEN status ELSE 'active' END,
    next_sync_at = now(), requested_at = now(), attempt = 1, auth_refusals = 0, sync_error_count = 0,
    last_error = NULL, last_error_class = NULL, last_error_at = NULL, circuit_state = 'CLOSED',
    circuit_failures = 0, circuit_retry_at = NULL, lease_epoch = lease_epoch + 1, lease_owner = NULL,
    lease_until = '-infinity', updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL
RETURNING id

-- name: request
-- Somebody wants the account to be synced now.
UPDATE provider_configs SET requested_at = now()
WHERE tenant_id = $1 AND id = $2 AND is_active AND status = 'active' AND removed_at IS NULL
RETURNING id

-- name: credentials
-- Return the sealed credentials of the account.
SELECT credentials FROM provider_configs WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL

-- name: runs
-- Return the last $3 runs of the account before the run $4, latest first.
-- Plan: sync_runs_provider_idx.
SELECT id, queue, instance_id, attempt, result, error_class, error, started_at, duration_ms, created,
    updated, deleted, quarantined, unexplained, fetched_bytes
FROM sync_runs WHERE tenant_id = $1 AND provider_id = $2 AND id < $4
ORDER BY id DESC LIMIT $3

-- name: completeness
-- Return how much of the account is stored.
SELECT count(*) AS folders,
    count(*) FILTER (WHERE backfill_before IS NOT NULL) AS backfilling_folders,
    count(*) FILTER (WHERE remote_count <> stored_count) AS differing_folders,
    coalesce(sum(stored_count), 0)::bigint AS stored_messages,
    coalesce(sum(remote_count), 0)::bigint AS remote_messages,
    min(comparison_due_at) AS next_comparison_at,
    (
        SELECT count(DISTINCT remote_id) FROM quarantine
        WHERE tenant_id = $1 AND provider_id = $2
    ) AS quarantined
FROM folders WHERE tenant_id = $1 AND provider_id = $2
