-- sql/queries/monitor.sql: what people watch, of all tenants or of one; reads only.

-- name: accounts
-- How many accounts of the tenant $6, or of all, stand how; of these, how many failed last or have an
-- open circuit of their own, the longest wait of one that is due, and the least fresh one's delay.
-- $1-$5: see situations.sql.
SELECT provider_type, sync_priority, status, activity, count(*) AS accounts,
    count(*) FILTER (WHERE last_error IS NOT NULL) AS failing,
    count(*) FILTER (WHERE circuit_state <> 'CLOSED') AS open_circuits,
    max(due_for_s) AS due_for_s, max(unsynced_s) AS unsynced_s
FROM ({{situations}}) AS account
WHERE removed_at IS NULL AND ($6::text IS NULL OR tenant_id = $6)
GROUP BY provider_type, sync_priority, status, activity
ORDER BY provider_type, sync_priority, status, activity

-- name: mail
-- How much mail of the tenant $1, or of all, is stored, of how much at the providers.
SELECT coalesce(sum(stored_count), 0)::bigint AS stored_messages,
    coalesce(sum(remote_count), 0)::bigint AS remote_messages,
    count(*) FILTER (WHERE remote_count <> stored_count) AS differing_folders,
    count(*) FILTER (WHERE backfill_before IS NOT NULL) AS backfilling_folders,
    (
        SELECT count(DISTINCT (tenant_id, provider_id, remote_id)) FROM quarantine
        WHERE $1::text IS NULL OR tenant_id = $1
    ) AS quarantined
FROM folders WHERE $1::text IS NULL OR tenant_id = $1

-- name: pace
-- What the runs that ended in each of the last $2 spans of $3 seconds did, of the tenant $1 or of all;
-- `span` is 0 for the latest. A run takes an hour at most. Plan: sync_runs_started_idx.
SELECT span, count(*) FILTER (WHERE result = 'done') AS completed,
    count(*) FILTER (WHERE result = ANY ($4::text[])) AS failed,
    sum(created + updated + deleted)::bigint AS messages, sum(fetched_bytes)::bigint AS fetched_bytes
FROM (
    SELECT sync_runs.*, floor(
        extract(epoch FROM now() - started_at - make_interval(secs => duration_ms / 1000.0)) / $3
    )::int AS span
    FROM sync_runs
    WHERE started_at > now() - make_interval(hours => 1, secs => $2::int * $3::double precision)
        AND ($1::text IS NULL OR tenant_id = $1)
) AS run
WHERE span BETWEEN 0 AND $2 - 1
GROUP BY span ORDER BY span

-- name: circuits
-- The endpoints of the tenant $1, or of all, whose circuits are not closed, and how many accounts wait.
SELECT circuits.provider_type, circuits.endpoint, circuits.state, circuits.failures,
    circuits.retry_at, count(*) AS accounts
FROM circuits
JOIN provider_configs AS account ON account.provider_type = circuits.provider_type
    AND account.endpoint = circuits.endpoint
WHERE circuits.state <> 'CLOSED' AND account.is_active AND account.removed_at IS NULL
    AND ($1::text IS NULL OR account.tenant_id = $1)
GROUP BY circuits.provider_type, circuits.endpoint
ORDER BY accounts DESC, circuits.endpoint LIMIT $2

-- name: runs
-- The last $2 runs of the tenant $1, or of all, that began in the last $3 minutes, latest first; with
-- $4 those only that ended so. Plan: sync_runs_started_idx.
SELECT run.tenant_id, provider_id, email_address, provider_type, run.id, queue, instance_id,
    run.attempt, result, error_class, error, started_at, duration_ms, created, updated, deleted,
    quarantined, unexplained, fetched_bytes
FROM sync_runs AS run
JOIN provider_configs AS account ON account.tenant_id = run.tenant_id AND account.id = provider_id
WHERE started_at > now() - make_interval(mins => $3) AND ($1::text IS NULL OR run.tenant_id = $1)
    AND ($4::text[] IS NULL OR result = ANY ($4))
ORDER BY started_at DESC, run.id DESC LIMIT $2

-- name: folders
-- Up to $5 folders of the account $2 of the tenant $1 behind the path $3 and the id $4.
SELECT id, path, role, stored_count, remote_count, backfill_before IS NOT NULL AS is_backfilling,
    checked_at
FROM folders
WHERE tenant_id = $1 AND provider_id = $2 AND (path, id) > ($3::text, $4::bigint)
ORDER BY path, id LIMIT $5
