"""The emulated issuers, Gmail and Graph in a process of their own, spoken to by HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from installation import Installation
from oauth_rig import oauth_settings

API = {"google": "gmail", "microsoft": "graph"}  #: the emulator of each type of account


@dataclass(frozen=True, slots=True)
class ProviderProcess:
    """A running `emailsync.emulators.provider_host`."""

    urls: Mapping[str, str]  #: by the emulator's name: oauth, gmail, graph

    def control(self, name: str, method: str, path: str, order: Any = None) -> Any:
        """Call an emulator's control API; return what it answers, None for nothing."""
        url = f"{self.urls[name]}/_control/{path}"
        answer = httpx.request(method, url, json=order, trust_env=False, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def running_providers(order: Mapping[str, Any]) -> Iterator[ProviderProcess]:
    """Run the emulators that are ordered; the order is that of `provider_host`."""
    command = [sys.executable, "-m", "emailsync.emulators.provider_host"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        yield ProviderProcess(json.loads(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(10) == 0


def registration(
    installation: Installation, providers: ProviderProcess, folder: Path
) -> Mapping[str, Any]:
    """Return the settings of who is registered at the issuers; `folder` gets the secrets."""
    issuers = providers.urls["oauth"]
    oauth = json.loads(oauth_settings(issuers, folder).model_dump_json(exclude_none=True))
    for kind, api in API.items():
        oauth[kind]["api_url"] = providers.urls[api]
    oauth["google"]["auth_url"] = f"{issuers}/google/authorize"
    return {"oauth": oauth, "http": {"public_url": installation.http_url}}
