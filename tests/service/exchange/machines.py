"""Ingest instances and a detect instance in one process, without Kafka: records in, reports between, notices out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from alertrules.parse import RuleSet
from detectors.core.columns import Arrays
from service.batch import Batch, Record, Signal, Tally
from service.exchange.report import Report, encoded
from service.exchange.shard import Made, Shard
from service.ingest.join.join import UNSEEDED
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.otlp.scanner import Scanner
from service.pipeline.front import Merging
from service.pipeline.pipeline import FORMAT, READABLE, Outcome, Pipeline, State

TOPIC = "spans"


def made() -> Made:
    return Made(IngestLimits(), Scanner(), Local(), UNSEEDED, UNSEEDED, True, True, FORMAT, READABLE)


def detecting(rules: RuleSet) -> Pipeline:
    return Pipeline(IngestLimits(), rules, 0, front=Merging(IngestLimits(), UNSEEDED, UNSEEDED))


@dataclass
class Owner:
    """Whoever ingests one partition: reads its log from where it stands, and adds to what detect reads."""

    source: str
    log: Sequence[Record]
    topics: dict[str, int]
    made: Made = field(default_factory=made)
    shard: Shard = field(init=False)
    at: int = 0
    kept: tuple[int, Arrays] | None = None
    reported_ns: int | None = None

    def __post_init__(self) -> None:
        self.shard = Shard(self.made, self.source)

    def read(self, count: int, now_ns: int, checked_ns: int = 0) -> list[bytes]:
        """Read so many records, the last of the log by some time; what is reported then, as it is written."""
        return [encoded(report) for report in self.reports(count, now_ns, checked_ns)]

    def reports(self, count: int, now_ns: int, checked_ns: int = 0) -> list[Report]:
        """The same, each with the share that it is for."""
        records = tuple(self.log[self.at : self.at + count])
        self.at += len(records)
        checked = {self.source: checked_ns} if checked_ns else {}
        answers = self.shard.step(Batch(records, {self.source: self.at}, checked=checked), now_ns, Tally())
        assert len(answers) == len(records)
        reports = self.shard.take(self.topics, now_ns)
        self.reported_ns = reports[-1].watermark_ns if reports else self.reported_ns
        return reports

    def keep(self) -> None:
        """Save the state, as an owner does now and then."""
        self.kept = self.at, dict(self.shard.snapshot())

    def restart(self) -> None:
        """Be another owner, who knows what was kept and reads on from there."""
        if self.kept is None:
            self.shard, self.at = Shard(self.made, self.source), 0
        else:
            self.at, arrays = self.kept
            self.shard = Shard.restore(self.made, self.source, arrays)


def read(detect: Pipeline, report: bytes, now_ns: int) -> Outcome:
    """The detect instance reads one report."""
    outcome = detect.step(Batch((Record(Signal.TRACES, report, "tocsin.slots/0"),), {}), now_ns)
    assert outcome.answers[0].error is None, outcome.answers
    return outcome


def restarted(detect: Pipeline, rules: RuleSet) -> Pipeline:
    """Another detect instance that goes on from the saved state of this one."""
    state: State = detect.snapshot()
    again = detecting(rules)
    assert again.restore(state) == ()
    return again
