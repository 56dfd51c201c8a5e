"""How Postgres would read what a statement asks for, and much mail to ask for."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from emailsync.store.database import Database

MAIL = """
WITH stored AS (
    INSERT INTO messages (tenant_id, provider_id, remote_id, size_bytes, raw_sha256, deleted_at)
    SELECT tenant_id, id, 'name ' || number, 1, sha256(number::text::bytea),
        CASE WHEN number % 20 = 0 THEN now() END
    FROM provider_configs, generate_series(1, $1) AS number
    RETURNING id, deleted_at
)
INSERT INTO message_folders (tenant_id, folder_id, message_id, uid)
SELECT 'acme', folders.id, stored.id, stored.id FROM stored, folders WHERE deleted_at IS NULL
"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def scans(
    database: Database, statement: str, values: Sequence[Any]
) -> dict[str, list[tuple[str, str]]]:
    """Return index and condition of every scan of a table, by table."""
    async with database.connection() as connection:
        text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    found: dict[str, list[tuple[str, str]]] = {}
    for node in nodes(json.loads(text)[0]["Plan"]):
        if "Scan" in node["Node Type"] and "Relation Name" in node:
            (source,) = node.get("Plans", [node]) if "Bitmap" in node["Node Type"] else [node]
            index = source.get("Index Name", node["Node Type"])
            condition = source.get("Index Cond", "")
            found.setdefault(node["Relation Name"], []).append((index, condition))
    return found
