"""The bodies of a recording: what every agent's collector would have posted, minute by minute."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from detectors.core.columns import SECOND_NS, Bools, Floats, Places
from service.rule_tests.spans import FAILED, resource, text
from tests.bench.fleet.laws import DAY_S, GRID_S, HOUR_S, MINUTE_S, NIGHTLY, OUTCOMES, WEEK_S, Agent, Incident, World
from tests.bench.fleet.wire import OUTCOME, body, double, integer, span, template

PRICES = {"gpt-4o-mini": 0.15e-6, "claude-sonnet-4-5": 3e-6, "gpt-4o": 2.5e-6, "house-7b": 0.5e-6}
"""Dollars a token in; a token out is four times as dear. What an agent that states its cost says."""
BAD_OUTCOMES = np.array([0.10, 0.06, 0.04])
"""Where the points go that an incident of outcomes takes from the good class."""
LATE, TWICE = 0.002, 0.003
"""Shares of spans that come minutes late, and that are sent again a minute later."""
SEED_OF_IDS = 2


class Recording:
    """Bodies in the order in which they would arrive: one for each minute in which any span came."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.ids = random.Random(seed + SEED_OF_IDS)
        self.spans = 0
        self.touched: dict[str, int] = defaultdict(int)
        """Model calls, sessions' turns, that an incident touched, by its name: what there was to find it by."""
        self._due: dict[int, dict[bytes, list[bytes]]] = defaultdict(lambda: defaultdict(list))
        self._sources = [_Source(world, agent, self, [seed, 3, i]) for i, agent in enumerate(world.agents)]

    def bodies(self) -> Iterator[bytes]:
        """Every body, in order."""
        for hour in range(self.world.length_s // HOUR_S):
            for source in self._sources:
                source.hour(hour * HOUR_S)
            # Whatever is sent from now on ends after this hour.
            yield from self._arrived((hour + 1) * 60)
        yield from self._arrived(self.world.length_s // MINUTE_S + 100_000)

    def _arrived(self, until_minute: int) -> Iterator[bytes]:
        for minute in sorted(minute for minute in self._due if minute < until_minute):
            yield body(self._due.pop(minute).items())

    def send(self, of: bytes, raw: bytes, end_s: float, half: bool) -> None:
        """One span on its way: `half` says behind which of two collectors its host is."""
        self.spans += 1
        at_s = end_s + self.ids.random() * 5
        if self.ids.random() < LATE:
            at_s += self.ids.random() * 300
        for from_s, until_s, everyone in self.world.gaps:
            if from_s <= at_s < until_s and (everyone or half):
                # A backlog comes in order where all were cut off, and late for everybody else's where half were.
                at_s = until_s + (at_s - from_s) / 20
        minute = int(at_s // MINUTE_S)
        self._due[minute][of].append(raw)
        if self.ids.random() < TWICE:
            self._due[minute + 1][of].append(raw)


class _Source:
    """One agent's sessions, hour by hour, with what moves them."""

    def __init__(self, world: World, agent: Agent, out: Recording, seed: list[int]) -> None:
        self.world, self.agent, self.out = world, agent, out
        self.rng = np.random.default_rng(seed)
        steps = world.length_s // GRID_S + 2
        self.slow = {what: self._wobble(steps) for what in ("rate", "latency", "fails", "tokens", "mix", "hits")}
        self.incidents = [one for one in world.incidents if one.agent == agent.name]
        self.blips = [blip for blip in world.blips if blip.provider in [provider for provider, _ in agent.models]]
        self.later: dict[int, list[tuple[float, int, str]]] = defaultdict(list)
        self.half = bool(self.rng.random() < 0.5)
        self._templates()

    def _templates(self) -> None:
        agent, dialect = self.agent, self.agent.dialect
        deploys = range(0, self.world.length_s, WEEK_S // 2)
        self.resources = [
            [resource({"service.name": agent.name, "tenant.id": tenant, "service.version": f"1.{k}"}) for k in deploys]
            for tenant, _ in agent.tenants
        ]
        words = {"agent": agent.name, "model": agent.models[0][1], "provider": agent.models[0][0]}
        self.root = template(dialect.root, **words)
        self.llm = [template(dialect.llm, agent=agent.name, provider=p, model=m) for p, m in agent.models]
        self.tool = [template(dialect.tool, agent=agent.name, tool=name) for name in agent.tools]

    def _wobble(self, steps: int) -> Floats:
        """An OU process of standard deviation `wobble`, by grid step."""
        keep = math.exp(-GRID_S / self.agent.tau_s)
        noise = self.rng.normal(0, self.agent.wobble * math.sqrt(1 - keep * keep), steps)
        path = np.empty(steps)
        level = float(self.rng.normal(0, self.agent.wobble))
        for i in range(steps):
            level = keep * level + noise[i]
            path[i] = level
        return path

    def _level(self, what: str, at_s: Floats) -> Floats:
        """Log of what moves slowly: wobble, and but for rates the season of day and week."""
        level = np.interp(at_s / GRID_S, np.arange(len(self.slow[what])), self.slow[what])
        if what in ("rate", "hits"):
            return level
        clock_s = at_s + self.world.began_s
        level += self.agent.day * np.sin(2 * np.pi * (clock_s / DAY_S + self.agent.phase))
        return level + self.agent.rest * _weekend(clock_s)

    def _night(self, at_s: Floats) -> Bools:
        """Whether the nightly batch runs."""
        night: Bools = ((at_s + self.world.began_s) % DAY_S // MINUTE_S // 20 == 9) & (self.agent.nightly > 0)
        return night

    def _lambda(self, at_s: Floats) -> Floats:
        """Sessions a second that are due at these times."""
        agent, clock_s = self.agent, at_s + self.world.began_s
        rate = agent.rate * np.exp(self._level("rate", at_s))
        rate *= np.maximum(0.0, 1 + agent.swing * np.sin(2 * np.pi * (clock_s / DAY_S + agent.phase)))
        rate *= np.where(_weekend(clock_s), agent.weekend, 1.0)
        for crowd_s in agent.crowds:
            rate *= np.where((at_s >= crowd_s) & (at_s < crowd_s + HOUR_S), 10.0, 1.0)
        rate *= np.where(at_s >= agent.doubles_s, 2.0, 1.0)
        if agent.name in self.world.rates:
            real = self.world.rates[agent.name]
            rate *= np.interp(at_s / GRID_S % len(real), np.arange(len(real)), real)
        rate += np.where(self._night(at_s), agent.nightly / (20 * MINUTE_S), 0.0)
        return rate * ((at_s >= agent.born_s) & (at_s < agent.gone_s))

    def _starts(self, from_s: int) -> Floats:
        """When sessions begin within an hour from `from_s`, in order."""
        if self.agent.every_s:
            rate = self._lambda(np.array([float(from_s)]))
            burst = self.rng.poisson(rate * self.agent.every_s)[0]
            return np.sort(from_s + 120 + self.rng.uniform(0, 20, burst))
        minutes = from_s + MINUTE_S * np.arange(60.0)
        counts = self.rng.poisson(MINUTE_S * self._lambda(minutes))
        return np.sort(np.repeat(minutes, counts) + self.rng.uniform(0, MINUTE_S, counts.sum()))

    def hour(self, from_s: int) -> None:
        """Send all traces that begin within this hour."""
        agent, rng = self.agent, self.rng
        starts = self._starts(from_s)
        tenants = rng.choice(len(agent.tenants), len(starts), p=[share for _, share in agent.tenants])
        traces = [
            (at_s, tenant, self.out.ids.randbytes(8).hex())
            for at_s, tenant in zip(starts.tolist(), tenants.tolist(), strict=True)
        ]
        if agent.traces > 1:
            for at_s, tenant, name in traces[:]:
                for _ in range(int(rng.geometric(1 / agent.traces)) - 1):
                    at_s += float(rng.lognormal(math.log(300), 1.5))
                    self.later[int(at_s // HOUR_S)].append((at_s, tenant, name))
            traces += self.later.pop(from_s // HOUR_S, [])
        if traces:
            self._traces(traces)

    def _traces(self, traces: list[tuple[float, int, str]]) -> None:
        agent, rng, n = self.agent, self.rng, len(traces)
        at_s = np.array([one[0] for one in traces])
        turns = 1 + np.minimum(rng.geometric(0.5, n) - 1, 6)
        which = np.repeat(np.arange(n), turns)
        call_s, tenant = at_s[which], np.array([one[1] for one in traces])[which]
        model = rng.integers(0, len(agent.models), len(which))
        tool = rng.integers(0, len(agent.tools) * 2, len(which))
        wrong = self._wrong(call_s, tenant, model, tool)
        tokens = rng.lognormal(7.2, 0.6, len(which)) * np.exp(self._level("tokens", call_s)) * wrong["tokens"]
        tokens *= np.where(self._night(call_s), NIGHTLY, 1.0)
        clumped = np.where(rng.random(n) < 0.3, 3.0, 1 / 7)[which]  # In some sessions failures are likelier.
        usual = agent.fails * np.exp(3 * self._level("fails", call_s)) * clumped
        failing = np.maximum(usual, wrong["fails"])
        columns = (
            (self._seconds(call_s, agent.llm_s) * wrong["llm"]).tolist(),
            (rng.lognormal(-1.0, 0.8, len(which)) * wrong["tool"]).tolist(),
            model.tolist(), tool.tolist(), tokens.astype(int).tolist(),
            (rng.random(len(which)) < np.maximum(usual / 3, wrong["llm_fails"])).tolist(),
            failing.tolist(),
        )  # fmt: skip
        outcomes = self._outcomes(at_s, np.array([one[1] for one in traces]), rng)
        first = 0
        rows = list(zip(*columns, strict=True))
        for i, (start_s, of, name) in enumerate(traces):
            self._trace(start_s, of, name, rows[first : first + int(turns[i])], outcomes[i])
            first += int(turns[i])

    def _seconds(self, call_s: Floats, median_s: float) -> Floats:
        """Seconds of model calls: lognormal, some far out in a Pareto tail, some answered by a cache."""
        agent, rng, n = self.agent, self.rng, len(call_s)
        tail = np.where(rng.random(n) < agent.slow, (1 - rng.random(n)) ** (-1 / 1.5) * 2, 1.0)
        level = np.exp(self._level("latency", call_s) + agent.drift * call_s / WEEK_S)
        seconds = median_s * rng.lognormal(0, agent.spread, n) * np.minimum(tail, 40) * level
        hits = agent.hits * np.exp(self._level("hits", call_s))
        cached = rng.random(n) < np.minimum(hits, 0.95)
        return np.minimum(np.where(cached & (agent.hits > 0), 0.05 * rng.lognormal(0, 0.3, n), seconds), 300.0)

    def _wrong(self, at_s: Floats, tenant: Places, model: Places, tool: Places) -> dict[str, Floats]:
        """What incidents and blips do to calls: factors of seconds and tokens, least shares of failures."""
        agent, one = self.agent, np.ones(len(at_s))
        wrong = {"llm": one.copy(), "tool": one.copy(), "tokens": one.copy(), "fails": 0 * one, "llm_fails": 0 * one}
        for incident in self.incidents:
            if incident.end_s < at_s[0] or incident.start_s > at_s.max():
                continue
            here = incident.weight(at_s) * _scope(agent, incident, tenant)
            of_model = here * ([m for _, m in agent.models].index(incident.model) == model) if incident.model else here
            of_tool = here * (agent.tools.index(incident.tool) == tool) if incident.tool else here
            grown = incident.size - 1
            self.out.touched[incident.name] += int((np.minimum(of_model, of_tool) > 0).sum())
            match incident.kind:
                case "latency":
                    wrong["llm"] *= 1 + grown * of_model * (not incident.tool)
                    wrong["tool"] *= 1 + grown * of_tool * (not incident.model)
                case "cost":
                    wrong["tokens"] *= 1 + grown * of_model
                case "errors" | "outage":
                    wrong["fails"] = np.maximum(wrong["fails"], incident.size * of_tool * (not incident.model))
                    if incident.model or incident.kind == "outage":
                        wrong["llm_fails"] = np.maximum(wrong["llm_fails"], incident.size * of_model)
        for blip in self.blips:
            if blip.end_s >= at_s[0] and blip.start_s <= at_s.max():
                named: Bools = np.array([provider == blip.provider for provider, _ in agent.models])[model]
                faltering = named & (at_s >= blip.start_s) & (at_s < blip.end_s)
                wrong["llm"][faltering] *= blip.factor
                wrong["llm_fails"][faltering] = np.maximum(wrong["llm_fails"][faltering], blip.fails)
        return wrong

    def _outcomes(self, at_s: Floats, tenant: Places, rng: np.random.Generator) -> list[int]:
        """The outcome of each trace's session, -1 for none."""
        if not self.agent.mix:
            return [-1] * len(at_s)
        mix = np.tile(np.array(self.agent.mix), (len(at_s), 1))
        mix[:, 1:] *= np.exp(self._level("mix", at_s))[:, None]
        for incident in self.incidents:
            here = incident.weight(at_s) * _scope(self.agent, incident, tenant)
            if incident.kind == "outcomes":
                mix[:, 1:] += here[:, None] * BAD_OUTCOMES * incident.size / BAD_OUTCOMES.sum()
            elif incident.kind == "outage":
                mix[:, 3] += here
        mix[:, 0] = np.maximum(0.0, 1 - mix[:, 1:].sum(1))
        passed = rng.random(len(at_s))[:, None] > np.cumsum(mix / mix.sum(1, keepdims=True), axis=1)
        classes: list[int] = np.minimum(passed.sum(1), len(OUTCOMES) - 1).tolist()
        return classes

    def _trace(
        self, start_s: float, tenant: int, name: str, calls: list[tuple[float, float, int, int, int, bool, float]],
        outcome: int,
    ) -> None:  # fmt: skip
        """Send one trace: its calls one after another, tools tried again when they fail, and its root last."""
        agent, dialect, ids = self.agent, self.agent.dialect, self.out.ids
        trace, root, at_s = ids.randbytes(16), ids.randbytes(8), start_s + 0.01
        of = self.resources[tenant][int(start_s // (WEEK_S // 2))]
        failed = False
        for llm_s, tool_s, model, tool, tokens, llm_fails, tool_fails in calls:
            done_s = at_s + (llm_s if not llm_fails else min(llm_s, 1.0))
            if llm_fails:
                more = FAILED
            else:
                more = integer(dialect.tokens[0], tokens) + integer(dialect.tokens[1], tokens // 8 + 1)
                if agent.stated and dialect.cost:
                    more += double(dialect.cost, tokens * 1.5 * PRICES[agent.models[model][1]])
            self._span(of, trace, root, at_s, done_s, self.llm[model], more)
            at_s = done_s
            failed = llm_fails
            if failed:
                break
            if tool < len(agent.tools):
                tries, failed = 0, True
                while failed and tries < 3:
                    done_s = at_s + tool_s
                    # Who has failed once fails again more often than not.
                    failed = ids.random() < (max(tool_fails, 0.5) if tries else tool_fails)
                    self._span(of, trace, root, at_s, done_s, self.tool[tool], FAILED if failed else b"")
                    at_s, tries = done_s, tries + 1
        more = text(dialect.session, f"{agent.name}-{name}")
        if outcome >= 0:
            more += text(OUTCOME, OUTCOMES[outcome])
        self._span(of, trace, b"", start_s, at_s + 0.01, self.root, more + (FAILED if failed else b""), root)

    def _span(
        self, of: bytes, trace: bytes, parent: bytes, start_s: float, end_s: float, template: bytes, more: bytes,
        own: bytes = b"",
    ) -> None:  # fmt: skip
        clock_s = self.world.began_s + self.agent.skew_s
        start_ns, end_ns = (int((clock_s + seconds) * 1e6) * (SECOND_NS // 1_000_000) for seconds in (start_s, end_s))
        raw = span(trace, own or self.out.ids.randbytes(8), parent, start_ns, end_ns, template, more)
        self.out.send(of, raw, end_s, self.half)


def _weekend(clock_s: Floats) -> Bools:
    weekend: Bools = (clock_s // DAY_S + 3) % 7 >= 5
    return weekend


def _scope(agent: Agent, incident: Incident, tenant: Places) -> Floats | float:
    """1 where an incident is for that tenant."""
    names = [name for name, _ in agent.tenants]
    return 1.0 * (tenant == names.index(incident.tenant)) if incident.tenant else 1.0
