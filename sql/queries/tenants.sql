-- sql/queries/tenants.sql: the application's tenants. One that is being erased is not there any more.

-- name: tenant
-- Return the tenant $1.
SELECT id, plan, last_login_at, weight, created_at, now() AS now
FROM tenants WHERE id = $1 AND removed_at IS NULL

-- name: tenants
-- Return up to $2 tenants behind the id $1, by id.
SELECT id, plan, last_login_at, weight, created_at, now() AS now
FROM tenants WHERE id > $1 AND removed_at IS NULL
ORDER BY id LIMIT $2

-- name: make
-- Make the tenant $1 unless it is there; return nothing when it is being erased.
INSERT INTO tenants (id) VALUES ($1)
ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE tenants.removed_at IS NULL
RETURNING xmax = 0 AS is_new

-- name: change
-- Set the plan of the tenant $1 to $3, its last login to $5 and its weight to $7, each where the flag
-- before it says so; return what it was before.
UPDATE tenants SET plan = CASE WHEN $2 THEN $3 ELSE tenants.plan END,
    last_login_at = CASE WHEN $4 THEN $5 ELSE tenants.last_login_at END,
    weight = CASE WHEN $6 THEN $7 ELSE tenants.weight END
FROM tenants AS before
WHERE tenants.id = $1 AND before.id = $1
RETURNING before.weight

-- name: wake
-- Tell the daemons that the accounts of the tenant $1 have another place in line.
SELECT pg_notify('emailsync_wake', json_build_object('tenant', $1::text)::text)
