-- sql/queries/reading.sql: synced mail as the API shows it. Every statement names the tenant. A list
-- goes by when the server received a message, or by when it was stored where no server says.

-- name: messages
-- Return up to $4 messages of the tenant $1, latest first, behind the moment $2 and the id $3; only
-- those in the folder $5 if it is given. Plan: messages_received_idx.
SELECT id, provider_id, thread_key, message_id, subject, from_address, from_name, to_addresses,
    sent_at, received_at, size_bytes, is_read, is_starred, is_answered, is_draft, keywords, snippet,
    has_attachments, created_at, updated_at, coalesce(received_at, created_at) AS listed_at
FROM messages
WHERE tenant_id = $1 AND deleted_at IS NULL
    AND (coalesce(received_at, created_at), id) < ($2::timestamptz, $3::bigint)
    AND ($5::bigint IS NULL OR EXISTS (
        SELECT FROM message_folders AS place
        WHERE place.tenant_id = $1 AND place.folder_id = $5 AND place.message_id = messages.id
    ))
ORDER BY coalesce(received_at, created_at) DESC, id DESC
LIMIT $4

-- name: account_messages
-- Return the messages of the account $6 as `messages` does. Plan: messages_provider_idx.
SELECT id, provider_id, thread_key, message_id, subject, from_address, from_name, to_addresses,
    sent_at, received_at, size_bytes, is_read, is_starred, is_answered, is_draft, keywords, snippet,
    has_attachments, created_at, updated_at, coalesce(received_at, created_at) AS listed_at
FROM messages
WHERE tenant_id = $1 AND provider_id = $6 AND deleted_at IS NULL
    AND (coalesce(received_at, created_at), id) < ($2::timestamptz, $3::bigint)
    AND ($5::bigint IS NULL OR EXISTS (
        SELECT FROM message_folders AS place
        WHERE place.tenant_id = $1 AND place.folder_id = $5 AND place.message_id = messages.id
    ))
ORDER BY coalesce(received_at, created_at) DESC, id DESC
LIMIT $4

-- name: message
-- Return the message $2 with everything but its bytes.
SELECT id, provider_id, thread_key, message_id, in_reply_to, subject, from_address, from_name,
    to_addresses, cc_addresses, bcc_addresses, reply_to, sent_at, received_at, size_bytes, is_read,
    is_starred, is_answered, is_draft, keywords, snippet, body_text, body_html, headers,
    has_attachments, encode(raw_sha256, 'hex') AS raw_sha256, is_truncated, parse_error, created_at,
    updated_at, deleted_at
FROM messages WHERE tenant_id = $1 AND id = $2

-- name: folders
-- Return the folders that the message $2 lies in.
SELECT folders.id, folders.path, folders.role, place.uid
FROM message_folders AS place
JOIN folders ON folders.tenant_id = place.tenant_id AND folders.id = place.folder_id
WHERE place.tenant_id = $1 AND place.message_id = $2
ORDER BY folders.path

-- name: attachments
-- Return the attachments of the message $2.
SELECT position, filename, content_type, size_bytes, content_id, is_inline,
    encode(sha256, 'hex') AS sha256
FROM attachments WHERE tenant_id = $1 AND message_id = $2
ORDER BY position

-- name: attachment
-- Return the attachment $3 of the message $2.
SELECT filename, sha256 FROM attachments
WHERE tenant_id = $1 AND message_id = $2 AND position = $3

-- name: raw
-- Return how many bytes the message $2 has, NULL if they were not kept, and their hash.
SELECT octet_length(raw) AS size_bytes, raw_sha256 FROM messages WHERE tenant_id = $1 AND id = $2

-- name: raw_piece
-- Return $4 bytes of the message $2 from the byte $3 on; the first is 1.
SELECT substring(raw FROM $3 FOR $4) FROM messages WHERE tenant_id = $1 AND id = $2
