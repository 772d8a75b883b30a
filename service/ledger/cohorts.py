"""What foretold bad ends: by cohort and sign, how much more often a session with the sign ended badly.

A sign is chosen before any outcome is looked at: something happened at all, or a number is beyond a quantile of its own
cohort. Each pair of a cohort and a sign is one question, and as many are asked, most of what looks like an answer is
chance. So each has an e-value, and only what e-BH believes is told: of that at most a tenth is false on average, and a
table of noise is empty nine times in ten, by far more in fact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.core.columns import Bools, Floats
from service.ledger.histories import Histories, Who
from service.ledger.rates import Interval, Two, believed, lift, log_e_value

FALSE_SHARE = 0.1
SESSIONS_MIN, EACH_MIN = 50, 5
"""Sessions whose end is known that a cohort must have, and that must be on either side of a sign."""
PART_MIN = 200
"""Sessions that a part of an agent must have: fewer answer little, and each question makes the others harder."""
COHORTS_MAX = 500
"""Cohorts that are asked about, those of most sessions."""


class Sign(NamedTuple):
    """A sign: which number it is of, and beyond which quantile of its cohort; None: that it is above 0 at all.

    above  whether it is above that quantile, not below
    words  what a session with it did
    """

    name: str
    number: str
    quantile: float | None
    above: bool
    words: str


SIGNS = (
    Sign("failed_model_call", "failed_model_calls", None, True, "a model call failed"),
    Sign("truncated_answer", "truncated_answers", None, True, "an answer was cut by its token limit"),
    Sign("failed_tool_call", "failed_tool_calls", None, True, "a tool failed"),
    Sign("repeated_tool_call", "repeated_tool_calls", None, True, "a tool was called again with the same arguments"),
    Sign("empty_retrieval", "empty_retrievals", None, True, "a retrieval found nothing"),
    Sign("guardrail_block", "guardrail_blocks", None, True, "a guardrail stopped something"),
    Sign("failed_root", "failed", None, True, "its root failed"),
    Sign("low_retrieval_score", "lowest_score", 0.5, False, "lowest retrieval score below the cohort's median"),
    Sign("many_turns", "traces", 0.9, True, "more traces than nine in ten"),
    Sign("many_model_calls", "model_calls", 0.9, True, "more model calls than nine in ten"),
    Sign("many_tool_calls", "tool_calls", 0.9, True, "more tool calls than nine in ten"),
    Sign("many_tokens", "tokens", 0.9, True, "more tokens than nine in ten"),
    Sign("dear", "dollars", 0.9, True, "dearer than nine in ten"),
    Sign("slow", "seconds", 0.9, True, "longer than nine in ten"),
)


@dataclass(frozen=True)
class Foretold:
    """One sign in one cohort.

    who       the cohort's labels; those that it does not name are empty
    two       sessions and bad ends, with the sign and without
    log_e     log e-value that the rates differ
    believed  whether e-BH believes it, among all that were asked
    """

    who: Who
    sign: Sign
    two: Two
    log_e: float
    believed: bool

    @property
    def lift(self) -> Interval:
        return lift(self.two)


@dataclass(frozen=True)
class Cohorts:
    """All that was asked.

    sessions  how many were looked at, and `known` of how many it is known how they ended
    foretold  every question, the strongest evidence first
    """

    sessions: int
    known: int
    bad: int
    asked: int
    foretold: tuple[Foretold, ...]

    @property
    def believed(self) -> tuple[Foretold, ...]:
        return tuple(one for one in self.foretold if one.believed)


def cohorts(found: Histories) -> Cohorts:
    """What foretold bad ends, of the sessions whose end is known."""
    known = found.picked(~np.isnan(found.bad))
    questions = [
        (who, sign, two)
        for who, at in _cohorts(known)
        for sign in SIGNS
        if (two := _two(known.bad[at], *has_sign(known.numbers[sign.number][at], sign))) is not None
    ]
    log_e = [log_e_value(two) for *_, two in questions]
    are_believed = believed(log_e, FALSE_SHARE).tolist()
    told = [
        Foretold(*question, log, is_believed)
        for question, log, is_believed in zip(questions, log_e, are_believed, strict=True)
    ]
    told.sort(key=lambda one: (-one.log_e, one.who, one.sign.name))
    return Cohorts(len(found.session), len(known.session), int(known.bad.sum()), len(told), tuple(told))


def _cohorts(known: Histories) -> Iterator[tuple[Who, list[int]]]:
    """Cohorts with enough sessions, and their places: agents, and each set of labels that is not all of its agent."""
    places: dict[Who, list[int]] = {}
    for i, who in enumerate(known.who):
        for each in {Who(who.agent, "", "", ""), who}:
            places.setdefault(each, []).append(i)
    enough = [(who, at) for who, at in places.items() if len(at) >= (PART_MIN if any(who[1:]) else SESSIONS_MIN)]
    enough.sort(key=lambda one: (-len(one[1]), one[0]))
    for who, at in enough[:COHORTS_MAX]:
        agent = Who(who.agent, "", "", "")
        if who == agent or len(places[agent]) > len(at):
            yield who, at


def _two(bad: Floats, has: Bools, told: Bools) -> Two | None:
    """Bad ends with a sign and without; None where too few sessions are on either side, or all ended alike."""
    is_bad, lacks = bad > 0, told & ~has
    two = Two(*(int(each.sum()) for each in (is_bad & has, has, is_bad & lacks, lacks)))
    n, all_bad = two.n_with + two.n_without, two.bad_with + two.bad_without
    return two if min(two.n_with, two.n_without) >= EACH_MIN and n >= SESSIONS_MIN and 0 < all_bad < n else None


def has_sign(values: Floats, sign: Sign) -> tuple[Bools, Bools]:
    """Which sessions of a cohort have a sign, by its number, and of which it is known whether they have it."""
    told = ~np.isnan(values)
    if sign.quantile is None:
        return told & (values > 0), told
    if not told.any():
        return told, told
    line = np.quantile(values[told], sign.quantile)
    return told & ((values > line) if sign.above else (values < line)), told
