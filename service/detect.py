"""The middle stage: closed slots to transitions, rule by rule, tick by tick."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertrules.lifecycle import (
    Alert,
    AlertState,
    Identity,
    Transition,
    advance,
    close,
    labels_from,
    mode_of,
    packed,
    unpacked,
)
from alertrules.parse import RuleSet
from alertrules.rules import Rule
from alertrules.view import View
from detectors.core import contract
from detectors.core.columns import SECOND_NS, SLOT_NS, TICK_NS, Arrays, Bytes, Floats, Ids, Slot, Verdict
from detectors.core.contract import Detector, Judgement, SlotJudge
from detectors.core.rows import under
from detectors.core.series import SeriesTable
from service.spend import Spend

EXPIRE_AFTER_NS = 8 * 86_400 * SECOND_NS
"""A series unseen for more than a week is forgotten, its baseline with it."""
DAY_NS = 86_400 * SECOND_NS
QUIET = Judgement(Verdict.QUIET)
SILENT = Judgement(Verdict.NOT_JUDGED)


@dataclass(frozen=True, eq=False)
class Level:
    """One rule as it stands: its series' labels, the detector's gauges in the same order, and the open alerts.

    rows  ids of the series, in order of `labels`; gauges are (rows,) float64 by name, NaN where unknown
    """

    rule: Rule
    labels: tuple[tuple[str, ...], ...]
    gauges: Mapping[str, Floats]
    alerts: Mapping[tuple[str, ...], Alert]
    refused: int
    expired: int


class Watch:
    """One rule at work: its view, its detector, and the alerts of its series."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.view = View(rule.select, rule.by, rule.series_max)
        self.detector: Detector = contract.build(rule.detector.value, rule.terms(rule.effect))
        self.alerts: dict[int, Alert] = {}
        self.asked_to = 0  # Birth of the newest series that has been asked for its own effect.

    @property
    def fingerprint(self) -> str:
        """What the rule's state depends on: with another, the state is of no use."""
        rule = self.rule
        facts = repr((rule.detector, rule.select, rule.by, rule.signal, rule.window_ns))
        return hashlib.sha256(facts.encode()).hexdigest()

    def add(self, slot: Slot, cells: SeriesTable) -> tuple[Transition, ...]:
        """Add a slot of the open tick; a detector that can page from it does. A rule with `for` asked to wait."""
        held = self.view.add(slot, cells)
        if not held or self.rule.for_ns or not isinstance(self.detector, SlotJudge):
            return ()
        self._ask_new_series()
        judged = self.detector.slot(self.view.latest(slot.start_ns), self._modes())
        return self._move({row: judged[row] for row in sorted(judged)}, slot.start_ns + SLOT_NS)

    def tick(self, start_ns: int) -> tuple[Transition, ...]:
        """Judge the open tick and move the alerts; cheap where nothing counted and nothing is open."""
        tick = self.view.close(start_ns)
        judged: Mapping[int, Judgement] = {}
        counted: set[int] = set()
        if tick is not None:
            self._ask_new_series()
            judged = self.detector.tick(tick, self._modes())
            counted = set(tick.series.tolist()) if self.alerts else counted
        words = {
            row: judged.get(row, QUIET if row in counted else SILENT)
            for row in sorted(judged.keys() | self.alerts.keys())
        }
        return self._move(words, start_ns + TICK_NS)

    def _move(self, judged: Mapping[int, Judgement], at_ns: int) -> tuple[Transition, ...]:
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
        return tuple(moved)

    def _ask_new_series(self) -> None:
        """Ask the overrides' effects of the series that were met since the last tick; after a restart, of all."""
        table = self.view.series
        rows = table.rows()
        new = rows[table.born(rows) > self.asked_to] if self.rule.overrides else rows[:0]
        for row in new.tolist():
            asked = self.rule.effect_for(table.values(row))
            if asked is not None and asked != self.rule.effect:
                self.detector.ask(row, asked.ratio, asked.points)
        self.asked_to = int(table.born(new).max(initial=self.asked_to))

    def _modes(self) -> Bytes:
        modes = np.zeros(self.view.series.size, np.int8)
        for row, alert in self.alerts.items():
            modes[row] = mode_of(alert)
        return modes

    def _identity(self, row: int) -> Identity:
        return Identity(self.rule.name, self.view.labels(row), self.rule.severity.value)

    def expire(self, before_ns: int) -> None:
        """Forget series that are long gone; one with an open alert stays until it closes."""
        gone: Ids = self.view.expire(before_ns, np.array(list(self.alerts), np.int32))
        if len(gone):
            self.detector.forget(gone)

    def level(self) -> Level:
        table = self.view.series
        rows = table.rows()
        gauges = {}
        for name, values in self.detector.gauges().items():
            gauges[name] = np.full(len(rows), np.nan)
            met = rows < len(values)  # A series of the open tick is not known to the detector yet.
            gauges[name][met] = values[rows[met]]
        alerts = {table.values(row): alert for row, alert in self.alerts.items()}
        return Level(
            self.rule, tuple(table.values(row) for row in rows.tolist()), gauges, alerts, table.refused, table.expired
        )


class Detect:
    """All rules at work on the same stream of slots."""

    def __init__(self, rules: RuleSet) -> None:
        self.watches = tuple(Watch(rule) for rule in rules.rules)
        self.spend = Spend()
        self.orphans: list[tuple[Alert, Identity]] = []  # Open alerts of rules that are gone: closed at the next tick.
        self.open_ns: int | None = None  # Start of the open tick; None before the first slot.

    def add(self, slot: Slot, cells: SeriesTable) -> tuple[tuple[int, tuple[Transition, ...]], ...]:
        """Add a slot of the open tick; if that moved anything at once: (the slot's end, what moved)."""
        if self.open_ns is None:
            self.open_ns = slot.start_ns - slot.start_ns % TICK_NS
        assert self.open_ns <= slot.start_ns < self.open_ns + TICK_NS, "advance comes first"
        self.spend.add(slot, cells)
        moved: tuple[Transition, ...] = ()
        for watch in self.watches:
            moved += watch.add(slot, cells)
        return ((slot.start_ns + SLOT_NS, moved),) if moved else ()

    def advance(self, until_ns: int) -> Iterator[tuple[int, tuple[Transition, ...]]]:
        """Judge every tick that ends at or before `until_ns`: (its end, what moved). Idle ticks pass quickly."""
        while self.open_ns is not None and self.open_ns + TICK_NS <= until_ns:
            start_ns = self.open_ns
            self.spend.tick(start_ns)
            moved = self._close_orphans(start_ns + TICK_NS)
            for watch in self.watches:
                moved += watch.tick(start_ns)
            self.open_ns = start_ns + TICK_NS
            yield self.open_ns, moved
            if not any(
                alert.state is not AlertState.MUTED for watch in self.watches for alert in watch.alerts.values()
            ):
                # Nothing was counted since, and no clock runs: the tick that `until_ns` lies in is the next.
                self.open_ns = max(self.open_ns, until_ns - until_ns % TICK_NS)
            if start_ns // DAY_NS < self.open_ns // DAY_NS:
                self.spend.expire(self.open_ns - EXPIRE_AFTER_NS)
                for watch in self.watches:
                    watch.expire(self.open_ns - EXPIRE_AFTER_NS)

    def _close_orphans(self, at_ns: int) -> tuple[Transition, ...]:
        orphans, self.orphans = self.orphans, []
        return tuple(close(alert, at_ns, identity) for alert, identity in orphans)

    def levels(self) -> list[Level]:
        return [watch.level() for watch in self.watches]

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Views and detectors by rule."""
        arrays: dict[str, NDArray[Any]] = {"open_ns": np.array([-1 if self.open_ns is None else self.open_ns])}
        arrays |= {f"/spend/{key}": np.asarray(a) for key, a in self.spend.snapshot().items()}
        for watch in self.watches:
            name = watch.rule.name
            arrays |= {f"{name}/view/{key}": array for key, array in watch.view.snapshot().items()}
            arrays |= {f"{name}/detector/{key}": np.asarray(a) for key, a in watch.detector.snapshot().items()}
        return arrays

    def alerts(self) -> dict[str, Any]:
        """Open alerts by rule, with the labels they need when their rule is gone."""
        return {
            watch.rule.name: {
                "fingerprint": watch.fingerprint,
                "severity": watch.rule.severity.value,
                "alerts": [[row, watch.view.labels(row), packed(alert)] for row, alert in watch.alerts.items()],
            }
            for watch in self.watches
        }

    def restore(self, arrays: Arrays, alerts: Mapping[str, Any]) -> tuple[str, ...]:
        """Go on; a rule whose meaning has changed starts anew, and open alerts without their rule are closed."""
        open_ns = int(arrays["open_ns"][0])
        self.open_ns = None if open_ns < 0 else open_ns
        self.spend.restore(under(arrays, "/spend/"))
        anew = []
        for watch in self.watches:
            name, saved = watch.rule.name, alerts.get(watch.rule.name)
            if saved is None or saved["fingerprint"] != watch.fingerprint:
                anew.append(name)
                continue
            watch.view.restore(under(arrays, f"{name}/view/"))
            watch.detector.restore(under(arrays, f"{name}/detector/"))
            watch.alerts = {row: unpacked(fields) for row, _, fields in saved["alerts"]}
        kept = {watch.rule.name for watch in self.watches} - set(anew)
        for name, saved in alerts.items():
            if name not in kept:
                self.orphans += [
                    (unpacked(fields), Identity(name, labels_from(labels), saved["severity"]))
                    for _, labels, fields in saved["alerts"]
                ]
        return tuple(anew)
