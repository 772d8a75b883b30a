"""Sampling that follows need: is what Tocsin counts of a sampled fleet the whole, and how much later does it page?

    python -m tests.bench.loop sampling

A fleet of known truth goes through a real Collector (`make collector`) under the policy that Tocsin renders, and what
comes out through Tocsin's ingest. Said is, of each agent, the failed share, the cost of a call and the mix of outcomes
of the whole, as estimated, with the 95% interval that sampling by this policy gives (its variance is known: Horvitz and
Thompson), and as it would be without weights. Then the same fleet runs for three days through the shipped rules, whole
and sampled, and fails more on the third; with failures kept, and with failures sampled away like all else.
"""

import math
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from alertrules.parse import load as load_rules
from service.batch import Batch, Record, Signal
from service.config.settings import load
from service.replay.rehearsal import Rehearsal
from service.sampling.collector import rendered
from service.sampling.needs import NOTHING_NEEDED
from service.sampling.policy import SHIPPED, Policy
from tests import otelcol
from tests.bench.loop._sampled_fleet import OUTCOMES, Law, Session, bodies, counted, fleet, in_order
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
SEED, HOURS, AGENTS = 1, 6, 4


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


def estimates(sessions: Sequence[Session], policy: Policy, raw: Iterable[bytes]) -> list[Estimate]:
    """Of every agent: failures, cost and outcomes, whole and as ingest counts them of what came out."""
    stream, found = counted(in_order(raw)), []
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


def delays(raw: Iterable[bytes], since_s: float, agents: Sequence[str]) -> list[float]:
    """Minutes until each agent's failures paged, by the shipped rules; infinite where they never did."""
    rules = load_rules([ROOT / "alertrules" / "packs"])
    ordered = in_order(raw)
    rehearsal = Rehearsal(rules, load({"TOCSIN_DECODER": "compiled"}), at_ns(ordered[-1][0] + 60))
    for _, each in ordered:
        rehearsal.step(Batch((Record(Signal.TRACES, each, "p/0"),), {}))
    pages = [page for page in rehearsal.end().pages if page.alert.rule == "AgentErrorsUp"]
    found = []
    for name in agents:
        own = [page.at_ns for page in pages if dict(page.alert.labels)["agent"] == name]
        minutes = [(each - at_ns(since_s)) / 60e9 for each in own]
        found.append(min((each for each in minutes if each > 0), default=math.inf))
    return found


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


def through(collector: Path, sessions: Sequence[Session], policy: Policy) -> list[bytes]:
    """What a real Collector keeps of them under the rendered policy, where nothing is needed."""
    with tempfile.TemporaryDirectory() as directory:
        return otelcol.kept(collector, Path(directory), rendered(policy, NOTHING_NEEDED), bodies(sessions))


def _delays() -> Iterator[str]:
    """How much later incidents page: with failures kept, and with failures sampled away."""
    since_s = BEGIN_S + 2 * DAY_S + 6 * 3600
    laws = [
        Law(f"{place}-{number}", 6, 0.02, (0.8, 0.12, 0.08), times, since_s)
        for place, times in enumerate(INCIDENTS.values())
        for number in range(AGENTS)
    ]
    sessions = [one for one in fleet(laws, since_s + 12 * 3600, SEED) if one.at_s >= BEGIN_S]
    policies = {"failures kept": SHIPPED, "failures sampled, too": replace(SHIPPED, errors=0.0)}
    streams = {"whole": list(bodies(sessions))}
    streams |= {name: through(otelcol.BINARY, sessions, policy) for name, policy in policies.items()}
    yield f"{'minutes to the page, median':34}" + "".join(f"{name:>24}" for name in streams)
    found = {name: delays(raw, since_s, [law.name for law in laws]) for name, raw in streams.items()}
    for place, name in enumerate(INCIDENTS):
        here = slice(place * AGENTS, (place + 1) * AGENTS)
        medians = [statistics.median(found[stream][here]) for stream in streams]
        cells = [f"{median:.1f} ({median / medians[0]:.2f}x)" for median in medians]
        yield f"{name:34}" + "".join(f"{cell:>24}" for cell in cells)
    yield f"wanted is {RATIO_MAX} times the delay of the whole, at most"
    floor = policies["failures sampled, too"].floor
    yield f"where failures are sampled away, {floor:.0%} of them are seen: the same page needs that much more traffic"
