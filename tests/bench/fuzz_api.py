"""Many requests made from the OpenAPI document: which statuses come back, and is one undeclared.

    PYTHONPATH=tests python tests/bench/fuzz_api.py [--requests N] [--seed N]

The same is done with about a thousand requests by tests/integration/api/test_fuzzing.py.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from api_rig import api_rig
from emailsync.store.migrations import migrate
from fuzzing import Fuzzed, fuzz
from postgres import running_cluster

REQUESTS_AN_EXAMPLE = 20
"""Each example is one request to each of the operations that take values, in several phases."""


def main() -> None:
    """Send and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000, help="at least so many")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with (
        running_cluster() as cluster,
        tempfile.TemporaryDirectory(prefix="emailsync-fuzz-") as name,
    ):
        url = cluster.url(cluster.create_database())
        done = asyncio.run(_fuzz(url, Path(name), options.requests, options.seed))
    for status, count in sorted(done.statuses.items()):
        print(f"{status}  {count:6}")
    verdict = "every answer declared" if done.returncode == 0 else "some answers not declared"
    print(f"{done.requests} requests, {verdict}")
    if done.returncode:
        sys.exit(done.said)


async def _fuzz(url: str, folder: Path, requests: int, seed: int) -> Fuzzed:
    await migrate(url)
    async with api_rig(url) as api:
        return await fuzz(api, folder, examples=requests // REQUESTS_AN_EXAMPLE, seed=seed)


if __name__ == "__main__":
    main()
