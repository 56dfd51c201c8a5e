-- sql/queries/connect_flows.sql: mailboxes that are being connected in a browser.

-- name: begin
-- Remember the flow $2 of the tenant $1 by its state's hash $3, asked for by the token with the hash
-- $4 (none of ours: by one of the file), for $6 seconds, unless the tenant has $7 open ones; return
-- when it is over. Plan: connect_flows_pkey.
INSERT INTO connect_flows (tenant_id, id, state_sha256, token_sha256, sealed, expires_at)
SELECT $1, $2, $3, (SELECT sha256 FROM api_tokens WHERE sha256 = $4), $5,
    now() + make_interval(secs => $6)
WHERE (SELECT count(*) FROM connect_flows WHERE tenant_id = $1 AND expires_at > now()) < $7
RETURNING expires_at

-- name: take
-- Return the flow whose state has the hash $1, and forget it: a state is good once. It is open unless
-- its time, its token's or its tenant's is over. Plan: connect_flows_state_sha256_key.
DELETE FROM connect_flows AS flow WHERE state_sha256 = $1
RETURNING tenant_id, id, sealed, expires_at > now()
    AND NOT EXISTS (
        SELECT FROM api_tokens WHERE sha256 = flow.token_sha256 AND expires_at <= now()
    ) AND NOT EXISTS (
        SELECT FROM tenants WHERE tenants.id = flow.tenant_id AND removed_at IS NOT NULL
    ) AS is_open
