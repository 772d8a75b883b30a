"""The middle stage: closed slots to transitions, rule by rule, tick by tick."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertrules.audience import Audience
from alertrules.ledger import Ledger, Page
from alertrules.lifecycle import (
    Alert,
    AlertState,
    Identity,
    Transition,
    close,
    labels_from,
    packed,
    unpacked,
)
from alertrules.marks import Mark
from alertrules.parse import RuleSet
from alertrules.wording import utc
from detectors.core.calendar import UTC, Calendar
from detectors.core.columns import (
    SECOND_NS,
    SLOT_NS,
    TICK_NS,
    Arrays,
    Slot,
)
from detectors.core.rows import under
from detectors.core.series import SeriesTable
from service.batch import Answer
from service.pipeline.fingerprint import fingerprint, of_format_9
from service.pipeline.rule_runner import EXPIRE_AFTER_NS, Level, Moved, RuleRunner
from service.pipeline.saved_parts import kind_of
from service.pipeline.spend_rate import Spend

DAY_NS = 86_400 * SECOND_NS


class Detect:
    """All rules at work on the same stream of slots."""

    def __init__(self, rules: RuleSet, calendar: Calendar = UTC) -> None:
        self.runners = tuple(RuleRunner(rule, calendar, rules.outcomes) for rule in rules.rules)
        self.spend = Spend()
        self.orphans: list[tuple[Alert, Identity]] = []  # Open alerts of rules that are gone: closed at the next tick.
        self.failed: Counter[str] = Counter()  # By rule: how often its detector raised, and it began anew.
        self.open_ns: int | None = None  # Start of the open tick; None before the first slot.
        self.heard = False  # Whether the open tick has any slot.

    def add(self, slot: Slot, cells: SeriesTable) -> tuple[Moved, ...]:
        """Add a slot of the open tick; what that moved at once, if it did."""
        if self.open_ns is None:
            self.open_ns = slot.start_ns - slot.start_ns % TICK_NS
        assert self.open_ns <= slot.start_ns < self.open_ns + TICK_NS, "advance comes first"
        self.heard = True
        self.spend.add(slot, cells)
        moved = self._each(partial(RuleRunner.add, slot=slot, cells=cells), slot.start_ns)
        together = _together(slot.start_ns + SLOT_NS, moved)
        return (together,) if together.transitions or together.tickets else ()

    def mark(self, mark: Mark) -> tuple[Answer, Moved]:
        """Take in what a person said: what to answer, and what it closes."""
        at_ns = self.open_ns or 0
        nothing = Moved(at_ns, (), ())
        meant: list[tuple[RuleRunner, Page | None]]
        if mark.alert:
            meant = [(runner, page) for runner in self.runners for page in runner.ledger.named(mark.alert)]
            if len(meant) != 1:
                many = f"{len(meant)} alerts begin" if meant else "no alert begins"
                return Answer(error=f'{many} with "{mark.alert}"; write more of the id that the page shows'), nothing
        else:
            meant = [(runner, None) for runner in self.runners if runner.rule.name == mark.rule]
        for runner, page in meant:
            if problem := runner.meaningless(mark):
                return Answer(error=problem), nothing
            found, moved = runner.mark(mark, page, at_ns)
            window = f", from {utc(mark.from_ns)} to {utc(mark.until_ns)}" if mark.until_ns else ""
            return Answer(message=f"{mark.kind}: {found} series of {runner.rule.name}{window}"), Moved(at_ns, moved, ())
        return Answer(error=f'"{mark.rule}" is no rule'), nothing

    def acknowledge(self, audience: Audience) -> None:
        """Keep with the pages who looks into them."""
        for alert_id, one in audience.alerts.items():
            for runner in self.runners if one.acknowledged_by else ():
                runner.ledger.acknowledge(alert_id, one.acknowledged_by)

    def advance(self, until_ns: int) -> Iterator[Moved]:
        """Judge every tick that ends at or before `until_ns`. Idle ticks pass quickly."""
        while self.open_ns is not None and self.open_ns + TICK_NS <= until_ns:
            start_ns = self.open_ns
            self.spend.tick(start_ns)
            orphans = self._close_orphans(start_ns + TICK_NS)
            heard, self.heard = self.heard, False
            moved = self._each(partial(RuleRunner.tick, start_ns=start_ns, heard=heard), start_ns)
            self.open_ns = start_ns + TICK_NS
            yield _together(self.open_ns, [Moved(self.open_ns, orphans, ()), *moved])
            if not any(
                alert.state is not AlertState.MUTED for runner in self.runners for alert in runner.alerts.values()
            ):
                # Nothing was counted since, and no clock runs: the tick that `until_ns` lies in is the next.
                self.open_ns = max(self.open_ns, until_ns - until_ns % TICK_NS)
            if start_ns // DAY_NS < self.open_ns // DAY_NS:
                self.spend.expire(self.open_ns - EXPIRE_AFTER_NS)
                for runner in self.runners:
                    runner.expire(self.open_ns - EXPIRE_AFTER_NS)

    def look(self, now_ns: int, came: bool) -> tuple[Moved, ...]:
        """Judge whether telemetry comes at all, by the wall clock; what that moved, if it did."""
        together = _together(now_ns, self._each(partial(RuleRunner.look, now_ns=now_ns, came=came), now_ns))
        return (together,) if together.transitions or together.tickets else ()

    def _each(self, move: Callable[[RuleRunner], Moved], start_ns: int) -> list[Moved]:
        """Move every rule. One whose detector raises begins to learn anew, and the others go on."""
        moved = []
        for runner in self.runners:
            try:
                moved.append(move(runner))
            except Exception as error:
                said = f"rule {runner.rule.name} failed ({type(error).__name__}: {error}): it begins to learn anew"
                moved.append(Moved(start_ns, (), (said,)))
                self._replace(runner)
        return moved

    def _replace(self, runner: RuleRunner) -> None:
        """A fresh start for a rule, which keeps its account; alerts that were open close at the next tick."""
        name, severity = runner.rule.name, runner.rule.severity.value
        self.failed[name] += 1
        self.orphans += [
            (alert, Identity(name, runner.view.labels(row), severity)) for row, alert in runner.alerts.items()
        ]
        fresh = RuleRunner(runner.rule, runner.calendar, runner.outcomes)
        fresh.ledger = runner.ledger
        self.runners = tuple(fresh if one is runner else one for one in self.runners)

    def _close_orphans(self, at_ns: int) -> tuple[Transition, ...]:
        orphans, self.orphans = self.orphans, []
        return tuple(close(alert, at_ns, identity) for alert, identity in orphans)

    def found(self, moved: Transition) -> tuple[RuleRunner, int]:
        """The rule that moved an alert which is open, and the alert's series."""
        for runner in self.runners:
            for row, alert in runner.alerts.items() if runner.rule.name == moved.rule else ():
                if alert.alert_id == moved.alert_id:
                    return runner, row
        raise LookupError(moved.alert_id)

    def levels(self) -> list[Level]:
        return [runner.level() for runner in self.runners]

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Views and detectors by rule."""
        arrays: dict[str, NDArray[Any]] = {
            "open_ns": np.array([-1 if self.open_ns is None else self.open_ns, self.heard])
        }
        arrays |= {f"/spend/{key}": np.asarray(a) for key, a in self.spend.snapshot().items()}
        for runner in self.runners:
            name = runner.rule.name
            arrays |= {f"{name}/view/{key}": array for key, array in runner.view.snapshot().items()}
            arrays |= {f"{name}/detector/{key}": np.asarray(a) for key, a in runner.detector.snapshot().items()}
        return arrays

    def alerts(self) -> dict[str, Any]:
        """Open alerts by rule, with the labels they need when their rule is gone."""
        return {
            runner.rule.name: {
                "fingerprint": runner.fingerprint,
                "part": kind_of(runner.rule.detector),
                "severity": runner.rule.severity.value,
                "ledger": runner.ledger.state(),
                "alerts": [[row, runner.view.labels(row), packed(alert)] for row, alert in runner.alerts.items()],
            }
            for runner in self.runners
        }

    def restore(self, arrays: Arrays, alerts: Mapping[str, Any]) -> tuple[str, ...]:
        """Go on; a rule whose meaning has changed starts anew, and open alerts without their rule are closed."""
        open_ns = int(arrays["open_ns"][0])
        self.open_ns, self.heard = None if open_ns < 0 else open_ns, bool(arrays["open_ns"][1])
        if spent := under(arrays, "/spend/"):
            self.spend.restore(spent)
        # In format 9 nobody had classes of outcomes of their own.
        same = {
            of_format_9(one.rule): one.fingerprint for one in self.runners if one.fingerprint == fingerprint(one.rule)
        }
        alerts = {
            name: {**saved, "fingerprint": same.get(saved["fingerprint"], saved["fingerprint"])}
            for name, saved in alerts.items()
        }
        was = self._former_names(alerts)
        anew = []
        for runner in self.runners:
            name = was.get(runner.rule.name, "")
            saved = alerts.get(name)
            if saved is None:
                anew.append(runner.rule.name)
                continue
            # A rule's account and what people said of it outlive an edit; what it has learnt does not.
            runner.ledger = Ledger.resume(saved["ledger"])
            runner.ledger.marks = [replace(mark, rule=runner.rule.name) for mark in runner.ledger.marks]
            renamed = name != runner.rule.name and name != runner.rule.was
            if renamed or saved["fingerprint"] != runner.fingerprint:
                anew.append(runner.rule.name)
                continue
            runner.view.restore(under(arrays, f"{name}/view/"))
            runner.detector.restore(under(arrays, f"{name}/detector/"))
            runner.alerts = {row: unpacked(fields) for row, _, fields in saved["alerts"]}
        kept = {was[runner.rule.name] for runner in self.runners if runner.rule.name not in anew}
        for name, saved in alerts.items():
            if name not in kept:
                self.orphans += [
                    (unpacked(fields), Identity(name, labels_from(labels), saved["severity"]))
                    for _, labels, fields in saved["alerts"]
                ]
        return tuple(anew)

    def _former_names(self, alerts: Mapping[str, Any]) -> dict[str, str]:
        """What each rule was called when it was saved: its own name, the one that it says that it had, or one that is
        gone and asked the same."""
        was = {runner.rule.name: runner.rule.name for runner in self.runners if runner.rule.name in alerts}
        told = {runner.rule.name: runner.rule.was or "" for runner in self.runners if runner.rule.name not in was}
        was |= {name: old for name, old in told.items() if old in alerts and old not in was}
        gone = {name: saved["fingerprint"] for name, saved in alerts.items() if name not in was.values()}
        left, new = Counter(gone.values()), Counter(w.fingerprint for w in self.runners if w.rule.name not in was)
        for runner in self.runners:
            one = runner.fingerprint
            if runner.rule.name not in was and left[one] == new[one] == 1:
                was[runner.rule.name] = next(name for name, found in gone.items() if found == one)
        return was


def _together(at_ns: int, moved: Iterable[Moved]) -> Moved:
    """What all rules led to at one moment."""
    moved = list(moved)
    transitions = tuple(one for rule in moved for one in rule.transitions)
    return Moved(at_ns, transitions, tuple(text for rule in moved for text in rule.tickets))
