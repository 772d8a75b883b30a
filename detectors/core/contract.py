"""What a rule asks of a detector, and what every detector answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from detectors.core.calendar import UTC, Calendar
from detectors.core.columns import OUTCOMES, Arrays, Bytes, Finding, Floats, Ids, Tick, Verdict


@dataclass(frozen=True)
class Terms:
    """What the rule's author stated, in numbers.

    budget_per_week  false pages a week over all series of the rule; NaN for a static rule
    ratio            smallest change worth a page, as a factor > 1; None where the author stated only points
    points           the same as a difference of shares, 0.05 for five percentage points; None if not stated
    signal           what a static rule compares; empty for the others
    above, below     limits, in the signal's unit; NaN where there is none
    window_ns        over which the static rule looks back; multiple of TICK_NS
    at_least         calls or sessions that the window must hold
    model            which of its models a detector of many is to use
    calendar         whose hours of day and week the seasons are of
    of_sessions      whether closed sessions are all that the rule counts
    outcomes         classes of outcomes by their ids: the good ones first, those of no class last
    goods            how many of them are good
    objective        share that must be good; NaN where the rule states none
    spans            windows that an objective is looked at over, ticks each
    every_ns         within which something must come; 0 where that is learnt
    grace_ns         how much later than that it may come
    repeats          how often one tool may be called again with the same arguments; NaN where the rule says nothing
    dollars          what a session may cost, likewise
    of_week          whether each day is expected to be like that of a week ago, rather than like the day before
    """

    budget_per_week: float
    ratio: float | None
    points: float | None
    signal: str = ""
    model: str = ""
    above: float = float("nan")
    window_ns: int = 0
    at_least: float = 1.0
    calendar: Calendar = UTC
    of_sessions: bool = False
    outcomes: tuple[str, ...] = OUTCOMES
    goods: int = 1
    below: float = float("nan")
    objective: float = float("nan")
    spans: tuple[int, ...] = ()
    every_ns: int = 0
    grace_ns: int = 0
    of_week: bool = False
    repeats: float = float("nan")
    dollars: float = float("nan")


@dataclass(frozen=True)
class Asked:
    """What the rule asks of one series, where that is not what it asks of all.

    ratio, points, above, below  as in Terms
    share                        false pages a week that this series may cost; None: its part of the rule's budget
    """

    ratio: float | None
    points: float | None
    above: float
    below: float
    share: float | None = None


@dataclass(frozen=True)
class Judgement:
    """A detector's word on one series at one tick; a series left out is quiet, or not judged yet."""

    verdict: Verdict
    finding: Finding | None = None


class Detector(Protocol):
    """One rule's detector over all its series. It keeps baselines and evidence, never alerts.

    Series ids index every array; `modes` may be longer than any series the detector has seen.
    """

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Learn from and judge one tick that counted something. Ticks come in time order; gaps are empty ticks."""

    def ask(self, row: int, asked: Asked) -> None:
        """Ask something else of one series than of the rule's others; not saved, so asked again after `restore`."""

    def forget(self, rows: Ids) -> None:
        """Drop these series: their ids may be used again by others."""

    def doubt(self, row: int) -> None:
        """A person called a page of this series noise."""

    def excess(self) -> float:
        """Mean excess of the evidence's tail, nats (see `core/tail.py`); NaN where nothing can be said."""

    def gauges(self) -> Mapping[str, Floats]:
        """Levels by series, each (rows,) and NaN where unknown: what `/metrics` exports, by the descriptor's names."""

    def snapshot(self) -> Arrays:
        """All state, so that `restore` into a new detector of the same terms goes on with equal answers."""

    def restore(self, arrays: Arrays) -> None: ...


@runtime_checkable
class Listener(Protocol):
    """A detector that judges silence: it is given every tick in which anything was heard at all, its own or not."""

    def excuse(self, rows: Ids) -> None:
        """What these series do not send until the next tick is expected."""


@runtime_checkable
class SlotJudge(Protocol):
    """What a detector has besides if it can page between ticks."""

    def slot(self, slot: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Judge one slot of the open tick, which is still to come; nothing is learnt from it but evidence.

        The slot brings no histograms. What is not named is not judged: only the tick calls a series quiet.
        """


@runtime_checkable
class Comparing(Protocol):
    """A detector that holds series together which differ in one label alone, as versions of one agent."""

    def meet(self, row: int, others: tuple[str, ...], value: str) -> None:
        """A series that is new, or was restored: its other labels' values, and that of the label; empty: it has none.

        Not saved, so told again after `restore`, before the next tick.
        """

    def beside(self) -> Mapping[int, int]:
        """The series that each one is compared with now."""


@runtime_checkable
class Following(Protocol):
    """A detector whose slots tell of open sessions, and which gives those that page a series of their own."""

    def beyond(self, slot: Tick) -> Sequence[tuple[int, str]]:
        """Sessions of a slot that need one: the series that each is of, and its trace."""

    def begin(self, row: int, series: int, slot: Tick, trace: str) -> None:
        """Say which one the session of this trace has."""


@runtime_checkable
class Clocked(Protocol):
    """A detector of all telemetry together, by the wall clock: it is given no ticks."""

    def look(self, row: int, now_ns: int, came: bool, modes: Bytes) -> Mapping[int, Judgement]:
        """Say that somebody listened until `now_ns`, and whether anything came since the last look.

        row  of the one series that there is
        """
