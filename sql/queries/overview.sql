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
-- By provider type: how many accounts are stalled, and by how much the least fresh one is older than
-- its interval. $1-$5: see situations.sql.
SELECT provider_type, count(*) FILTER (WHERE activity = 'stalled') AS stalled,
    max(unsynced_s) AS unsynced_s
FROM ({{situations}}) AS account
WHERE is_active AND status = 'active'
GROUP BY provider_type

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
-- How long a run that brought its account up to date took on average in the last day; NULL when there
-- was none. Runs that failed at once would make a sync look quicker than any is.
SELECT avg(duration_ms)::double precision / 1000 FROM sync_runs
WHERE started_at > now() - interval '1 day' AND result = 'done'

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
