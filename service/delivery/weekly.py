"""The weekly report, told to one receiver each Monday: the week's review, and what pages were worth.

It does not go through the outbox. A report is not an alert: it must never stand before one, nothing is open after it,
and it is worth nothing once its week is over. It is tried for a day, and a kill within that day can lose it.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from alertrules.notice import Notice
from service.delivery.client import Client, authorities, new_client
from service.delivery.trial import told_once
from service.notifiers.destination import Destination
from service.notifiers.request import Delivered, Reason, Refused

log = logging.getLogger("tocsin")

LOOK_S = 5.0
REPORT_AGAIN_S, REPORT_TRIES = 300.0, 288
"""A day of tries, five minutes apart."""
Notices = Callable[[int], Awaitable[Sequence[Notice]]]


class Weekly:
    """One daemon's reports.

    may_tell  whether a report may be sent now: of several instances the one that leads tells it
    told      how many were `delivered`, or given up as `failed`, by destination
    """

    def __init__(
        self, receiver: str, of: Callable[[str], Sequence[Destination]], notices: Notices, may_tell: Callable[[], bool]
    ) -> None:  # fmt: skip
        self._receiver, self._of, self._notices, self._may_tell = receiver, of, notices, may_tell
        self._due_ns = self._done_ns = 0
        self.told: Counter[tuple[str, str]] = Counter()

    def week(self, monday_ns: int) -> None:
        """A week has ended at that Monday, 00:00 UTC. Called from any thread."""
        self._due_ns = monday_ns

    def takers(self) -> list[Destination]:
        """Where reports go: not to those that keep incidents, as a report would be one that nobody closes."""
        of = self._of(self._receiver)
        return [one for one in of if not (one.habit.keeps_incidents or one.habit.groups_itself)]

    def problem(self) -> str:
        """What keeps reports from being told; empty where nothing does."""
        if not self._receiver or self.takers():
            return ""
        what = "no destination that takes a report" if self._of(self._receiver) else "no place in the rule files"
        return f"TOCSIN_WEEKLY__RECEIVER: receiver {self._receiver} has {what}: name one with Slack or a webhook"

    async def run(self) -> None:
        """Tell the report of each week once it is over."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._due_ns > self._done_ns and self._receiver:
                self._done_ns = self._due_ns
                await self._tell(self._done_ns)

    async def _tell(self, monday_ns: int) -> None:
        if problem := self.problem():
            log.error("the weekly report is not told: %s", problem)
            return
        try:
            notices = await self._notices(monday_ns)
        except Exception:  # A report is worth no page: whatever is wrong with it, the daemon goes on.
            log.exception("the weekly report could not be made")
            return
        waiting = [(notice, one) for notice in notices for one in self.takers()]
        client = Client(partial(new_client, 1, authorities(os.environ)), time.monotonic_ns)
        try:
            for _ in range(REPORT_TRIES):
                waiting = [each for each in waiting if not await self._is_told(client, *each)]
                if not waiting:
                    return
                await asyncio.sleep(REPORT_AGAIN_S)
        finally:
            await client.close()
        for _, one in waiting:
            self._failed(one, "it did not take it for a day")

    async def _is_told(self, client: Client, notice: Notice, one: Destination) -> bool:
        """Send once; whether it is done with, taken or not."""
        if not self._may_tell():
            return False
        outcome = await told_once(client, one, notice)
        if isinstance(outcome, Delivered):
            self.told[one.name, "delivered"] += 1
        elif isinstance(outcome, Refused) and outcome.reason is Reason.MALFORMED:
            self._failed(one, outcome.said)
        else:
            return False
        return True

    def _failed(self, one: Destination, why: str) -> None:
        self.told[one.name, "failed"] += 1
        log.error("the weekly report was not told to %s, %s: %s", one.name, one.target.place, why)
