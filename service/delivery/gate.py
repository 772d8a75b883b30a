"""One destination's gate: its pace, its pauses and its circuit breaker. Pure; the clock is handed in, and is steady."""

from detectors.core.columns import SECOND_NS
from service.notifiers.request import Pace

TRIPPED_S = 60.0
TRIPPED_MAX_S = 120.0
THROTTLED_S = 1.0
THROTTLED_MAX_S = 30.0  # PagerDuty asks for tries half a minute apart while it goes on to refuse them.


class Gate:
    """Says how long the next delivery has to wait, and how many may be under way."""

    def __init__(self, pace: Pace, senders_max: int) -> None:
        self._pace = pace
        self._senders_max = senders_max
        self._tokens = float(pace.burst)
        self._counted_ns = 0
        self._shut_until_ns = 0
        self.trips = 0  # In a row; 0 is closed, in the electrician's sense: all is well.
        self.throttles = 0  # In a row.
        self.sending = 0

    def wait_s(self, now_ns: int) -> float:
        """Seconds until a delivery may start, 0 for now; a tripped gate lets one probe through at a time."""
        shut_s = max(0.0, (self._shut_until_ns - now_ns) / SECOND_NS)
        if self.sending >= (1 if self.trips or self.throttles > 1 else self._senders_max):
            return max(shut_s, 1.0)  # Whoever is sending wakes us when done.
        return max(shut_s, (1.0 - self._refilled(now_ns)) / self._pace.per_s, 0.0)

    def enter(self, now_ns: int) -> None:
        """A delivery starts."""
        self._tokens = self._refilled(now_ns) - 1.0
        self._counted_ns = now_ns
        self.sending += 1

    def leave(self) -> None:
        self.sending -= 1

    def throttle(self, asked_s: float | None, now_ns: int) -> float:
        """The destination says that it is sent too much: how long it is left alone now, in seconds.

        For as long as it asks; where it does not say, a second at first, and longer each time that it says so again.
        Answers to what was sent before the pause began are the same complaint.
        """
        if now_ns >= self._shut_until_ns:
            self.throttles = min(self.throttles + 1, 10)
        grown_s = min(THROTTLED_MAX_S, THROTTLED_S * 2.0 ** (self.throttles - 1))
        pause_s = asked_s or max(grown_s, THROTTLED_S)
        self._pause(pause_s, now_ns)
        return pause_s

    def trip(self, now_ns: int) -> None:
        """Nothing will get through until somebody acts: try one delivery now and then.

        Several that were under way together are refused for one reason, and are one trip.
        """
        if not self.trips or now_ns >= self._shut_until_ns:
            self.trips = min(self.trips + 1, 10)
            self._pause(min(TRIPPED_MAX_S, TRIPPED_S * 2.0 ** (self.trips - 1)), now_ns)

    def mend(self) -> None:
        """It took something."""
        self.trips = self.throttles = 0

    def _pause(self, seconds: float, now_ns: int) -> None:
        """Let nothing through for a while. What it did not take meanwhile does not follow as a burst."""
        self._tokens = min(self._refilled(now_ns), 1.0)
        self._shut_until_ns = max(self._shut_until_ns, now_ns + int(seconds * SECOND_NS))
        self._counted_ns = self._shut_until_ns

    def _refilled(self, now_ns: int) -> float:
        grown = self._tokens + (now_ns - self._counted_ns) / SECOND_NS * self._pace.per_s
        return min(float(self._pace.burst), max(grown, self._tokens))
