"""What is worth keeping whole now: agents with an open alert or a suspicion, with something new, or under a deploy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from alertrules.changes import Change
from alertrules.lifecycle import AlertState
from detectors.core.series import OVERFLOW_VALUE
from service.causes.news import Sight
from service.pipeline.rule_runner import Level
from service.sampling.policy import Policy

NEEDS_MAX = 1_000
"""Agents that are asked for by name. With more, all traffic is: a policy with more names helps nobody."""
SUSPECTED_FROM = 3.0
"""Log evidence of a change, nats, from which on an agent is suspected: odds of twenty to one, were both as likely."""
NONE_SUSPECTED = np.empty(0)


class Reason(StrEnum):
    ALERT = "alert"
    SUSPECTED = "suspected"
    DEPLOY = "deploy"
    FRESH = "fresh"


@dataclass(frozen=True, order=True)
class Need:
    """A reason to keep more of an agent's traces; of all agents' where `agent` is empty.

    why       what it is, in a line: the rule of the alert or suspicion, what is new, or what was told
    until_ns  when it ends by itself; 0 for an alert, which ends when it closes, and for a suspicion
    """

    agent: str
    reason: Reason
    why: str
    until_ns: int = 0


@dataclass(frozen=True)
class Needs:
    """All needs at one moment, in an order that depends on nothing else. One value, taken when somebody looks."""

    all: tuple[Need, ...] = ()

    def agents(self, reason: Reason) -> tuple[str, ...]:
        """The agents that are needed for this reason, by name."""
        return tuple(sorted({need.agent for need in self.all if need.reason is reason and need.agent}))

    def count(self, reason: Reason) -> int:
        """Agents that are needed for this reason, all of them counted as one."""
        return len(self.agents(reason)) + self.are_of_all(reason)

    def are_of_all(self, reason: Reason) -> bool:
        """Whether the traces of all agents are needed for this reason."""
        return any(need.reason is reason and not need.agent for need in self.all)


NOTHING_NEEDED = Needs()


def shares(policy: Policy) -> dict[Reason, float]:
    """The share of an agent's traces that is kept for each reason."""
    return {
        Reason.ALERT: policy.alerts,
        Reason.SUSPECTED: policy.suspected,
        Reason.DEPLOY: policy.deploys,
        Reason.FRESH: policy.fresh,
    }


def needs(
    levels: Iterable[Level], sights: Iterable[Sight], changes: Iterable[Change], policy: Policy, now_ns: int
) -> Needs:
    """What is needed at `now_ns`.

    levels   the rules as they stand: an alert that is muted is told as the new normal, and is no need
    sights   first sights that are news: see `News.sights`
    changes  what people and pipelines told of; one is a need from its time on, for as long as the policy says
    """
    fresh_ns, deploy_ns = policy.fresh_for_ns, policy.deploy_for_ns
    fresh = {Need(one.agent, Reason.FRESH, one.what, one.at_ns + fresh_ns) for one in sights}
    deployed = {
        Need(dict(one.labels).get("agent", ""), Reason.DEPLOY, one.summary, one.at_ns + deploy_ns)
        for one in changes
        if one.at_ns <= now_ns
    }
    found = {need for need in fresh | deployed if now_ns < need.until_ns}
    for level in levels:
        found |= {*_alerts(level), *_suspicions(level)}
    return Needs(tuple(sorted(_bounded(found))))


def _alerts(level: Level) -> Iterator[Need]:
    for labels, alert in level.alerts.items():
        if alert.state is not AlertState.MUTED and (agent := _agent(level, labels)):
            yield Need(agent, Reason.ALERT, level.rule.name)


def _suspicions(level: Level) -> Iterator[Need]:
    """Series on the way to a page. With all of their traces the rest of the way is as short as without sampling.

    The evidence stays what it says it is: what is kept next follows from what was seen before.
    """
    suspicion = level.gauges.get("suspicion", NONE_SUSPECTED)
    for i in np.flatnonzero(suspicion >= SUSPECTED_FROM).tolist():  # NaN where there is none.
        labels = level.labels[i]
        if labels not in level.alerts and (agent := _agent(level, labels)):
            yield Need(agent, Reason.SUSPECTED, level.rule.name)


def _agent(level: Level, labels: tuple[str, ...]) -> str:
    """The agent of a series; empty where it is of no one agent."""
    agent = labels[level.rule.by.index("agent")] if "agent" in level.rule.by else ""
    return "" if agent == OVERFLOW_VALUE else agent


def _bounded(found: set[Need]) -> Iterator[Need]:
    """The needs; those of a reason that has too many agents as one, of all."""
    for reason in Reason:
        own = [need for need in found if need.reason is reason]
        agents = len({need.agent for need in own})
        if agents > NEEDS_MAX:
            yield Need("", reason, f"{agents} agents at once", max(need.until_ns for need in own))
        else:
            yield from own
