"""One rule at work: its view, its detector, its account, and the alerts of its series."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from alertrules.compared import kin
from alertrules.ledger import Ledger, Page, Sums
from alertrules.lifecycle import (
    Alert,
    AlertState,
    Identity,
    Labels,
    Transition,
    advance,
    close,
    mode_of,
    waited,
)
from alertrules.marks import Kind, Mark
from alertrules.outcome_classes import SHIPPED, Outcomes
from alertrules.page import line
from alertrules.rules import Rule, Severity
from alertrules.view import View
from alertrules.wording import length
from detectors.core.calendar import UTC, Calendar
from detectors.core.columns import (
    SECOND_NS,
    SLOT_NS,
    TICK_NS,
    Bytes,
    Finding,
    Floats,
    Ids,
    Slot,
    Tick,
    Verdict,
    empty,
    without,
)
from detectors.core.contract import Clocked, Comparing, Detector, Following, Judgement, Listener, SlotJudge
from detectors.core.descriptor import build
from detectors.core.series import OVERFLOW, SeriesTable
from service.pipeline.fingerprint import fingerprint
from service.pipeline.overrides import Overrides

EXPIRE_AFTER_NS = 8 * 86_400 * SECOND_NS
"""A series unseen for more than a week is forgotten, its baseline with it."""
QUIET = Judgement(Verdict.QUIET)
SILENT = Judgement(Verdict.NOT_JUDGED)


@dataclass(frozen=True, eq=False)
class Level:
    """One rule as it stands: its series' labels, the detector's gauges in the same order, and the open alerts.

    rows  ids of the series, in order of `labels`; gauges are (rows,) float64 by name, NaN where unknown
    sums     what the rule has cost so far
    excess   mean excess of the evidence's tail, nats; NaN while too little is known
    tickets  lines worth a look some day; `marks` what people said of pages and series
    beside   the series that each one is compared with, of a detector that compares
    pages    of late, and what was said of each
    """

    rule: Rule
    labels: tuple[tuple[str, ...], ...]
    gauges: Mapping[str, Floats]
    alerts: Mapping[tuple[str, ...], Alert]
    refused: int
    expired: int
    sums: Sums
    excess: float
    tickets: tuple[str, ...]
    marks: tuple[Mark, ...]
    beside: Mapping[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    pages: tuple[Page, ...] = ()


class Moved(NamedTuple):
    """What the tick that ended at `at_ns` led to: alerts that moved, and lines that wake nobody."""

    at_ns: int
    transitions: tuple[Transition, ...]
    tickets: tuple[str, ...]


class RuleRunner:
    """One rule at work: its view, its detector, and the alerts of its series."""

    def __init__(self, rule: Rule, calendar: Calendar = UTC, outcomes: Outcomes = SHIPPED) -> None:
        self.rule, self.calendar, self.outcomes = rule, calendar, outcomes
        self.view = View(rule.selection, rule.by, rule.series_max, rule.described.of_running)
        terms = replace(rule.terms, calendar=calendar, outcomes=outcomes.names, goods=outcomes.goods)
        self.detector: Detector = build(rule.detector, terms)
        self.compares = rule.compared
        self.clocked = self.detector if isinstance(self.detector, Clocked) else None
        self.listener = self.detector if isinstance(self.detector, Listener) else None
        self.following = self.detector if isinstance(self.detector, Following) else None
        # A rule with `for` asked to wait: its detector is given no slots, unless nothing else tells of open sessions.
        waits = rule.for_ns and not self.following
        self.judges_slots = self.detector if isinstance(self.detector, SlotJudge) and not waits else None
        self.alerts: dict[int, Alert] = {}
        self.ledger = Ledger()
        self.fingerprint = fingerprint(rule, outcomes)
        self.overrides = Overrides(rule)
        self.asked_to = 0  # Birth of the newest series that has been held against the overrides.

    def add(self, slot: Slot, cells: SeriesTable) -> Moved:
        """Add a slot of the open tick; a detector that can page from it does."""
        at_ns = slot.start_ns + SLOT_NS
        if self.clocked is not None:
            return Moved(at_ns, (), ())
        held = self.view.add(slot, cells)
        if not held or self.judges_slots is None:
            return Moved(at_ns, (), ())
        self._ask_new_series()
        expected, latest = self._expected(slot.start_ns, SLOT_NS), self.view.latest(slot.start_ns)
        left = without(latest, expected) if len(expected) else latest
        if left and self.following:
            self._begin(left, self.following)
        judged = self.judges_slots.slot(left, self._modes()) if left else {}
        return self._move({row: judged[row] for row in sorted(judged)}, at_ns)

    def _begin(self, slot: Tick, following: Following) -> None:
        """Give each session that needs one a series of its own: that of its agent, and its trace."""
        table = self.view.series
        for series, trace in following.beyond(slot):
            row = table.id_of((*table.values(series)[:-1], trace), slot.start_ns)
            if row != OVERFLOW:
                following.begin(row, series, slot, trace)

    def tick(self, start_ns: int, heard: bool = True) -> Moved:
        """Judge the open tick and move the alerts; cheap where nothing counted and nothing is open.

        heard  whether anything came in this tick at all, of this rule or not
        """
        if self.clocked is not None:
            return Moved(start_ns + TICK_NS, (), ())
        tick, expected = self.view.close(start_ns), self._expected(start_ns, TICK_NS)
        if tick is not None and len(expected):
            tick = without(tick, expected)
        if heard and self.listener:
            self.listener.excuse(expected)
            tick = tick or empty(start_ns)
        judged: Mapping[int, Judgement] = {}
        counted: set[int] = set()
        if tick is not None:
            self._ask_new_series()
            judged = self.detector.tick(tick, self._modes())
            counted = set(tick.series.tolist()) if self.alerts else counted
            self.ledger.tick(start_ns + TICK_NS)
        words = {
            row: judged.get(row, QUIET if row in counted else SILENT)
            for row in sorted(judged.keys() | self.alerts.keys())
        }
        moved = self._move(words, start_ns + TICK_NS)
        if heard and self.alerts:
            expired = self._expire_alerts(counted, start_ns + TICK_NS)
            moved = moved._replace(transitions=(*moved.transitions, *expired))
        return moved

    def look(self, now_ns: int, came: bool) -> Moved:
        """Judge all telemetry by the wall clock, where the rule is about that; `came` is whether any came just now."""
        if self.clocked is None:
            return Moved(now_ns, (), ())
        row = self.view.series.id_of((), now_ns)
        judged = self.clocked.look(row, now_ns, came, self._modes())
        if came or judged:
            self.ledger.tick(now_ns)
        words = judged or dict.fromkeys(self.alerts, QUIET if came else SILENT)
        self.view.series.touch(np.array([row], np.int32), now_ns)
        return self._move(words, now_ns) if words else Moved(now_ns, (), ())

    def _expire_alerts(self, counted: set[int], at_ns: int) -> tuple[Transition, ...]:
        """Close alerts whose series went silent while others spoke: an agent that is gone can never recover.

        For a detector of silence itself, silence is the finding: its alerts last as long as its series.
        """
        after_ns = EXPIRE_AFTER_NS if self.listener else self.rule.expire_after_ns
        closed = []
        for row, alert in list(self.alerts.items()):
            alert = self.alerts[row] = waited(alert, row in counted, TICK_NS)
            if alert.silent_ns >= after_ns:
                reason = f"expired, as nothing of it came for {length(after_ns)}"
                closed.append(close(self.alerts.pop(row), at_ns, self._identity(row), reason))
        return tuple(closed)

    def _move(self, judged: Mapping[int, Judgement], at_ns: int) -> Moved:
        """Move the alerts of these series."""
        moved: list[Transition] = []
        for row, judgement in judged.items():
            alert, transitions = advance(
                self.alerts.get(row), judgement.verdict, judgement.finding, at_ns,
                self.rule.holds, self._identity(row),
            )  # fmt: skip
            moved += transitions
            if alert is None:
                self.alerts.pop(row, None)
            else:
                self.alerts[row] = alert
        tickets = list(self._tickets(judged))
        fired = [one for one in moved if one.after is AlertState.FIRING and one.before is not AlertState.RECOVERING]
        if self.rule.severity is Severity.TICKET:
            moved = [one for one in moved if one not in fired]
            tickets += [self._ticket(one) for one in fired]
        else:
            for one in fired:
                began_ns = one.finding.since_ns if one.finding else 0
                self.ledger.page(Page(one.alert_id, one.labels, one.at_ns, began_ns=began_ns))
        return Moved(at_ns, tuple(moved), tuple(tickets))

    def _ticket(self, fired: Transition) -> str:
        """The line of an alert that is a ticket: it has no notice, and nothing that follows it has one."""
        said = line(self.rule, fired.labels, fired.finding) if fired.finding else "fired"
        self.ledger.ticket(text := f"{self.rule.name}: {said}")
        return text

    def _tickets(self, judged: Mapping[int, Judgement]) -> tuple[str, ...]:
        """A line for each series that crept up over weeks."""
        crept = [(row, one.finding) for row, one in judged.items() if one.verdict is Verdict.CREPT and one.finding]
        lines = [f"{self.rule.name}: {line(self.rule, self.view.labels(row), found)}" for row, found in crept]
        said = tuple(f"{text}, against four weeks ago" for text in lines)
        for text in said:
            self.ledger.ticket(text)
        return said

    def _expected(self, start_ns: int, width_ns: int) -> Ids:
        """Series of the maintenance windows that overlap this time: they are neither judged nor learnt."""
        now = [mark for mark in self.ledger.marks if mark.overlaps(start_ns, start_ns + width_ns)]
        rows = self.view.series.rows().tolist() if now else []
        values = [self.view.series.values(row) for row in rows]
        meant = [any(mark.covers(self.rule.by, value) for mark in now) for value in values]
        return np.array([row for row, is_meant in zip(rows, meant, strict=True) if is_meant], np.int32)

    def meaningless(self, mark: Mark) -> str:
        """Why a mark means nothing for this rule, and what to do instead; empty where it means something."""
        if self.rule.described.limit and mark.kind in (Kind.NOISE, Kind.NEW_NORMAL):
            return (
                f"{self.rule.name} compares with a limit and learns nothing, so {mark.kind} changes nothing; write "
                "another `above`, or tocsin silence for a while"
            )
        if mark.alert or not mark.series:
            return ""
        table = self.view.series
        known = [table.values(row) for row in table.rows().tolist()]
        if any(mark.covers(self.rule.by, values) for values in known):
            return ""
        asked = ", ".join(f"{name}={value}" for name, value in mark.series)
        seen = sorted({"  ".join(filter(None, values)) for values in known})
        shown = ", ".join(seen[:10]) + (f" and {len(seen) - 10} more" if len(seen) > 10 else "")
        return f"no series of {self.rule.name} has {asked[:200]}; it has seen {shown or 'none yet'}"

    def mark(self, mark: Mark, page: Page | None, at_ns: int) -> tuple[int, tuple[Transition, ...]]:
        """Take in what a person said of a page of this rule, or of series: how many there are now, and what closes."""
        table = self.view.series
        if page is not None:
            mark = replace(mark, rule=self.rule.name, series=page.labels)
        self.ledger.mark(mark, page)
        rows = [row for row in table.rows().tolist() if mark.covers(self.rule.by, table.values(row))]
        moved = [moved for row in rows for moved in self._apply(mark, row, at_ns)]
        return len(rows), tuple(moved)

    def _apply(self, mark: Mark, row: int, at_ns: int) -> Iterable[Transition]:
        if mark.kind is Kind.NOISE:
            self.detector.doubt(row)
        elif mark.kind is Kind.NEW_NORMAL:
            self.detector.forget(np.array([row], np.int32))
            self._ask(row)
        stays = mark.kind is Kind.INCIDENT or mark.from_ns > mark.said_ns  # A window that is still to come.
        if not stays and (alert := self.alerts.pop(row, None)) is not None:
            yield close(alert, at_ns, self._identity(row))

    def _ask_new_series(self) -> None:
        """Ask what the overrides say of the series that were met since the last tick; after a restart, of all."""
        table, compares = self.view.series, self.compares
        rows = table.rows()
        new = rows[table.born(rows) > self.asked_to] if self.rule.overrides or compares is not None else rows[:0]
        for row, asked in self.overrides.meet((row, table.values(row)) for row in new.tolist()).items():
            self.detector.ask(row, asked)
        if isinstance(self.detector, Comparing) and compares is not None:
            for row in new.tolist():
                self.detector.meet(row, *kin(self.rule.by, compares, table.values(row)))
        self.asked_to = int(table.born(new).max(initial=self.asked_to))

    def _ask(self, row: int) -> None:
        if (asked := self.overrides.of(row)) is not None:
            self.detector.ask(row, asked)

    def _modes(self) -> Bytes:
        modes = np.zeros(self.view.series.size, np.int8)
        for row, alert in self.alerts.items():
            modes[row] = mode_of(alert)
        return modes

    def _identity(self, row: int) -> Identity:
        return Identity(self.rule.name, self.view.labels(row), self.rule.severity.value)

    def tell(self, row: int, finding: Finding) -> None:
        """Keep of an open alert the finding that people are told, for all who ask later."""
        self.alerts[row] = replace(self.alerts[row], finding=finding)

    def row_of(self, labels: Labels) -> int | None:
        """The series that has these labels; None where that is gone."""
        given = dict(labels)
        return self.view.series.find(tuple(given.get(name, "") for name in self.rule.by))

    def expire(self, before_ns: int) -> None:
        """Forget series that are long gone; one with an open alert stays until it closes."""
        gone: Ids = self.view.expire(before_ns, np.array(list(self.alerts), np.int32))
        if len(gone):
            self.detector.forget(gone)
            self.overrides.forget(gone.tolist())

    def level(self) -> Level:
        table = self.view.series
        rows = table.rows()
        gauges = {}
        for name, values in self.detector.gauges().items():
            gauges[name] = np.full(len(rows), np.nan)
            met = rows < len(values)  # A series of the open tick is not known to the detector yet.
            gauges[name][met] = values[rows[met]]
        alerts = {table.values(row): alert for row, alert in self.alerts.items()}
        pairs = self.detector.beside() if isinstance(self.detector, Comparing) else {}
        beside = {table.values(new): table.values(old) for new, old in pairs.items()}
        ledger = self.ledger
        return Level(
            self.rule, tuple(table.values(row) for row in rows.tolist()), gauges, alerts, table.refused, table.expired,
            ledger.sums(), self.detector.excess(), tuple(ledger.tickets), tuple(ledger.marks), beside,
            tuple(ledger.pages.values()),
        )  # fmt: skip
