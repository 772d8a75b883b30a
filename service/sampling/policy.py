"""The sampling policy as data: which share of traces is kept, of what. What is not written is as shipped."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from alertrules.quantities import duration_ns
from detectors.core.columns import SECOND_NS
from service.sampling.names import SHARE_MIN

HOUR_NS = 3600 * SECOND_NS
TIMES = {"fresh_for": (60 * SECOND_NS, 30 * 24 * HOUR_NS), "deploy_for": (60 * SECOND_NS, 24 * HOUR_NS)}
"""Durations of a policy, the least and the most of each."""
FLAGS_MAX, VALUES_MAX, TEXT_MAX = 20, 50, 200
FLAG = "{attribute: conversation.flagged}, or {attribute: agent.session.outcome, values: [escalated, failed]}"


@dataclass(frozen=True)
class Flag:
    """An attribute of spans or resources that marks a conversation as worth keeping.

    values  texts of it that do; none where it is a boolean, which does where it is true
    """

    attribute: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """Shares of traces that are kept, from 0 to 1. Of a trace that several fit the largest holds.

    errors     of traces with a failed span
    deploys    of an agent for `deploy_for_ns` after a change that was told of; of all, where the change names no agent
    fresh      of an agent for `fresh_for_ns` after its version or a model of its was first seen
    flagged    of traces with one of `flags`
    alerts     of an agent with an open alert
    suspected  of an agent of which a rule has evidence of a change, though not enough for a page
    rest       of all others
    audit      of all, whatever else is kept: what `rest` does not go below
    """

    errors: float = 1.0
    deploys: float = 1.0
    fresh: float = 1.0
    flagged: float = 1.0
    alerts: float = 1.0
    suspected: float = 1.0
    rest: float = 0.1
    audit: float = 0.01
    fresh_for_ns: int = 24 * HOUR_NS
    deploy_for_ns: int = HOUR_NS
    flags: tuple[Flag, ...] = (
        Flag("conversation.flagged"),
        Flag("agent.session.outcome", ("escalated", "abandoned", "failed", "low_csat")),
    )

    @property
    def floor(self) -> float:
        """The share that is kept of traces which nothing else asks for."""
        return max(self.rest, self.audit)


SHIPPED = Policy()
SHARES = tuple(field.name for field in fields(Policy) if field.type is float or field.type == "float")
_KEYS = (*SHARES, *TIMES, "flags")


def policy_from(written: object) -> Policy:
    """The policy that a YAML file holds.

    Raises ValueError with one line a problem: where it is, what was read, what to write instead.

    >>> policy_from({"rest": "5%"}).rest
    0.05
    """
    if not isinstance(written, Mapping):
        raise ValueError(f"expected shares by name, but found {_shown(written)}; write rest: 10%")
    found: dict[str, Any] = {}
    problems = [f'"{str(key)[:80]}" is not known; there are {", ".join(_KEYS)}' for key in written if key not in _KEYS]
    for key in (key for key in _KEYS if key in written):
        try:
            if key in TIMES:
                found[f"{key}_ns"] = _time(written[key], *TIMES[key])
            else:
                found[key] = _flags(written[key]) if key == "flags" else _share(written[key])
        except ValueError as problem:
            problems.append(f"{key}: {problem}")
    if problems:
        raise ValueError("\n".join(problems))
    policy = Policy(**found)
    if not policy.floor:
        raise ValueError("rest and audit are both 0%: what nobody asks for would never be seen; write audit: 1%")
    return policy


def _share(written: object) -> float:
    """A share as people write it: 10%, or a number from 0 to 1."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", written.strip(), re.ASCII) if isinstance(written, str) else None
    if found:
        share = float(found[1]) / 100
    elif isinstance(written, (int, float)) and not isinstance(written, bool):
        share = float(written)
    else:
        raise ValueError(f"{_shown(written)} is not a share; write 10%")
    if not math.isfinite(share) or not (share == 0 or SHARE_MIN <= share <= 1):
        raise ValueError(f"{_shown(written)} is not 0%, nor from {SHARE_MIN * 100:g}% to 100%; write 10%")
    return share


def _time(written: object, least_ns: int, most_ns: int) -> int:
    time_ns = duration_ns(written)
    if not least_ns <= time_ns <= most_ns:
        most = f"{most_ns // HOUR_NS // 24}d" if most_ns > 24 * HOUR_NS else "24h"
        raise ValueError(f"{_shown(written)} is not from 1m to {most}; write 24h")
    return time_ns


def _flags(written: object) -> tuple[Flag, ...]:
    if not isinstance(written, list) or len(written) > FLAGS_MAX:
        raise ValueError(f"expected a list of at most {FLAGS_MAX}, but found {_shown(written)}; write [{FLAG}]")
    return tuple(_flag(number, each) for number, each in enumerate(written, 1))


def _flag(number: int, written: object) -> Flag:
    if not isinstance(written, Mapping) or not set(written) <= {"attribute", "values"}:
        raise ValueError(f"entry {number}: {_shown(written)} is not a flag; write {FLAG}")
    values = written.get("values", [])
    texts = [written.get("attribute"), *(values if isinstance(values, list) else [None])]
    if not all(isinstance(text, str) and 0 < len(text) <= TEXT_MAX and text.isprintable() for text in texts):
        raise ValueError(f"entry {number}: attribute and values are texts of 1 to {TEXT_MAX} characters; write {FLAG}")
    if ("values" in written and not values) or len(values) > VALUES_MAX:
        raise ValueError(f"entry {number}: values are 1 to {VALUES_MAX} texts; leave them out for true or false")
    return Flag(written["attribute"], tuple(values))


def _shown(written: object) -> str:
    return f'"{written[:40]}"' if isinstance(written, str) else f"{written!r:.40}"
