-- sql/queries/demo.sql: the demo's own small database: its tenants, and what it shows of them.

-- name: add_tenant
-- Make a tenant as an application would.
INSERT INTO tenants (id, plan, last_login_at) VALUES ($1, $2, $3)

-- name: accounts
-- Every account with how far it is, by the messages that its provider still has.
SELECT
    p.tenant_id, p.provider_type, p.email_address, p.status, p.sync_priority, p.circuit_state,
    p.last_synced_at IS NOT NULL AS is_synced,
    p.lease_until > now() AS is_claimed,
    CASE WHEN p.is_active AND p.status = 'active'
        THEN greatest(0, extract(epoch FROM now() - p.next_sync_at)) ELSE 0
    END::double precision AS due_for_s,
    coalesce(stored.messages, 0) AS stored
FROM provider_configs AS p
LEFT JOIN (
    SELECT tenant_id, provider_id, count(*) AS messages
    FROM messages
    WHERE deleted_at IS NULL AND detached_at IS NULL
    GROUP BY tenant_id, provider_id
) AS stored ON stored.tenant_id = p.tenant_id AND stored.provider_id = p.id
ORDER BY p.tenant_id, p.email_address
