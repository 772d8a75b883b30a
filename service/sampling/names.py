"""Names of the Collector's sampling policies that tell their own weight.

The Collector's tail sampling writes the name of the policy that kept a trace into the scopes of its spans. A name that
ends in the share that the policy keeps needs no setting: whoever reads the span knows its weight, after a restart, on
another machine, and while two editions of a policy are in flight.
"""

import re

SHARE_MIN = 1e-6
"""Of fewer traces than one in a million, one span would outweigh a fleet."""
_NAME = re.compile(r"tocsin/[^=]{1,200}=([0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?)", re.ASCII)


def name_of(kind: str, share: float) -> str:
    """The name of a policy that keeps this share of what it is about.

    >>> name_of("rest", 0.1)
    'tocsin/rest=0.1'
    """
    return f"tocsin/{kind}={share:.10g}"


def weight_of(name: str) -> float:
    """Traces that each one stands for which the policy of this name kept; 0.0 for a name of somebody else.

    >>> weight_of("tocsin/rest=0.1"), weight_of("tocsin/rest=0"), weight_of("my own policy")
    (10.0, 0.0, 0.0)
    """
    found = _NAME.fullmatch(name)
    share = float(found[1]) if found else 0.0
    return 1 / share if SHARE_MIN <= share <= 1 else 0.0
