"""Everything that one daemon shows and hears over HTTP, put together."""

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from alertrules.notice import Notice
from service.config.setting_types import revealed
from service.delivery.client import Client, authorities, new_client
from service.notifiers.notifier import inbounds
from service.reports.weekly_words import quality_notice, review_notice
from service.runtime.readiness import Readiness
from service.web.app import Web
from service.web.comparisons import Comparisons
from service.web.late_door import LateDoor
from service.web.people import People
from service.web.qualities import Qualities
from service.web.sampled import Sampled
from service.web.session_pages import SessionPages
from service.web.vendors import REPLIES_MAX, Vendors

if TYPE_CHECKING:
    from service.daemon import Daemon


class Pages:
    """One daemon's.

    web      the application
    sampled  what those who sample are told, whichever way they ask
    kept     what the record of sessions tells
    worth    what pages were worth
    replies  the client that answers vendors' buttons
    """

    def __init__(self, daemon: "Daemon") -> None:
        settings, look, metrics = daemon.settings, daemon.looks.look, daemon.metrics
        self.replies = Client(partial(new_client, REPLIES_MAX, authorities(os.environ)), time.monotonic_ns)
        self.sampled = Sampled(metrics, look, daemon.looks.policy)
        self.kept = SessionPages(daemon.sessions, daemon.pipeline, settings.links.templates, daemon.clock.now_ns)
        self.worth = Qualities(metrics, look, daemon.event_ns)
        people = People(metrics, daemon.arrivals, daemon.wall_ns, revealed(settings.web.token), look)
        late = LateDoor(people, daemon.sessions, daemon.pipeline, daemon.work, daemon.clock.now_ns)
        inbound = Vendors(people, inbounds(settings.notifiers), daemon.wall_ns, self.replies.ask)
        shown = {**self.kept.paths, **self.sampled.paths, **Comparisons(metrics, look).paths, **self.worth.paths}
        doors = [*people.doors(), *inbound.doors(), late.route()]
        self._receiver = settings.weekly.receiver
        self.web = Web(metrics, people, doors, shown, look, Readiness(daemon), daemon.rule_files.ask, daemon.work.hangs)

    async def reports(self, monday_ns: int) -> list[Notice]:
        """The reports of the week before that Monday. Raises sqlite3.Error where the record cannot be read."""
        reviewed, worth = await self.kept.week(monday_ns), await self.worth.week(monday_ns)
        review = review_notice(reviewed, self._receiver, monday_ns) if reviewed else None
        return [one for one in (review, quality_notice(worth, self._receiver, monday_ns)) if one]
