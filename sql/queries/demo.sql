-- sql/queries/demo.sql: the demo's own small database: its tenants, and what it shows of them.

-- name: add_tenant
-- Make a tenant as an application would.
INSERT INTO tenants (id, plan, last_login_at) VALUES ($1, $2, $3)

-- name: accounts
-- Every account with how far it is, by the placements of messages in folders: the unit in which an
-- IMAP server counts.
SELECT
    p.tenant_id, p.email_address, p.status, p.sync_priority, p.circuit_state,
    p.last_synced_at IS NOT NULL AS is_synced,
    p.lease_until > now() AS is_claimed,
    coalesce(stored.messages, 0) AS stored
FROM provider_configs AS p
LEFT JOIN (
    SELECT f.tenant_id, f.provider_id, count(*) AS messages
    FROM message_folders AS m
    JOIN folders AS f ON f.tenant_id = m.tenant_id AND f.id = m.folder_id
    WHERE m.uid IS NOT NULL
    GROUP BY f.tenant_id, f.provider_id
) AS stored ON stored.tenant_id = p.tenant_id AND stored.provider_id = p.id
ORDER BY p.tenant_id, p.email_address
