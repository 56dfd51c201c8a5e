-- Mailboxes that somebody is connecting in a browser right now: one row from the moment the address of
-- the consent page is given out until the browser comes back, to whichever daemon that is.

CREATE TABLE connect_flows (
    tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL,
    state_sha256 bytea NOT NULL UNIQUE CHECK (length(state_sha256) = 32),
    token_sha256 bytea REFERENCES api_tokens (sha256) ON DELETE CASCADE, -- that asked; NULL: of the file
    sealed bytea NOT NULL,                          -- v1|key id|nonce|ciphertext, see crypto.py
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX connect_flows_token_idx ON connect_flows (token_sha256) WHERE token_sha256 IS NOT NULL;
CREATE INDEX connect_flows_expires_idx ON connect_flows (expires_at);
