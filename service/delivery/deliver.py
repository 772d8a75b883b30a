"""From the outbox to the network: at least once, in order within a group, at each destination's own pace.

What is sent next is for store/due.py to say, what an answer means for the notifiers, and whether a destination works
for destination_health.py. What came of a delivery must be written down before anything else of its groups is sent. On
a full disk the sender keeps trying to, and sends nothing meanwhile: told twice is bad, told again every minute is
worse. One thread writes, as the disk is slow and a save may hold the file: the event loop, with all that lives on it,
waits for neither.

What waits, and for how long, is told by a steady clock: the wall's may be put right by hours. The wall's says only
how old a delivery is.
"""

import asyncio
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import httpx

from alertrules.notice import Notice
from alertrules.wording import clean
from detectors.core.columns import SECOND_NS
from service.delivery.again import Again
from service.delivery.client import Client, unreachable
from service.delivery.destination_health import NEEDS_SOMEBODY, Standing
from service.delivery.gate import Gate
from service.delivery.rests import Rests
from service.notifiers.destination import Destination
from service.notifiers.request import Delivered, HttpRequest, Outcome, Reason, Refused, Retry
from service.standby.lead import ALONE, Lead
from service.store.due import Due, ended_unheard, next_due, put_off_until_ns
from service.store.outbox import Outbox, Pending, Row, lifetime_ns
from service.store.writer import Writer

SENDERS_EACH = 4
"""Deliveries under way to one destination at most: a slow one keeps none of the others waiting."""
SENDERS_MIN, SENDERS_MAX = 16, 64
"""Deliveries under way in all: there are enough for some destinations that rules name later, and no more than help."""
BACKOFF_BASE_S = 1.0
BACKOFF_MAX_S = 60.0
TRIES_MIN = 3
"""A delivery is not too old before it was tried so often, whatever the clock says."""
_REST_S = 1.0
_WRITE_AGAIN_S = 1.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clocks:
    """Both in nanoseconds: the wall's since 1970, the steady one from anywhere, but never put right."""

    wall_ns: Callable[[], int]
    steady_ns: Callable[[], int]


@dataclass
class DeliveryCounts:
    """What became of deliveries, by destination. Metrics are made of it elsewhere."""

    attempts: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, Reason]] = field(default_factory=Counter)
    dead: Counter[tuple[str, Reason]] = field(default_factory=Counter)
    unwritten: int = 0  # Times that an outcome could not be written down.


@dataclass
class _Line:
    """One destination at work. `busy` are the groups that something is being sent of."""

    destination: Destination
    gate: Gate
    standing: Standing
    again: Again
    busy: set[str] = field(default_factory=set)
    is_sorting: bool = False  # What waits is being looked through: nothing is taken of it meanwhile.

    @property
    def name(self) -> str:
        return self.destination.name

    @property
    def target(self) -> str:
        return self.destination.identity


class Deliverer:
    """Sends what is in the outbox. Run `run()` in `senders` tasks: each has one delivery in hand at a time.

    former      destinations that are told nothing new; what was opened there is still resolved
    rng         for the jitter of the backoff
    write       takes a line for the terminal
    new_client  an httpx client with connections for that many senders
    thread      that writes to the outbox; default: one of its own
    lead        says whether anything may be sent, and tells whoever leads next
    """

    def __init__(
        self, outbox: Outbox, destinations: Iterable[Destination], former: Iterable[Destination], clocks: Clocks,
        rng: random.Random, write: Callable[[str], None], new_client: Callable[[int], httpx.AsyncClient],
        thread: Executor | None = None, lead: Lead = ALONE,
    ) -> None:  # fmt: skip
        self.counts = DeliveryCounts()
        self._outbox, self._clocks, self._rng, self._write = outbox, clocks, rng, write
        self._lines: list[_Line] = []
        self._lead = lead
        self._direct(destinations, former)
        self.senders = max(SENDERS_MIN, min(SENDERS_MAX, SENDERS_EACH * len(self._lines)))
        self.client = Client(partial(new_client, self.senders), clocks.steady_ns)
        self._writer = Writer(outbox.together, thread or ThreadPoolExecutor(1, "outbox"))
        self._running = 0
        self._stopping = False
        self._is_settled = asyncio.Event()
        self._rests = Rests()
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)  # At INFO they log URLs, which are secrets.

    async def run(self) -> None:
        """Send until `stop`, then until nothing is due. Cancelling loses nothing: what was in hand is sent again."""
        self._running += 1
        try:
            if self._running == 1:
                await self._settle_changes()
            await self._is_settled.wait()
            while True:
                found, wait_s = await self._next()
                if found:
                    self._rests.wake()  # There may be more for another one.
                    await self._deliver(*found)
                elif self._stopping:
                    break
                else:
                    await self._rests.rest(wait_s)
        finally:
            self._running -= 1
            if not self._running:
                self._writer.close()
                await self.client.close()

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._rests.wake()

    def stop(self) -> None:
        """End the senders once nothing is due; the rest stays in the outbox."""
        self._stopping = True
        self._rests.wake_all()

    @property
    def running(self) -> int:
        """Senders at work."""
        return self._running

    def tripped(self) -> dict[str, bool]:
        """The destinations, and whether they refuse us for good: somebody must look at key or hook."""
        return {line.name: line.gate.trips > 0 for line in self._told()}

    def standings(self) -> dict[str, Standing]:
        """The destinations, and how each of them stands."""
        return {line.name: line.standing for line in self._told()}

    def failing_s(self) -> dict[str, float]:
        """The destinations, and for how long each has taken nothing, in seconds; 0 while it works."""
        return {name: one.failing_s(self._clocks.steady_ns()) for name, one in self.standings().items()}

    def _told(self) -> list[_Line]:
        return [line for line in self._lines if line.destination in self.destinations]

    async def redirect(self, destinations: Iterable[Destination], former: Iterable[Destination]) -> None:
        """Tell others from now on. A destination that stays keeps its pace, its pauses and what is under way."""
        self._direct(destinations, former)
        await self._settle_changes()
        self.wake()

    def _direct(self, destinations: Iterable[Destination], former: Iterable[Destination]) -> None:
        self.destinations = tuple(destinations)
        served = {one.identity: one for one in (*former, *self.destinations)}
        self._former = tuple(one for one in served.values() if one not in self.destinations)
        lines = {line.target: line for line in self._lines}
        for identity, one in served.items():
            if identity in lines:
                lines[identity].destination = one
            else:
                lines[identity] = self._line(one)
        self._lines = [lines[identity] for identity in served]

    def _line(self, one: Destination) -> _Line:
        every_ns = int(one.habit.again_s * SECOND_NS)
        fires = self._outbox.fires(one.identity) if every_ns else ()
        return _Line(one, Gate(one.pace, SENDERS_EACH), Standing(one.name), Again(every_ns, fires))

    async def _settle_changes(self) -> None:
        """Give what waits to the destinations of now, before anything is sent."""
        left = await self._written(
            partial(self._outbox.settle, self.destinations, self._former, self._clocks.wall_ns())
        )
        if left.given_up:
            logger.error("%d deliveries wait for destinations that are no longer configured: given up", left.given_up)
        if left.resolved:
            logger.info("%d that were told elsewhere before are ended there, as nobody tells it more", left.resolved)
        if left.open:
            logger.error(
                "%d incidents stay open, as the key that opened them is not set any more: resolve them there",
                left.open,
            )
        self._is_settled.set()

    async def _next(self) -> tuple[tuple[_Line, Due] | None, float]:
        """A delivery that may start now, else how long to rest. The least busy destination comes first."""
        rest_s = _REST_S
        if not self._lead.may_tell():
            return None, _REST_S
        waiting = self._outbox.targets()
        for line in sorted(self._lines, key=lambda one: one.gate.sending):
            steady_ns = self._clocks.steady_ns()
            if line.is_sorting or not (line.target in waiting or line.again.is_due(steady_ns)):
                continue
            if wait_s := line.gate.wait_s(steady_ns):
                rest_s = min(rest_s, wait_s)
                continue
            pending = await self._sorted(line)
            if line.gate.wait_s(steady_ns) or not self._lead.may_tell():
                continue  # Another sender was faster, or another instance leads.
            wall_ns = self._clocks.wall_ns()
            due = next_due(self._outbox, line.target, pending, line.destination.habit, wall_ns, steady_ns)
            if due is None and (again := line.again.take_due(line.busy, steady_ns)):
                due = Due(again[0], (), (), again[1])
            if due:
                line.busy |= due.groups
                line.gate.enter(steady_ns)
                return (line, due), 0.0
            until_ns = put_off_until_ns(pending, steady_ns)
            if until_ns is not None:
                rest_s = min(rest_s, (until_ns - steady_ns) / SECOND_NS)
        return None, max(rest_s, 0.01)

    async def _sorted(self, line: _Line) -> list[Pending]:
        """What waits and is in nobody's hand, without the pages of groups that ended before they could be told.

        That is written down before anything is sent because of it: no crash may send a page after its resolve.
        """
        pending = self._pending(line)
        is_failing = line.standing.failing is not None
        over = ended_unheard(self._outbox, line.target, pending, is_failing, self._clocks.wall_ns())
        if not over:
            return pending
        line.is_sorting = True
        try:
            wall_ns = self._clocks.wall_ns()
            await self._lead.told(partial(self._outbox.over_entries, line.target, over, wall_ns))
            await self._written(partial(self._outbox.over, line.target, over, wall_ns))
        finally:
            line.is_sorting = False
        self.wake()
        logger.info("%d were over before %s could be told of them", len(over), line.name)
        return self._pending(line)

    def _pending(self, line: _Line) -> list[Pending]:
        return [one for one in self._outbox.pending(line.target) if one.group not in line.busy]

    async def _deliver(self, line: _Line, due: Due) -> None:
        destination, gate = line.destination, line.gate
        notice = replace(due.notice, reference=self._outbox.reference(line.target, due.notice.group))
        try:
            outcome = await self._tried(line.name, destination, destination.render, notice)
            if isinstance(outcome, Refused) and outcome.reason in (Reason.MALFORMED, Reason.UNEXPECTED):
                gate.leave()
                gate.enter(self._clocks.steady_ns())
                outcome = await self._tried(line.name, destination, destination.render_least, notice)
            try:
                if isinstance(outcome, Delivered):
                    wall_ns = self._clocks.wall_ns()
                    await self._lead.told(
                        partial(self._outbox.became, due.seqs, due.replaced, wall_ns, outcome.reference)
                    )
            finally:  # Cancelled, too: it was told, and our own outbox is to know.
                for write in self._taken_in(line, due, outcome):
                    await self._written(write)
        finally:
            line.busy -= due.groups
            gate.leave()
            self.wake()

    def _taken_in(self, line: _Line, due: Due, outcome: Outcome) -> list[Callable[[], None]]:
        """Take in what came of a delivery; returns what is to be written down of it."""
        wall_ns, steady_ns, name = self._clocks.wall_ns(), self._clocks.steady_ns(), line.name
        if isinstance(outcome, Delivered):
            was_failing = line.standing.failing is not None
            line.gate.mend()
            line.standing.took(steady_ns)
            for row in due.rows:
                line.again.took(row.notice, steady_ns)
            self.counts.delivered[name] += 1
            told = partial(self._outbox.told, due.seqs, due.replaced, wall_ns, outcome.reference)
            return [told, partial(self._outbox.hasten, line.target)] if was_failing else [told]
        said = self._shown(line, outcome.said)
        self.counts.failed[name, outcome.reason] += 1
        if outcome.reason is Reason.MALFORMED and due.rows:
            return [self._given_up(line, due.rows, Reason.MALFORMED, said)]
        line.standing.failed(outcome.reason, said, steady_ns)
        after_s = self._after_s(line, due, outcome)
        old = tuple(row for row in due.rows if _is_too_old(row, wall_ns))
        rest = tuple(row.seq for row in due.rows if row not in old)
        writes = [self._given_up(line, old, Reason.EXPIRED, said)] if old else []
        if rest:
            self.counts.retried[name] += 1
            until_ns = steady_ns + int(after_s * SECOND_NS)
            writes.append(partial(self._outbox.put_off, rest, until_ns, f"{outcome.reason}: {said}"))
        return writes

    def _after_s(self, line: _Line, due: Due, outcome: Retry | Refused) -> float:
        """How long a delivery waits for its next try; what is about the destination as a whole pauses that."""
        steady_ns = self._clocks.steady_ns()
        if outcome.reason in NEEDS_SOMEBODY:
            line.gate.trip(steady_ns)
            return 0.0  # Whatever is first when the gate lets one through.
        asked_s = outcome.after_s if isinstance(outcome, Retry) else None
        if outcome.reason is Reason.THROTTLED:
            self.counts.throttled[line.name] += 1
            return line.gate.throttle(asked_s, steady_ns)
        return max(asked_s or 0.0, self._backoff_s(due.attempts))

    def _given_up(self, line: _Line, rows: tuple[Row, ...], reason: Reason, said: str) -> Callable[[], None]:
        self.counts.dead[line.name, reason] += len(rows)
        told = ", ".join(row.notice.notice_id[:12] for row in rows[:5])
        logger.error("%s will not be told of %s: %s, %s", line.name, told, reason, said)
        return partial(self._outbox.give_up, [row.seq for row in rows], f"{reason}: {said}", self._clocks.wall_ns())

    @staticmethod
    def _shown(line: _Line, said: str) -> str:
        """What a destination said, fit to be kept: no secrets, also where cleaning has put their letters together."""
        return line.destination.without_secrets(clean(said, 200))

    async def _written(self, write: Callable[[], T]) -> T:
        """Write down an outcome, however long the disk stays full. Cancelled, it is still written if it can be."""
        while True:
            try:
                return await self._writer.written(write)
            except sqlite3.OperationalError as error:
                self.counts.unwritten += 1
                if self.counts.unwritten == 1:
                    logger.error("what was told cannot be written down (%s): trying until it works", error)
                await asyncio.sleep(_WRITE_AGAIN_S)

    def _backoff_s(self, attempts: int) -> float:
        """Full jitter: anywhere up to a bound that doubles with each attempt."""
        return self._rng.uniform(0.05, min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(attempts, 10)))

    async def _tried(
        self,
        name: str,
        destination: Destination,
        render: Callable[[Notice], HttpRequest | tuple[str, ...]],
        notice: Notice,
    ) -> Outcome:
        """One attempt, whatever happens: the one place where a failure becomes a value."""
        self.counts.attempts[name] += 1
        try:
            rendered = render(notice)
            if isinstance(rendered, tuple):
                for line in rendered:
                    self._write(line)
                return Delivered()
            answer = await self.client.ask(rendered)
            outcome = destination.outcome(answer.status, answer.headers, answer.body, self._clocks.wall_ns())
            if rendered.then and isinstance(outcome, Delivered):
                await self._followed(name, destination, rendered.then)
            return outcome
        except httpx.PoolTimeout:
            return Retry(None, Reason.UNREACHABLE, "no connection free")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            return Refused(Reason.GONE, "the URL in the settings is none")
        except Exception as error:
            return Retry(None, Reason.UNREACHABLE, unreachable(error))

    async def _followed(self, name: str, destination: Destination, request: HttpRequest) -> None:
        """Send what goes after a delivery, once: that was told, and is not told again because of this."""
        try:
            answer = await self.client.ask(request)
            outcome = destination.outcome(answer.status, answer.headers, answer.body, self._clocks.wall_ns())
            said = "" if isinstance(outcome, Delivered) else outcome.said
        except Exception as error:
            said = unreachable(error)
        if said:
            shown = destination.without_secrets(clean(said, 200))
            logger.warning("%s was told, but its first message is not brought up to date: %s", name, shown)


def _is_too_old(row: Row, now_ns: int) -> bool:
    return now_ns - row.added_ns > lifetime_ns(row.notice) and row.attempts + 1 >= TRIES_MIN
