"""What the spans of one source partition told, as far as detect has not heard it: it silences metrics of the same.

Detect asks only whether a service told a signal within the last day, so that it goes on telling it is news seldom.
"""

import json
from collections.abc import Iterable

from detectors.core.columns import SECOND_NS
from service.exchange.report import TOLD_MAX
from service.ingest.metrics.told import Spoken

NEWS_NS = 600 * SECOND_NS
"""Event time after which it is told again that a service tells a signal; the last time is told, too."""
TOLD_BYTES_MAX = 64 << 10
"""What one report tells of this; the rest goes with the next one."""


class ToldNews:
    """What was reported last, by service and signal. One owner: the shard. A new one reports all that it finds."""

    def __init__(self) -> None:
        self._reported: dict[tuple[str, str], int] = {}

    def take(self, known: Iterable[Spoken], watermark_ns: int | None) -> list[Spoken]:
        """What of this is to be reported now, the event time being so far."""
        found, size = list[Spoken](), 0
        for one in known:
            service, signal, last_ns = one
            before_ns = self._reported.get((service, signal))
            if before_ns is not None and (last_ns <= before_ns or (watermark_ns or 0) - before_ns < NEWS_NS):
                continue
            size += len(json.dumps(one))
            if size > TOLD_BYTES_MAX:
                break
            found.append(one)
            self._reported[service, signal] = last_ns
        if len(self._reported) > TOLD_MAX:  # Those of long ago are told once more, if they speak again.
            latest = sorted(self._reported.items(), key=lambda entry: entry[1])[-TOLD_MAX // 2 :]
            self._reported = dict(latest)
        return found
