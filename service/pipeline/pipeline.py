"""The core, whole: records in, notices out. One `step` serves the daemon, the demo and the tests.

Records are read one after another, and every slot that a record closes is judged before the next record is read, so
how the stream is cut into batches changes nothing. `now_ns` is handed in; nothing here has a clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alertrules.changes import Change
from alertrules.lifecycle import AlertState, Labels, Transition
from alertrules.marks import ID_DIGITS_MIN, Mark
from alertrules.notice import Notice
from alertrules.parse import RuleSet
from alertrules.routing import Router, Told
from alertrules.silences import Acknowledgement
from alertrules.wording import utc
from detectors.core.calendar import UTC, Calendar
from detectors.core.columns import Arrays, Slot
from detectors.core.rows import under
from service.batch import NO_GAP, Answer, Batch, Said, Tally
from service.causes.attribution import Attribution
from service.causes.examples import Kept
from service.causes.news import News
from service.causes.past import Past
from service.exchange.merge import MERGE_FORMAT, MERGE_READABLE
from service.ingest.decode import Decoder
from service.ingest.join.join import UNSEEDED, Seed
from service.ingest.legs import Legs
from service.ingest.limits import IngestLimits
from service.ingest.local import NOTHING_LOCAL, Local
from service.ingest.otlp.scanner import Scanner
from service.pipeline.detect import Detect
from service.pipeline.front import Front, Ingesting
from service.pipeline.rule_runner import Level, Moved
from service.pipeline.saved_parts import Part, Unread, unread, versions, without


@dataclass(frozen=True)
class Outcome:
    """All that a step led to; logs, metrics and deliveries are made from it outside.

    answers  one a record, in order; or one a mark
    notices  for destinations that are told of groups
    alone    the same of each alert by itself, for destinations that group alerts themselves
    digest   lines for alerts that began and ended in a backlog: nobody is paged for them
    tickets  lines for what is worth a look some day, and wakes nobody
    legs     what the sessions that closed went through
    """

    answers: tuple[Answer, ...]
    transitions: tuple[Transition, ...]
    notices: tuple[Notice, ...]
    alone: tuple[Notice, ...]
    digest: tuple[str, ...]
    tickets: tuple[str, ...]
    tally: Tally
    legs: tuple[Legs, ...] = ()


FORMAT = 15
"""Of the first stage's part of the state: it grows when an older version could not go on from it."""
READABLE = (8, 9, 10, 11, 12, 13, 14, FORMAT)
"""Formats that this version goes on from.

In 14 sessions were saved with the queue in which they wait to be looked at again; it is made of them since. In 13 cells
had neither a prompt nor a model that answered (`ingest/cardinality.py`). In 12 open sessions did not know
how they stand (`ingest/join/format12.py`). In 11 traces did not remember what they went through
(`ingest/join/format11.py`). In 10 spans told no types of error, and nothing was kept for causes
(`ingest/join/format10.py`). In 9 the streams of metrics had their resource for a key
(`ingest/metrics/streams.py`), and spans told no parts of usage (`ingest/join/format9.py`). In 8 the join's tables
differed, too (`ingest/join/format8.py`).
"""


FIRST = {
    "ingest": Part(FORMAT, READABLE[0], "traces, sessions and slots under way count in part, and cells are met anew"),
    "slots": Part(
        MERGE_FORMAT, MERGE_READABLE[0], "slots whose parts have not all come, and open sessions, count in part"
    ),
}
"""What the first stage saves in role all, and in role detect."""


class FormatError(ValueError):
    """The state was written by a version that is too old."""


@dataclass(frozen=True)
class State:
    """What has to be saved, together: arrays in a file, the rest beside the offsets.

    arrays   numeric state by name, and the number of their format
    alerts   open alerts by rule, and the router's groups, JSON-able
    """

    arrays: Arrays
    alerts: Mapping[str, Any]


@dataclass
class _Step:
    """What a step has gathered so far."""

    transitions: list[Transition] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    alone: list[Notice] = field(default_factory=list)
    digest: list[str] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    legs: list[Legs] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def add(self, told: Told) -> None:
        """What the router says."""
        self.notices += told.notices
        self.alone += told.alone
        self.digest += told.digest


class Pipeline:
    """Ingest, detect and route, with all their state. One owner: calls never overlap."""

    def __init__(
        self, limits: IngestLimits, rules: RuleSet, max_page_age_ns: int, decoder: Decoder | None = None,
        local: Local = NOTHING_LOCAL, seed: Seed = UNSEEDED, calendar: Calendar = UTC, front: Front | None = None,
    ) -> None:  # fmt: skip
        self.limits, self.rules, self.max_page_age_ns = limits, rules, max_page_age_ns
        self.decoder, self._local, self._calendar = decoder or Scanner(), local, calendar
        self._front = front or Ingesting(limits, self.decoder, seed)
        self._first = {self._front.part: FIRST[self._front.part]}
        self.unread: dict[str, Unread] = {}  # Parts of states that were met, of versions that this one does not know.
        self.begin_anew()

    @property
    def local(self) -> Local:
        """What the operator says, in settings and in rule files."""
        return replace(self._local, outcomes=self.rules.outcomes)

    def begin_anew(self) -> None:
        """Forget everything, as if nothing had been read."""
        self.ingest = self._front.anew(self.local, self.rules)
        self.detect = Detect(self.rules, self._calendar)
        self.router = Router(self.rules, self.max_page_age_ns, self._level_of)
        self.causes = Attribution()

    def step(self, batch: Batch, now_ns: int) -> Outcome:
        """Read a batch, which may be empty: time alone can close slots too."""
        step, answers = _Step(), list[Answer]()
        if batch.gap != NO_GAP:
            self.ingest.adjust(batch.gap)
        if batch.expected is not None:
            self.ingest.expect(batch.expected)
        for answered in self.ingest.read_all(batch.records, now_ns, step.tally):
            answers += answered
            self._judge(self.ingest.take_closed(), now_ns, step)
        for mark in batch.marks:
            answers.append(self._hear(mark, now_ns, step))
        self.ingest.check(batch.checked, now_ns)
        if batch.checked or not batch.records:
            self._judge(self.ingest.closed_slots(now_ns, step.tally), now_ns, step)
        tally = step.tally
        self._tell(self.detect.look(now_ns, bool(tally.spans or tally.points or tally.logs)), now_ns, step)
        return self._outcome(tuple(answers), step)

    def judge(self, slots: Iterable[Slot], now_ns: int) -> Outcome:
        """Judge slots that are not made of records; their cells are those of `ingest.cells`."""
        step = _Step()
        self._judge(slots, now_ns, step)
        return self._outcome((), step)

    def _hear(self, said: Said, now_ns: int, step: _Step) -> Answer:
        """Take in what a person said: of a page or series, or of who is told."""
        if isinstance(said, Mark):
            answer, moved = self.detect.mark(said)
            self._tell([moved], now_ns, step)
            return answer
        if isinstance(said, Change):
            self.causes.news.tell(said)
            return Answer(message=f"change: {said.summary}, at {utc(said.at_ns)}")
        try:
            message, told = self.router.hear(said, now_ns)
        except ValueError as error:
            return Answer(error=str(error))
        if isinstance(said, Acknowledgement):
            self.detect.acknowledge(self.router.audience())
        step.add(told)
        return Answer(message=message)

    def flush(self, now_ns: int) -> Outcome:
        """The end of a finite replay: close and judge everything that is open."""
        step = _Step()
        self._judge(self.ingest.flush(step.tally), now_ns, step)
        return self._outcome((), step)

    def _judge(self, slots: Iterable[Slot], now_ns: int, step: _Step) -> None:
        step.legs += self.ingest.legs.values()
        self.ingest.legs = {}
        for slot in slots:
            self._tell(self.detect.advance(slot.start_ns), now_ns, step)
            self.causes.add(slot, self.ingest.cells)
            self._tell(self.detect.add(slot, self.ingest.cells), now_ns, step)
        if self.ingest.watermark_ns is not None:
            self._tell(self.detect.advance(self.ingest.watermark_ns), now_ns, step)
            step.add(self.router.elapse(self.ingest.watermark_ns, now_ns))

    def _tell(self, ticks: Iterable[Moved], now_ns: int, step: _Step) -> None:
        for at_ns, moved, tickets in ticks:
            transitions = [self._caused(one, step) for one in moved]
            step.transitions += transitions
            step.tickets += tickets
            step.add(self.router.step(transitions, at_ns, now_ns))

    def _caused(self, moved: Transition, step: _Step) -> Transition:
        """The transition with what explains it, if it begins an alert. No page is lost because nobody knows why."""
        begins = moved.after is AlertState.FIRING and moved.before in (AlertState.INACTIVE, AlertState.PENDING)
        if not begins or moved.finding is None:
            return moved
        try:
            runner, row = self.detect.found(moved)
            names = self.ingest.sights.errors
            finding, known = self.causes.known(runner, row, self.ingest.cells, names, moved.finding)
            runner.tell(row, finding)
            return replace(moved, finding=finding, known=known)
        except Exception as error:
            said = f"the cause of alert {moved.alert_id[:ID_DIGITS_MIN]} of {moved.rule} was not found"
            step.tickets.append(f"{said} ({type(error).__name__}: {error})")
            return moved

    def _level_of(self, rule: str, labels: Labels, at_ns: int) -> str:
        """The level of a series at a time, for those who are told of it again."""
        runner = next((one for one in self.detect.runners if one.rule.name == rule), None)
        return self.causes.level(runner, labels, self.ingest.cells, at_ns) if runner else ""

    def take_rules(self, rules: RuleSet) -> tuple[str, ...]:
        """Go on with other rules, as a restart would: what a rule has learnt stays where it asks the same.

        Returns the names of rules that start anew. Raises what `restore` does; the rules of before stay then.
        """
        state, before = self.snapshot(), self.rules
        try:
            self.rules = rules
            self.begin_anew()
            return self.restore(state)
        except Exception:
            self.rules = before
            self.begin_anew()
            self.restore(state)
            raise

    @staticmethod
    def _outcome(answers: tuple[Answer, ...], step: _Step) -> Outcome:
        tickets = (*step.tickets, *step.tally.tickets)
        return Outcome(
            answers, tuple(step.transitions), tuple(step.notices), tuple(step.alone), tuple(step.digest), tickets,
            step.tally, tuple(step.legs),
        )  # fmt: skip

    @property
    def watermark_ns(self) -> int | None:
        return self.ingest.watermark_ns

    def levels(self) -> list[Level]:
        """What `/metrics` and the API show of each rule, as it stands between two steps."""
        return self.detect.levels()

    def spend(self) -> dict[tuple[str, ...], float]:
        """Dollars an hour by (tenant, agent), of late."""
        return self.detect.spend.usd_per_hour()

    def unpriced(self) -> dict[tuple[str, ...], float]:
        """Share of the calls of models, of late, of which no price is known, by (tenant, agent)."""
        return self.detect.spend.unpriced_share()

    def snapshot(self) -> State:
        """All state, so that a restored pipeline goes on as if it had never stopped."""
        arrays = {f"ingest/{name}": array for name, array in self.ingest.snapshot().items()}
        arrays |= {f"detect/{name}": array for name, array in self.detect.snapshot().items()}
        arrays |= {f"causes/{name}": np.asarray(array) for name, array in self.causes.snapshot().items()}
        arrays["format"] = np.array([FORMAT])
        parts = versions(self._first, [rule.detector for rule in self.rules.rules])
        alerts = {"detect": self.detect.alerts(), "router": self.router.snapshot(), "news": self.causes.news.state()}
        return State(arrays, {**alerts, "parts": parts})

    def restore(self, state: State) -> tuple[str, ...]:
        """Go on from a snapshot. Returns the names of rules that start anew, as they are no longer what they were.

        Of a newer version's state it goes on with the parts that it knows, and keeps in `unread` which it does not.
        Raises FormatError where an older version wrote it than one whose state is read.
        """
        written = int(state.arrays["format"][0]) if "format" in state.arrays else 0
        if "parts" not in state.alerts and written not in READABLE:
            formats = f"{', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
            raise FormatError(f"state format {written}; this version reads {formats}")
        gone = unread(self._first, state.alerts.get("parts", {}))
        self.unread |= gone
        if is_anew := self._front.part in gone:
            gone |= {"causes": gone[self._front.part]}  # They know cells by their numbers in the first stage.
        arrays, alerts = without(state.arrays, state.alerts, gone)
        anew = self.detect.restore(under(arrays, "detect/"), alerts["detect"])
        if is_anew:
            self.ingest = self._front.anew(self.local, self.rules)
            self.ingest.pass_to(self.detect.open_ns or 0)  # Ticks that were judged are not judged again.
        else:
            self.ingest = self._front.restored(under(arrays, "ingest/"), self.local, self.rules)
        past, kept = (under(arrays, f"causes/{name}.") for name in ("past", "kept"))  # None in format 10.
        self.causes = Attribution(Past.restore(past), Kept.restore(kept), News.resume(alerts["news"]))
        self.router = Router.restore(self.rules, self.max_page_age_ns, alerts["router"], self._level_of)
        return anew
