"""A record that makes a step or a save raise is set aside, and everything else goes on as if it had never come."""

from pathlib import Path

import pytest

from alertrules.parse import load
from service.batch import Batch, Record, Signal
from service.ingest.limits import IngestLimits
from service.notifiers.notifier import words
from service.pipeline.pipeline import Outcome, Pipeline, State
from service.runtime.steps import Steps
from tests.service.ingest.wire import at_ns, body, chat
from tests.service.test_crash import RULES

POISON, STICKY = b"poison", b"sticky"


class Fragile(Pipeline):
    """A pipeline with two bugs: one record it cannot read, and one after which it cannot write its state."""

    sticks = False

    def begin_anew(self) -> None:
        super().begin_anew()
        self.sticks = False

    def step(self, batch: Batch, now_ns: int) -> Outcome:
        outcome = super().step(batch, now_ns)  # What came before is taken in: the pipeline is half moved.
        bodies = [record.body for record in batch.records]
        self.sticks |= STICKY in bodies
        if POISON in bodies:
            raise IndexError("a bug")
        return outcome

    def snapshot(self) -> State:
        if self.sticks:
            raise ValueError("Out of range float values")
        return super().snapshot()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def record(number: int) -> Record:
    return Record(Signal.TRACES, body(chat(number, number, number, number + 1)), "otlp_spans/0")


def bad(what: bytes) -> Record:
    return Record(Signal.TRACES, what, "otlp_spans/0")


def batches(*groups: list[Record]) -> list[Batch]:
    return [Batch(tuple(group), {}) for group in groups]


def told(pipeline: Pipeline) -> str:
    """All that comes of what a pipeline still holds: what it counts, moves and shows."""
    outcome = pipeline.flush(at_ns(1000))
    levels = [
        (level.labels, {name: gauge.tolist() for name, gauge in level.gauges.items()}) for level in pipeline.levels()
    ]
    return str((outcome.tally, outcome.transitions, outcome.notices, levels))


GOOD = [record(number) for number in range(1, 13)]


@pytest.mark.parametrize("saved_after", [0, 1, 2])
def test_a_record_that_raises_is_set_aside(rules: Path, saved_after: int) -> None:
    """Whatever was saved before: the state and the answers are those of a stream without it."""
    undisturbed = Pipeline(IngestLimits(), load([rules], words()), 0)
    for batch in batches(GOOD[:4], GOOD[4:8], GOOD[8:]):
        undisturbed.step(batch, at_ns(100))
    pipeline = Fragile(IngestLimits(), load([rules], words()), 0)
    kept: list[State] = []
    steps = Steps(pipeline, lambda: kept[-1] if kept else None)
    answers = []
    stream = batches(GOOD[:4], [*GOOD[4:6], bad(POISON), *GOOD[6:8], bad(POISON)], GOOD[8:])
    for number, batch in enumerate(stream):
        if number == saved_after:
            kept.append(steps.snapshot())
            steps.kept()
        answers += [answer for outcome in steps.step(batch, at_ns(100)) for answer in outcome.answers]
    assert told(pipeline) == told(undisturbed)
    assert [one.record.body for one in steps.set_aside] == [POISON, POISON]
    assert [answer.error is None for answer in answers] == [True] * 6 + [False] + [True] * 2 + [False] + [True] * 4


def test_a_record_that_spoils_the_state_is_found(rules: Path) -> None:
    """A save never fails for a value: the record after which it would is found among all since the last save."""
    undisturbed = Pipeline(IngestLimits(), load([rules], words()), 0)
    for batch in batches(GOOD[:4], GOOD[4:]):
        undisturbed.step(batch, at_ns(100))
    pipeline = Fragile(IngestLimits(), load([rules], words()), 0)
    steps = Steps(pipeline, lambda: None)
    for batch in batches(GOOD[:4], [*GOOD[4:7], bad(STICKY), *GOOD[7:10]], [bad(STICKY), *GOOD[10:]]):
        steps.step(batch, at_ns(100))
    assert steps.snapshot().arrays
    assert told(pipeline) == told(undisturbed)
    assert [one.record.body for one in steps.set_aside] == [STICKY, STICKY]
    assert "Out of range float values" in steps.set_aside[0].error


def test_a_step_without_records_that_raises_is_a_bug_to_be_seen(rules: Path) -> None:
    """No record is to blame, so nothing is set aside, and the daemon ends."""

    class Broken(Pipeline):
        def step(self, batch: Batch, now_ns: int) -> Outcome:
            raise RuntimeError("a bug")

    steps = Steps(Broken(IngestLimits(), load([rules], words()), 0), lambda: None)
    with pytest.raises(RuntimeError):
        steps.step(Batch((), {}), at_ns(0))
    with pytest.raises(RuntimeError):
        steps.step(Batch((GOOD[0],), {}), at_ns(0))
    assert not steps.set_aside


def test_a_quiet_night_is_one_step(rules: Path) -> None:
    """What has to be repeated after a bug does not grow with time: nothing is saved while nothing comes."""
    steps = Steps(Fragile(IngestLimits(), load([rules], words()), 0), lambda: None)
    steps.step(Batch((), {}, expected=("a/0",)), at_ns(0))
    steps.step(Batch((GOOD[0],), {}), at_ns(5))
    for second in range(10, 3600):
        steps.step(Batch((), {}, checked={"a/0": at_ns(second)}), at_ns(second))
    assert len(steps._since) == 3
    steps.step(Batch((bad(POISON),), {}), at_ns(3601))
    assert [one.record.body for one in steps.set_aside] == [POISON]
    assert steps._pipeline.watermark_ns is not None
