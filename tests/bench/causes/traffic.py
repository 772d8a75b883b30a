"""Agents whose calls have tenants, tools, models, providers and versions, by the minute, as closed slots.

An incident changes a law of some cells for a time: how often calls fail, how long they take, what sessions cost, or
what there is more of.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from detectors.core.columns import (
    HISTOGRAM_SCALE,
    NOTHING,
    TICK_NS,
    Bools,
    Entries,
    Floats,
    Ids,
    Slot,
    added_up,
)
from detectors.core.series import SeriesTable

PROVIDER_OF = {"gpt-large": "openai", "gpt-small": "openai", "claude-large": "anthropic", "claude-small": "anthropic"}
TOOLS = ("crm.search", "orders.read", "mail.send", "web.fetch", "sql.query", "tickets.create")
USD_A_TOKEN = {"gpt-large": 5e-6, "gpt-small": 5e-7, "claude-large": 6e-6, "claude-small": 8e-7}
KINDS = ("TimeoutError", "RateLimitError", "APIOverloaded", "ValueError")
Counts = NDArray[np.int64]
READ = 0.1
"""What a token from the cache costs, as a part of the price of a fresh one."""


@dataclass(frozen=True)
class Incident:
    """What goes wrong in an agent.

    what    errors, latency, calls, tokens, cache
    labels  of the cells that it is about; none for all of them
    size    points of failures, or a factor
    mixed   whether there is more of those cells, which are as bad as they always were
    error   what the failures end with; empty: with everything there is
    """

    operation: str
    what: str
    labels: tuple[tuple[str, str], ...]
    size: float
    mixed: bool = False
    error: str = ""


class Agent:
    """The cells of one agent and their laws; arrays are (cells,), in the order of `labels`."""

    def __init__(self, chance: Generator, name: str, cells: SeriesTable) -> None:
        self.chance, self.name, self.version = chance, name, 1
        tenants = [f"tenant-{i}" for i in range(chance.integers(3, 7))]
        tools = list(chance.choice(TOOLS, chance.integers(3, 6), replace=False))
        models = list(PROVIDER_OF)
        self.sizes = {one: float(chance.uniform(0.5, 2)) for one in (*tenants, *tools, *models)}
        self.labels = [{"tenant": t, "operation": "tool", "tool": str(x)} for t in tenants for x in tools]
        self.labels += [
            {"tenant": t, "operation": "llm", "model": m, "provider": PROVIDER_OF[m]} for t in tenants for m in models
        ]
        self.labels = [{**one, "agent_version": v} for one in self.labels for v in ("v1", "v2")]
        self.tenants = tenants
        self.calls_a_minute = float(chance.uniform(60, 400))
        self.sessions_a_minute = self.calls_a_minute / 12
        self.fails = np.exp(chance.normal(np.log(0.01), 0.7, len(self.labels)))
        self.seconds = np.exp(chance.normal(np.log(1.0), 0.5, len(self.labels)))
        self.weight = np.array([
            self.sizes[one["tenant"]] * self.sizes[one.get("tool") or one["model"]] for one in self.labels
        ])  # fmt: skip
        for operation in ("tool", "llm"):
            mine = self.which((("operation", operation),))
            self.weight[mine] /= self.weight[mine].sum()
        # Of each kind the one that is asked least fails often, always: more of it is an incident.
        self.bad = {operation: self._least(operation) for operation in ("tool", "llm")}
        for operation, name_of in self.bad.items():
            narrow = "tool" if operation == "tool" else "model"
            self.fails[self.which(((narrow, name_of),))] = 0.2
        self.cells: Ids = np.array([_cell(cells, name, one) for one in self.labels], np.int32)
        self.sessions: Ids = np.array(
            [_cell(cells, name, {"tenant": t, "operation": "session"}) for t in tenants], np.int32
        )

    def _least(self, operation: str) -> str:
        """The tool or model that is asked least."""
        narrow = "tool" if operation == "tool" else "model"
        return min({one[narrow] for one in self.labels if narrow in one}, key=lambda name: (self.sizes[name], name))

    def which(self, labels: tuple[tuple[str, str], ...]) -> Bools:
        """The cells that have these labels."""
        return np.array([all(one.get(name) == value for name, value in labels) for one in self.labels])

    def minute(self, incident: Incident | None, busy: float) -> "Minute":
        """Draw what the agent's cells count in a minute; `busy` is the factor of the time of day."""
        n = len(self.labels)
        fails, seconds, weight = self.fails.copy(), self.seconds.copy(), self.weight.copy()
        calls, tokens, cached = np.ones(n), np.full(n, 2000.0), 0.6
        mine = np.zeros(n, np.bool_)
        if incident is not None:
            mine = self.which((("operation", incident.operation), *incident.labels))
            if incident.mixed:
                kind = self.which((("operation", incident.operation),))
                share = weight[mine].sum()
                more = min(0.6, share * incident.size)
                weight[mine] *= more / share
                weight[kind & ~mine] *= (1 - more) / (1 - share)
            elif incident.what == "errors":
                fails[mine] = np.minimum(fails[mine] + incident.size, 0.95)
            elif incident.what == "latency":
                seconds[mine] *= incident.size
            elif incident.what == "calls":
                calls[self.which((("operation", "llm"),))] *= incident.size
            elif incident.what == "tokens":
                tokens[self.which((("operation", "llm"),))] *= incident.size
            elif incident.what == "cache":
                cached = 0.0
        count = self.chance.poisson(self.calls_a_minute * busy * weight * calls)
        failed = self.chance.binomial(count, np.clip(fails, 0, 1))
        error = incident.error if incident and incident.what == "errors" else ""
        return Minute(self, count, failed, seconds, tokens, cached, mine & (error != ""), error, busy)


@dataclass(frozen=True, eq=False)
class Minute:
    """What one agent counted in a minute, and the laws by which the rest is drawn."""

    agent: Agent
    count: Counts
    failed: Counts
    seconds: Floats
    tokens: Floats
    cached: float
    erring: Bools
    error: str
    busy: float


def slot(start_ns: int, minutes: list[Minute], chance: Generator, errors: SeriesTable) -> Slot:
    """The minutes of all agents as one closed slot."""
    cell = np.concatenate([one.agent.cells for one in minutes])
    count = np.concatenate([one.count for one in minutes]).astype(float)
    failed = np.concatenate([one.failed for one in minutes]).astype(float)
    mean = np.concatenate([one.seconds for one in minutes])
    each = np.repeat(np.arange(len(cell)), count.astype(int))
    duration = added_up(cell[each], buckets(mean[each] * np.exp(chance.normal(0, 0.6, len(each)))), np.ones(len(each)))
    usd, tokens, prompt = _spent(minutes, count)
    sessions = [_sessions(one, chance, usd, cell) for one in minutes]
    own = np.concatenate([cells for cells, _, _ in sessions])
    closed = np.concatenate([n for _, n, _ in sessions]).astype(float)
    at = np.repeat(np.arange(len(own)), closed.astype(int))
    dollars = np.concatenate([cost for *_, cost in sessions])
    cost = added_up(own[at], buckets(dollars[at] * np.exp(chance.normal(0, 0.5, len(at)))), np.ones(len(at)))
    order = np.argsort(np.concatenate([cell, own]), kind="stable")
    zeros = np.zeros(len(own))

    def column(calls: Floats, of_sessions: Floats = zeros) -> Floats:
        both: Floats = np.concatenate([calls, of_sessions])[order]
        return both[present]

    present = np.concatenate([count, closed])[order] > 0
    every = np.concatenate([cell, own])[order][present].astype(np.int32)
    none = np.zeros(len(every))
    return Slot(
        start_ns, every, column(count, closed), column(count, closed), column(failed), column(tokens),
        none, column(usd), none, none, none, duration, cost, outcome=NOTHING, prompt=prompt,
        error=_errors(minutes, chance, errors),
    )  # fmt: skip


def _spent(minutes: list[Minute], count: Floats) -> tuple[Floats, Floats, Entries]:
    """Dollars and input tokens by cell, and what of them a cache knew."""
    cells = np.concatenate([one.agent.cells for one in minutes])
    price = np.array([USD_A_TOKEN.get(label.get("model", ""), 0.0) for one in minutes for label in one.agent.labels])
    tokens = np.concatenate([one.tokens for one in minutes]) * count * (price > 0)
    cached = np.concatenate([np.full(len(one.count), one.cached) for one in minutes])
    usd = tokens * price * ((1 - cached) + READ * cached)
    prompt = added_up(
        np.concatenate([cells, cells]), np.repeat(np.array([0, 1], np.int32), len(cells)),
        np.concatenate([tokens * (1 - cached), tokens * cached]),
    )  # fmt: skip
    kept = prompt.count > 0
    return usd, tokens, prompt.at(kept)


def _sessions(minute: Minute, chance: Generator, usd: Floats, cells: Ids) -> tuple[Ids, Counts, Floats]:
    """Sessions that close by tenant, and what one costs: what its tenant's calls cost, as an expectation."""
    agent = minute.agent
    spent = usd[np.isin(cells, agent.cells)].sum()
    closed = chance.poisson(agent.sessions_a_minute * minute.busy / len(agent.tenants), len(agent.tenants))
    each = spent / (agent.sessions_a_minute * minute.busy)
    return agent.sessions, closed, np.full(len(agent.tenants), max(each, 1e-9))


def _errors(minutes: list[Minute], chance: Generator, errors: SeriesTable) -> Entries:
    """The types of the failed calls' errors: the incident's where there is one, else a bit of everything."""
    cells, kinds = [], []
    known = np.array([errors.id_of((name,), TICK_NS) for name in KINDS], np.int32)
    for one in minutes:
        each = np.repeat(np.arange(len(one.failed)), one.failed)
        usual = chance.choice(len(KINDS), len(each))
        kinds.append(known[np.where(one.erring[each], KINDS.index(one.error) if one.error else 0, usual)])
        cells.append(one.agent.cells[each])
    return added_up(np.concatenate(cells), np.concatenate(kinds), np.ones(sum(map(len, cells))))


def buckets(values: Floats) -> Ids:
    """The bucket of each value."""
    found: Ids = (np.ceil(np.log2(np.maximum(values, 1e-9)) * 2**HISTOGRAM_SCALE) - 1).astype(np.int32)
    return found


def _cell(cells: SeriesTable, agent: str, labels: dict[str, str]) -> int:
    values = {**labels, "agent": agent}
    return cells.id_of(tuple(values.get(name, "") for name in cells.labels), TICK_NS)


def drawn(chance: Generator, agent: Agent) -> Incident:
    """An incident of an agent, whose cause is one of many kinds."""
    operation = str(chance.choice(["tool", "llm"]))
    tenant = str(chance.choice(agent.tenants))
    own = [one for one in agent.labels if one["operation"] == operation]
    one = own[int(chance.integers(len(own)))]
    narrow = "tool" if operation == "tool" else "model"
    error = str(chance.choice(["", *KINDS[:3]]))
    labels: tuple[tuple[str, str], ...]
    match str(chance.choice(["narrow", "tenant", "version", "provider", "both", "all", "mix", "cost"])):
        case "narrow":
            labels = ((narrow, one[narrow]),)
        case "tenant":
            labels = (("tenant", tenant),)
        case "version":
            labels = (("agent_version", "v2"),)
        case "provider":
            operation, labels = "llm", (("provider", str(chance.choice(["openai", "anthropic"]))),)
        case "both":
            labels = ((narrow, one[narrow]), ("tenant", tenant))
        case "all":
            labels = ()
        case "mix":
            labels = ((narrow, agent.bad[operation]),)
            return Incident(operation, "errors", labels, float(chance.uniform(4, 8)), mixed=True)
        case _:
            return Incident(
                "session", str(chance.choice(["calls", "tokens", "cache"])), (), float(chance.uniform(2, 4))
            )
    if chance.random() < 0.5:
        return Incident(operation, "latency", labels, float(chance.uniform(3, 8)))
    return Incident(operation, "errors", labels, float(chance.uniform(0.15, 0.6)), error=error)
