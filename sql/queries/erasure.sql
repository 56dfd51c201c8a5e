-- sql/queries/erasure.sql: accounts and tenants that are removed for good. A mark comes first, which
-- ends everybody's work on them at once; rows follow in bounded numbers, so that no transaction grows
-- with a mailbox; the marked row goes last, so that whoever is interrupted can go on. Rows are named by
-- where they lie (ctid), for which there is one way to find them; one that moves is found next time.

-- name: mark_account
-- Nobody syncs or sees the account any more, and its credentials are gone.
UPDATE provider_configs
SET removed_at = now(), is_active = false, credentials = NULL, renewal_until = NULL,
    credentials_version = credentials_version + 1, requested_at = NULL,
    lease_epoch = lease_epoch + 1, lease_owner = NULL, lease_until = '-infinity', updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND removed_at IS NULL
RETURNING id

-- name: mark_tenant
-- Nobody sees the tenant or adds to it any more.
UPDATE tenants SET removed_at = now() WHERE id = $1 AND removed_at IS NULL RETURNING id

-- name: mark_accounts
-- Mark the accounts of the tenant $1 as mark_account does one.
UPDATE provider_configs
SET removed_at = now(), is_active = false, credentials = NULL, renewal_until = NULL,
    credentials_version = credentials_version + 1, requested_at = NULL,
    lease_epoch = lease_epoch + 1, lease_owner = NULL, lease_until = '-infinity', updated_at = now()
WHERE tenant_id = $1 AND removed_at IS NULL

-- name: marked_accounts
-- Return what is marked, of the tenant $1 or for NULL of all. Plan: provider_configs_removed_idx.
SELECT tenant_id, id FROM provider_configs
WHERE removed_at IS NOT NULL AND ($1::text IS NULL OR tenant_id = $1)

-- name: marked_tenants
-- Return the tenants that are marked.
SELECT id FROM tenants WHERE removed_at IS NOT NULL

-- name: erase_messages
-- Erase up to $3 messages of the account with all that hangs on them, and tell the feed: whoever
-- follows it has to hear that they are gone. Plan: messages_provider_idx.
WITH erased AS (
    DELETE FROM messages WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
        SELECT ctid FROM messages WHERE tenant_id = $1 AND provider_id = $2 LIMIT $3
    ))
    RETURNING id, deleted_at
), told AS (
    INSERT INTO changes (tenant_id, provider_id, message_id, kind)
    SELECT $1, $2, id, 'deleted' FROM erased WHERE deleted_at IS NULL ORDER BY id
)
SELECT count(*), pg_notify('emailsync_changes', $1) FROM erased

-- name: erase_runs
-- Erase up to $3 runs of the account. Plan: sync_runs_provider_idx.
WITH erased AS (
    DELETE FROM sync_runs WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
        SELECT ctid FROM sync_runs WHERE tenant_id = $1 AND provider_id = $2 LIMIT $3
    ))
    RETURNING id
)
SELECT count(*) FROM erased

-- name: erase_quarantine
-- Erase up to $3 messages that were set aside. Plan: quarantine_remote_id_idx.
WITH erased AS (
    DELETE FROM quarantine WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
        SELECT ctid FROM quarantine WHERE tenant_id = $1 AND provider_id = $2 LIMIT $3
    ))
    RETURNING id
)
SELECT count(*) FROM erased

-- name: erase_account
-- Erase the marked account with its folders, which are empty.
DELETE FROM provider_configs WHERE tenant_id = $1 AND id = $2 AND removed_at IS NOT NULL

-- name: erase_changes
-- Erase up to $2 entries of the feed of the tenant $1. Plan: changes_pkey.
WITH erased AS (
    DELETE FROM changes WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
        SELECT ctid FROM changes WHERE tenant_id = $1 LIMIT $2
    ))
    RETURNING seq
)
SELECT count(*) FROM erased

-- name: erase_tenant
-- Erase the marked tenant with its tokens.
DELETE FROM tenants WHERE id = $1 AND removed_at IS NOT NULL
