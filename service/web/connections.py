"""The connections of one server: how many there may be, and how long each may do nothing of use.

A connection waits for the head of a request, has a request in hand, or is idle between two. Each of these has a time
limit that single bytes do not extend, and at the end of it the connection is cut. Where there are as many as may be,
one that waits gives way to the newcomer: first who has sent no head for longest, then who is idle for longest. Where
all have a request in hand, the newcomer is turned away.
"""

import time
from collections import Counter
from enum import StrEnum
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from service.web.framing import Strict


class Phase(StrEnum):
    """What a connection is waited for."""

    HEAD = "head"  # Of its first request, or the rest of one that has begun.
    REQUEST = "request"  # To be sent, and answered.
    IDLE = "idle"  # To begin another, and to read the last answer.


LIMITS_S = {Phase.HEAD: 10.0, Phase.REQUEST: 120.0, Phase.IDLE: 60.0}
"""A request has a longer time than any door takes for its body and its answer."""


class Closed(StrEnum):
    """Why a connection was cut by us. Closed: every reason is exported, even at zero."""

    SLOW_HEAD = "slow_head"  # No complete head of a request within ten seconds.
    SLOW_REQUEST = "slow_request"  # A request and its answer took longer than two minutes.
    IDLE = "idle"  # No further request within a minute.
    GAVE_WAY = "gave_way"  # It waited, and a newcomer needed the place.
    REFUSED = "refused"  # It came when all others had a request in hand.


LATE = {Phase.HEAD: Closed.SLOW_HEAD, Phase.REQUEST: Closed.SLOW_REQUEST, Phase.IDLE: Closed.IDLE}


class Connections:
    """At most `connections_max` of one server; `closed` counts those that we cut. Used on the event loop alone."""

    def __init__(self, connections_max: int) -> None:
        self.connections_max = connections_max
        self.closed: Counter[Closed] = Counter()
        # Since when each is in its phase, who is in it for longest first: a phase ends in the order in which it began.
        self._since_s: dict[Phase, dict[Connection, float]] = {phase: {} for phase in Phase}

    def __len__(self) -> int:
        return sum(map(len, self._since_s.values()))

    def admit(self, connection: "Connection") -> bool:
        """Whether there is a place for a new one, if need be one that another gives up."""
        if len(self) >= self.connections_max:
            waiting = self._since_s[Phase.HEAD] or self._since_s[Phase.IDLE]
            if not waiting:
                self.closed[Closed.REFUSED] += 1
                return False
            self.cut(next(iter(waiting)), Closed.GAVE_WAY)
        self._since_s[Phase.HEAD][connection] = time.monotonic()
        return True

    def enter(self, connection: "Connection", phase: Phase) -> None:
        """It is in this phase from now on, unless it is gone."""
        if self._since_s[connection.phase].pop(connection, None) is not None:
            self._since_s[phase][connection] = time.monotonic()
            connection.phase = phase

    def leave(self, connection: "Connection") -> None:
        """It is gone."""
        self._since_s[connection.phase].pop(connection, None)

    def cut(self, connection: "Connection", why: Closed) -> None:
        """End it at once: a sender that does not read could hold back an orderly end."""
        self.closed[why] += 1
        self.leave(connection)
        connection.transport.abort()

    def sweep(self) -> None:
        """Cut what is over its time."""
        now_s = time.monotonic()
        for phase, since_s in self._since_s.items():
            late = []
            for connection, begun_s in since_s.items():
                if now_s - begun_s < LIMITS_S[phase]:
                    break
                late.append(connection)
            for connection in late:
                self.cut(connection, LATE[phase])


class Connection(H11Protocol):
    """One connection of uvicorn's, which keeps its phase up to date."""

    def __init__(self, connections: Connections, config: Config, server_state: ServerState, **more: Any) -> None:
        super().__init__(config, server_state, **more)
        self.conn = self._strict = Strict(h11.SERVER)
        self.phase = Phase.HEAD
        self._all = connections

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._all.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # What still comes of a request that is answered already begins nothing.
        if self.phase is Phase.IDLE and self.conn.their_state is h11.IDLE:
            self._all.enter(self, Phase.HEAD)
        super().data_received(data)

    def handle_events(self) -> None:
        answered = self.cycle
        super().handle_events()
        if self.cycle is not answered:
            self._all.enter(self, Phase.REQUEST)

    def on_response_complete(self) -> None:
        self._all.enter(self, Phase.IDLE)
        super().on_response_complete()  # May take up the next request, if that has come already.

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(self._strict.refusal or msg)
