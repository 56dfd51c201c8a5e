-- sql/queries/tokens.sql: the bearer tokens of the HTTP API, of which only hashes are stored.

-- name: add
-- Add the token $1 with the hash $2 and the scope $3, of the tenant $4, until $5.
INSERT INTO api_tokens (name, sha256, scope, tenant_id, expires_at) VALUES ($1, $2, $3, $4, $5)

-- name: find
-- Return what the token with the hash $1 opens, unless it is over or its tenant is being erased.
SELECT scope, tenant_id FROM api_tokens
WHERE sha256 = $1 AND (expires_at IS NULL OR expires_at > now())
    AND NOT EXISTS (
        SELECT FROM tenants WHERE tenants.id = tenant_id AND removed_at IS NOT NULL
    )

-- name: hashes
-- Return the hashes of all tokens that open something, as `find` does.
SELECT sha256 FROM api_tokens
WHERE (expires_at IS NULL OR expires_at > now())
    AND NOT EXISTS (
        SELECT FROM tenants WHERE tenants.id = tenant_id AND removed_at IS NOT NULL
    )

-- name: tokens
-- Return all tokens, by name.
SELECT name, scope, tenant_id, expires_at, created_at,
    coalesce(expires_at <= now(), false) AS is_over
FROM api_tokens ORDER BY name

-- name: remove
-- Remove the token $1.
DELETE FROM api_tokens WHERE name = $1 RETURNING name
