"""What people are told when everything goes wrong, and how soon when nothing does.

    python -m tests.bench.tell [--incidents 1000] [--seed N]

Three parts, each through the router, the outbox and real HTTP to stand-ins on the loopback.

faults   Forty teams, each with a PagerDuty key and a webhook by a route of its own, have 1,000 incidents of a minute. A
         third of all requests meet a 429, a 5xx, a cut connection, an answer that never comes, or one that is lost on
         its way. The process that delivers is killed with SIGKILL every few seconds and started anew; the one that
         notices and saves is not.
latency  From the return of the step that closed the slot, over the save (with 20 MB of state) and the wake of the
         senders, to the 2xx; in one process, a page every third of a second, nothing failing.
storm    500 alerts of as many agents within a minute, in slots of ten seconds, to Slack and PagerDuty; and 500 that
         share a model.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from bisect import bisect
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from alertrules.lifecycle import AlertState, Identity, Transition, alert_id
from alertrules.notice import Notice
from alertrules.parse import RuleSet, combine, parse_rules
from alertrules.routing import Router, Told
from detectors.core.columns import SLOT_NS, TICK_NS, Finding
from service.config.settings import load
from service.delivery.client import new_client
from service.delivery.deliver import Clocks, Deliverer
from service.demo.standins import Answer, Fault, PagerDutyStandIn, SlackStandIn, serving
from service.notifiers.destination import Addresses, addresses
from service.notifiers.notifier import words
from service.store.outbox import Outbox
from service.store.sqlite import Delivery, Store, connect

TEAMS = 40
FAULT_SHARE = 1 / 3
TICK_S = 0.5
LASTS_TICKS = 120
KILL_EVERY_S = (1.0, 4.0)
START_NS = 29_000_000 * TICK_NS
FAULTS: tuple[Answer | Fault, ...] = (
    Answer(429, "slow down", retry_after="1"), Answer(503, "oops"), Answer(500, "oops"), Fault.RESET, Fault.STALL,
    Fault.TAKEN_THEN_RESET,
)  # fmt: skip


class Chance(deque[Answer | Fault]):
    """A script that now and then has a fault."""

    def __init__(self, rng: random.Random, share: float) -> None:
        super().__init__()
        self.rng, self.share, self.loses_answer = rng, share, False

    def __bool__(self) -> bool:
        return self.rng.random() < self.share

    def popleft(self) -> Answer | Fault:
        fault = self.rng.choices(FAULTS, weights=(4, 4, 2, 4, 1, 2))[0]
        self.loses_answer = fault is Fault.TAKEN_THEN_RESET
        return fault


class Webhook:
    """It takes everything."""

    def answer(self, path: str, body: bytes) -> Answer:
        return Answer(200, "")


class Recorded:
    """A stand-in that remembers what it took, and when."""

    def __init__(self, inner: Any, chance: Chance) -> None:
        self.inner: Any = inner
        self.chance = chance
        self.script: deque[Answer | Fault] = chance
        self.taken: list[tuple[float, dict[str, Any]]] = []
        self.lost: Counter[tuple[str, str]] = Counter()  # Of what it took, those whose answer was lost.

    def answer(self, path: str, body: bytes) -> Answer:
        answer: Answer = self.inner.answer(path, body)
        if 200 <= answer.status < 300:
            self.taken.append((time.monotonic(), json.loads(body)))
            self.lost[_fact(self.taken[-1][1])] += self.chance.loses_answer
        self.chance.loses_answer = False
        return answer

    def twice(self) -> list[tuple[float, str]]:
        """When a post came again whose answer was not lost, and at which destination."""
        seen: Counter[tuple[str, str]] = Counter()
        found = []
        for at_s, one in sorted(self.taken, key=lambda taken: taken[0]):
            fact = _fact(one)
            if seen[fact] > self.lost[fact]:
                found.append((at_s, one.get("routing_key") or one["receiver"]))
            seen[fact] += 1
        return found


def _fact(one: dict[str, Any]) -> tuple[str, str]:
    """What a post says: of which incident, and that it fires or has ended."""
    return (one["dedup_key"], one["event_action"]) if "dedup_key" in one else (one["groupKey"], one["status"])


def team_rules() -> RuleSet:
    """A rule, a receiver and a route for each team."""
    rules = ", ".join(
        f"{{alert: Fails{n}, detector: errors, by: [agent], budget: 1/week, labels: {{team: t{n}}}}}"
        for n in range(TEAMS)
    )
    named = "".join(f"  - {{name: t{n}, pagerduty: {{key: t{n}}}, webhook: {{to: t{n}}}}}\n" for n in range(TEAMS))
    routes = "".join(f"    - {{matchers: [team=t{n}], receiver: t{n}}}\n" for n in range(TEAMS))
    text = f"groups: [{{name: all, rules: [{rules}]}}]\nreceivers:\n  - {{name: oncall, terminal: {{}}}}\n{named}"
    return combine([parse_rules(text + f"route:\n  group_by: [agent]\n  routes:\n{routes}", "teams.yaml", words())])


def team_addresses(rules: RuleSet, pagerduty: str, webhook: str) -> Addresses:
    environ = {"TOCSIN_PAGERDUTY__URL": pagerduty}
    for n in range(TEAMS):
        environ[f"TOCSIN_PAGERDUTY__ROUTING_KEYS__T{n}"] = f"{n:032d}"
        environ[f"TOCSIN_WEBHOOK__URLS__T{n}"] = f"{webhook}/hooks/t{n}"
    return addresses(map(rules.receiver, rules.route.receivers()), load(environ).notifiers)


def moved(rule: str, labels: tuple[tuple[str, str], ...], after: str, at_ns: int, fired_ns: int) -> Transition:
    """An alert fires, or closes."""
    identity = Identity(rule, labels, "page")
    before = AlertState.INACTIVE if after == "firing" else AlertState.RECOVERING
    finding = Finding("ratio", 0.01, 0.2, fired_ns - TICK_NS, 100.0, 9.0, 8.0, "")
    number = alert_id(identity, fired_ns)
    return Transition(rule, labels, "page", before, AlertState(after), at_ns, number, fired_ns, finding)


class Teller:
    """Router and store: what notices, and saves what is to be told."""

    def __init__(self, directory: Path, rules: RuleSet, to: Addresses, state_bytes: int = 0) -> None:
        self.router, self.to = Router(rules, 0), to
        self.store = Store(directory)
        self.arrays = {"state": np.random.default_rng(0).random(state_bytes // 8)}

    def step(self, transitions: list[Transition], at_ns: int) -> Told:
        return self.router.step(transitions, at_ns, at_ns)

    def save(self, notices: tuple[Notice, ...]) -> None:
        deliveries = [Delivery(one, to.name, to.identity) for one in notices for to in self.to.of(one.receiver)]
        self.store.save(self.store.write_arrays(self.arrays, {}, {}), {}, {}, deliveries, time.time_ns())


def deliverer(directory: Path, to: Addresses) -> Deliverer:
    clocks = Clocks(time.time_ns, time.monotonic_ns)
    outbox = Outbox(connect(directory), connect(directory))
    trusted = httpx.create_ssl_context(trust_env=False)
    return Deliverer(outbox, to.all, (), clocks, random.Random(), print, lambda count: new_client(count, trusted))


async def deliver(directory: Path, pagerduty: str, webhook: str) -> None:
    """The process that is killed."""
    one = deliverer(directory, team_addresses(team_rules(), pagerduty, webhook))
    async with asyncio.TaskGroup() as group:
        for _ in range(one.senders):
            group.create_task(one.run())


def schedule(rng: random.Random, count: int) -> Iterator[tuple[int, int, str]]:
    """(tick, team, agent) at which each incident begins: never more than two of a team within a minute."""
    for number in range(count):
        team, turn = number % TEAMS, number // TEAMS
        yield 2 * turn + rng.randrange(2), team, f"agent-{number}"


async def faults(directory: Path, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """1,000 incidents under faults and kills."""
    rules = team_rules()
    chances = [Chance(rng, FAULT_SHARE), Chance(rng, FAULT_SHARE)]
    pagerduty = Recorded(PagerDutyStandIn(time.monotonic, per_s=1000, burst=10_000), chances[0])
    webhook = Recorded(Webhook(), chances[1])
    async with serving(pagerduty) as at_pagerduty, serving(webhook) as at_webhook:
        teller = Teller(directory, rules, team_addresses(rules, at_pagerduty.url, at_webhook.url))
        begins = list(schedule(rng, count))
        over = asyncio.Event()
        kills = asyncio.create_task(_killing(directory, at_pagerduty.url, at_webhook.url, rng, over))
        for tick in range(max(at for at, *_ in begins) + LASTS_TICKS + 1):
            at_ns = START_NS + tick * TICK_NS
            steps = []
            for at, team, agent in begins:
                fired_ns = START_NS + at * TICK_NS
                if tick in (at, at + LASTS_TICKS):
                    after = "firing" if tick == at else "inactive"
                    steps.append(moved(f"Fails{team}", (("agent", agent),), after, at_ns, fired_ns))
            teller.save(teller.step(steps, at_ns).notices)
            await asyncio.sleep(TICK_S)
        for chance in chances:
            chance.share = 0.0
        over.set()
        killed = await kills
        outbox = Outbox(connect(directory), connect(directory))
        until_s = time.monotonic() + 120
        last = await _child(directory, at_pagerduty.url, at_webhook.url)
        while any(state == "waiting" for _, state in outbox.counts()) and time.monotonic() < until_s:
            await asyncio.sleep(0.5)
        last.send_signal(signal.SIGKILL)
        await last.wait()
        teller.store.close()
    return _judged(count, killed, pagerduty, webhook, outbox)


async def _child(directory: Path, pagerduty: str, webhook: str) -> asyncio.subprocess.Process:
    arguments = ("-m", "tests.bench.tell", "--deliver", str(directory), pagerduty, webhook)
    return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.DEVNULL,
                                                stderr=asyncio.subprocess.DEVNULL)  # fmt: skip


async def _killing(
    directory: Path, pagerduty: str, webhook: str, rng: random.Random, over: asyncio.Event
) -> list[float]:
    """Start the senders and kill them, until it is over: when."""
    killed = []
    while not over.is_set():
        child = await _child(directory, pagerduty, webhook)
        await asyncio.sleep(1.5 + rng.uniform(*KILL_EVERY_S))  # A second and a half is its start.
        os.kill(child.pid, signal.SIGKILL)
        await child.wait()
        killed.append(time.monotonic())
    return killed


def _judged(
    count: int, killed: list[float], pagerduty: Recorded, webhook: Recorded, outbox: Outbox
) -> list[dict[str, Any]]:
    incidents = pagerduty.inner.incidents
    keys = Counter(one.dedup_key for one in incidents)
    hooked = Counter((one["groupKey"], one["status"]) for _, one in webhook.taken)
    ended = {key for key, status in hooked if status == "resolved"}
    events = Counter((one["dedup_key"], one["event_action"]) for _, one in pagerduty.taken)
    lost_answers = sum((pagerduty.lost + webhook.lost).values())
    twice = [*pagerduty.twice(), *webhook.twice()]
    a_kill = Counter((bisect(killed, at_s), where) for at_s, where in twice)
    resolves_only = len({key for key, action in events if action == "resolve"} - keys.keys())
    order: dict[str, str] = {}
    late = 0
    for _, one in sorted(webhook.taken, key=lambda taken: taken[0]):
        late += one["status"] == "firing" and order.get(one["groupKey"]) == "resolved"
        order[one["groupKey"]] = one["status"]
    waiting = sum(n for (_, state), n in outbox.counts().items() if state in ("waiting", "dead", "dropped"))
    return [
        _line("faults", "incidents lost", 2 * count - len(keys) - resolves_only - len(ended), "incidents", "== 0"),
        _line("faults", "incidents over before they could be told", resolves_only, "incidents", None),
        _line("faults", "left in the outbox", waiting, "deliveries", "== 0"),
        _line("faults", "incidents still open", len(pagerduty.inner.open()), "incidents", "== 0"),
        _line("faults", "triggers after their resolve", sum(n - 1 for n in keys.values()) + late, "posts", "== 0"),
        _line("faults", "kills", len(killed), "kills", None),
        _line("faults", "answers lost on their way", lost_answers, "posts", None),
        _line("faults", "posts sent twice a restart, all destinations", len(twice) / len(killed), "posts", None),
        _line(
            "faults",
            "posts sent twice a restart and destination, at most",
            max(a_kill.values(), default=0),
            "posts",
            "<= 1",
        ),
    ]


async def latency(directory: Path, rng: random.Random, pages: int = 150) -> list[dict[str, Any]]:
    """How long a page takes, once the step that noticed has returned."""
    rules = team_rules()
    pagerduty = Recorded(PagerDutyStandIn(time.monotonic, per_s=1000, burst=10_000), Chance(rng, 0.0))
    webhook = Recorded(Webhook(), Chance(rng, 0.0))
    began: dict[str, float] = {}
    async with serving(pagerduty) as at_pagerduty, serving(webhook) as at_webhook:
        to = team_addresses(rules, at_pagerduty.url, at_webhook.url)
        teller, one = Teller(directory, rules, to, state_bytes=20_000_000), deliverer(directory, to)
        tasks = [asyncio.create_task(one.run()) for _ in range(one.senders)]
        for number in range(pages):
            at_ns = START_NS + number * TICK_NS
            fired = moved(f"Fails{number % TEAMS}", (("agent", f"agent-{number}"),), "firing", at_ns, at_ns)
            notices = (await asyncio.to_thread(teller.step, [fired], at_ns)).notices
            began[notices[0].group] = time.monotonic()
            await asyncio.to_thread(teller.save, notices)
            one.wake()
            await asyncio.sleep(0.33)
        await asyncio.sleep(2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        teller.store.close()
    taken = {one["dedup_key"]: at_s for at_s, one in reversed(pagerduty.taken)}
    seconds = sorted(taken.get(group, float("inf")) - at_s for group, at_s in began.items())
    return [
        _line("latency", "p50 from closing slot to 2xx", seconds[len(seconds) // 2], "s", None),
        _line("latency", "p99 from closing slot to 2xx", seconds[int(len(seconds) * 0.99)], "s", "< 1"),
    ]


async def storm(directory: Path, rng: random.Random, cause: bool) -> list[dict[str, Any]]:
    """500 alerts within a minute, in Slack and PagerDuty."""
    rules = combine([parse_rules("groups: [{name: all, rules: [{alert: Fails, detector: errors, by: [agent, model], "
                                 "budget: 1/week}]}]", "storm.yaml", words())])  # fmt: skip
    slack, pagerduty = SlackStandIn(time.monotonic), PagerDutyStandIn(time.monotonic)
    async with AsyncExitStack() as stack:
        at_slack = await stack.enter_async_context(serving(slack))
        at_pagerduty = await stack.enter_async_context(serving(pagerduty))
        environ = {
            "TOCSIN_SLACK__WEBHOOK_URL": f"{at_slack.url}/services/T0/B0/storm",
            "TOCSIN_PAGERDUTY__URL": at_pagerduty.url,
            "TOCSIN_PAGERDUTY__ROUTING_KEY": "k" * 32,
        }
        to = addresses(map(rules.receiver, rules.route.receivers()), load(environ).notifiers)
        teller, one = Teller(directory, rules, to), deliverer(directory, to)
        tasks = [asyncio.create_task(one.run()) for _ in range(one.senders)]
        agents = list(range(500))
        rng.shuffle(agents)
        for slot in range(6):
            at_ns = START_NS + slot * SLOT_NS
            model = (("model", "gpt-4o"),) if cause else ()
            fired = [moved("Fails", (("agent", f"agent-{n}"), *model), "firing", at_ns, at_ns) for n in agents[slot::6]]
            teller.save(teller.step(fired, at_ns).notices)
            one.wake()
            await asyncio.sleep(1)
        teller.save(teller.step([], START_NS + 2 * TICK_NS).notices)
        one.wake()
        await asyncio.sleep(8)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        teller.store.close()
    case = "shared cause" if cause else "storm"
    names_it = any("500 agents with model gpt-4o" in post.text or "84 agents with model gpt-4o" in post.text
                   for post in slack.posts)  # fmt: skip
    lines = [
        _line(case, "messages in Slack for 500 alerts", len(slack.posts), "messages", "<= 20"),
        _line(case, "incidents in PagerDuty for 500 alerts", len(pagerduty.incidents), "incidents", "<= 20"),
    ]
    return [*lines, _line(case, "pages that name the cause", float(names_it), "share", "== 1")] if cause else lines


def _line(case: str, metric: str, value: float, unit: str, goal: str | None) -> dict[str, Any]:
    how, _, limit = (goal or "").partition(" ")
    holds = {"": True, "==": value == float(limit or 0), "<=": value <= float(limit or 0),
             "<": value < float(limit or 0)}[how]  # fmt: skip
    value = round(value, 4)
    return {"bench": "tell", "case": case, "metric": metric, "value": value, "unit": unit, "goal": goal, "holds": holds}


async def measure(count: int, seed: int) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        places = [Path(directory) / name for name in ("latency", "storm", "cause", "faults")]
        parts = (
            latency(places[0], rng), storm(places[1], rng, False), storm(places[2], rng, True),
            faults(places[3], count, rng),
        )  # fmt: skip
        for part in parts:
            for line in await part:
                print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--incidents", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--deliver", nargs=3, metavar=("DIRECTORY", "PAGERDUTY", "WEBHOOK"), help="the process to kill")
    given = parser.parse_args()
    if given.deliver:
        asyncio.run(deliver(Path(given.deliver[0]), *given.deliver[1:]))
    else:
        asyncio.run(measure(given.incidents, given.seed))


if __name__ == "__main__":
    main()
