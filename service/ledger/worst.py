"""The week's sessions that are worth a person's look, by their signs; and a random sample to hold them against.

How a session ended is not among the signs: that is what a look is to find out, and what both lists are compared by.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detectors.core.columns import Floats
from service.ledger.cohorts import SIGNS, Cohorts, Sign, has_sign
from service.ledger.histories import Histories, Who
from service.ledger.rates import Interval, share

WORST_SHARE, WORST_MIN, WORST_MAX = 0.01, 10, 500
QUANTILE_SESSIONS_MIN = 20
"""Sessions of an agent from which on one in ten of them is said to be slow, or dear."""
PLAIN_WEIGHTS: Mapping[str, float] = {
    "failed_model_call": 0.5, "truncated_answer": 0.5, "failed_tool_call": 0.7, "repeated_tool_call": 0.7,
    "empty_retrieval": 0.5, "guardrail_block": 1.0, "failed_root": 1.0, "low_retrieval_score": 0.2, "many_turns": 0.3,
    "many_model_calls": 0.3, "many_tool_calls": 0.3, "many_tokens": 0.2, "dear": 0.5, "slow": 0.4,
}  # fmt: skip
"""What a sign weighs as long as nothing is known of it: about the logarithm of how many times as bad it may be."""


class Worth(NamedTuple):
    """One session that is worth a look.

    cause   the sign that weighs most of those that it has; None in the random sample where it has none
    signs   all that it has, the heaviest first
    """

    session: bytes
    trace: bytes
    who: Who
    until_ns: int
    score: float
    cause: Sign | None
    signs: tuple[Sign, ...]
    bad: bool | None


@dataclass(frozen=True)
class Review:
    """A week.

    sessions  how many were looked at
    learnt    how many weights are of signs that foretold bad ends before this week; the others are plain
    worst     those with the highest scores, by cause, the causes of most of them first
    audit     as many at random
    """

    sessions: int
    learnt: int
    worst: tuple[Worth, ...]
    audit: tuple[Worth, ...]

    @property
    def worst_bad(self) -> tuple[Interval, int]:
        """The share of the worst that ended badly, and of how many that is known."""
        return _bad(self.worst)

    @property
    def audit_bad(self) -> tuple[Interval, int]:
        return _bad(self.audit)


def _bad(found: tuple[Worth, ...]) -> tuple[Interval, int]:
    known = [one.bad for one in found if one.bad is not None]
    return share(sum(known), len(known)), len(known)


def weights(before: Cohorts) -> dict[tuple[str, str], float]:
    """By agent and sign, the logarithm of the lift, where it is believed that the sign foretells bad ends."""
    found = {}
    for one in before.believed:
        if one.who == Who(one.who.agent, "", "", "") and one.lift.value > 1.0:
            found[one.who.agent, one.sign.name] = math.log(one.lift.value)
    return found


def review(week: Histories, learnt: Mapping[tuple[str, str], float], seed: int) -> Review:
    """The worst of a week, and a random sample that the seed picks, each a hundredth of its sessions, at least ten."""
    scores, has = _scored(week, learnt)
    n = len(week.session)
    most = min(max(math.ceil(n * WORST_SHARE), WORST_MIN), WORST_MAX, n)
    ranked = sorted(np.flatnonzero(scores > 0).tolist(), key=lambda i: (-scores[i], week.session[i]))
    drawn = sorted(range(n), key=lambda i: hashlib.blake2b(week.session[i], key=seed.to_bytes(8, "big")).digest())
    worst, audit = ([_worth(week, i, scores, has, learnt) for i in picked] for picked in (ranked[:most], drawn[:most]))
    causes = [one.cause.name for one in worst if one.cause]
    worst.sort(key=lambda one: one.cause.name if one.cause else "")
    worst.sort(key=lambda one: -causes.count(one.cause.name) if one.cause else 0)
    return Review(n, len(learnt), tuple(worst), tuple(audit))


def _weight(agent: str, sign: Sign, learnt: Mapping[tuple[str, str], float]) -> float:
    return learnt.get((agent, sign.name), PLAIN_WEIGHTS[sign.name])


def _scored(week: Histories, learnt: Mapping[tuple[str, str], float]) -> tuple[Floats, dict[str, Floats]]:
    """Scores: the weights of the signs that each session has, added up; and which those are, by sign."""
    places: dict[str, list[int]] = {}
    for i, who in enumerate(week.who):
        places.setdefault(who.agent, []).append(i)
    scores = np.zeros(len(week.session))
    found = {sign.name: np.zeros(len(week.session)) for sign in SIGNS}
    for agent, at in places.items():
        for sign in SIGNS:
            if sign.quantile is not None and len(at) < QUANTILE_SESSIONS_MIN:
                continue
            has, _ = has_sign(week.numbers[sign.number][at], sign)
            found[sign.name][at] = has
            scores[at] += has * _weight(agent, sign, learnt)
    return scores, found


def _worth(
    week: Histories, i: int, scores: Floats, has: Mapping[str, Floats], learnt: Mapping[tuple[str, str], float]
) -> Worth:
    who, bad = week.who[i], week.bad[i]
    signs = sorted((sign for sign in SIGNS if has[sign.name][i]), key=lambda one: -_weight(who.agent, one, learnt))
    return Worth(
        week.session[i], week.trace[i], who, int(week.until_ns[i]), float(scores[i]), signs[0] if signs else None,
        tuple(signs), None if np.isnan(bad) else bool(bad),
    )  # fmt: skip
