"""Whether a destination takes what it is sent: since when not, why, and who is told of it."""

import logging
from dataclasses import dataclass

from detectors.core.columns import SECOND_NS
from service.notifiers.request import Reason

SAID_EVERY_NS = 60 * SECOND_NS
"""A destination that fails now and then fills no log: one failure and one recovery a minute."""
NEEDS_SOMEBODY = (Reason.CREDENTIAL, Reason.GONE)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failing:
    """A destination that takes nothing. `since_ns` is monotonic time."""

    since_ns: int
    reason: Reason
    said: str


class Standing:
    """One destination's. Times are monotonic; `said` is cleaned and without secrets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failing: Failing | None = None
        self._is_logged = False
        self._logged_ns = -SAID_EVERY_NS

    def failed(self, reason: Reason, said: str, now_ns: int) -> None:
        """It did not take a delivery, and the delivery was not to blame."""
        before = self.failing
        self.failing = Failing(before.since_ns if before else now_ns, reason, said)
        if reason in NEEDS_SOMEBODY:
            if before is None or before.reason not in NEEDS_SOMEBODY:
                logger.error("%s refuses everything (%s): check its key or hook; its pages wait", self.name, said)
                self._is_logged = True
        elif not self._is_logged and self._is_news(reason, now_ns):
            logger.error("%s takes nothing (%s: %s): its pages wait and are tried again", self.name, reason, said)
            self._is_logged, self._logged_ns = True, now_ns

    def _is_news(self, reason: Reason, now_ns: int) -> bool:
        """To be sent too much is usual, unless it lasts."""
        lasts = self.failing is not None and now_ns - self.failing.since_ns >= SAID_EVERY_NS
        return now_ns - self._logged_ns >= SAID_EVERY_NS and (lasts or reason is not Reason.THROTTLED)

    def took(self, now_ns: int) -> None:
        """It took a delivery."""
        if self.failing and self._is_logged:
            seconds = (now_ns - self.failing.since_ns) // SECOND_NS
            logger.info("%s takes what it is sent again, after %d s", self.name, seconds)
        self.failing, self._is_logged = None, False

    def failing_s(self, now_ns: int) -> float:
        return (now_ns - self.failing.since_ns) / SECOND_NS if self.failing else 0.0
