"""Sampling that follows need: is what Tocsin counts of a sampled fleet the whole, and how much later does it page?

    python -m tests.bench.loop sampling

A fleet of known truth goes through a real Collector (`make collector`) under the policy that Tocsin renders, and what
comes out through Tocsin's ingest. Said is, of each agent, the failed share, the cost of a call and the mix of outcomes
of the whole, as estimated, with the 95% interval that sampling by this policy gives (its variance is known: Horvitz and
Thompson), and as it would be without weights. Then agents run for a week through the shipped rules, whole and
sampled, and fail more on the day after; with failures kept, and with failures sampled away like all else. At last
sampling follows need: each minute the needs of the daemon say of which agents all is kept, two minutes later, as
somebody has to look whether they changed, and the Collector to take them up. What it keeps then, it kept in a run in
which all agents were needed.
"""

import math
import statistics
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from alertrules.parse import load as load_rules
from service.batch import Batch, Record, Signal
from service.config.settings import load
from service.replay.rehearsal import Rehearsal
from service.sampling.collector import rendered
from service.sampling.needs import NOTHING_NEEDED, Need, Needs, Reason, needs
from service.sampling.policy import SHIPPED, Policy
from tests import otelcol
from tests.bench.loop._sampled_fleet import OUTCOMES, Law, Minutes, Session, bodies, by_minute, counted, end_s, fleet
from tests.service.ingest.wire import EPOCH_S, at_ns
from tests.service.running import ROOT

LAWS = (
    Law("support", 40, 0.02, (0.80, 0.12, 0.08)),
    Law("coder", 20, 0.10, (0.60, 0.10, 0.30)),
    Law("sales", 10, 0.005, (0.90, 0.05, 0.05)),
)
DAY_S = 86_400
BEGIN_S = DAY_S - EPOCH_S % DAY_S
"""The first midnight of the recording's clock."""
Z_MAX, RATIO_MAX = 3.5, 1.3
"""Standard errors that no estimate of some twenty is off by chance; the delay that is allowed, sampled to whole."""
INCIDENTS = {"failures 2% to 20%": 10.0, "failures 2% to 6%": 3.0}
SEED, HOURS, AGENTS, DAYS = 1, 6, 12, 7
LATER_MINUTES = 2
"""From what is needed to what is kept: a minute until somebody looks, and the Collector's wait for a trace's end."""


@dataclass(frozen=True)
class Estimate:
    """A share or mean of the whole, what was estimated of it, its standard error by design, and the unweighted one."""

    name: str
    whole: float
    weighted: float
    error: float
    unweighted: float

    @property
    def z(self) -> float:
        return (self.weighted - self.whole) / self.error if self.error else 0.0

    def __str__(self) -> str:
        low, high = self.weighted - 1.96 * self.error, self.weighted + 1.96 * self.error
        inside = "inside" if low <= self.whole <= high else "outside"
        numbers = f"{self.whole:10.5f} {self.weighted:10.5f}  [{low:.5f}, {high:.5f}] {inside:8}"
        return f"{self.name:34} {numbers} {self.z:6.2f} {self.unweighted:10.5f}"


def share_of(policy: Policy, session: Session) -> float:
    """The chance with which the policy keeps a session's trace, where nothing is needed."""
    flagged = any(
        (session.outcome in flag.values)
        if flag.values
        else session.flagged and flag.attribute == "conversation.flagged"
        for flag in policy.flags
    )
    return max(policy.floor, policy.errors if session.failed else 0.0, policy.flagged if flagged else 0.0)


def _ratio(
    name: str, sessions: Sequence[Session], policy: Policy, value: Callable[[Session], float], weighted: float
) -> Estimate:
    """A mean over an agent's calls. Its error: of the residuals, each kept with its own chance, Poisson sampling."""
    values = [value(one) for one in sessions]
    chances = [share_of(policy, one) for one in sessions]
    whole = sum(values) / len(values)
    variance = sum((1 / p - 1) * (y - whole) ** 2 for y, p in zip(values, chances, strict=True))
    kept = sum(p * y for y, p in zip(values, chances, strict=True)) / sum(chances)
    return Estimate(name, whole, weighted, math.sqrt(variance) / len(values), kept)


def estimates(sessions: Sequence[Session], policy: Policy, minutes: Minutes) -> list[Estimate]:
    """Of every agent: failures, cost and outcomes, whole and as ingest counts them of what came out."""
    stream, found = counted(minutes), []
    for name in sorted({one.agent for one in sessions}):
        own = [one for one in sessions if one.agent == name]
        calls = [row for row in stream.of("llm") if row["labels"][1] == name]  # type: ignore[index]
        closed = [row for row in stream.of("session") if row["labels"][1] == name]  # type: ignore[index]
        count, failed, cost = (sum(float(str(row[key])) for row in calls) for key in ("count", "failed", "cost_usd"))
        found.append(_ratio(f"{name}: failed share", own, policy, lambda one: float(one.failed), failed / count))
        found.append(
            _ratio(f"{name}: dollars a 1,000 calls", own, policy, lambda one: one.dollars * 1e3, cost / count * 1e3)
        )
        classes = [weighted for row in closed for weighted in row["outcome"]]  # type: ignore[attr-defined]
        for place, outcome in enumerate(OUTCOMES):
            share = sum(weight for bucket, weight in classes if bucket == place) / sum(weight for _, weight in classes)
            is_one = partial(_is, outcome)
            found.append(_ratio(f"{name}: {outcome}", own, policy, is_one, share))
    return found


def _is(outcome: str, session: Session) -> float:
    return float(session.outcome == outcome)


@dataclass(frozen=True)
class Delays:
    """Minutes until each agent's failures paged, infinite where they never did; and traces that were kept before."""

    minutes: Sequence[float]
    kept: int


def delays(usual: Minutes, whole: Minutes, since_s: float, agents: Sequence[str], follows: bool) -> Delays:
    """Both by the shipped rules. Of agents that are needed what is kept is `whole`, where sampling follows need."""
    rules = load_rules([ROOT / "alertrules" / "packs"])
    rehearsal = Rehearsal(rules, load({"TOCSIN_DECODER": "compiled"}), at_ns(end_s(max(whole)) + 60))
    needed = deque[set[str]]([set()] * (LATER_MINUTES + 1), LATER_MINUTES + 1)
    traces = 0
    for minute in whole:
        kept = [(whole if name in needed[0] else usual).get(minute, {}).get(name, b"") for name in agents]
        rehearsal.step(Batch((Record(Signal.TRACES, b"".join(kept), "p/0"),), {}))
        traces += sum(map(_traces, kept)) if end_s(minute) <= since_s else 0
        if follows:
            now = needs(rehearsal.pipeline.levels(), (), (), SHIPPED, at_ns(end_s(minute)))
            needed.append({need.agent for need in now.all})
    pages = [page for page in rehearsal.end().pages if page.alert.rule == "AgentErrorsUp"]
    found = []
    for name in agents:
        own = [page.at_ns for page in pages if dict(page.alert.labels)["agent"] == name]
        minutes = [(each - at_ns(since_s)) / 60e9 for each in own]
        found.append(min((each for each in minutes if each > 0), default=math.inf))
    return Delays(found, traces)


def _traces(body: bytes) -> int:
    request = ExportTraceServiceRequest.FromString(body)
    return len({span.trace_id for group in request.resource_spans for of in group.scope_spans for span in of.spans})


def run() -> Iterator[str]:
    """Both tables, and what they come to."""
    if problem := otelcol.missing():
        yield problem
        return
    sessions = fleet(LAWS, HOURS * 3600, SEED)
    yield f"{'of the whole':34} {'whole':>10} {'weighted':>10}  {'95% interval':28} {'z':>6} {'unweighted':>10}"
    found = estimates(sessions, SHIPPED, through(otelcol.BINARY, sessions, SHIPPED))
    yield from map(str, found)
    inside = sum(abs(one.z) <= 1.96 for one in found)
    yield f"{len(sessions)} sessions; {inside} of {len(found)} inside their 95% interval"
    yield from _delays()


def through(collector: Path, sessions: Sequence[Session], policy: Policy, needed: Needs = NOTHING_NEEDED) -> Minutes:
    """What a real Collector keeps of them under the rendered policy, where this is needed."""
    with tempfile.TemporaryDirectory() as directory:
        return by_minute(otelcol.kept(collector, Path(directory), rendered(policy, needed), bodies(sessions)))


def _delays() -> Iterator[str]:
    """How much later incidents page: by what is kept of them."""
    since_s = BEGIN_S + DAYS * DAY_S + 6 * 3600
    laws = [
        Law(f"{place}-{number}", 6, 0.02, (0.8, 0.12, 0.08), times, since_s)
        for place, times in enumerate(INCIDENTS.values())
        for number in range(AGENTS)
    ]
    names = [law.name for law in laws]
    sessions = [one for one in fleet(laws, since_s + 12 * 3600, SEED) if one.at_s >= BEGIN_S]
    whole = by_minute(bodies(sessions))
    policies = {"failures kept": SHIPPED, "failures sampled, too": replace(SHIPPED, errors=0.0)}
    kept = {name: through(otelcol.BINARY, sessions, policy) for name, policy in policies.items()}
    needed = Needs(tuple(Need(name, Reason.SUSPECTED, "AgentErrorsUp") for name in names))
    all_needed = through(otelcol.BINARY, sessions, SHIPPED, needed)
    found = {"whole": delays(whole, whole, since_s, names, follows=False)}
    found |= {name: delays(usual, whole, since_s, names, follows=False) for name, usual in kept.items()}
    found["and what is suspected"] = delays(kept["failures kept"], all_needed, since_s, names, follows=True)
    yield f"{'minutes to the page, median':34}" + "".join(f"{name:>24}" for name in found)
    for place, name in enumerate(INCIDENTS):
        here = slice(place * AGENTS, (place + 1) * AGENTS)
        medians = [statistics.median(each.minutes[here]) for each in found.values()]
        cells = [f"{median:.1f} ({median / medians[0]:.2f}x)" for median in medians]
        yield f"{name:34}" + "".join(f"{cell:>24}" for cell in cells)
    shares = [each.kept / found["whole"].kept for each in found.values()]
    yield f"{'kept before the incidents':34}" + "".join(f"{share:>24.1%}" for share in shares)
    yield f"wanted is {RATIO_MAX} times the delay of the whole, at most"
    floor = policies["failures sampled, too"].floor
    yield f"where failures are sampled away, {floor:.0%} of them are seen: the same page needs that much more traffic"
