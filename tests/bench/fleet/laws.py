"""The fleet and what happens to it: agents of many laws, and incidents at odd times, all drawn from one seed."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.core.columns import Floats
from tests.bench.fleet.wire import DIALECTS, Dialect

MINUTE_S, HOUR_S, DAY_S, WEEK_S = 60, 3600, 86_400, 604_800
GRID_S = 600
"""Step of what moves slowly: rates, and the wobble of everything."""
MONDAY_S = 1_736_121_600
"""6 January 2025, 00:00 UTC."""
TENANTS = ("acme", "globex", "initech", "umbrella", "hooli")
MODELS = (("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-4o"), ("house", "house-7b"))
TOOLS = ("search_kb", "lookup_order", "create_ticket", "run_sql")
OUTCOMES = ("resolved", "escalated", "abandoned", "failed")
KINDS = (
    "steady", "tiny", "office", "cron", "bimodal", "chat", "wild", "newcomer", "retired", "doubling", "drifting",
    "nightly", "crowd",
)  # fmt: skip
"""Laws of agents, in turn."""
NIGHTLY = 4.0
RULE_OF = {"latency": "AgentLatencyUp", "errors": "AgentErrorsUp", "outage": "AgentErrorsUp", "cost": "AgentCostUp",
           "outcomes": "AgentOutcomesWorse"}  # fmt: skip


@dataclass(frozen=True)
class Agent:
    """One agent and its law; shares and medians before any wobble.

    rate        sessions a second, mean over the week
    swing       of its traffic over the day; `weekend` what is left of it on Saturday and Sunday
    every_s     all sessions of so long come together, at once; 0: they come at random
    tenants     and the share of the sessions of each
    llm_s       median of a model call; `spread` its log-sd, `slow` the share of calls of a Pareto tail
    hits        share of the calls that a cache answers, in `hit_s`
    wobble      log-sd of an OU process, of time constant `tau_s`, in latency, rate, failures and tokens each
    drift       log change of the latency a week
    traces      mean traces of a session, minutes to hours apart
    day, rest   log amplitude of the daily swing of latencies, tokens, failures and outcomes, and their log change at
                the weekend
    nightly     sessions that come at three each night, within twenty minutes, each of `NIGHTLY` times the tokens
    crowds      when for an hour ten times as many come
    """

    name: str
    law: str
    dialect: Dialect
    tenants: tuple[tuple[str, float], ...]
    rate: float
    models: tuple[tuple[str, str], ...]
    llm_s: float
    spread: float
    tools: tuple[str, ...]
    fails: float
    wobble: float
    tau_s: float
    mix: tuple[float, ...] = ()
    stated: bool = False
    swing: float = 0.0
    weekend: float = 1.0
    phase: float = 0.0
    every_s: int = 0
    slow: float = 0.02
    hits: float = 0.0
    drift: float = 0.0
    traces: float = 1.0
    day: float = 0.0
    rest: float = 0.0
    nightly: float = 0.0
    crowds: tuple[float, ...] = ()
    born_s: float = 0.0
    gone_s: float = math.inf
    doubles_s: float = math.inf
    skew_s: float = 0.0
    client: int = -1


@dataclass(frozen=True)
class Incident:
    """What goes wrong with an agent, for one tenant, tool or model of it where one is named, by recorded second."""

    name: str
    kind: str
    agent: str
    start_s: float
    end_s: float
    size: float
    ramp_s: float = 0.0
    tenant: str = ""
    tool: str = ""
    model: str = ""

    def weight(self, at_s: Floats) -> Floats:
        """How much of it is there, 0 to 1."""
        inside = (at_s >= self.start_s) & (at_s < self.end_s)
        grown = np.minimum((at_s - self.start_s) / self.ramp_s, 1) if self.ramp_s else 1.0
        return np.where(inside, grown, 0.0)


@dataclass(frozen=True)
class Blip:
    """A provider falters for a minute or three: no incident of any agent."""

    provider: str
    start_s: float
    end_s: float
    factor: float
    fails: float


@dataclass(frozen=True)
class World:
    """All of a recording: its first second after 1970, its length, and who was in it."""

    began_s: int
    length_s: int
    agents: tuple[Agent, ...]
    incidents: tuple[Incident, ...]
    blips: tuple[Blip, ...]
    gaps: tuple[tuple[float, float, bool], ...]
    """When the collector was down, and whether for every host (else for half of them)."""
    rates: dict[str, Floats] = field(default_factory=dict)


def world(seed: int, agents: int, days: int, rates: Floats | None) -> World:
    """A fleet; `rates` are those of real clients by ten minutes, which some agents follow then."""
    rng = np.random.default_rng([seed, 1])
    length_s = days * DAY_S
    fleet = tuple(_agent(rng, i, length_s, rates) for i in range(agents))
    blips = tuple(
        Blip(str(rng.choice(["openai", "anthropic"])), at, at + 60 * int(rng.integers(1, 4)), 3.0,
             float(rng.uniform(0.05, 0.5)))
        for at in np.sort(rng.uniform(0, length_s, 3 * days // 7 + 1)).tolist()
    )  # fmt: skip
    gaps = tuple(
        (at, at + 20 * MINUTE_S, i % 2 == 0)
        for i, at in enumerate(rng.uniform(0.2 * length_s, length_s, max(2, days // 5)).tolist())
    )
    clients = {a.name: _client(rates, a.client) for a in fleet if rates is not None and a.client >= 0}
    began_s = MONDAY_S + int(rng.integers(0, 7 * 24)) * HOUR_S + 733
    return World(began_s, length_s, fleet, tuple(_incidents(rng, fleet, length_s)), blips, gaps, clients)


def _client(rates: Floats, client: int) -> Floats:
    """A real client's rate about its mean of one, without its wildest peaks."""
    rate: Floats = np.clip(rates[client] / max(rates[client].mean(), 1e-12), 0.0, 10.0)
    return rate / float(rate.mean())


def _agent(rng: np.random.Generator, i: int, length_s: int, rates: Floats | None) -> Agent:
    law = KINDS[i % len(KINDS)]
    tenants = rng.permutation(TENANTS)[: int(rng.integers(1, 4))].tolist()
    shares = np.sort(rng.dirichlet(np.full(len(tenants), 2.0)))[::-1].tolist()
    models = [MODELS[k] for k in rng.permutation(len(MODELS))[: int(rng.integers(1, 3))].tolist()]
    mix = rng.dirichlet(np.array([0.8, 0.1, 0.08, 0.02]) * 60)
    agent = Agent(
        name=f"{law}-{i}", law=law, dialect=DIALECTS[int(rng.integers(len(DIALECTS)))],
        tenants=tuple(zip(tenants, shares, strict=True)),
        rate=float(np.exp(rng.uniform(math.log(0.004), math.log(0.1)))), models=tuple(models),
        llm_s=float(rng.uniform(0.5, 4.0)), spread=float(rng.uniform(0.3, 0.9)),
        tools=tuple(rng.permutation(TOOLS)[: int(rng.integers(1, 4))].tolist()),
        fails=float(np.exp(rng.uniform(math.log(0.002), math.log(0.05)))), wobble=float(rng.uniform(0.03, 0.12)),
        tau_s=float(rng.choice([HOUR_S, 6 * HOUR_S, DAY_S])), mix=tuple(mix) if rng.random() < 0.7 else (),
        stated=bool(rng.random() < 0.4), swing=float(rng.uniform(0.1, 0.8)), weekend=float(rng.uniform(0.3, 1.0)),
        phase=float(rng.random()), day=float(rng.uniform(0, 0.25)), rest=float(rng.normal(0, 0.1)),
        skew_s=float(rng.choice([0, 0, 0, 0, 5, -5, -20, 20])),
        client=int(rng.integers(len(rates))) if rates is not None and law in ("steady", "wild") else -1,
    )  # fmt: skip
    law_only: dict[str, dict[str, object]] = {
        "tiny": {"rate": 0.001},
        "office": {"swing": 1.0, "weekend": 0.05},
        "cron": {"rate": 40 / HOUR_S, "every_s": HOUR_S, "swing": 0.0, "weekend": 1.0},
        "bimodal": {"hits": float(rng.uniform(0.3, 0.8))},
        "chat": {"traces": 3.0, "rate": agent.rate / 3},
        "wild": {"wobble": 0.2, "slow": 0.05},
        "newcomer": {"born_s": float(rng.uniform(0.2, 0.6)) * length_s},
        "retired": {"gone_s": float(rng.uniform(0.5, 0.9)) * length_s},
        "doubling": {"doubles_s": float(rng.uniform(0.4, 0.8)) * length_s},
        "drifting": {"drift": 0.10},
        "nightly": {"nightly": 200.0},
        "crowd": {"crowds": tuple(rng.uniform(0, length_s, length_s // WEEK_S).tolist())},
    }
    if i == 0:
        return replace(agent, rate=0.5, name="huge-0")
    return replace(agent, **law_only.get(law, {}))  # type: ignore[arg-type]


def _incidents(rng: np.random.Generator, fleet: tuple[Agent, ...], length_s: int) -> list[Incident]:
    """One or two for most agents, after day three: of any kind that the agent can show, none within another's day."""
    found: list[Incident] = []
    for agent in fleet:
        from_s, until_s = max(agent.born_s + 3 * DAY_S, 3.5 * DAY_S), min(agent.gone_s, length_s) - 0.5 * DAY_S
        for k in range(int(rng.integers(0, 3))):
            width_s = (until_s - from_s) / 2
            if width_s > DAY_S:
                start_s = float(rng.uniform(from_s + k * width_s, from_s + (k + 1) * width_s - DAY_S / 2))
                found.append(_incident(rng, agent, start_s, len(found)))
    return sorted(found, key=lambda one: one.start_s)


def _incident(rng: np.random.Generator, agent: Agent, start_s: float, number: int) -> Incident:
    kinds = ["latency", "latency", "errors", "errors", "cost", "outage"] + ["outcomes"] * bool(agent.mix)
    kind = str(rng.choice(kinds))
    size = {
        "latency": [1.5, 2.0, 3.0], "errors": [0.03, 0.1, 0.5, 1.0], "cost": [2.0, 3.0], "outage": [1.0],
        "outcomes": [0.2],
    }[kind]  # fmt: skip
    lasts_s = float(rng.choice([10 * MINUTE_S, HOUR_S, 3 * HOUR_S, 8 * HOUR_S]))
    gradual = kind in ("latency", "errors", "cost") and lasts_s > 2 * HOUR_S and rng.random() < 0.4
    scope = rng.choice(["", "", "tenant", "tool", "model"])
    return Incident(
        f"{number}", kind, agent.name, start_s, start_s + lasts_s, float(rng.choice(size)),
        2.0 * HOUR_S if gradual else 0.0,
        tenant=agent.tenants[0][0] if scope == "tenant" else "",
        tool=agent.tools[0] if scope == "tool" and kind in ("latency", "errors") else "",
        model=agent.models[0][1] if scope == "model" and kind in ("latency", "errors", "cost") else "",
    )  # fmt: skip
