-- sql/queries/situations.sql: how accounts stand right now, for the statements that list or count them.

-- name: situations
-- Every account with the circuit of its endpoint, what becomes of it (`activity` is what
-- domain/freshness.py says, and NULL without intervals), for how long it has been due, and by how much
-- it is older than its interval. $1-$3 are the intervals in seconds by type and priority; $4 how long
-- a due account may wait at least, and $5 be held at most, in seconds.
SELECT account.*, circuits.state AS endpoint_state, circuits.failures AS endpoint_failures,
    circuits.retry_at AS endpoint_retry_at,
    CASE
        WHEN intervals.seconds IS NULL THEN NULL
        WHEN status <> 'active' OR NOT is_active THEN 'stopped'
        WHEN lease_until > now() THEN
            CASE WHEN leased_at <= now() - make_interval(secs => $5) THEN 'stalled' ELSE 'syncing' END
        WHEN greatest(next_sync_at, circuit_retry_at, circuits.retry_at) > now() THEN
            CASE
                WHEN last_error IS NOT NULL
                    OR greatest(circuit_retry_at, circuits.retry_at) > next_sync_at THEN 'waiting'
                ELSE 'idle'
            END
        WHEN greatest(next_sync_at, circuit_retry_at, circuits.retry_at)
            <= now() - make_interval(secs => greatest(intervals.seconds, $4)) THEN 'stalled'
        ELSE 'due'
    END AS activity,
    greatest(0, extract(epoch FROM now() - next_sync_at))::double precision AS due_for_s,
    greatest(
        0, extract(epoch FROM now() - coalesce(last_synced_at, account.created_at)) - intervals.seconds
    )::double precision AS unsynced_s
FROM provider_configs AS account
LEFT JOIN circuits ON circuits.provider_type = account.provider_type
    AND circuits.endpoint = account.endpoint
LEFT JOIN unnest($1::text[], $2::int[], $3::double precision[])
    AS intervals (provider_type, priority, seconds)
    ON intervals.provider_type = account.provider_type AND intervals.priority = account.sync_priority
