-- sql/queries/overview.sql: sums over all tenants, for the metrics and for `check`; reads only.

-- name: lag
-- How long the oldest due account of each priority has waited. Plan: provider_configs_due_idx.
SELECT sync_priority, extract(epoch FROM now() - min(next_sync_at))::double precision AS lag_s
FROM provider_configs
WHERE is_active AND status = 'active' AND next_sync_at <= now() AND lease_until <= now()
GROUP BY sync_priority

-- name: circuits
-- How many circuits are in which state: the accounts' own, and those of shared endpoints.
SELECT provider_type, 'account' AS scope, circuit_state AS state, count(*) AS circuits
FROM provider_configs WHERE is_active GROUP BY provider_type, circuit_state
UNION ALL
SELECT provider_type, 'endpoint', state, count(*) FROM circuits GROUP BY provider_type, state

-- name: accounts
-- How many accounts are in which status.
SELECT provider_type, status, count(*) AS accounts
FROM provider_configs GROUP BY provider_type, status

-- name: freshness
-- By provider type: how many accounts are stalled (domain/freshness.py says the same), and by how much
-- the least fresh one is older than its interval. $1-$3 are the intervals in seconds by type and
-- priority; $4 how long a due account may wait at least, and $5 be held at most, in seconds.
SELECT account.provider_type,
    count(*) FILTER (
        WHERE CASE
            WHEN lease_until > now() THEN leased_at <= now() - make_interval(secs => $5)
            ELSE greatest(next_sync_at, circuit_retry_at, circuits.retry_at)
                <= now() - make_interval(secs => greatest(intervals.seconds, $4))
        END
    ) AS stalled,
    greatest(
        0,
        max(extract(epoch FROM now() - coalesce(last_synced_at, account.created_at)) - intervals.seconds)
    )::double precision AS unsynced_s
FROM provider_configs AS account
JOIN unnest($1::text[], $2::int[], $3::double precision[])
    AS intervals (provider_type, priority, seconds)
    ON intervals.provider_type = account.provider_type AND intervals.priority = account.sync_priority
LEFT JOIN circuits ON circuits.provider_type = account.provider_type
    AND circuits.endpoint = account.endpoint
WHERE is_active AND status = 'active'
GROUP BY account.provider_type

-- name: completeness
-- What is not as it should be: folders that differ from the server's count, messages set aside.
SELECT
    (SELECT count(*) FROM folders WHERE remote_count <> stored_count) AS unexplained_folders,
    (
        SELECT count(DISTINCT (tenant_id, provider_id, remote_id)) FROM quarantine
    ) AS quarantined

-- name: demand
-- How many accounts want to be synced, by type and priority.
SELECT provider_type, sync_priority, count(*) AS accounts
FROM provider_configs WHERE is_active AND status = 'active'
GROUP BY provider_type, sync_priority

-- name: mean_duration
-- How long a run took on average in the last day; NULL when there was none.
SELECT avg(duration_ms)::double precision / 1000 FROM sync_runs
WHERE started_at > now() - interval '1 day'

-- name: server_version
-- The server's version, for people and as a number such as 150004.
SELECT current_setting('server_version') AS shown, current_setting('server_version_num')::int AS number

-- name: registrations
-- How many accounts get tokens from which issuer, by their owners' consent or by our own right, and
-- how many of them wait for the operator, and why.
SELECT CASE provider_type WHEN 'imap' THEN settings->>'oauth' ELSE provider_type END AS issuer,
    coalesce(settings->>'auth' = 'service_account', false)
        OR coalesce(settings->>'permission' = 'application', false) AS by_application,
    count(*) AS accounts,
    count(*) FILTER (WHERE last_error_class = 'OperatorMustAct') AS waiting,
    max(last_error) FILTER (WHERE last_error_class = 'OperatorMustAct') AS problem
FROM provider_configs
WHERE is_active AND (provider_type <> 'imap' OR settings->>'oauth' IS NOT NULL)
GROUP BY 1, 2 ORDER BY 1, 2
