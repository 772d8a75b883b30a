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

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.web.framing import HEAD_BYTES_MAX, TOO_LONG, reason, refusal


class Phase(StrEnum):
    """What a connection is waited for."""

    HEAD = "head"  # Of its first request, or the rest of one that has begun.
    REQUEST = "request"  # To be sent, and answered.
    IDLE = "idle"  # To begin another, and to read the last answer.


LIMITS_S = {Phase.HEAD: 10.0, Phase.REQUEST: 120.0, Phase.IDLE: 60.0}
"""A request has a longer time than any door takes for its body and its answer."""
LINGER_S = 1.0
"""How long a sender whose request cannot be read may still write; its connection would be reset otherwise."""
BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
)


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


class Connection(HttpToolsProtocol):
    """One connection of uvicorn's, which keeps its phase up to date.

    A request that cannot be read is answered after those before it, and ends the connection.
    """

    def __init__(self, connections: Connections, config: Config, server_state: ServerState, **more: Any) -> None:
        super().__init__(config, server_state, **more)
        self.phase = Phase.HEAD
        self._all = connections
        self._head_bytes = 0  # Of a head that has not come to its end.
        self._in_body = False  # A head has come to its end, and its body has not.
        self._unanswered = 0
        self._refusal = ""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._all.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal:
            return
        self._unset_keepalive_if_required()
        if not self._in_body:  # What still comes of a request that is answered already begins nothing.
            self._head_bytes += len(data)
            if self.phase is Phase.IDLE:
                self._all.enter(self, Phase.HEAD)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # It is answered; what follows would be of another protocol.
        except httptools.HttpParserError as error:
            self.send_400_response(reason(error))
        else:
            if not self._in_body and self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response(TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # Nobody reads trailers.
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if refused := refusal(self.parser.get_http_version(), self.headers):
            raise ValueError(refused)
        super().on_headers_complete()
        self._head_bytes, self._in_body = 0, True
        self._unanswered += 1
        self._all.enter(self, Phase.REQUEST)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._unanswered -= 1
        self._all.enter(self, Phase.REQUEST if self.pipeline else Phase.IDLE)
        super().on_response_complete()
        if self._refusal and not self._unanswered:
            self._end(self._refusal)

    def send_400_response(self, msg: str) -> None:
        self._refusal = msg
        if self._in_body:  # Its head was taken as a request, which may be answered already.
            if self.cycle.response_complete:
                self.transport.close()
                return
            self._unanswered -= 1
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
        if self._unanswered:
            self.flow.pause_reading()
        else:
            self._end(msg)

    def _end(self, why: str) -> None:
        """Say why no more is read. What the sender still writes is thrown away, so that it comes to read the answer."""
        said = why.encode()
        self.transport.write(BAD_REQUEST % (len(said), said))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.close)
