-- sql/queries/leases.sql: who syncs which account now, and when next; nothing else touches the lease
-- columns. Leases and due times go by the database's clock, the one clock that all daemons share.

-- name: reprioritise
-- Give every account the priority of its tenant (domain/priority.py says the same) and pull its due
-- time forward to the new interval, unless a failure or a throttle set it. $1-$3 are the intervals
-- in seconds by type and priority; with $4 it is done for that tenant alone. An account that is being
-- written right now waits for next time.
WITH ranked AS (
    SELECT tenants.id,
        CASE
            WHEN plan = 'premium' THEN 1
            WHEN last_login_at > now() - interval '1 hour' THEN 2
            WHEN last_login_at > now() - interval '24 hours' THEN 3
            ELSE 4
        END AS priority
    FROM tenants WHERE $4::text IS NULL OR id = $4
), changing AS (
    SELECT account.tenant_id, account.id, ranked.priority
    FROM provider_configs AS account
    JOIN ranked ON ranked.id = account.tenant_id
    WHERE account.sync_priority <> ranked.priority
    FOR NO KEY UPDATE OF account SKIP LOCKED
)
UPDATE provider_configs AS account
SET sync_priority = changing.priority,
    next_sync_at = CASE
        WHEN account.attempt = 1 AND account.last_error_at IS NULL AND account.last_synced_at IS NOT NULL
            THEN least(
                account.next_sync_at,
                account.last_synced_at + make_interval(secs => intervals.seconds)
            )
        ELSE account.next_sync_at
    END
FROM changing, unnest($1::text[], $2::int[], $3::double precision[])
    AS intervals (provider_type, priority, seconds)
WHERE account.tenant_id = changing.tenant_id AND account.id = changing.id
    AND intervals.provider_type = account.provider_type AND intervals.priority = changing.priority

-- name: claim_due
-- Lease up to $2 due accounts of the priorities $1 to the daemon $3 for $4 seconds. Tenants take
-- turns: an account's place is its rank in its tenant behind what the tenant has under lease, over
-- the tenant's weight; no tenant comes to hold more than $5. What is overdue for 10 minutes goes with
-- the most urgent (domain/priority.py, urgency), lest these starve it. SKIP LOCKED keeps two daemons
-- off one row, the conditions are checked again under the lock, and the epoch fences whoever held
-- the account before. More rows are looked at than claimed, since others may be claiming the first
-- ones. Plan: provider_configs_due_idx.
WITH considered AS (
    SELECT tenant_id, id, next_sync_at, false AS is_held,
        CASE WHEN next_sync_at <= now() - interval '10 minutes' THEN 1 ELSE sync_priority END
            AS urgency
    FROM provider_configs AS account
    WHERE is_active AND status = 'active' AND sync_priority = ANY ($1::int[])
        AND next_sync_at <= now() AND lease_until <= now()
        AND (circuit_state <> 'OPEN' OR circuit_retry_at <= now())
        AND NOT EXISTS (
            SELECT FROM circuits
            WHERE circuits.provider_type = account.provider_type
                AND circuits.endpoint = account.endpoint AND circuits.retry_at > now()
        )
    UNION ALL
    SELECT tenant_id, id, next_sync_at, true, sync_priority
    FROM provider_configs WHERE lease_owner IS NOT NULL AND lease_until > now()
), placed AS (
    SELECT *, row_number() OVER (
        PARTITION BY tenant_id ORDER BY is_held DESC, urgency, next_sync_at
    ) AS place
    FROM considered
), first AS MATERIALIZED (
    SELECT placed.tenant_id, placed.id, placed.urgency, placed.next_sync_at,
        place / weight AS turn, weight
    FROM placed JOIN tenants ON tenants.id = placed.tenant_id
    WHERE NOT is_held AND place <= coalesce($5::int, place)
    ORDER BY placed.urgency, turn, placed.next_sync_at
    LIMIT 10 * $2
), chosen AS (
    SELECT first.*
    FROM first JOIN provider_configs AS account
        ON account.tenant_id = first.tenant_id AND account.id = first.id
    WHERE account.is_active AND account.status = 'active' AND account.next_sync_at <= now()
        AND account.lease_until <= now()
    ORDER BY first.urgency, first.turn, first.next_sync_at
    LIMIT $2
    FOR NO KEY UPDATE OF account SKIP LOCKED
), leased AS (
    UPDATE provider_configs AS account
    SET lease_owner = $3, lease_until = now() + make_interval(secs => $4), leased_at = now(),
        lease_epoch = account.lease_epoch + 1,
        crash_count = account.crash_count + (account.lease_owner IS NOT NULL)::int,
        circuit_state = CASE account.circuit_state WHEN 'OPEN' THEN 'HALF_OPEN'
            ELSE account.circuit_state END
    FROM chosen
    WHERE account.tenant_id = chosen.tenant_id AND account.id = chosen.id
    RETURNING account.*, chosen.urgency, chosen.turn, chosen.weight
)
SELECT tenant_id, id, provider_type, endpoint, sync_priority, weight, lease_epoch, attempt, crash_count,
    auth_refusals, next_sync_at AS due_at, last_synced_at, requested_at IS NOT NULL AS requested
FROM leased ORDER BY urgency, turn, next_sync_at

-- name: claim_named
-- Lease the accounts $5 of the tenants $6 as claim_due does, due or not, whatever their circuit.
WITH chosen AS (
    SELECT account.tenant_id, account.id, tenants.weight
    FROM unnest($6::text[], $5::uuid[]) AS named (tenant_id, id)
    JOIN provider_configs AS account
        ON account.tenant_id = named.tenant_id AND account.id = named.id
    JOIN tenants ON tenants.id = account.tenant_id
    WHERE account.is_active AND account.status = 'active' AND account.sync_priority = ANY ($1::int[])
        AND account.lease_until <= now()
    ORDER BY account.sync_priority, account.next_sync_at
    LIMIT $2
    FOR NO KEY UPDATE OF account SKIP LOCKED
)
UPDATE provider_configs AS account
SET lease_owner = $3, lease_until = now() + make_interval(secs => $4), leased_at = now(),
    lease_epoch = account.lease_epoch + 1,
    crash_count = account.crash_count + (account.lease_owner IS NOT NULL)::int,
    circuit_state = CASE account.circuit_state WHEN 'OPEN' THEN 'HALF_OPEN'
        ELSE account.circuit_state END
FROM chosen
WHERE account.tenant_id = chosen.tenant_id AND account.id = chosen.id
RETURNING account.tenant_id, account.id, provider_type, endpoint, sync_priority, weight, lease_epoch,
    attempt, crash_count, auth_refusals, least(next_sync_at, now()) AS due_at, last_synced_at,
    requested_at IS NOT NULL AS requested

-- name: claim_requested
-- Lease to the daemon $2 for $3 seconds up to $1 accounts that somebody asked for, whatever their
-- priority, due time and circuit: whoever asks wants to see what comes of it. First asked, first
-- served. Plan: provider_configs_requested_idx.
WITH chosen AS (
    SELECT account.tenant_id, account.id, tenants.weight
    FROM provider_configs AS account
    JOIN tenants ON tenants.id = account.tenant_id
    WHERE account.is_active AND account.status = 'active' AND account.requested_at IS NOT NULL
        AND account.lease_until <= now()
    ORDER BY account.requested_at
    LIMIT $1
    FOR NO KEY UPDATE OF account SKIP LOCKED
)
UPDATE provider_configs AS account
SET lease_owner = $2, lease_until = now() + make_interval(secs => $3), leased_at = now(),
    lease_epoch = account.lease_epoch + 1,
    crash_count = account.crash_count + (account.lease_owner IS NOT NULL)::int,
    circuit_state = CASE account.circuit_state WHEN 'OPEN' THEN 'HALF_OPEN'
        ELSE account.circuit_state END
FROM chosen
WHERE account.tenant_id = chosen.tenant_id AND account.id = chosen.id
RETURNING account.tenant_id, account.id, provider_type, endpoint, sync_priority, weight, lease_epoch,
    attempt, crash_count, auth_refusals, requested_at AS due_at, last_synced_at, true AS requested

-- name: answer_request
-- The sync that was asked for begins under the epoch $3: whoever asks from now on asks for another.
UPDATE provider_configs SET requested_at = NULL
WHERE tenant_id = $1 AND id = $2 AND lease_epoch = $3 AND requested_at IS NOT NULL

-- name: next_due
-- Return when an account of the priorities $1 may be claimed next: due, its lease run out, its
-- circuits letting it through. Plan: provider_configs_due_idx, once for each priority.
SELECT min(at) FROM (
    SELECT first.next_sync_at AS at
    FROM unnest($1::int[]) AS wanted (priority)
    CROSS JOIN LATERAL (
        SELECT next_sync_at FROM provider_configs AS account
        WHERE is_active AND status = 'active' AND sync_priority = wanted.priority
            AND lease_until <= now() AND circuit_state <> 'OPEN'
            AND NOT EXISTS (
                SELECT FROM circuits
                WHERE circuits.provider_type = account.provider_type
                    AND circuits.endpoint = account.endpoint AND circuits.retry_at > now()
            )
        ORDER BY next_sync_at LIMIT 1
    ) AS first
    UNION ALL
    SELECT greatest(next_sync_at, circuit_retry_at, lease_until) FROM provider_configs
    WHERE is_active AND status = 'active' AND sync_priority = ANY ($1::int[])
        AND circuit_state = 'OPEN'
    UNION ALL
    SELECT greatest(next_sync_at, lease_until) FROM provider_configs
    WHERE is_active AND status = 'active' AND sync_priority = ANY ($1::int[])
        AND lease_owner IS NOT NULL AND lease_until > now()
    UNION ALL
    SELECT retry_at FROM circuits WHERE retry_at > now()
) AS moments

-- name: extend
-- Prolong by $5 seconds the leases on $2 of the tenants $1 with the epochs $3, held by $4; return
-- the others. A row that a page is being written under is not waited for, since that would hold up
-- all the rest: it comes back as not lost, and extend_written is next.
WITH mine AS (
    SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS lease (tenant_id, id, epoch)
), free AS (
    SELECT account.tenant_id, account.id
    FROM mine JOIN provider_configs AS account
        ON account.tenant_id = mine.tenant_id AND account.id = mine.id
    WHERE account.lease_epoch = mine.epoch AND account.lease_owner = $4
    FOR NO KEY UPDATE OF account SKIP LOCKED
), extended AS (
    UPDATE provider_configs AS account SET lease_until = now() + make_interval(secs => $5)
    FROM free WHERE account.tenant_id = free.tenant_id AND account.id = free.id
    RETURNING account.tenant_id, account.id
)
SELECT tenant_id, id, epoch, NOT EXISTS (
    SELECT FROM provider_configs AS account
    WHERE account.tenant_id = mine.tenant_id AND account.id = mine.id
        AND account.lease_epoch = mine.epoch AND account.lease_owner = $4
) AS is_lost
FROM mine WHERE (tenant_id, id) NOT IN (SELECT tenant_id, id FROM extended)

-- name: extend_written
-- Prolong one lease as `extend` does, once the page that is being written under it is committed. Page
-- after page may lock the row: skipped each time, the lease would run out under a busy holder.
UPDATE provider_configs SET lease_until = clock_timestamp() + make_interval(secs => $5)
WHERE tenant_id = $1 AND id = $2 AND lease_epoch = $3 AND lease_owner = $4
RETURNING id

-- name: release
-- Give back the accounts $2 of the tenants $1 leased with the epochs $3 to $4, as they are.
UPDATE provider_configs AS account SET lease_owner = NULL, lease_until = '-infinity'
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS mine (tenant_id, id, epoch)
WHERE account.tenant_id = mine.tenant_id AND account.id = mine.id
    AND account.lease_epoch = mine.epoch AND account.lease_owner = $4

-- name: hold_finishing
-- Lock the account whose lease with the epoch $3 the daemon $4 holds; return its circuit, its
-- endpoint's, and the time.
SELECT now() AS now, account.circuit_state AS state, account.circuit_failures AS failures,
    account.circuit_retry_at AS retry_at, circuits.state AS endpoint_state,
    circuits.failures AS endpoint_failures, circuits.retry_at AS endpoint_retry_at
FROM provider_configs AS account
LEFT JOIN circuits ON circuits.provider_type = account.provider_type
    AND circuits.endpoint = account.endpoint
WHERE account.tenant_id = $1 AND account.id = $2 AND account.lease_epoch = $3
    AND account.lease_owner = $4
FOR NO KEY UPDATE OF account

-- name: finish_account
-- Store the outcome of a run and release the lease. $3 how it ended, $4 seconds until the next sync
-- (NULL: not before somebody acts), $5 the next attempt, $6 refusals in a row, $7 and $8 the error,
-- $9-$11 the circuit, $12 the quota units it spent, which are remembered for the ten minutes of the
-- longest window (providers/quota.py). Who asked for a sync meanwhile gets one, by whichever daemon hears of it first.
UPDATE provider_configs
SET last_synced_at = CASE WHEN $3 = 'done' THEN now() ELSE last_synced_at END,
    next_sync_at = coalesce(now() + make_interval(secs => $4), next_sync_at),
    attempt = $5, auth_refusals = $6,
    sync_error_count = CASE
        WHEN $3 IN ('done', 'sliced') THEN 0
        WHEN $3 IN ('retry', 'failed', 'needs_reconnect', 'misconfigured') THEN sync_error_count + 1
        ELSE sync_error_count
    END,
    last_error = CASE WHEN $3 IN ('done', 'sliced') THEN NULL ELSE coalesce($7, last_error) END,
    last_error_class = CASE WHEN $3 IN ('done', 'sliced') THEN NULL
        WHEN $7 IS NULL THEN last_error_class ELSE $8 END,
    last_error_at = CASE WHEN $3 IN ('done', 'sliced') THEN NULL
        WHEN $7 IS NULL THEN last_error_at ELSE now() END,
    status = CASE
        WHEN status <> 'active' THEN status
        WHEN $3 = 'needs_reconnect' THEN 'needs_reconnect'
        WHEN $3 = 'misconfigured' THEN 'error'
        ELSE status
    END,
    circuit_state = $9, circuit_failures = $10, circuit_retry_at = $11,
    quota_spent = CASE WHEN $12::int = 0 AND quota_spent = '[]' THEN quota_spent ELSE (
        SELECT coalesce(jsonb_agg(run), '[]') FROM (
            SELECT run FROM jsonb_array_elements(quota_spent) AS run
            WHERE (run ->> 2)::double precision > extract(epoch FROM now()) - 600
            UNION ALL
            SELECT jsonb_build_array(lease_epoch, $12::int, extract(epoch FROM now()))
            WHERE $12::int > 0
        ) AS recent
    ) END,
    lease_owner = NULL, lease_until = '-infinity', crash_count = 0
WHERE tenant_id = $1 AND id = $2
RETURNING CASE WHEN requested_at IS NOT NULL THEN pg_notify('emailsync_wake', '') END

-- name: record_run
-- Note a finished run.
INSERT INTO sync_runs (
    tenant_id, provider_id, queue, instance_id, attempt, result, error_class, error, started_at,
    duration_ms, created, updated, deleted, quarantined, unexplained, fetched_bytes
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)

-- name: hold_endpoint
-- Lock the circuit of an endpoint, made now when it has none.
INSERT INTO circuits AS circuit (provider_type, endpoint) VALUES ($1, $2)
ON CONFLICT (provider_type, endpoint) DO UPDATE SET updated_at = circuit.updated_at
RETURNING state, failures, retry_at

-- name: save_endpoint
-- Store the circuit of an endpoint.
UPDATE circuits
SET state = $3, failures = $4, retry_at = $5, updated_at = now(),
    opened_at = CASE WHEN $3 = 'CLOSED' THEN NULL ELSE coalesce(opened_at, now()) END
WHERE provider_type = $1 AND endpoint = $2

-- name: endpoint
-- Return when the endpoint may be tried again; NULL or no row: now, by everybody.
SELECT retry_at FROM circuits WHERE provider_type = $1 AND endpoint = $2

-- name: take_probe
-- Where the time of an endpoint's circuit has come, give the probe to the one caller who gets the
-- row; it has $3 seconds to report.
UPDATE circuits
SET state = 'HALF_OPEN', retry_at = now() + make_interval(secs => $3), updated_at = now()
WHERE provider_type = $1 AND endpoint = $2 AND retry_at <= now()
RETURNING retry_at

-- name: heartbeat
-- Announce the daemon $1 of the version $2.
INSERT INTO instances (id, version) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET seen_at = now(), version = excluded.version

-- name: resign
-- Forget the daemon $1, which has ended.
DELETE FROM instances WHERE id = $1

-- name: count_instances
-- Count the daemons that announced themselves within $1 seconds.
SELECT count(*) FROM instances WHERE seen_at > now() - make_interval(secs => $1)
