"""Scores that data points told of sessions: each value counts once, when it is first heard of its session.

A gauge, or a cumulative sum, says the same value again with each export, at another time. So the time of an outcome is
that of the first point which said this value of this session under this name. Another value is another outcome. One
that comes back, as where two writers contradict each other in turn, is not.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from detectors.core.columns import SECOND_NS
from service.batch import Dropped
from service.ingest.otlp.points import Evaluation

HEARD_MAX = 50_000
"""Values that are remembered, of all sessions; further ones are dropped, or each would count with each export."""
SILENT_NS = 24 * 3600 * SECOND_NS
"""One that nobody has said for so long of event time is forgotten."""
MAY_GO_NS = 600 * SECOND_NS
"""One that nobody has said for so long is forgotten where there is no room: exporters speak once a minute."""
_KEY_BYTES = 12


class Scores:
    """The values that were heard, and when each was said last. One owner: Meters."""

    def __init__(self) -> None:
        self._heard: dict[str, int] = {}  # The one that was said longest ago comes first.

    def fresh(self, scores: Sequence[Evaluation], future_ns: int, dropped: Counter[Dropped]) -> Iterator[Evaluation]:
        """Those that were not heard before. Adds to `dropped` what is of the future, and for what there is no room."""
        for score in scores:
            if score.time_ns > future_ns:
                dropped[Dropped.FUTURE] += 1
                continue
            key = _key(score)
            self._forget(score.time_ns - SILENT_NS)
            known_ns = self._heard.pop(key, None)
            if known_ns is None and len(self._heard) >= HEARD_MAX:
                self._forget(score.time_ns - MAY_GO_NS)
            if known_ns is None and len(self._heard) >= HEARD_MAX:
                dropped[Dropped.SERIES_FULL] += 1
                continue
            self._heard[key] = max(score.time_ns, known_ns or 0)
            if known_ns is None:
                yield score

    def _forget(self, before_ns: int) -> None:
        while self._heard and self._heard[first := next(iter(self._heard))] < before_ns:
            del self._heard[first]

    def state(self) -> list[list[object]]:
        """All that is remembered, as values of JSON."""
        return [[key, time_ns] for key, time_ns in self._heard.items()]

    @classmethod
    def resume(cls, state: Iterable[Sequence[object]]) -> "Scores":
        """Go on from what `state` gave."""
        scores = cls()
        scores._heard = {str(key): int(str(time_ns)) for key, time_ns in state}
        return scores


def _key(score: Evaluation) -> str:
    """What stands for a value of a session. A hash, as names and ids may be long."""
    said = "\0".join((score.session or score.trace, score.name, score.said, repr(score.score)))
    return hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=_KEY_BYTES).hexdigest()
