-- sql/queries/folders.sql: the folders of an account and what a session reads of them.

-- name: folders
-- Return the folders of the account, ordered by path.
SELECT id, remote_id, path, role, uid_validity, uid_next, highest_modseq, backfill_before, delta_link,
    resume_link, compare_link, stored_count, remote_count, check_due, missing_count, generations,
    now() - generation_at AS since_generation, EXISTS (
        SELECT FROM quarantine
        WHERE quarantine.tenant_id = $1 AND quarantine.folder_id = folders.id
            AND stage = 'fetch' AND last_seen_at < now() - interval '1 day' AND NOT EXISTS (
                SELECT FROM messages AS live
                WHERE live.tenant_id = $1 AND live.provider_id = $2
                    AND live.remote_id = quarantine.remote_id
                    AND live.deleted_at IS NULL AND live.detached_at IS NULL
            )
    ) AS quarantine_due
FROM folders WHERE tenant_id = $1 AND provider_id = $2
ORDER BY path, id

-- name: empty_folders
-- Remove the placements of the folders $3, of this account only; return their messages.
DELETE FROM message_folders AS place USING folders
WHERE place.tenant_id = $1 AND place.folder_id = folders.id
    AND folders.tenant_id = $1 AND folders.provider_id = $2 AND folders.id = ANY ($3::bigint[])
RETURNING place.message_id

-- name: delete_folders
-- Remove the folders $3.
DELETE FROM folders WHERE tenant_id = $1 AND provider_id = $2 AND id = ANY ($3::bigint[])

-- name: free_names
-- Let go of the names of the folders $3, so that they may exchange them.
UPDATE folders SET remote_id = 'renaming:' || id
WHERE tenant_id = $1 AND provider_id = $2 AND id = ANY ($3::bigint[])

-- name: rename_folders
-- Give the folders $3 their new names $4, paths $5 and roles $6.
UPDATE folders SET remote_id = page.remote_id, path = page.path, role = page.role
FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[]) AS page (id, remote_id, path, role)
WHERE tenant_id = $1 AND provider_id = $2 AND folders.id = page.id

-- name: save_seen
-- Add the folders $3 with the paths $4 and roles $5, or bring them up to date: they are not missing.
INSERT INTO folders (tenant_id, provider_id, remote_id, path, role)
SELECT $1, $2, remote_id, path, role
FROM unnest($3::text[], $4::text[], $5::text[]) AS page (remote_id, path, role)
ON CONFLICT (tenant_id, provider_id, md5(remote_id)) DO UPDATE SET
    path = excluded.path, role = excluded.role, missing_count = 0

-- name: count_missing
-- One more listing did not show the folders $3.
UPDATE folders SET missing_count = missing_count + 1
WHERE tenant_id = $1 AND provider_id = $2 AND id = ANY ($3::bigint[])

-- name: placements
-- Return up to $4 placements of the folder $2 from the UID $3 on. Plan: message_folders_uid_idx.
SELECT place.message_id, place.uid, is_read, is_starred, is_answered, is_draft, keywords
FROM message_folders AS place
JOIN messages ON messages.tenant_id = $1 AND messages.id = place.message_id
WHERE place.tenant_id = $1 AND place.folder_id = $2 AND place.uid >= $3
ORDER BY place.uid LIMIT $4

-- name: fingerprints
-- Return what recognises the messages with the UIDs $3 of the folder $2; for NULL, of all that have
-- lost their UID.
SELECT place.message_id, place.uid, messages.message_id AS header_message_id, size_bytes, received_at
FROM message_folders AS place
JOIN messages ON messages.tenant_id = $1 AND messages.id = place.message_id
WHERE place.tenant_id = $1 AND place.folder_id = $2 AND place.uid = ANY ($3::bigint[])
UNION ALL
SELECT place.message_id, place.uid, messages.message_id, size_bytes, received_at
FROM message_folders AS place
JOIN messages ON messages.tenant_id = $1 AND messages.id = place.message_id
WHERE $3::bigint[] IS NULL AND place.tenant_id = $1 AND place.folder_id = $2 AND place.uid IS NULL

-- name: quarantined_uids
-- Return the UIDs of the folder $3 that are put aside instead of stored.
SELECT uid FROM quarantine
WHERE tenant_id = $1 AND folder_id = $3 AND uid IS NOT NULL AND NOT EXISTS (
    SELECT FROM messages AS live
    WHERE live.tenant_id = $1 AND live.provider_id = $2 AND live.remote_id = quarantine.remote_id
        AND live.deleted_at IS NULL AND live.detached_at IS NULL
)
ORDER BY uid

-- name: lookup
-- Return the messages with the names $3 that are not deleted, those that lie in no folder included.
-- Plan: messages_remote_id_idx, messages_detached_idx.
SELECT id, remote_id, is_read, is_starred, is_answered, is_draft, keywords, '{}'::bigint[] AS folders
FROM messages
WHERE tenant_id = $1 AND provider_id = $2 AND remote_id = ANY ($3::text[])
    AND detached_at IS NOT NULL
UNION ALL
SELECT id, remote_id, is_read, is_starred, is_answered, is_draft, keywords, ARRAY (
        SELECT folder_id FROM message_folders AS place
        WHERE place.tenant_id = $1 AND place.message_id = messages.id
    )
FROM messages
WHERE tenant_id = $1 AND provider_id = $2 AND remote_id = ANY ($3::text[])
    AND deleted_at IS NULL AND detached_at IS NULL

-- name: inventory
-- Return up to $4 messages of the account that are not deleted, by name and behind the name $3.
-- Plan: messages_remote_id_idx, messages_detached_idx.
(
    SELECT id, remote_id, is_read, is_starred, is_answered, is_draft, keywords,
        '{}'::bigint[] AS folders
    FROM messages
    WHERE tenant_id = $1 AND provider_id = $2 AND remote_id > $3 AND detached_at IS NOT NULL
    ORDER BY remote_id LIMIT $4
) UNION ALL (
    SELECT id, remote_id, is_read, is_starred, is_answered, is_draft, keywords, ARRAY (
            SELECT folder_id FROM message_folders AS place
            WHERE place.tenant_id = $1 AND place.message_id = messages.id
        )
    FROM messages
    WHERE tenant_id = $1 AND provider_id = $2 AND remote_id > $3
        AND deleted_at IS NULL AND detached_at IS NULL
    ORDER BY remote_id LIMIT $4
)
ORDER BY remote_id LIMIT $4

-- name: folder_inventory
-- Return up to $4 messages of the folder $5, by name and behind the name $3. A large folder is read
-- along the account's names, a small one whole. Plan: messages_remote_id_idx.
SELECT id, remote_id, is_read, is_starred, is_answered, is_draft, keywords, ARRAY (
        SELECT folder_id FROM message_folders AS place
        WHERE place.tenant_id = $1 AND place.message_id = messages.id
    ) AS folders
FROM messages
JOIN message_folders AS here
    ON here.tenant_id = $1 AND here.folder_id = $5 AND here.message_id = messages.id
WHERE messages.tenant_id = $1 AND provider_id = $2 AND remote_id > $3
    AND deleted_at IS NULL AND detached_at IS NULL
ORDER BY remote_id LIMIT $4

-- name: detached
-- Return up to $4 names of messages that lie in no folder, behind the name $3.
-- Plan: messages_detached_idx.
SELECT remote_id FROM messages
WHERE tenant_id = $1 AND provider_id = $2 AND remote_id > $3 AND detached_at IS NOT NULL
ORDER BY remote_id LIMIT $4

-- name: comparison_due
-- Return the folder that is to be compared in full before all others but $3, the archive first: at
-- Gmail to compare that is to compare all.
SELECT id FROM folders
WHERE tenant_id = $1 AND provider_id = $2 AND comparison_due_at <= now() AND id <> ALL ($3::bigint[])
ORDER BY role = 'archive' DESC NULLS LAST, comparison_due_at, id LIMIT 1

-- name: quarantined_ids
-- Return the names of the messages that are put aside instead of stored.
SELECT DISTINCT remote_id FROM quarantine
WHERE tenant_id = $1 AND provider_id = $2 AND NOT EXISTS (
    SELECT FROM messages AS live
    WHERE live.tenant_id = $1 AND live.provider_id = $2 AND live.remote_id = quarantine.remote_id
        AND live.deleted_at IS NULL AND live.detached_at IS NULL
)
ORDER BY remote_id

-- name: account
-- Return what opens a session of the account, while the lease epoch $3 is the current one.
SELECT provider_type, email_address, settings, credentials, last_sync_uid, last_history_id,
    last_delta_link, resume_token, EXISTS (
        SELECT FROM messages
        WHERE messages.tenant_id = $1 AND provider_id = $2 AND detached_at IS NOT NULL
    ) AS has_detached, EXISTS (
        SELECT FROM folders
        WHERE folders.tenant_id = $1 AND folders.provider_id = $2 AND comparison_due_at <= now()
    ) AS has_comparison_due, quota_spent, extract(epoch FROM now())::double precision AS now_s
FROM provider_configs WHERE tenant_id = $1 AND id = $2 AND lease_epoch = $3
