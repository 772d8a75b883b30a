"""The levels as they stand between two steps, taken when somebody asks for them and not too often.

Working them out takes a while where series are many, so nobody does it unasked.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine

from alertrules.audience import Audience
from service.own_metrics.selfmetrics import SelfMetrics
from service.pipeline.pipeline import Pipeline
from service.pipeline.rule_runner import Level
from service.runtime.watchdog import Watchdog
from service.sampling.needs import Needs, needs
from service.sampling.policy import Policy

LEVELS_EVERY_S, LOOK_PATIENCE_S = 1.0, 2.0
"""How old levels may be that are shown; how long who asks waits for newer ones."""
ByLabels = dict[tuple[str, ...], float]


class Looks:
    """Looks at one pipeline, between its steps.

    start   makes a task of a look; the daemon makes all tasks
    policy  which traces are worth keeping, and when
    """

    def __init__(
        self, pipeline: Pipeline, metrics: SelfMetrics, work: Watchdog,
        start: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"], policy: Policy,
    ) -> None:  # fmt: skip
        self._pipeline, self._metrics, self._work, self._start, self.policy = pipeline, metrics, work, start, policy
        self._looked_s = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Have the levels as they stand now, for whoever asks; after a while without, if a long step is in the way."""
        if self._looking is None and time.monotonic() - self._looked_s >= LEVELS_EVERY_S:
            self._looking = self._start(self._look())
        if self._looking is not None:
            for looked in (await asyncio.wait([self._looking], timeout=LOOK_PATIENCE_S))[0]:
                looked.result()  # What went wrong is raised where it was asked for.

    def anew(self) -> None:
        """What was seen is not true any more: the next who asks gets a new look."""
        self._looked_s = float("-inf")

    async def _look(self) -> None:
        metrics = self._metrics
        try:
            metrics.levels, metrics.spend, metrics.unpriced, metrics.audience, metrics.needs = await self._work.run(
                "a look at the levels", self._taken
            )
            self._looked_s = time.monotonic()
        finally:
            self._looking = None

    def _taken(self) -> tuple[list[Level], ByLabels, ByLabels, Audience, Needs]:
        pipeline, levels, news = self._pipeline, self._pipeline.levels(), self._pipeline.causes.news
        needed = needs(levels, news.sights(), news.changes, self.policy, self._metrics.parts.now_ns())
        return levels, pipeline.spend(), pipeline.unpriced(), pipeline.router.audience(), needed
