"""File descriptors: what each part may have of those that the system gives the process.

Connections are anybody's to open, so they get what is left once saving, paging and Kafka have theirs.
"""

import resource
from dataclasses import dataclass
from pathlib import Path

OWN = 48
"""For saving, listening, and what libraries open now and then."""
KAFKA = 48
"""For sockets to its brokers."""
ACCEPTED = 24
"""For connections that were accepted and are not cut yet, of both servers."""
WEB_MAX, OTLP_MAX = 256, 8_192
LEAST_OPEN = 4
"""Connections below which a server is of no use."""


@dataclass(frozen=True)
class Shares:
    """How many connections each server may have."""

    otlp: int
    web: int


def raised() -> int:
    """The number of descriptors that this process may open, once that is as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # Some systems name no limit, and have one.
            pass
    return OTLP_MAX * 8 if soft == resource.RLIM_INFINITY else soft


def opened() -> int:
    """Descriptors that are open now, as far as the system says."""
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return 32


def shares(limit: int, opened: int, others: int) -> Shares:
    """What a limit leaves for connections, once `others` has its part. Raises OSError where that is next to nothing.

    >>> shares(1024, 40, 16)
    Shares(otlp=672, web=224)
    """
    needed = opened + others + OWN + ACCEPTED
    left = limit - needed
    web = min(WEB_MAX, left // 4)
    if web < LEAST_OPEN:
        raise OSError(
            f"this process may open {limit} files, and needs at least {needed + 4 * LEAST_OPEN}; raise the limit: "
            "`ulimit -n 4096`, or LimitNOFILE=4096 in its systemd unit"
        )
    return Shares(min(OTLP_MAX, left - web), web)
