"""What is known of a change besides the change itself: its cause, and traces that show it."""

import math
from dataclasses import replace

import numpy as np

from alertrules.cause import Known
from alertrules.lifecycle import Labels
from alertrules.page import trend
from alertrules.wording import LEVELS, digits
from detectors.core.columns import DEAREST, FAILED, SLOWEST, TICK_NS, Finding, Ids, Slot
from detectors.core.series import SeriesTable
from detectors.core.signals import SIGNALS, Signal
from service.causes.change import Change
from service.causes.examples import Kept
from service.causes.levels import level
from service.causes.news import News
from service.causes.past import TEN_NS, Past
from service.pipeline.rule_runner import RuleRunner

TENS = 12
"""Ten minutes that a page shows the level of."""
LOOKS, SOME = (3, 10, 30), 20
"""Minutes over which the level of now is told, and the units that are enough for it."""
SHOWN = {"s": (SLOWEST, FAILED, DEAREST), "usd": (DEAREST, SLOWEST, FAILED)}
LARGEST = {
    SIGNALS["latency_p95"]: SLOWEST, SIGNALS["latency_p50"]: SLOWEST, SIGNALS["cost_per_session_p95"]: DEAREST,
}  # fmt: skip
"""The example that has the largest value, of signals that are quantiles."""
SHOWN_ELSE = (FAILED, SLOWEST, DEAREST)
"""Which examples a page has first, by the unit of its signal."""


class Attribution:
    """The past of all cells, and what it says of a change. One owner."""

    def __init__(self, past: Past | None = None, kept: Kept | None = None, news: News | None = None) -> None:
        self.past, self.kept, self.news = past or Past(), kept or Kept(), news or News()

    def add(self, slot: Slot, cells: SeriesTable) -> None:
        """Take in a slot that closed."""
        reused = self.past.add(slot, cells)
        if len(reused):
            self.kept.forget(reused)
        self.kept.add(slot)
        self.news.add(slot, cells)

    def known(
        self, runner: RuleRunner, row: int, cells: SeriesTable, errors: SeriesTable, finding: Finding
    ) -> tuple[Finding, Known]:  # fmt: skip
        """What is known of the change of a series since its run of evidence began; and the finding as it is told.

        A quantile of buckets may lie beyond what there was: no level of now is told above the largest value seen.

        errors  the names of types of error, by their numbers
        """
        mine, signal = runner.view.cells_of(row, cells), _signal(runner)
        labels = [dict(zip(cells.labels, cells.values(cell), strict=True)) for cell in mine.tolist()]
        news = self.news.before(finding.since_ns, max(self.past.end_ns, finding.since_ns), labels)
        if not len(mine) or signal is None:
            return finding, Known((), self.kept.of(mine, SHOWN_ELSE), news)
        change = Change(self.past, cells, errors, mine, signal, finding)
        if signal.unit == "usd" and not runner.rule.counts_sessions and (unpriced := change.unpriced()):
            news = (unpriced, *news)
        found, which = change.cause() if change.shows(runner.rule) else ((), np.ones(len(mine), np.bool_))
        if not found:
            found = change.of_calls(runner.view.labels(row), runner.rule.counts_sessions)
        if beside := change.beside(runner.view.labels(row)):
            news = (beside, *news)
        examples = self.kept.of(mine[which], SHOWN.get(signal.unit, SHOWN_ELSE))
        largest = self.kept.largest(mine, LARGEST[signal], finding.since_ns) if signal in LARGEST else math.nan
        cut = tuple(
            replace(term, now=float(np.fmin(term.now, largest))) if term.unit == "s" else term for term in found
        )
        told = replace(finding, now=float(np.fmin(finding.now, largest)))
        return told, Known(cut, examples, news, self._trend(signal, mine), change.is_weighted)

    def _trend(self, signal: Signal, mine: Ids) -> str:
        """The level of each ten minutes of the last two hours."""
        levels = dict.fromkeys(range(self.past.end_ns // TEN_NS - TENS + 1, self.past.end_ns // TEN_NS + 1), math.nan)
        levels |= {begin_ns // TEN_NS: level(signal, counted) for begin_ns, counted in self.past.tens(mine)}
        return trend([levels[ten] for ten in sorted(levels)][-TENS:])

    def level(self, runner: RuleRunner, labels: Labels, cells: SeriesTable, at_ns: int) -> str:
        """The level of a series just before a time, in words; empty where it is not known.

        That is over as few whole minutes as have some units, half an hour at most.
        """
        signal, row = _signal(runner), runner.row_of(labels)
        if signal is None or row is None or not len(mine := runner.view.cells_of(row, cells)):
            return ""
        minute_ns, all_one = at_ns - at_ns % TICK_NS, np.zeros(len(mine), np.int32)
        for minutes in LOOKS:
            _, now = self.past.between(mine, all_one, minute_ns - minutes * TICK_NS, at_ns)
            if now.tick.count.sum() >= SOME or minutes == LOOKS[-1]:
                break
        found = level(signal, now)
        return LEVELS.get(signal.unit, digits)(found) if math.isfinite(found) else ""

    def snapshot(self) -> dict[str, np.ndarray]:
        """All state, as arrays."""
        arrays = {f"past.{name}": np.asarray(array) for name, array in self.past.snapshot().items()}
        return arrays | {f"kept.{name}": np.asarray(array) for name, array in self.kept.snapshot().items()}


def _signal(runner: RuleRunner) -> Signal | None:
    """What the rule's detector judges, or what comes closest to it; None where nothing does."""
    word = runner.rule.signal or runner.rule.described.signal
    outcomes = runner.outcomes
    return SIGNALS[word].of_classes(outcomes.goods, len(outcomes.names) - 1) if word else None
