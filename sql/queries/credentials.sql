-- sql/queries/credentials.sql: credentials that are renewed or sealed anew while accounts are synced.
-- Neither changes how an account is synced, so neither touches its lease, its due time or updated_at.

-- name: claim_renewal
-- Take the renewal of the account's credentials for $3 seconds, unless somebody has it; return until
-- when it is the caller's (NULL: it is not), and the credentials with their version. No row: no account.
WITH claimed AS (
    UPDATE provider_configs
    SET renewal_until = clock_timestamp() + make_interval(secs => $3)
    WHERE tenant_id = $1 AND id = $2
        AND (renewal_until IS NULL OR renewal_until <= clock_timestamp())
    RETURNING renewal_until, credentials, credentials_version
)
SELECT claimed.renewal_until AS until, claimed.credentials AS sealed,
    claimed.credentials_version AS version
FROM provider_configs AS account LEFT JOIN claimed ON true
WHERE account.tenant_id = $1 AND account.id = $2

-- name: save_renewed
-- Replace the credentials by $4, unless those that it was made from, the version $3, were replaced
-- meanwhile.
UPDATE provider_configs SET credentials = $4, credentials_version = credentials_version + 1
WHERE tenant_id = $1 AND id = $2 AND credentials_version = $3
RETURNING id

-- name: end_renewal
-- Give back the renewal that was the caller's until $3.
UPDATE provider_configs SET renewal_until = NULL
WHERE tenant_id = $1 AND id = $2 AND renewal_until = $3

-- name: credentials_version
-- Return the version of the credentials.
SELECT credentials_version FROM provider_configs WHERE tenant_id = $1 AND id = $2

-- name: sealed
-- Return credentials in the order of their keys, $3 at a time, after the key ($1, $2).
SELECT tenant_id, id, credentials FROM provider_configs
WHERE (tenant_id, id) > ($1, $2) AND credentials IS NOT NULL
ORDER BY tenant_id, id LIMIT $3

-- name: sealed_of
-- Return the credentials of one account.
SELECT credentials FROM provider_configs WHERE tenant_id = $1 AND id = $2

-- name: seal_anew
-- Replace the credentials $3 by the same under another key, unless they were changed meanwhile.
UPDATE provider_configs SET credentials = $4
WHERE tenant_id = $1 AND id = $2 AND credentials = $3
RETURNING id
