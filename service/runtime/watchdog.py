"""The daemon's work in threads, one piece at a time, watched from the event loop: what runs, and for how long.

A thread cannot be ended from outside. So what hangs is told, in the log and by /-/healthy, and whoever supervises the
process may end it: the last save stands.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
log = logging.getLogger("tocsin")


class Work(NamedTuple):
    """A call, and the future on a loop that waits for what it gives."""

    call: Callable[[], Any]
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class Watchdog:
    """Runs calls in a thread, one after another; one that takes longer than `limit_s` is said to hang.

    The thread is its own, as handing a call to an executor's costs as much as a small body's step. It ends with the
    process, whatever it does then.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._works: SimpleQueue[Work] = SimpleQueue()
        threading.Thread(target=_work, args=(self._works,), name="work", daemon=True).start()
        self._turn = asyncio.Lock()
        self._what, self._since_s = "", 0.0

    async def run(self, what: str, call: Callable[[], T]) -> T:
        """What the call gives, or raises; `what` names it to people."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            late = loop.call_later(self.limit_s, self._late)
            self._what, self._since_s = what, loop.time()
            try:
                work = Work(call, loop.create_future(), loop)
                self._works.put(work)
                given: T = await work.future
                return given
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


def _work(works: "SimpleQueue[Work]") -> None:
    """Make the calls, for ever."""
    while True:
        _make(works.get())  # A function of its own, so that nothing of a call is held until the next.


def _make(work: Work) -> None:
    try:
        given = work.call()
    except BaseException as error:
        _tell(work, work.future.set_exception, error)
    else:
        _tell(work, work.future.set_result, given)


def _tell(work: Work, tell: Callable[[Any], None], what: object) -> None:
    """Tell the loop what became of a call, if anybody still waits."""
    try:
        work.loop.call_soon_threadsafe(lambda: None if work.future.done() else tell(what))
    except RuntimeError:  # The loop is closed.
        log.warning("a call ended after all that waited for it")
