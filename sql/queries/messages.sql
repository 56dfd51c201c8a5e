-- sql/queries/messages.sql: the messages of a page and where they lie. Every write names the tenant
-- and runs in a transaction that holds the lease (pages.sql, hold_lease). "Live" is a row that lies
-- in a folder, the only kind that a provider's name stands for.

-- name: insert_messages
-- Store the messages ($3-$30) that are not live yet with their placements ($31-$33) and attachments
-- ($34-$41), tell the application of them, and return their ids and how many placements each got.
-- Where a vanished row has one of the hashes $42 or of the names $43, which is to be taken over first,
-- nothing is stored. Plan: messages_remote_id_idx.
WITH created AS (
    INSERT INTO messages (
        tenant_id, provider_id, remote_id, thread_key, message_id, in_reply_to, subject,
        from_address, from_name, to_addresses, cc_addresses, bcc_addresses, reply_to, sent_at,
        received_at, size_bytes, is_read, is_starred, is_answered, is_draft, keywords, snippet,
        body_text, body_html, headers, has_attachments, raw, raw_sha256, is_truncated, parse_error
    )
    SELECT
        $1, $2, remote_id, thread_key, message_id, in_reply_to, subject,
        from_address, from_name, to_addresses, cc_addresses, bcc_addresses, reply_to, sent_at,
        received_at, size_bytes, is_read, is_starred, is_answered, is_draft, keywords::text[], snippet,
        body_text, body_html, headers, has_attachments, raw, raw_sha256, is_truncated, parse_error
    FROM unnest(
        $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::jsonb[], $11::jsonb[], $12::jsonb[], $13::jsonb[], $14::timestamptz[],
        $15::timestamptz[], $16::bigint[], $17::boolean[], $18::boolean[], $19::boolean[],
        $20::boolean[], $21::text[], $22::text[], $23::text[], $24::text[], $25::jsonb[],
        $26::boolean[], $27::bytea[], $28::bytea[], $29::boolean[], $30::text[]
    ) AS page (
        remote_id, thread_key, message_id, in_reply_to, subject, from_address, from_name,
        to_addresses, cc_addresses, bcc_addresses, reply_to, sent_at,
        received_at, size_bytes, is_read, is_starred, is_answered,
        is_draft, keywords, snippet, body_text, body_html, headers,
        has_attachments, raw, raw_sha256, is_truncated, parse_error
    )
    WHERE NOT EXISTS (
        SELECT FROM messages AS vanished
        WHERE vanished.tenant_id = $1 AND vanished.provider_id = $2
            AND vanished.raw_sha256 = ANY ($42::bytea[])
            AND (vanished.deleted_at IS NOT NULL OR vanished.detached_at IS NOT NULL)
    ) AND NOT EXISTS (
        SELECT FROM messages AS vanished
        WHERE vanished.tenant_id = $1 AND vanished.provider_id = $2
            AND vanished.remote_id = ANY ($43::text[])
            AND (vanished.deleted_at IS NOT NULL OR vanished.detached_at IS NOT NULL)
    )
    ON CONFLICT (tenant_id, provider_id, remote_id)
        WHERE deleted_at IS NULL AND detached_at IS NULL DO NOTHING
    RETURNING id, remote_id
), placed AS (
    INSERT INTO message_folders (tenant_id, folder_id, message_id, uid)
    SELECT $1, place.folder_id, created.id, place.uid
    FROM created
    JOIN unnest($31::text[], $32::bigint[], $33::bigint[]) AS place (remote_id, folder_id, uid)
        USING (remote_id)
    ON CONFLICT DO NOTHING
    RETURNING message_id
), attached AS (
    INSERT INTO attachments (
        tenant_id, message_id, position, filename, content_type, size_bytes, content_id, is_inline,
        sha256
    )
    SELECT
        $1, created.id, part.position, part.filename, part.content_type, part.size_bytes,
        part.content_id, part.is_inline, part.sha256
    FROM created
    JOIN unnest(
        $34::text[], $35::int[], $36::text[], $37::text[], $38::bigint[], $39::text[],
        $40::boolean[], $41::bytea[]
    ) AS part (
        remote_id, position, filename, content_type, size_bytes, content_id,
        is_inline, sha256
    ) USING (remote_id)
), released AS (
    DELETE FROM quarantine USING created
    WHERE quarantine.tenant_id = $1 AND quarantine.provider_id = $2
        AND md5(quarantine.remote_id) = md5(created.remote_id)
), recorded AS (
    INSERT INTO changes (tenant_id, provider_id, message_id, kind)
    SELECT $1, $2, id, 'created' FROM created ORDER BY id
)
SELECT created.id, created.remote_id, count(placed.message_id) AS placements,
    (SELECT pg_notify('emailsync_changes', $1)) AS told
FROM created LEFT JOIN placed ON placed.message_id = created.id
GROUP BY created.id, created.remote_id

-- name: has_vanished
-- Return whether a vanished row has one of the hashes $3 or of the names $4 by now: what insert_messages
-- looked for when it began. Plan: messages_vanished_idx, messages_vanished_name_idx.
SELECT EXISTS (
    SELECT FROM messages
    WHERE tenant_id = $1 AND provider_id = $2 AND raw_sha256 = ANY ($3::bytea[])
        AND (deleted_at IS NOT NULL OR detached_at IS NOT NULL)
) OR EXISTS (
    SELECT FROM messages
    WHERE tenant_id = $1 AND provider_id = $2 AND remote_id = ANY ($4::text[])
        AND (deleted_at IS NOT NULL OR detached_at IS NOT NULL)
)

-- name: update_messages
-- Bring the live messages of a page ($3-$30 as in insert_messages) to what the provider says now;
-- return the ids of those that differed. The raw bytes are compared by their hash.
UPDATE messages AS stored
SET (
        thread_key, message_id, in_reply_to, subject, from_address, from_name, to_addresses,
        cc_addresses, bcc_addresses, reply_to, sent_at, received_at, size_bytes, is_read, is_starred,
        is_answered, is_draft, keywords, snippet, body_text, body_html, headers, has_attachments,
        raw, raw_sha256, is_truncated, parse_error, updated_at
    ) = (
        page.thread_key, page.message_id, page.in_reply_to, page.subject, page.from_address,
        page.from_name, page.to_addresses, page.cc_addresses, page.bcc_addresses, page.reply_to,
        page.sent_at, page.received_at, page.size_bytes, page.is_read, page.is_starred,
        page.is_answered, page.is_draft, page.keywords::text[], page.snippet, page.body_text,
        page.body_html, page.headers, page.has_attachments,
        CASE WHEN stored.raw_sha256 = page.raw_sha256 THEN coalesce(stored.raw, page.raw)
            ELSE page.raw END,
        page.raw_sha256, page.is_truncated, page.parse_error, now()
    )
FROM unnest(
    $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::jsonb[], $11::jsonb[], $12::jsonb[], $13::jsonb[], $14::timestamptz[],
    $15::timestamptz[], $16::bigint[], $17::boolean[], $18::boolean[], $19::boolean[],
    $20::boolean[], $21::text[], $22::text[], $23::text[], $24::text[], $25::jsonb[],
    $26::boolean[], $27::bytea[], $28::bytea[], $29::boolean[], $30::text[]
) AS page (
    remote_id, thread_key, message_id, in_reply_to, subject, from_address, from_name,
    to_addresses, cc_addresses, bcc_addresses, reply_to, sent_at,
    received_at, size_bytes, is_read, is_starred, is_answered,
    is_draft, keywords, snippet, body_text, body_html, headers,
    has_attachments, raw, raw_sha256, is_truncated, parse_error
)
WHERE stored.tenant_id = $1 AND stored.provider_id = $2 AND stored.remote_id = page.remote_id
    AND stored.deleted_at IS NULL AND stored.detached_at IS NULL
    AND (
        (stored.raw IS NULL AND page.raw IS NOT NULL)
        OR (
            stored.thread_key, stored.message_id, stored.in_reply_to, stored.subject,
            stored.from_address, stored.from_name, stored.to_addresses, stored.cc_addresses,
            stored.bcc_addresses, stored.reply_to, stored.sent_at, stored.received_at,
            stored.size_bytes, stored.is_read, stored.is_starred, stored.is_answered,
            stored.is_draft, stored.keywords, stored.snippet, stored.body_text, stored.body_html,
            stored.headers, stored.has_attachments, stored.raw_sha256, stored.is_truncated,
            stored.parse_error
        ) IS DISTINCT FROM (
            page.thread_key, page.message_id, page.in_reply_to, page.subject,
            page.from_address, page.from_name, page.to_addresses, page.cc_addresses,
            page.bcc_addresses, page.reply_to, page.sent_at, page.received_at,
            page.size_bytes, page.is_read, page.is_starred, page.is_answered,
            page.is_draft, page.keywords::text[], page.snippet, page.body_text, page.body_html,
            page.headers, page.has_attachments, page.raw_sha256, page.is_truncated,
            page.parse_error
        )
    )
RETURNING stored.id

-- name: lacks_raw
-- Return the live message $3 if its bytes are not stored.
SELECT id FROM messages
WHERE tenant_id = $1 AND provider_id = $2 AND remote_id = $3
    AND deleted_at IS NULL AND detached_at IS NULL AND raw IS NULL

-- name: add_raw_piece
-- Hand over the piece $4 with the number $3 of the bytes of the message $2.
INSERT INTO raw_pieces (tenant_id, message_id, number, piece) VALUES ($1, $2, $3, $4)

-- name: join_raw_pieces
-- Store the bytes of the message $2 from their pieces.
WITH taken AS (
    DELETE FROM raw_pieces WHERE tenant_id = $1 AND message_id = $2 RETURNING number, piece
)
UPDATE messages SET raw = (SELECT string_agg(piece, ''::bytea ORDER BY number) FROM taken)
WHERE tenant_id = $1 AND id = $2

-- name: replace_attachments
-- Make the attachments of the messages $2 exactly these ($3-$10); return the messages that differed.
WITH wanted AS (
    SELECT * FROM unnest(
        $3::bigint[], $4::int[], $5::text[], $6::text[], $7::bigint[], $8::text[], $9::boolean[],
        $10::bytea[]
    ) AS part (
        message_id, position, filename, content_type, size_bytes, content_id, is_inline,
        sha256
    )
), dropped AS (
    DELETE FROM attachments AS stored
    WHERE tenant_id = $1 AND message_id = ANY ($2::bigint[]) AND NOT EXISTS (
        SELECT FROM wanted
        WHERE wanted.message_id = stored.message_id AND wanted.position = stored.position
    )
    RETURNING message_id
), written AS (
    INSERT INTO attachments (
        tenant_id, message_id, position, filename, content_type, size_bytes, content_id, is_inline,
        sha256
    )
    SELECT $1, wanted.* FROM wanted
    WHERE NOT EXISTS (
        SELECT FROM attachments AS stored
        WHERE stored.tenant_id = $1 AND stored.message_id = wanted.message_id
            AND stored.position = wanted.position
            AND (stored.filename, stored.content_type, stored.size_bytes, stored.content_id,
                stored.is_inline, stored.sha256)
            IS NOT DISTINCT FROM (wanted.filename, wanted.content_type, wanted.size_bytes,
                wanted.content_id, wanted.is_inline, wanted.sha256)
    )
    ON CONFLICT (tenant_id, message_id, position) DO UPDATE SET
        filename = excluded.filename, content_type = excluded.content_type,
        size_bytes = excluded.size_bytes, content_id = excluded.content_id,
        is_inline = excluded.is_inline, sha256 = excluded.sha256
    RETURNING message_id
)
SELECT message_id FROM dropped UNION SELECT message_id FROM written

-- name: adopt_vanished
-- Give the messages that arrive as $3 the rows of vanished ones with the same bytes ($4), one to one,
-- detached rows before deleted ones: a move keeps its row and id. Return the rows taken.
-- Plan: messages_vanished_idx.
WITH arriving AS (
    SELECT remote_id, raw_sha256,
        row_number() OVER (PARTITION BY raw_sha256 ORDER BY remote_id) AS turn
    FROM unnest($3::text[], $4::bytea[]) AS page (remote_id, raw_sha256)
    WHERE NOT EXISTS (
        SELECT FROM messages AS live
        WHERE live.tenant_id = $1 AND live.provider_id = $2 AND live.remote_id = page.remote_id
            AND live.deleted_at IS NULL AND live.detached_at IS NULL
    )
), vanished AS (
    SELECT id, raw_sha256, deleted_at IS NOT NULL AS was_deleted,
        row_number() OVER (
            PARTITION BY raw_sha256
            ORDER BY detached_at IS NULL, detached_at, deleted_at DESC, id
        ) AS turn
    FROM messages
    WHERE tenant_id = $1 AND provider_id = $2 AND raw_sha256 = ANY ($4::bytea[])
        AND (deleted_at IS NOT NULL OR detached_at IS NOT NULL)
        AND (deleted_at IS NULL OR deleted_at > now() - make_interval(days => $5))
)
UPDATE messages AS stored
SET remote_id = arriving.remote_id, detached_at = NULL, deleted_at = NULL, updated_at = now()
FROM arriving JOIN vanished USING (raw_sha256, turn)
WHERE stored.tenant_id = $1 AND stored.id = vanished.id
RETURNING stored.id, vanished.was_deleted

-- name: revive
-- Let the rows that the names $3 stood for live again where none does now: detached ones, and with $4
-- deleted ones as well. Return the rows. Plan: messages_vanished_name_idx.
WITH vanished AS (
    SELECT DISTINCT ON (remote_id) id, deleted_at IS NOT NULL AS was_deleted
    FROM messages
    WHERE tenant_id = $1 AND provider_id = $2 AND remote_id = ANY ($3::text[])
        AND (deleted_at IS NOT NULL OR detached_at IS NOT NULL)
        AND ($4 OR detached_at IS NOT NULL)
        AND NOT EXISTS (
            SELECT FROM messages AS live
            WHERE live.tenant_id = $1 AND live.provider_id = $2
                AND live.remote_id = messages.remote_id
                AND live.deleted_at IS NULL AND live.detached_at IS NULL
        )
    ORDER BY remote_id, detached_at IS NULL, detached_at DESC, deleted_at DESC, id
)
UPDATE messages AS stored SET detached_at = NULL, deleted_at = NULL, updated_at = now()
FROM vanished
WHERE stored.tenant_id = $1 AND stored.id = vanished.id
RETURNING stored.id, vanished.was_deleted

-- name: adopt_known
-- Let the rows $3 be what the provider now calls $4, with the flags $5-$9; return those that
-- differed. A name that another live row has already stays with that row.
UPDATE messages AS stored
SET remote_id = page.remote_id, is_read = page.is_read, is_starred = page.is_starred,
    is_answered = page.is_answered, is_draft = page.is_draft, keywords = page.keywords::text[],
    detached_at = NULL, deleted_at = NULL, updated_at = now()
FROM unnest(
        $3::bigint[], $4::text[], $5::boolean[], $6::boolean[], $7::boolean[], $8::boolean[], $9::text[]
    ) AS page (id, remote_id, is_read, is_starred, is_answered, is_draft, keywords)
    JOIN messages AS before ON before.tenant_id = $1 AND before.id = page.id
WHERE stored.tenant_id = $1 AND stored.provider_id = $2 AND stored.id = before.id
    AND (stored.remote_id, stored.is_read, stored.is_starred, stored.is_answered, stored.is_draft,
        stored.keywords, stored.detached_at, stored.deleted_at)
    IS DISTINCT FROM (page.remote_id, page.is_read, page.is_starred, page.is_answered,
        page.is_draft, page.keywords::text[], NULL::timestamptz, NULL::timestamptz)
    AND NOT EXISTS (
        SELECT FROM messages AS live
        WHERE live.tenant_id = $1 AND live.provider_id = $2 AND live.remote_id = page.remote_id
            AND live.deleted_at IS NULL AND live.detached_at IS NULL AND live.id <> page.id
    )
RETURNING stored.id, before.deleted_at IS NOT NULL AS was_deleted

-- name: update_flags
-- Set the flags of the live messages $3; return the ids of those that differed.
UPDATE messages AS stored
SET is_read = page.is_read, is_starred = page.is_starred, is_answered = page.is_answered,
    is_draft = page.is_draft, keywords = page.keywords::text[], updated_at = now()
FROM unnest(
    $3::text[], $4::boolean[], $5::boolean[], $6::boolean[], $7::boolean[], $8::text[]
) AS page (remote_id, is_read, is_starred, is_answered, is_draft, keywords)
WHERE stored.tenant_id = $1 AND stored.provider_id = $2 AND stored.remote_id = page.remote_id
    AND stored.deleted_at IS NULL AND stored.detached_at IS NULL
    AND (stored.is_read, stored.is_starred, stored.is_answered, stored.is_draft, stored.keywords)
    IS DISTINCT FROM
    (page.is_read, page.is_starred, page.is_answered, page.is_draft, page.keywords::text[])
RETURNING stored.id

-- name: live_ids
-- Return the rows that the provider's names $3 stand for.
SELECT remote_id, id FROM messages
WHERE tenant_id = $1 AND provider_id = $2 AND remote_id = ANY ($3::text[])
    AND deleted_at IS NULL AND detached_at IS NULL

-- name: clear_placements
-- Make room for the placements ($3 messages, $4 folders, $5 UIDs): remove every other placement of
-- the messages $2, and whoever has their UIDs. Return the messages that lost one.
WITH wanted AS (
    SELECT * FROM unnest($3::bigint[], $4::bigint[], $5::bigint[]) AS place (message_id, folder_id, uid)
), strayed AS (
    DELETE FROM message_folders AS stored
    WHERE tenant_id = $1 AND message_id = ANY ($2::bigint[]) AND NOT EXISTS (
        SELECT FROM wanted
        WHERE wanted.message_id = stored.message_id AND wanted.folder_id = stored.folder_id
    )
    RETURNING message_id
), displaced AS (
    DELETE FROM message_folders AS stored USING wanted
    WHERE stored.tenant_id = $1 AND stored.folder_id = wanted.folder_id AND stored.uid = wanted.uid
        AND stored.message_id <> wanted.message_id
    RETURNING stored.message_id
)
SELECT message_id FROM strayed UNION SELECT message_id FROM displaced

-- name: add_placements
-- Let the messages $2 lie in the folders $3 under the UIDs $4; return those that did not yet.
INSERT INTO message_folders (tenant_id, folder_id, message_id, uid)
SELECT $1, folder_id, message_id, uid
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS place (message_id, folder_id, uid)
WHERE NOT EXISTS (
    SELECT FROM message_folders AS stored
    WHERE stored.tenant_id = $1 AND stored.folder_id = place.folder_id
        AND stored.message_id = place.message_id AND stored.uid IS NOT DISTINCT FROM place.uid
)
ON CONFLICT (tenant_id, folder_id, message_id) DO UPDATE SET uid = excluded.uid
RETURNING message_id

-- name: remove_messages
-- Take the messages $2 out of all folders.
DELETE FROM message_folders WHERE tenant_id = $1 AND message_id = ANY ($2::bigint[])

-- name: remove_uids
-- Take the UIDs $3 out of the folder $2; return their messages. Plan: message_folders_uid_idx.
DELETE FROM message_folders
WHERE tenant_id = $1 AND folder_id = $2 AND uid = ANY ($3::bigint[])
RETURNING message_id

-- name: leave_folder
-- Take the messages with the names $4 out of the folder $3; return them.
-- Plan: messages_remote_id_idx.
DELETE FROM message_folders AS place USING messages
WHERE place.tenant_id = $1 AND place.folder_id = $3 AND place.message_id = messages.id
    AND messages.tenant_id = $1 AND messages.provider_id = $2
    AND messages.remote_id = ANY ($4::text[])
    AND messages.deleted_at IS NULL AND messages.detached_at IS NULL
RETURNING place.message_id

-- name: detach_orphans
-- Mark those of the messages $2 that lie in no folder any more; return them. They are not deleted
-- yet: until the end of the sync an arriving message may turn out to be one of them.
UPDATE messages AS stored SET detached_at = now()
WHERE tenant_id = $1 AND id = ANY ($2::bigint[]) AND deleted_at IS NULL AND detached_at IS NULL
    AND NOT EXISTS (
        SELECT FROM message_folders AS place
        WHERE place.tenant_id = $1 AND place.message_id = stored.id
    )
RETURNING id

-- name: settle
-- Delete what stayed detached, of the names $3 or for NULL all of it; return it.
-- Plan: messages_detached_idx.
UPDATE messages SET deleted_at = now(), detached_at = NULL
WHERE tenant_id = $1 AND provider_id = $2 AND detached_at IS NOT NULL
    AND ($3::text[] IS NULL OR remote_id = ANY ($3))
RETURNING id

-- name: start_generation
-- The UIDs of the folder $3 mean nothing any more: its placements lose them, its messages lose the
-- names made of them (a UIDVALIDITY may come back), its quarantine is forgotten. Generations that
-- follow each other within two days are counted: twice the time that a folder is parked for.
WITH counted AS (
    UPDATE folders SET generation_at = now(), generations = 1 + CASE
        WHEN generation_at > now() - interval '2 days' THEN generations ELSE 0 END
    WHERE tenant_id = $1 AND provider_id = $2 AND id = $3
), aged AS (
    UPDATE message_folders SET uid = NULL
    WHERE tenant_id = $1 AND folder_id = $3 AND uid IS NOT NULL
    RETURNING message_id
), forgotten AS (
    DELETE FROM quarantine WHERE tenant_id = $1 AND folder_id = $3
)
UPDATE messages SET remote_id = 'stale:' || id
WHERE tenant_id = $1 AND provider_id = $2 AND id IN (SELECT message_id FROM aged)

-- name: retire_generation
-- Remove the placements of the folder $2 that no UID was found for; return their messages.
DELETE FROM message_folders WHERE tenant_id = $1 AND folder_id = $2 AND uid IS NULL
RETURNING message_id
