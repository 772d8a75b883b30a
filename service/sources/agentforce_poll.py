"""Agentforce (beta): the sessions of an org, asked for every minute, as spans on the daemon's queue.

The position is event time: all spans that ended by then are on the queue. It is saved with the state that it covers,
as an offset is, and what a restart finds after it is asked for again. It moves up to `hold` behind now, and no further
than the start of a session that could not be read yet: a vendor that fails delays its spans, and loses none. A session
that cannot be read at all is given up once the position reaches its end.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from detectors.core.columns import SECOND_NS
from service.batch import Record, Signal
from service.sources.agentforce_api import OF_SESSION, AgentforceError, Api, Session, Why
from service.sources.agentforce_settings import AgentforceSettings
from service.sources.agentforce_spans import Span, bodies, spans_of
from service.sources.arrival import Arrival, Arrivals

log = logging.getLogger("tocsin.agentforce")

AGENTFORCE = "agentforce"
"""The partition that its spans are of."""
POLL_BACKOFF_MAX_S = 900.0
SAY_AGAIN_S = 600.0
ASKED_MAX = 500
"""Sessions that one poll asks for: each is a request, and they are counted against the org's."""


@dataclass
class Held:
    """A session that was read: as it was listed, and its spans that are not on the queue yet."""

    listed: Session
    spans: list[Span]


class AgentforceSource:
    """Polls until it is cancelled.

    polls      by result, `ok` or `failed`
    failures   requests that failed, by why
    sessions   read so far; `spans` put on the queue; `late` spans that came after the position had passed them
    lost       sessions given up, by why
    """

    def __init__(
        self, settings: AgentforceSettings, arrivals: Arrivals, offsets: Mapping[str, int], api: Api,
        wall_ns: Callable[[], int],
    ) -> None:  # fmt: skip
        self._settings, self._arrivals, self._api, self._wall_ns = settings, arrivals, api, wall_ns
        self.position_ns = offsets.get(AGENTFORCE, wall_ns() - settings.look_back)
        self.polls: Counter[str] = Counter()
        self.failures: Counter[Why] = Counter()
        self.lost: Counter[Why] = Counter()
        self.sessions = self.spans = self.late = 0
        self._held: dict[str, Held] = {}
        self._unread: dict[str, tuple[Session, Why]] = {}
        self._said, self._said_ns, self._failed = "", 0, 0

    async def run(self) -> None:
        """Poll, wait, poll again."""
        log.warning(
            "Agentforce is read (beta), %d s behind now: what else is sent here is judged as late, or makes it late",
            self._settings.hold // SECOND_NS,
        )
        try:
            while True:
                wait_s = await self.poll()
                await asyncio.sleep(wait_s)
        finally:
            await self._api.close()

    async def poll(self) -> float:
        """Ask for what is new, and put on the queue what is due; seconds until the next poll."""
        every_s = self._settings.poll_every / SECOND_NS
        until_ns = max(self.position_ns, self._wall_ns() - self._settings.hold)
        try:
            until_ns, failed = await self._read(await self._api.sessions(self.position_ns), until_ns)
        except AgentforceError as error:
            until_ns, failed = self.position_ns, self._note(error)
        self.polls["failed" if failed else "ok"] += 1
        await self._pass_on(until_ns)
        if failed is None:
            if self._failed:
                log.info("Agentforce answers again")
            self._failed, self._said = 0, ""
            return every_s
        self._failed = min(self._failed + 1, 10)
        return max(every_s, failed.after_s or min(POLL_BACKOFF_MAX_S, every_s * 2.0 ** (self._failed - 1)))

    async def _read(self, listed: list[Session], until_ns: int) -> tuple[int, AgentforceError | None]:
        """Read the sessions that are new, or have grown: how far the position may go, and what kept it from more."""
        new = [one for one in listed if one.id not in self._held or self._held[one.id].listed != one]
        for number, one in enumerate(new):
            error = AgentforceError(Why.THROTTLED, f"more than {ASKED_MAX} sessions in one poll", 1.0)
            try:
                if number < ASKED_MAX:
                    self._hold(one, spans_of(await self._api.trace(one.id), one))
                    continue
            except AgentforceError as found:
                error = found
                self._note(error)
                if error.why in OF_SESSION:
                    self._unread[one.id] = one, error.why
                    continue
            return min([until_ns, *(left.start_ns - 1 for left in new[number:])]), error
        return until_ns, None

    def _hold(self, one: Session, spans: list[Span]) -> None:
        """Keep its spans that the position has not passed: those before it cannot count any more."""
        before = self._held.get(one.id)
        self._unread.pop(one.id, None)
        due = [span for span in spans if span.end_ns > self.position_ns]
        if before is None:
            self.sessions += 1
            self.late += len(spans) - len(due)
        self._held[one.id] = Held(one, due)

    async def _pass_on(self, until_ns: int) -> None:
        """Put on the queue the spans that ended by then, and move the position there."""
        until_ns = max(until_ns, self.position_ns)
        due: list[Span] = []
        for name, held in list(self._held.items()):
            is_over = held.listed.end_ns <= until_ns
            due += [one for one in held.spans if is_over or one.end_ns <= until_ns]
            held.spans = [] if is_over else [one for one in held.spans if one.end_ns > until_ns]
            if is_over:
                del self._held[name]
        for name, (one, why) in list(self._unread.items()):
            if one.end_ns <= until_ns:
                self.lost[why] += 1
                del self._unread[name]
        if until_ns == self.position_ns:
            return
        records = tuple(Record(Signal.TRACES, body, AGENTFORCE) for body in bodies(due))
        await self._arrivals.put(Arrival(records, {AGENTFORCE: until_ns}))
        self.position_ns, self.spans = until_ns, self.spans + len(due)

    def _note(self, error: AgentforceError) -> AgentforceError:
        """Count a failure, and say it where it is new or was not said for a while."""
        self.failures[error.why] += 1
        if str(error) != self._said or self._wall_ns() - self._said_ns > SAY_AGAIN_S * SECOND_NS:
            log.warning("Agentforce: %s; %s", error, WHAT_TO_DO.get(error.why, "it is asked again"))
            self._said, self._said_ns = str(error), self._wall_ns()
        return error

    @property
    def waiting(self) -> int:
        """Sessions whose spans wait for the position."""
        return len(self._held)

    def delay_s(self) -> float:
        """How far the position is behind now."""
        return max(0.0, (self._wall_ns() - self.position_ns) / SECOND_NS)


WHAT_TO_DO = {
    Why.CREDENTIAL: "look at TOCSIN_AGENTFORCE__CLIENT_SECRET, …__CLIENT_ID, and the flow that the app allows",
    Why.FORBIDDEN: "look at the permissions of the app's user, and that session tracing, audit and feedback are on",
    Why.THROTTLED: "it is asked again later, and nothing is lost before 72 hours",
}
