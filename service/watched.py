"""The daemon's work in threads, one piece at a time, watched from the event loop: what runs, and for how long.

A thread cannot be ended from outside. So what hangs is told, in the log and by /-/healthy, and whoever supervises the
process may end it: the last save stands.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger("tocsin")


class Watched:
    """Runs calls in a thread, one after another; one that takes longer than `limit_s` is said to hang."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._turn = asyncio.Lock()
        self._what, self._since_s = "", 0.0

    async def run(self, what: str, call: Callable[[], T]) -> T:
        """What the call gives, or raises; `what` names it to people."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            late = loop.call_later(self.limit_s, self._late)
            self._what, self._since_s = what, loop.time()
            try:
                return await asyncio.to_thread(call)
            finally:
                late.cancel()
                self._what = ""

    def running_s(self) -> float:
        """For how long the call under way has been running; 0 between calls. On the event loop."""
        return asyncio.get_running_loop().time() - self._since_s if self._what else 0.0

    def hangs(self) -> str:
        """What hangs, in words; empty while nothing does."""
        running_s = self.running_s()
        return f"{self._what} has been running for {running_s:.1f} s" if running_s > self.limit_s else ""

    def _late(self) -> None:
        log.error("%s has been running for more than %g s: nothing is read or told meanwhile", self._what, self.limit_s)
