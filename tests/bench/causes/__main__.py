"""Incidents whose cause is known: how many are paged, and what the first line of the page names.

    python -m tests.bench.causes

The pipeline is given closed slots, one a minute, so that days pass in seconds. An agent has an incident every three
hours: in one tool, model, provider, version or tenant, in one tool (or model) for one tenant, in all calls alike, a
shift to what fails more, or one factor of what sessions cost.
"""

import argparse
import sys
from collections import Counter

import numpy as np

from alertrules.cause import Cause, How
from alertrules.page import named
from alertrules.parse import combine, parse_rules
from detectors.core.columns import TICK_NS
from service.ingest.limits import IngestLimits
from service.pipeline.pipeline import Pipeline
from tests.bench.causes.traffic import Agent, Incident, drawn, slot

RULES = """
groups:
  - name: bench
    rules:
      - {alert: ToolErrors, detector: errors, select: {operation: tool}, by: [agent], budget: 1/week}
      - {alert: ModelErrors, detector: errors, select: {operation: llm}, by: [agent], budget: 1/week}
      - {alert: ToolLatency, detector: latency, select: {operation: tool}, by: [agent], budget: 1/week}
      - {alert: ModelLatency, detector: latency, select: {operation: llm}, by: [agent], budget: 1/week}
      - {alert: SessionCost, detector: cost, select: {operation: session}, by: [agent], budget: 1/week}
"""
AGENTS, LEARNT_MINUTES, EVERY, LASTS = 25, 4 * 1440, 180, 45
BEGIN_NS = 20_000 * 86_400 * 10**9
FACTORS = {"calls": "model calls a session", "tokens": "tokens a call", "cache": "input from the cache"}
RULE_OF = {
    ("tool", "errors"): "ToolErrors", ("llm", "errors"): "ModelErrors", ("tool", "latency"): "ToolLatency",
    ("llm", "latency"): "ModelLatency",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--incidents", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="each incident that is not named rightly")
    given = parser.parse_args()
    verdicts, kinds, shown = _run(given.incidents, given.seed)
    paged = sum(verdicts.values()) - verdicts["not paged"]
    print(f"incidents {given.incidents}, paged {paged}; of those paged:")
    for verdict in ("named", "not named", "wrong"):
        print(f"  {verdict:10} {verdicts[verdict]:4} {verdicts[verdict] / max(paged, 1):7.1%}")
    for kind, counts in sorted(kinds.items()):
        print(f"  {kind:28}", ", ".join(f"{name} {n}" for name, n in counts.most_common()))
    if given.show:
        print("\n".join(shown))


def _run(incidents: int, seed: int) -> tuple[Counter[str], dict[str, Counter[str]], list[str]]:
    chance = np.random.default_rng(seed)
    pipeline = Pipeline(IngestLimits(), combine([parse_rules(RULES, "bench")]), 0)
    agents = [Agent(chance, f"agent-{i}", pipeline.ingest.cells) for i in range(AGENTS)]
    rounds = -(-incidents // AGENTS)
    verdicts, shown = Counter[str](), list[str]()
    kinds: dict[str, Counter[str]] = {}
    current: dict[str, Incident] = {}
    told: dict[str, Cause] = {}
    for minute in range(LEARNT_MINUTES + rounds * EVERY):
        busy = 1 + 0.4 * np.sin(2 * np.pi * minute / 1440)
        since = minute - LEARNT_MINUTES
        if since >= 0 and since % EVERY == 60:
            current, told = {one.name: drawn(chance, one) for one in agents}, {}
        if since >= 0 and since % EVERY == 60 + LASTS:
            for name, incident in current.items():
                verdict = _verdict(incident, told.get(name))
                verdicts[verdict] += 1
                kinds.setdefault(_kind(incident), Counter())[verdict] += 1
                if verdict in ("not named", "wrong"):
                    shown.append(f"{name} {incident}: {verdict}: {named(told[name])!r} {told[name]}")
            current = {}
        drawn_now = [one.minute(current.get(one.name), busy) for one in agents]
        errors = pipeline.ingest.sights.errors
        outcome = pipeline.judge([slot(BEGIN_NS + minute * TICK_NS, drawn_now, chance, errors)], 0)
        for moved in outcome.transitions:
            agent = dict(moved.labels).get("agent", "")
            begins = moved.before == "inactive" and moved.after == "firing"
            if begins and agent in current and agent not in told and _rule(current[agent]) == moved.rule:
                told[agent] = moved.known.cause
        if minute % 300 == 0 and sys.stderr.isatty():
            print(f"\r{minute / (LEARNT_MINUTES + rounds * EVERY):.0%}", end="", file=sys.stderr, flush=True)
    return verdicts, kinds, shown


def _rule(incident: Incident) -> str:
    return RULE_OF.get((incident.operation, incident.what), "SessionCost")


def _kind(incident: Incident) -> str:
    where = " and ".join(label for label, _ in incident.labels) or "all"
    return f"{incident.what}, {'more of ' if incident.mixed else ''}{where}"


def _verdict(incident: Incident, cause: Cause | None) -> str:
    """Whether the first line names all that is true of the cause, and nothing that is not."""
    if cause is None:
        return "not paged"
    if incident.operation == "session":
        true = {FACTORS[incident.what]}
        said = {term.label for term in cause}
    else:
        true = {value for _, value in incident.labels} | ({incident.error} if incident.error else set())
        said = {term.value for term in cause}
        mixed = [term.how is How.MIX for term in cause if term.label != "error"]
        if mixed and any(mixed) != incident.mixed:
            return "wrong"
    if said - true:
        return "wrong"
    return "named" if true <= said else "not named"


if __name__ == "__main__":
    main()
