"""Python's garbage collector, set for a program that makes many objects and hardly a cycle.

With the thresholds it starts with it took a sixth of the start and one part in fifteen of a first
sync, and to go through everything at once held the event loop up for 80 ms.
"""

import gc


def collect_rarely() -> None:
    """Have the collector look less often: a page in memory has more objects than it allows for."""
    gc.set_threshold(10_000, 50, 100)


def spare_what_is_there() -> None:
    """Keep what is in memory now out of the collector's rounds: it stays to the end.

    At the end itself: all goes at once then, and nothing needs to be looked through.
    """
    gc.freeze()
