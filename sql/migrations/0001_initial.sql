-- The whole schema of the first release.
--
-- Every table that holds something of a tenant begins its key with tenant_id, so it can be
-- partitioned or distributed by it. The database holds the invariants: CHECKs tie a state to its
-- timestamps, unique indexes bar double work and double mail.

CREATE TABLE tenants (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 200),
    plan text,
    last_login_at timestamptz,
    weight double precision NOT NULL DEFAULT 1 CHECK (weight > 0 AND weight <= 1000),
    removed_at timestamptz,                         -- it is being erased since then; NULL: it is not
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Bearer tokens of the HTTP API, by their hash; the operator's own are in a file.
CREATE TABLE api_tokens (
    name text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200),
    sha256 bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    scope text NOT NULL CHECK (scope IN ('admin', 'tenant', 'metrics')),
    tenant_id text REFERENCES tenants ON DELETE CASCADE,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((scope = 'tenant') = (tenant_id IS NOT NULL))
);

CREATE INDEX api_tokens_tenant_idx ON api_tokens (tenant_id) WHERE tenant_id IS NOT NULL;

CREATE TABLE provider_configs (
    tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    provider_type text NOT NULL CHECK (provider_type IN ('imap', 'google', 'microsoft')),
    email_address text NOT NULL CHECK (length(email_address) BETWEEN 1 AND 320),
    settings jsonb NOT NULL DEFAULT '{}',
    credentials bytea,                              -- v1|key id|nonce|ciphertext, see crypto.py
    credentials_version bigint NOT NULL DEFAULT 0,  -- grows when they are replaced, not when sealed anew
    renewal_until timestamptz,                      -- somebody is renewing them until then; NULL: nobody
    endpoint text NOT NULL,                         -- host:port, or the API's host: key of `circuits`
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'needs_reconnect', 'paused', 'error')),
    is_active boolean NOT NULL DEFAULT true,
    sync_priority int NOT NULL DEFAULT 3 CHECK (sync_priority BETWEEN 1 AND 4),
    last_synced_at timestamptz,
    last_sync_uid text,                             -- IMAP: UIDVALIDITY:UIDNEXT of the inbox
    last_history_id text,                           -- Gmail
    last_delta_link text,                           -- Graph: the folder hierarchy's
    resume_token text,                              -- a listing under way
    sync_error_count int NOT NULL DEFAULT 0 CHECK (sync_error_count >= 0),
    circuit_state text NOT NULL DEFAULT 'CLOSED'
        CHECK (circuit_state IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
    circuit_failures int NOT NULL DEFAULT 0,        -- consecutive
    circuit_retry_at timestamptz,
    next_sync_at timestamptz NOT NULL DEFAULT now(),
    attempt int NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    auth_refusals int NOT NULL DEFAULT 0,           -- refusals without a code, consecutive
    last_error text,
    last_error_class text,
    last_error_at timestamptz,
    lease_owner text,                               -- NULL: nobody
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    leased_at timestamptz NOT NULL DEFAULT now(),   -- when it was claimed last; says nothing without a lease
    lease_epoch bigint NOT NULL DEFAULT 0,
    crash_count int NOT NULL DEFAULT 0,             -- holders of the lease that vanished, consecutive
    requested_at timestamptz,                       -- somebody wants it synced now; NULL: nobody
    removed_at timestamptz,                         -- it is being erased since then; NULL: it is not
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    CHECK ((circuit_state = 'CLOSED') = (circuit_retry_at IS NULL)),
    CHECK (lease_owner IS NOT NULL OR lease_until = '-infinity'),
    CHECK (removed_at IS NULL OR NOT is_active)
);

-- A mailbox may be added anew while what was stored of it before is still being erased.
CREATE UNIQUE INDEX provider_configs_address_idx
    ON provider_configs (tenant_id, provider_type, email_address) WHERE removed_at IS NULL;
CREATE INDEX provider_configs_requested_idx ON provider_configs (requested_at)
    WHERE requested_at IS NOT NULL AND is_active AND status = 'active';
CREATE INDEX provider_configs_removed_idx ON provider_configs (removed_at)
    WHERE removed_at IS NOT NULL;

CREATE INDEX idx_provider_sync ON provider_configs (last_synced_at, sync_priority, is_active);
CREATE INDEX idx_tenant_provider ON provider_configs (tenant_id, provider_type);
CREATE INDEX provider_configs_due_idx ON provider_configs (sync_priority, next_sync_at)
    WHERE is_active AND status = 'active';
CREATE INDEX provider_configs_lease_idx ON provider_configs (lease_owner)
    WHERE lease_owner IS NOT NULL;
CREATE INDEX provider_configs_circuit_idx ON provider_configs (circuit_retry_at)
    WHERE circuit_state <> 'CLOSED';
CREATE INDEX provider_configs_id_idx ON provider_configs (id);

CREATE TABLE folders (
    tenant_id text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    provider_id uuid NOT NULL,
    remote_id text NOT NULL,
    path text NOT NULL,
    role text CHECK (role IN ('inbox', 'sent', 'drafts', 'trash', 'junk', 'archive', 'all')),
    uid_validity bigint,
    uid_next bigint,
    highest_modseq bigint,
    backfill_before bigint,                         -- UIDs below are still to be fetched; NULL: none
    delta_link text,
    resume_link text,
    remote_count bigint,
    stored_count bigint NOT NULL DEFAULT 0,
    checked_at timestamptz,                         -- when the two counts were compared last
    missing_count int NOT NULL DEFAULT 0,           -- listings in a row without this folder
    generations int NOT NULL DEFAULT 0,             -- made anew, each within two days of the one before
    generation_at timestamptz,                      -- when the last of them began
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, provider_id) REFERENCES provider_configs ON DELETE CASCADE
);

-- A remote name is a hash in the index: folder names have no useful upper bound on length.
CREATE UNIQUE INDEX folders_remote_id_idx ON folders (tenant_id, provider_id, md5(remote_id));

CREATE TABLE messages (
    tenant_id text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    provider_id uuid NOT NULL,
    remote_id text COLLATE "C" NOT NULL,            -- a name, not a text: read in the order of its bytes
    thread_key text,
    message_id text,
    in_reply_to text,
    subject text,
    from_address text,
    from_name text,
    to_addresses jsonb NOT NULL DEFAULT '[]',       -- [{"name": ..., "address": ...}]
    cc_addresses jsonb NOT NULL DEFAULT '[]',
    bcc_addresses jsonb NOT NULL DEFAULT '[]',
    reply_to jsonb NOT NULL DEFAULT '[]',
    sent_at timestamptz,                            -- the sender's word
    received_at timestamptz,                        -- the server's word
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    is_read boolean NOT NULL DEFAULT false,
    is_starred boolean NOT NULL DEFAULT false,
    is_answered boolean NOT NULL DEFAULT false,
    is_draft boolean NOT NULL DEFAULT false,
    keywords text[] NOT NULL DEFAULT '{}',
    snippet text NOT NULL DEFAULT '',
    body_text text,
    body_html text,
    headers jsonb NOT NULL DEFAULT '{}',            -- {"lower-case name": ["value", ...]}
    has_attachments boolean NOT NULL DEFAULT false,
    raw bytea,                                      -- byte for byte as the provider gave it
    raw_sha256 bytea,
    is_truncated boolean NOT NULL DEFAULT false,    -- over store.max_message_bytes: headers only
    parse_error text,
    detached_at timestamptz,                        -- lies in no folder since; not yet deleted
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, provider_id) REFERENCES provider_configs ON DELETE CASCADE,
    CHECK (detached_at IS NULL OR deleted_at IS NULL)
);

-- Identity: what the provider calls a message names one live row. A vanished row may keep a name
-- that the provider gives to another message later.
CREATE UNIQUE INDEX messages_remote_id_idx ON messages (tenant_id, provider_id, remote_id)
    WHERE deleted_at IS NULL AND detached_at IS NULL;
-- Rows that a moved message may take over, and one that comes back under its name.
CREATE INDEX messages_vanished_idx ON messages (tenant_id, provider_id, raw_sha256)
    WHERE deleted_at IS NOT NULL OR detached_at IS NOT NULL;
CREATE INDEX messages_vanished_name_idx ON messages (tenant_id, provider_id, remote_id)
    WHERE deleted_at IS NOT NULL OR detached_at IS NOT NULL;
CREATE INDEX messages_detached_idx ON messages (tenant_id, provider_id, remote_id)
    WHERE detached_at IS NOT NULL;
CREATE INDEX messages_deleted_idx ON messages (deleted_at) WHERE deleted_at IS NOT NULL;
-- Lists, the latest first: of a tenant, and of an account, by which it is erased as well.
CREATE INDEX messages_received_idx
    ON messages (tenant_id, (coalesce(received_at, created_at)) DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX messages_provider_idx
    ON messages (tenant_id, provider_id, (coalesce(received_at, created_at)) DESC, id DESC);
CREATE INDEX messages_thread_idx ON messages (tenant_id, md5(thread_key));
CREATE INDEX messages_message_id_idx ON messages (tenant_id, md5(message_id));

CREATE TABLE message_folders (
    tenant_id text NOT NULL,
    folder_id bigint NOT NULL,
    message_id bigint NOT NULL,
    uid bigint,                                     -- NULL: no UIDs here, or one of a dead generation
    PRIMARY KEY (tenant_id, folder_id, message_id),
    FOREIGN KEY (tenant_id, folder_id) REFERENCES folders ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, message_id) REFERENCES messages ON DELETE CASCADE
);

CREATE UNIQUE INDEX message_folders_uid_idx ON message_folders (tenant_id, folder_id, uid)
    WHERE uid IS NOT NULL;
CREATE INDEX message_folders_message_idx ON message_folders (tenant_id, message_id);

CREATE TABLE attachments (
    tenant_id text NOT NULL,
    message_id bigint NOT NULL,
    position int NOT NULL,
    filename text,
    content_type text NOT NULL,
    size_bytes bigint NOT NULL,
    content_id text,
    is_inline boolean NOT NULL,
    sha256 bytea,
    PRIMARY KEY (tenant_id, message_id, position),
    FOREIGN KEY (tenant_id, message_id) REFERENCES messages ON DELETE CASCADE
);

-- The bytes of a large message on their way into its row. They are sent in pieces, so that sending
-- blocks nobody, and never outlive the transaction; unlogged, since nothing of them is worth a log.
CREATE UNLOGGED TABLE raw_pieces (
    tenant_id text NOT NULL,
    message_id bigint NOT NULL,
    number int NOT NULL,
    piece bytea NOT NULL,
    PRIMARY KEY (tenant_id, message_id, number)
);
ALTER TABLE raw_pieces ALTER COLUMN piece SET STORAGE EXTERNAL;

-- The change feed: written in the transaction of the change it tells of. A reader stops before the
-- oldest transaction still running and goes by `xact` before `seq`, so that a late commit is never
-- overtaken.
CREATE TABLE changes (
    tenant_id text NOT NULL REFERENCES tenants ON DELETE CASCADE,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    provider_id uuid NOT NULL,
    message_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'updated', 'deleted')),
    at timestamptz NOT NULL DEFAULT now(),
    xact xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (tenant_id, xact, seq)              -- the order of the feed
);

CREATE INDEX changes_feed_idx ON changes (xact, seq);
CREATE INDEX changes_at_idx ON changes USING brin (at);

CREATE TABLE sync_runs (
    tenant_id text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    provider_id uuid NOT NULL,
    queue text NOT NULL,
    instance_id text NOT NULL,
    attempt int NOT NULL,
    result text NOT NULL,
    error_class text,
    error text,
    started_at timestamptz NOT NULL,
    duration_ms bigint NOT NULL,
    created int NOT NULL,
    updated int NOT NULL,
    deleted int NOT NULL,
    quarantined int NOT NULL,
    unexplained int NOT NULL,                       -- folders whose count still differs
    fetched_bytes bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, provider_id) REFERENCES provider_configs ON DELETE CASCADE
);

CREATE INDEX sync_runs_provider_idx ON sync_runs (tenant_id, provider_id, id DESC);
CREATE INDEX sync_runs_started_idx ON sync_runs USING brin (started_at);

CREATE TABLE quarantine (
    tenant_id text NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    provider_id uuid NOT NULL,
    folder_id bigint,
    uid bigint,
    remote_id text NOT NULL,
    stage text NOT NULL CHECK (stage IN ('fetch', 'store')),
    reason text NOT NULL,
    raw bytea,                                      -- what was received of it
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    attempts int NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, provider_id) REFERENCES provider_configs ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, folder_id) REFERENCES folders ON DELETE CASCADE
);

-- A row for each folder that the message lies in, so that the counts of all of them are right.
CREATE UNIQUE INDEX quarantine_remote_id_idx
    ON quarantine (tenant_id, provider_id, md5(remote_id), coalesce(folder_id, 0));
CREATE INDEX quarantine_folder_idx ON quarantine (tenant_id, folder_id);

-- Circuits of the endpoints that accounts share; an account's own is in provider_configs.
CREATE TABLE circuits (
    provider_type text NOT NULL,
    endpoint text NOT NULL,
    state text NOT NULL DEFAULT 'CLOSED' CHECK (state IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
    failures int NOT NULL DEFAULT 0,
    opened_at timestamptz,
    retry_at timestamptz,                           -- OPEN: when to probe; HALF_OPEN: when the probe is given up
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider_type, endpoint),
    CHECK ((state = 'CLOSED') = (retry_at IS NULL))
);

CREATE TABLE instances (
    id text PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    version text NOT NULL
);

-- Storing the raw message with pglz makes a sync four times slower, so it is lz4 where the server
-- has it, else uncompressed.
DO $$
DECLARE
    has_lz4 boolean := (
        SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'
    );
    compressible text;
BEGIN
    FOREACH compressible IN ARRAY ARRAY['raw', 'body_text', 'body_html', 'headers'] LOOP
        IF has_lz4 THEN
            EXECUTE format('ALTER TABLE messages ALTER COLUMN %I SET COMPRESSION lz4', compressible);
        ELSIF compressible = 'raw' THEN
            ALTER TABLE messages ALTER COLUMN raw SET STORAGE EXTERNAL;
        END IF;
    END LOOP;
END
$$;
