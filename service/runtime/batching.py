"""What a step takes off the queue: as much as came, within bounds, and nothing across what changes what is read."""

import asyncio

from service.sources.arrival import Arrival, Arrivals

TAKE_BYTES_MAX = 4 << 20
"""A step takes no further arrival once it has so many bytes: what bounds the time between two saves."""
IDLE_S = 1.0


class Taking:
    """The reader's end of a queue. One owner."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._ahead: Arrival | None = None  # Taken, but not to be read together with what came before it.

    def is_empty(self) -> bool:
        """Whether nothing is left to take."""
        return self._arrivals.empty() and self._ahead is None

    async def take(self) -> list[Arrival]:
        """What has arrived, after a short wait at most: time alone can close slots too.

        An arrival with news of what is to be read begins a step of its own, as they hold from its records on; what a
        person said is a step alone.
        """
        arrivals = [self._ahead] if self._ahead else []
        self._ahead = None
        if not arrivals:
            try:
                async with asyncio.timeout(IDLE_S):
                    arrivals.append(await self._arrivals.get())
            except TimeoutError:
                return []
        size_bytes = arrivals[0].size_bytes
        while size_bytes < TAKE_BYTES_MAX and not arrivals[0].marks and not self._arrivals.empty():
            arrival = self._arrivals.get_nowait()
            if arrival.expected is not None or arrival.marks:
                self._ahead = arrival
                break
            arrivals.append(arrival)
            size_bytes += arrival.size_bytes
        return arrivals
