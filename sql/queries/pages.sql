-- sql/queries/pages.sql: what a page of changes writes beside messages: the lease that fences it,
-- cursors, counts, quarantine and the change feed.

-- name: hold_lease
-- Lock the account until the transaction ends, if the lease epoch $3 is still the current one. Who
-- writes is alive, so a lease with less than half of its $4 seconds left begins anew: an account
-- that is written all the time is locked whenever leases.sql, extend, looks for it.
WITH held AS (
    SELECT lease_owner IS NOT NULL AND lease_until < now() + make_interval(secs => $4 / 2)
        AS is_running_out
    FROM provider_configs
    WHERE tenant_id = $1 AND id = $2 AND lease_epoch = $3
    FOR NO KEY UPDATE
), prolonged AS (
    UPDATE provider_configs SET lease_until = now() + make_interval(secs => $4) FROM held
    WHERE tenant_id = $1 AND id = $2 AND held.is_running_out
)
SELECT 1 FROM held

-- name: save_cursors
-- Replace the cursors of the folders $3, where they differ.
UPDATE folders AS stored
SET uid_validity = page.uid_validity, uid_next = page.uid_next,
    highest_modseq = page.highest_modseq, backfill_before = page.backfill_before,
    delta_link = page.delta_link, resume_link = page.resume_link, compare_link = page.compare_link
FROM unnest(
    $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[],
    $10::text[]
) AS page (
    id, uid_validity, uid_next, highest_modseq, backfill_before, delta_link, resume_link, compare_link
)
WHERE stored.tenant_id = $1 AND stored.provider_id = $2 AND stored.id = page.id
    AND (stored.uid_validity, stored.uid_next, stored.highest_modseq, stored.backfill_before,
        stored.delta_link, stored.resume_link, stored.compare_link)
    IS DISTINCT FROM (page.uid_validity, page.uid_next, page.highest_modseq, page.backfill_before,
        page.delta_link, page.resume_link, page.compare_link)

-- name: save_account_cursor
-- Replace the account's bookmarks where they differ: NULL leaves one as it is, '' removes it.
UPDATE provider_configs
SET last_sync_uid = nullif(coalesce($3, last_sync_uid), ''),
    last_history_id = nullif(coalesce($4, last_history_id), ''),
    last_delta_link = nullif(coalesce($5, last_delta_link), ''),
    resume_token = nullif(coalesce($6, resume_token), '')
WHERE tenant_id = $1 AND id = $2
    AND (last_sync_uid, last_history_id, last_delta_link, resume_token)
    IS DISTINCT FROM (nullif(coalesce($3, last_sync_uid), ''),
        nullif(coalesce($4, last_history_id), ''), nullif(coalesce($5, last_delta_link), ''),
        nullif(coalesce($6, resume_token), ''))

-- name: mark_unchecked
-- Mail came into the folders $3 or left them: their counts have to be compared, by a later sync if
-- this one is cut.
UPDATE folders SET check_due = true
WHERE tenant_id = $1 AND provider_id = $2 AND id = ANY ($3::bigint[]) AND NOT check_due

-- name: check_folder
-- Count what is stored of the folder $3, quarantined messages included, and note it beside the
-- server's count $4. Equal to what is noted already, it writes nothing: checked_at tells of the
-- last change. Counts that have come to differ, or to differ by more or less, have the folder
-- compared in full; a difference that a comparison left is not looked into again with each new mail.
WITH counted AS (
    SELECT (
        SELECT count(*) FROM message_folders WHERE tenant_id = $1 AND folder_id = $3
    ) + (
        SELECT count(*) FROM quarantine
        WHERE tenant_id = $1 AND folder_id = $3 AND NOT EXISTS (
            SELECT FROM messages AS live
            WHERE live.tenant_id = $1 AND live.provider_id = $2
                AND live.remote_id = quarantine.remote_id
                AND live.deleted_at IS NULL AND live.detached_at IS NULL
        )
    ) AS stored_count
), noted AS (
    UPDATE folders
    SET remote_count = $4, stored_count = counted.stored_count, checked_at = now(),
        check_due = false, comparison_due_at = CASE
            WHEN counted.stored_count = $4
                OR counted.stored_count - $4 = folders.stored_count - folders.remote_count
                THEN comparison_due_at
            ELSE least(comparison_due_at, now())
        END
    FROM counted
    WHERE tenant_id = $1 AND provider_id = $2 AND id = $3
        AND (folders.remote_count, folders.stored_count, check_due)
        IS DISTINCT FROM ($4, counted.stored_count, false)
)
SELECT stored_count FROM counted

-- name: note_comparisons
-- The folders $3 were compared in full: again in a week, or in a day where a difference stays that
-- nothing explains; somewhat earlier by chance, so that many that are compared together drift apart.
UPDATE folders SET comparison_due_at = now() + (1 - 0.1 * (SELECT random())) * CASE
    WHEN remote_count <> stored_count THEN interval '1 day' ELSE interval '7 days' END
WHERE tenant_id = $1 AND provider_id = $2 AND id = ANY ($3::bigint[])

-- name: quarantine
-- Put aside a message that cannot be had ($6 'fetch') or kept ($6 'store'), or count it once more: a
-- row for each of the folders $4, where it has the UIDs $5, and the bytes $8 in the first alone.
WITH strayed AS (
    DELETE FROM quarantine
    WHERE tenant_id = $1 AND provider_id = $2 AND md5(remote_id) = md5($3)
        AND folder_id <> ALL ($4::bigint[])
)
INSERT INTO quarantine (tenant_id, provider_id, remote_id, folder_id, uid, stage, reason, raw)
SELECT $1, $2, $3, folders.id, place.uid, $6, $7, CASE WHEN place.number = 1 THEN $8::bytea END
FROM unnest($4::bigint[], $5::bigint[]) WITH ORDINALITY AS place (folder_id, uid, number)
LEFT JOIN folders ON folders.tenant_id = $1 AND folders.id = place.folder_id
ON CONFLICT (tenant_id, provider_id, md5(remote_id), coalesce(folder_id, 0)) DO UPDATE SET
    uid = excluded.uid, stage = excluded.stage, reason = excluded.reason,
    raw = coalesce(excluded.raw, quarantine.raw), last_seen_at = now(),
    attempts = quarantine.attempts + 1

-- name: forget_quarantined_messages
-- The provider has the quarantined messages $3 no longer.
DELETE FROM quarantine
WHERE tenant_id = $1 AND provider_id = $2
    AND md5(remote_id) IN (SELECT md5(remote_id) FROM unnest($3::text[]) AS gone (remote_id))

-- name: forget_quarantined_uids
-- The provider has the quarantined UIDs $3 of the folder $2 no longer.
DELETE FROM quarantine WHERE tenant_id = $1 AND folder_id = $2 AND uid = ANY ($3::bigint[])

-- name: forget_quarantined_in_folder
-- The provider has the quarantined messages $4 in the folder $3 no longer.
DELETE FROM quarantine
WHERE tenant_id = $1 AND provider_id = $2 AND folder_id = $3
    AND md5(remote_id) IN (SELECT md5(remote_id) FROM unnest($4::text[]) AS gone (remote_id))

-- name: record_changes
-- Tell the application of the messages $3 by the kinds $4, and wake whoever listens.
WITH recorded AS (
    INSERT INTO changes (tenant_id, provider_id, message_id, kind)
    SELECT $1, $2, message_id, kind FROM unnest($3::bigint[], $4::text[]) AS change (message_id, kind)
    ORDER BY message_id
)
SELECT pg_notify('emailsync_changes', $1)
