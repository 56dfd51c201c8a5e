-- sql/queries/statistics.sql: what the planner believes of the tables that a first sync fills.

-- name: is_outdated
-- Tell whether the planner believes in fewer messages than $1, or in none that were ever counted.
SELECT reltuples < $1 FROM pg_class WHERE oid = 'messages'::regclass

-- name: analyze
-- Let the planner look again; every cached plan, foreign keys' included, is made anew.
ANALYZE (SKIP_LOCKED) messages, message_folders, attachments, folders, changes
