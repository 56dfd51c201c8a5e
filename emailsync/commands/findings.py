"""What a look at the installation found: the lines that `emailsyncd check` prints."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    SHORT = "short"  #: it works, but not as fast as it should
    FAILED = "failed"  #: it cannot work like this


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str  #: what was found, and what to do when it is not ok
