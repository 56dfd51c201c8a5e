"""What is assumed of tenants and syncs where nobody says otherwise."""

from dataclasses import asdict
from typing import Final

from emailsync.simulation.population import Mix

ASSUMED_SYNC_S: Final = 2.0  #: median: connect, TLS, login, look over a far-away network
MIX: Final = ",".join(f"{share:g}" for share in asdict(Mix()).values())
