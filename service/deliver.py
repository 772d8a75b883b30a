"""From the outbox to the network: at least once, in order within a group, at each destination's own pace.

A request is never cancelled from outside, and only httpx's own `Timeout` bounds it: cancelling leaks httpcore's
connection slots until the pool is mute. A pool that is mute all the same is replaced.

What came of a delivery must be written down before anything else of its group is sent. On a full disk the sender keeps
trying to, and sends nothing meanwhile: told twice is bad, told again every minute is worse. One thread writes, as the
disk is slow and a save may hold the file: the event loop, with all that lives on it, waits for neither.
"""

import asyncio
import logging
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import httpx

from alertrules.notice import Notice
from alertrules.wording import clean
from detectors.core.columns import SECOND_NS
from service.gate import Gate
from service.notifiers.destination import Destination
from service.notifiers.request import Delivered, HttpRequest, Outcome, Reason, Refused, Retry
from service.store.outbox import Outbox, Waiting, lifetime_ns

SENDERS_EACH = 4
"""Deliveries under way to one destination at most: a slow one keeps none of the others waiting."""
TIMEOUT = httpx.Timeout(connect=5.0, read=10.0, write=10.0, pool=5.0)
ANSWER_BYTES_MAX = 65_536
ANSWER_MAX_S = 30.0
BACKOFF_BASE_S = 1.0
BACKOFF_MAX_S = 60.0
_REST_S = 1.0
_WRITE_AGAIN_S = 1.0

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass
class DeliveryCounts:
    """What became of deliveries, by destination. Metrics are made of it elsewhere."""

    attempts: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    dead: Counter[tuple[str, Reason]] = field(default_factory=Counter)
    pools_replaced: int = 0
    unwritten: int = 0  # Times that an outcome could not be written down.


@dataclass
class _Pool:
    """An httpx client and how many use it: one that was replaced is closed by its last user."""

    client: httpx.AsyncClient
    users: int = 0


def new_client(senders: int) -> httpx.AsyncClient:
    """As many connections as senders, so that none ever waits for one; no proxy or redirect leads elsewhere."""
    limits = httpx.Limits(max_connections=senders, max_keepalive_connections=senders)
    return httpx.AsyncClient(timeout=TIMEOUT, limits=limits, follow_redirects=False, trust_env=False)


class Deliverer:
    """Sends what is in the outbox. Run `run()` in `senders` tasks: each has one delivery in hand at a time.

    clock       Unix nanoseconds
    rng         for the jitter of the backoff
    write       takes a line for the terminal
    new_client  an httpx client with connections for that many senders
    """

    def __init__(
        self,
        outbox: Outbox,
        destinations: Iterable[Destination],
        clock: Callable[[], int],
        rng: random.Random,
        write: Callable[[str], None],
        new_client: Callable[[int], httpx.AsyncClient] = new_client,
    ) -> None:
        self.counts = DeliveryCounts()
        self._destinations = {destination.name: destination for destination in destinations}
        self._gates = {name: Gate(one.pace, SENDERS_EACH) for name, one in self._destinations.items()}
        self.senders = SENDERS_EACH * max(1, len(self._destinations))
        self._outbox, self._clock, self._rng, self._write = outbox, clock, rng, write
        self._new_client = new_client
        self._pool = _Pool(new_client(self.senders))
        self._writer = ThreadPoolExecutor(1, "outbox")
        self._sending: set[int] = set()
        self._running = 0
        self._stopping = False
        self._woken = asyncio.Event()
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)  # At INFO they log URLs, which are secrets.

    async def run(self) -> None:
        """Send until `stop`, then until nothing is due. Cancelling loses nothing: what was in hand is sent again."""
        self._running += 1
        try:
            if self._running == 1:
                await self._give_up_others()
            while True:
                found, wait_s = self._next()
                if found:
                    await self._deliver(*found)
                elif self._stopping:
                    break
                else:
                    await self._rest(wait_s)
        finally:
            self._running -= 1
            if not self._running:
                self._writer.shutdown()  # Waits until all is written: the connection may be closed after it.
                await self._pool.client.aclose()

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._woken.set()
        self._woken = asyncio.Event()

    def stop(self) -> None:
        """End the senders once nothing is due; the rest stays in the outbox."""
        self._stopping = True
        self.wake()

    @property
    def running(self) -> int:
        """Senders at work."""
        return self._running

    def tripped(self) -> dict[str, bool]:
        """The destinations, and whether they refuse us for good: somebody must look at key or hook."""
        return {name: gate.trips > 0 for name, gate in self._gates.items()}

    async def _give_up_others(self) -> None:
        orphans = await self._written(partial(self._outbox.give_up_others, self._destinations, self._clock()))
        if orphans:
            logger.error("%d deliveries wait for destinations that are no longer configured: given up", orphans)

    async def _rest(self, seconds: float) -> None:
        woken = self._woken
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass

    def _next(self) -> tuple[tuple[Destination, Waiting] | None, float]:
        """A delivery that may start now, else how long to rest. The least busy destination comes first."""
        now_ns = self._clock()
        rest_s = _REST_S
        for name in sorted(self._gates, key=lambda one: self._gates[one].sending):
            gate = self._gates[name]
            if wait_s := gate.wait_s(now_ns):
                rest_s = min(rest_s, wait_s)
                continue
            for waiting in self._outbox.due(name, now_ns, gate.sending + 1):
                if waiting.seq not in self._sending:
                    return (self._destinations[name], waiting), 0.0
        if put_off_ns := self._outbox.put_off_until_ns(now_ns):
            rest_s = min(rest_s, (put_off_ns - now_ns) / SECOND_NS)
        return None, max(rest_s, 0.01)

    async def _deliver(self, destination: Destination, waiting: Waiting) -> None:
        gate = self._gates[destination.name]
        gate.enter(self._clock())
        self._sending.add(waiting.seq)
        try:
            outcome = await self._tried(destination.name, destination, destination.render, waiting.notice)
            if isinstance(outcome, Refused) and outcome.reason is Reason.MALFORMED:
                gate.leave()
                gate.enter(self._clock())
                outcome = await self._tried(destination.name, destination, destination.render_least, waiting.notice)
            await self._written(self._settle(destination.name, gate, waiting, outcome))
        finally:
            self._sending.discard(waiting.seq)
            gate.leave()
            self.wake()

    def _settle(self, name: str, gate: Gate, waiting: Waiting, outcome: Outcome) -> Callable[[], None]:
        """Take in what came of a delivery; returns what is to be written down of it."""
        now_ns = self._clock()
        expired = now_ns - waiting.added_ns > lifetime_ns(waiting.notice)
        match outcome:
            case Delivered():
                gate.mend()
                self.counts.delivered[name] += 1
                return partial(self._outbox.told, waiting.seq, now_ns)
            case Retry() if not expired:
                self.counts.retried[name] += 1
                after_s = self._backoff_s(waiting.attempts) if outcome.after_s is None else outcome.after_s
                if outcome.throttled:
                    self.counts.throttled[name] += 1
                    gate.pause(after_s, now_ns)
                return partial(self._outbox.put_off, waiting.seq, now_ns + int(after_s * SECOND_NS))
            case Refused(reason=Reason.CREDENTIAL | Reason.GONE) if not expired:
                if not gate.trips:
                    logger.error("%s refuses everything (%s): check its key or hook", name, clean(outcome.said, 100))
                gate.trip(now_ns)
                self.counts.retried[name] += 1
                return partial(self._outbox.put_off, waiting.seq, now_ns)
            case Retry() | Refused():
                reason = outcome.reason if isinstance(outcome, Refused) and not expired else Reason.EXPIRED
                said = clean(outcome.said, 200)
                self.counts.dead[name, reason] += 1
                logger.error("%s will not be told of %s: %s, %s", name, waiting.notice.notice_id, reason, said)
                return partial(self._outbox.give_up, waiting.seq, f"{reason}: {said}", now_ns)

    async def _written(self, write: Callable[[], T]) -> T:
        """Write down an outcome, however long the disk stays full. Cancelled, it is still written if it can be."""
        while True:
            try:
                return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writer, write))
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
            status, headers, body = await self._answer(rendered)
            return destination.outcome(status, headers, body, self._clock())
        except httpx.PoolTimeout:
            self._replace_pool()
            return Retry(None, throttled=False, said="no connection free")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            return Refused(Reason.GONE, "the URL in the settings is none")
        except Exception as error:  # Its text may hold the URL: the type must do.
            return Retry(None, throttled=False, said=type(error).__name__)

    async def _answer(self, request: HttpRequest) -> tuple[int, httpx.Headers, str]:
        """Status, headers and the beginning of the body, as it came: nothing is decompressed."""
        pool = self._pool
        pool.users += 1
        try:
            headers = {**request.headers, "Accept-Encoding": "identity", "User-Agent": "tocsin"}
            body = b""
            until_ns = self._clock() + int(ANSWER_MAX_S * SECOND_NS)
            async with pool.client.stream(request.method, request.url, headers=headers, content=request.body) as answer:
                async for chunk in answer.aiter_raw():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX or self._clock() > until_ns:
                        break
                return answer.status_code, answer.headers, body[:ANSWER_BYTES_MAX].decode("utf-8", "replace")
        finally:
            pool.users -= 1
            if pool is not self._pool and not pool.users:
                await pool.client.aclose()

    def _replace_pool(self) -> None:
        """A new client in place of one whose connections never came back."""
        self.counts.pools_replaced += 1
        self._pool = _Pool(self._new_client(self.senders))
