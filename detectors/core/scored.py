"""A detector of plain numbers: one value a series and step, each worth a score, from any scorer that sets its own bar.

The step is the rule's window. The budget of the rule is shared by its series, their number rounded up to a power of
two. Scorers are one object a series, so a rule of this kind is for hundreds of series, not for hundred thousands.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from detectors.core.budget import rounded
from detectors.core.columns import SECOND_NS, TICK_NS, Arrays, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.descriptor import JUDGED, LEARNING, Gauge, Learns
from detectors.core.doubt import raised
from detectors.core.window import Window

GAUGES = {
    "level": Gauge(
        "tocsin_level", "What a level or river rule looks at, in its signal's unit.", None, "", "level_expected"
    ),
    "level_expected": Gauge("tocsin_level_expected", "What it should have been."),
    "level_score": Gauge("tocsin_level_score", "How far it is from that, in the detector's own units."),
    "level_bar": Gauge("tocsin_level_bar", "The score from which it is a page; absent while it is learnt."),
    **LEARNING,
    "warm": JUDGED,
}
"""Levels of every detector that scores plain numbers."""
JUDGED_MIN = 100
"""Values that must have been scored before one is judged."""
LEARNS = Learns(0, JUDGED_MIN, JUDGED_MIN)
CALM_S = 1800.0
"""An episode is over once it was calm for half an hour, three steps at least."""


def calm_steps(step_s: float) -> int:
    """The same in steps."""
    return max(3, math.ceil(CALM_S / step_s))


@dataclass(frozen=True)
class Score:
    """What one value is worth.

    score      >= 0, robust standard deviations or the scorer's own unit
    threshold  above which it is an episode; infinite while the series is not judged
    expected   what the value should have been, NaN where the scorer has no opinion
    page       true at the first step of an episode
    """

    time_s: float
    value: float
    score: float
    threshold: float
    expected: float
    page: bool

    @property
    def above(self) -> bool:
        """Whether this step is part of an episode."""
        return self.score > self.threshold


class Scorer(Protocol):
    """One series: each value judged by those before it, then learnt."""

    budget_per_week: float

    def observe(self, time_s: float, value: float) -> Score | None:
        """None where the value cannot be compared yet."""

    def said(self, score: float, bar: float) -> str:
        """A score above its bar in words, for a page."""

    def release(self) -> None:
        """A person called the episode noise: if what came in it is held back, it is to be learnt from here on."""

    def known(self) -> int:
        """How many values were scored."""

    def state(self) -> Floats:
        """Everything, as one row of numbers: what `resume` of an equal new scorer takes."""

    def resume(self, state: Floats) -> None: ...


@dataclass
class _Series:
    """One series: its scorer, its latest score, the last step above the bar, and the day it was last doubted."""

    scorer: Scorer
    last: Score | None = None
    above_at: int = -1
    doubted: int = -1


class Scored:
    """The detector. `make` gives a new scorer for a step of so many seconds and a budget of pages a week."""

    def __init__(self, terms: Terms, make: Callable[[float, float], Scorer]) -> None:
        self.terms, self.make = terms, make
        self.ticks = max(1, terms.window_ns // TICK_NS)
        self.step_s = self.ticks * TICK_NS / SECOND_NS
        self.calm = calm_steps(self.step_s)
        self.window = Window(terms.signal, self.ticks, terms.goods, len(terms.outcomes) - 1)
        self.series: dict[int, _Series] = {}
        self.shares: dict[int, float] = {}  # False pages a week of series with a budget of their own.
        self.open: set[int] = set()  # Series that the open step has seen.
        self.step = -1
        self.size = 0

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Learn the tick; the steps that ended before it are judged."""
        step = tick.start_ns // TICK_NS // self.ticks
        judged = set(self._close()) if 0 <= self.step < step else set()
        self.step, self.size = step, max(self.size, len(modes))
        self.open.update(self.window.add(tick, self.size).tolist())
        # What was above stays anomalous until its next step is known: a rule with `for` counts on it.
        judged |= {row for row, one in self.series.items() if one.above_at == step - 1 and modes[row] == Mode.WATCHED}
        found = {row: self._judge(row, Mode(int(modes[row]))) for row in sorted(judged)}
        return {row: judgement for row, judgement in found.items() if judgement is not None}

    def _close(self) -> list[int]:
        """Score the open step of every series that it has seen."""
        rows, self.open = sorted(self.open), set()
        self.window.now = (self.step + 1) * self.ticks - 1
        levels, counts = self.window.levels(np.array(rows, np.int32))
        share = self.terms.budget_per_week / rounded(len(self.series))
        closed = []
        for row, value, count in zip(rows, levels.tolist(), counts.tolist(), strict=True):
            if count < self.terms.at_least or not math.isfinite(value):
                continue
            own = self.shares.get(row, share)
            one = self.series.setdefault(row, _Series(self.make(self.step_s, own)))
            one.scorer.budget_per_week = own
            one.last = one.scorer.observe((self.step + 0.5) * self.step_s, value)
            if one.last is not None and one.last.score > self._bar(one):
                one.above_at = self.step
            closed.append(row)
        return closed

    def _bar(self, one: _Series) -> float:
        day = int(self.step * self.step_s // 86_400)
        return math.inf if one.last is None else one.last.threshold * float(raised(np.array([one.doubted]), day)[0])

    def _judge(self, row: int, mode: Mode) -> Judgement | None:
        one = self.series[row]
        if one.last is None or math.isinf(one.last.threshold):
            return None
        above = one.last.score > self._bar(one)
        if mode in (Mode.PAGING, Mode.MUTED):
            over = not above and self.step - one.above_at >= self.calm
            return Judgement(Verdict.RECOVERED if over else Verdict.QUIET)
        if not above:
            return Judgement(Verdict.QUIET)
        since_ns = int((one.last.time_s - self.step_s / 2) * SECOND_NS)
        found = Finding(
            self.window.signal.unit, one.last.expected, one.last.value, since_ns, math.nan, math.nan, math.nan,
            one.scorer.said(one.last.score, self._bar(one)),
        )  # fmt: skip
        return Judgement(Verdict.RELAPSED if mode == Mode.RECOVERING else Verdict.ANOMALOUS, found)

    def ask(self, row: int, asked: Asked) -> None:
        """Take a budget of this series' own; the bar follows from it, there is no effect to ask."""
        if asked.share is not None:
            self.shares[row] = asked.share

    def forget(self, rows: Ids) -> None:
        self.window.forget(rows)
        for row in rows.tolist():
            self.series.pop(row, None)
            self.shares.pop(row, None)
            self.open.discard(row)

    def doubt(self, row: int) -> None:
        if row in self.series:
            self.series[row].scorer.release()
            self.series[row].doubted = int(self.step * self.step_s // 86_400)

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """The last step's value, what it should have been, its score and the bar."""
        columns = np.full((6, self.size), np.nan)
        warm = np.zeros(self.size)
        for row, one in self.series.items():
            if one.last is not None and row < self.size:
                columns[:4, row] = one.last.value, one.last.expected, one.last.score, self._bar(one)
                warm[row] = math.isfinite(one.last.threshold)
            if row < self.size and not warm[row]:
                known = min(one.scorer.known(), JUDGED_MIN)
                columns[4:, row] = (self.step + 1 + max(1, JUDGED_MIN - known)) * self.step_s, known
        names = ("level", "level_expected", "level_score", "level_bar", *LEARNING)
        return dict(zip(names, np.where(np.isfinite(columns), columns, np.nan), strict=True)) | {"warm": warm}

    def snapshot(self) -> Arrays:
        """The window, and the scorers' rows of numbers one after another."""
        states = [one.scorer.state() for one in self.series.values()]
        facts = [
            [row, one.above_at, one.doubted, *(_facts(one.last) if one.last else [math.nan] * 6)]
            for row, one in self.series.items()
        ]
        return {
            **self.window.snapshot(),
            "scored": np.array([self.step, self.size, *sorted(self.open)], np.int64),
            "series": np.array(facts, np.float64).reshape(-1, 9),
            "lengths": np.array([len(state) for state in states], np.int64),
            "scorers": np.concatenate([*states, np.empty(0)]),
        }

    def restore(self, arrays: Arrays) -> None:
        self.window.restore(arrays)
        self.step, self.size, *seen = (int(number) for number in arrays["scored"])
        self.open, self.series = set(seen), {}
        ends = np.cumsum(arrays["lengths"])
        states = np.split(np.asarray(arrays["scorers"], np.float64), ends[:-1]) if len(ends) else []
        for facts, state in zip(np.asarray(arrays["series"], np.float64).tolist(), states, strict=True):
            row, above_at, doubted, *last = facts
            one = _Series(self.make(self.step_s, self.terms.budget_per_week))
            one.scorer.resume(state)
            one.above_at, one.doubted = int(above_at), int(doubted)
            one.last = (
                None if math.isnan(last[0]) else Score(last[0], last[1], last[2], last[3], last[4], bool(last[5]))
            )
            self.series[int(row)] = one


def _facts(score: Score) -> list[float]:
    return [score.time_s, score.value, score.score, score.threshold, score.expected, float(score.page)]
