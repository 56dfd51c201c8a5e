"""What goes wrong at the demo's providers when it is asked to, and how often.

The probabilities are of one request of each kind; parts of batches fail with their batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from emailsync.emulators.faults import Failure, Fault
from emailsync.emulators.gmail.errors import as_fault, not_found, user_rate_limit_exceeded

THROTTLED: Final = 0.02
UNAVAILABLE: Final = 0.02
CUT: Final = 0.01
EXPIRED: Final = 0.01
IMAP_CUT: Final = 0.03  #: of the connections
ISSUER_UNAVAILABLE: Final = 0.05

GMAIL: Final = r"^POST /batch|/(history|labels|profile|messages)(\?|$)"
GRAPH: Final = r"^POST /v1.0/\$batch|/mailFolders/delta"
GRAPH_CURSOR: Final = r"/messages/delta\?.*deltatoken"
EXPIRED_CURSOR: Final = '{"error": {"code": "resyncRequired", "message": "Resync is required."}}'


def faults_of(name: str) -> Sequence[Mapping[str, Any]]:
    """Return the rules for an emulated provider, as its control API takes them."""
    return [asdict(fault) for fault in FAULTS[name]]


def _breaking(on: str) -> Sequence[Fault]:
    """Return what happens to any server behind HTTP."""
    return (
        Fault(on=on, status=503, body="{}", probability=UNAVAILABLE),
        Fault(on=on, failure=Failure.CUT, probability=CUT),
    )


FAULTS: Final[Mapping[str, Sequence[Fault]]] = {
    "gmail": (
        as_fault(not_found(), on=r"/history\?", probability=EXPIRED),
        as_fault(user_rate_limit_exceeded(), on=GMAIL, probability=THROTTLED),
        *_breaking(GMAIL),
    ),
    "graph": (
        Fault(on=GRAPH_CURSOR, status=410, body=EXPIRED_CURSOR, probability=EXPIRED),
        Fault(on=GRAPH, status=429, body="{}", headers={"Retry-After": "5"}, probability=THROTTLED),
        *_breaking(GRAPH),
    ),
    "oauth": (Fault(on="token$", status=503, body="{}", probability=ISSUER_UNAVAILABLE),),
}
