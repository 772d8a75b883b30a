"""Steps of the pipeline, and what to do with a record that makes one raise: a bug of ours must not end the paging.

A step that raises leaves the pipeline half moved. So the pipeline goes back to the last save, repeats the steps since,
and takes the records of the failed step one by one. A record that raises a second time, by itself, is set aside: it is
kept for a person, and everything else goes on. The core is deterministic, so what is repeated says what it said before.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from service.batch import Answer, Batch, Dropped, Gap, Record, SetAside, Tally
from service.pipeline.pipeline import Outcome, Pipeline, State
from service.runtime.held import Held

log = logging.getLogger("tocsin")

HELD_BYTES_MAX = 256 << 20
"""Bodies read since the last save that are held to be read again; with more a save comes early."""
SAVES_SHARE = 0.1
"""Of the time, that saves may take where state is so large that each of them takes long."""
PAUSE_MAX_S = 60.0
"""However long a save took, so many seconds after it the next one is due."""
ADVICE = "it was set aside; see the log, and tell the authors of Tocsin"


def pause_s(every_s: float, took_s: float) -> float:
    """How long after a save the next one is due: seconds, `every_s` where saves are quick.

    >>> pause_s(5.0, took_s=0.2), round(pause_s(5.0, took_s=3.0), 3), pause_s(5.0, took_s=20.0)
    (5.0, 27.0, 60.0)
    """
    return max(every_s, min(PAUSE_MAX_S, took_s * (1 / SAVES_SHARE - 1)))


@dataclass(frozen=True)
class _Taken:
    """A step since the last save: its batch, whose records have no bodies, their bodies, and its time."""

    batch: Batch
    bodies: tuple[memoryview, ...]
    now_ns: int

    def again(self) -> Batch:
        """The batch as it came."""
        records = zip(self.batch.records, self.bodies, strict=True)
        return replace(self.batch, records=tuple(record._replace(body=bytes(body)) for record, body in records))


class Steps:
    """One pipeline's steps since its last save. One owner: calls never overlap.

    saved      gives the state as it was last saved, None before the first save
    set_aside  records that raised; whoever takes them clears the list
    """

    def __init__(self, pipeline: Pipeline, saved: Callable[[], State | None]) -> None:
        self._pipeline, self._saved = pipeline, saved
        self._since: list[_Taken] = []
        self._held, self.held_bytes = Held(), 0
        self.set_aside: list[SetAside] = []

    def step(self, batch: Batch, now_ns: int) -> list[Outcome]:
        """Read a batch; more than one outcome where its records were taken one by one. Their answers are in order.

        Raises what the pipeline raises where no record is to blame.
        """
        try:
            outcomes = [self._pipeline.step(batch, now_ns)]
        except Exception:
            if not batch.records:
                raise
            log.exception("a step failed: its %d records are taken one by one", len(batch.records))
            return self._one_by_one(batch, now_ns)
        self._remember(batch, now_ns)
        return outcomes

    def snapshot(self) -> State:
        """The pipeline's state; records that made a state which cannot be written are set aside."""
        while True:
            try:
                return self._pipeline.snapshot()
            except Exception as error:
                log.exception("the state cannot be written: looking for the record that made it so")
                if not self._leave_out_first(f"state after it: {type(error).__name__}: {error}"):
                    raise

    def kept(self) -> None:
        """The state is saved: nothing before this has to be repeated."""
        self._since, self._held, self.held_bytes = [], Held(), 0

    def _remember(self, batch: Batch, now_ns: int) -> None:
        if self._since and _is_time_alone(batch) and _is_time_alone(self._since[-1].batch):
            batch = _together(self._since.pop().batch, batch)  # A quiet night is one step, and not one a second.
        self._since.append(self._taken(batch, now_ns))
        self.held_bytes += sum(len(record.body) for record in batch.records)

    def _taken(self, batch: Batch, now_ns: int) -> _Taken:
        bodies = tuple(self._held.copy(record.body) for record in batch.records)
        without = tuple(record._replace(body=b"") for record in batch.records)
        return _Taken(replace(batch, records=without), bodies, now_ns)

    def _go_back(self, steps: Iterable[_Taken]) -> None:
        """The pipeline as it was last saved, and these steps after it."""
        self._pipeline.begin_anew()
        if (state := self._saved()) is not None:
            self._pipeline.restore(state)
        for step in steps:
            self._pipeline.step(step.again(), step.now_ns)

    def _one_by_one(self, batch: Batch, now_ns: int) -> list[Outcome]:
        self._go_back(self._since)
        outcomes = []
        for one in _alone(batch):
            try:
                outcomes.append(self._pipeline.step(one, now_ns))
            except Exception as error:
                if not one.records:
                    raise
                self._go_back(self._since)
                self._pipeline.step(Batch((), {}), now_ns)  # Raises where no record is to blame: then nothing is lost.
                log.exception("a record of %s raises by itself: it is set aside", one.records[0].partition)
                self._put_aside(one.records[0], f"{type(error).__name__}: {error}")
                outcomes.append(_set_aside())
            else:
                self._remember(one, now_ns)
        return outcomes

    def _leave_out_first(self, error: str) -> bool:
        """Leave out the first step since the save after which no state can be written; False if there is none."""
        steps = [self._taken(one, step.now_ns) for step in self._since for one in _alone(step.again())]
        if not self._can_write([]):
            return False
        good, bad = 0, len(steps)
        while bad - good > 1:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if self._can_write(steps[:middle]) else (good, middle)
        if bad and (records := steps[bad - 1].again().records):
            self._put_aside(records[0], error)
            del steps[bad - 1]
            self._since = steps
            self._go_back(steps)
            return True
        return False

    def _can_write(self, steps: list[_Taken]) -> bool:
        self._go_back(steps)
        try:
            self._pipeline.snapshot()
        except Exception:
            return False
        return True

    def _put_aside(self, record: Record, error: str) -> None:
        self.set_aside.append(SetAside(record, error))


def _alone(batch: Batch) -> list[Batch]:
    """A batch as steps of one record each: what it says of time before them first, and what it says after them last."""
    if len(batch.records) <= 1:
        return [batch]
    before, after = replace(batch, records=(), checked={}), Batch((), {}, checked=batch.checked)
    return [before, *(Batch((record,), {}) for record in batch.records), after]


def _is_time_alone(batch: Batch) -> bool:
    """Whether nothing came with a step: it only says how late it is, and what was checked."""
    return not (batch.records or batch.offsets or batch.marks) and batch.expected is None


def _together(one: Batch, other: Batch) -> Batch:
    gap = Gap(one.gap.stood_ns + other.gap.stood_ns, one.gap.stepped_ns + other.gap.stepped_ns)
    return Batch((), {}, checked={**one.checked, **other.checked}, gap=gap)


def _set_aside() -> Outcome:
    tally = Tally()
    tally.dropped[Dropped.SET_ASIDE] += 1
    return Outcome((Answer(error=ADVICE),), (), (), (), (), (), tally)
