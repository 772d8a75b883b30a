"""The first stage of the pipeline: what reads records and gives closed slots. OTLP is ingested; reports are merged."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from alertrules.parse import RuleSet
from detectors.core.columns import Arrays, Slot
from detectors.core.series import SeriesTable
from service.batch import Answer, Gap, Record, Tally
from service.exchange.merge import Merge
from service.ingest.decode import Decoder
from service.ingest.join.join import Seed
from service.ingest.legs import Legs
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.meters import Meters
from service.ingest.sights import Sights
from service.ingest.stage import Ingest


class Intake(Protocol):
    """What the pipeline asks of its first stage; `Ingest` has the words."""

    cells: SeriesTable
    sights: Sights
    legs: Mapping[int, Legs]
    WAITS: ClassVar[str]

    @property
    def watermark_ns(self) -> int | None: ...
    def expect(self, partitions: Iterable[str]) -> None: ...
    def adjust(self, gap: Gap) -> None: ...
    def check(self, checked: Mapping[str, int], now_ns: int) -> None: ...
    def pass_to(self, ns: int) -> None: ...
    def waits_for(self, now_ns: int) -> tuple[str, ...]: ...
    def read_all(self, records: Sequence[Record], now_ns: int, tally: Tally) -> Iterator[list[Answer]]: ...
    def closed_slots(self, now_ns: int, tally: Tally) -> Iterator[Slot]: ...
    def take_closed(self) -> Iterator[Slot]: ...
    def flush(self, tally: Tally) -> Iterator[Slot]: ...
    def key_of(self, session: str) -> bytes: ...
    def snapshot(self) -> Arrays: ...


class Front(Protocol):
    """Makes the first stage: anew, or of what its `snapshot` gave; `part` is what that is called in a state."""

    part: ClassVar[str]

    def anew(self, local: Local, rules: RuleSet) -> Intake: ...
    def restored(self, arrays: Arrays, local: Local, rules: RuleSet) -> Intake: ...


@dataclass(frozen=True)
class Ingesting:
    """OTLP is read here: role all."""

    part: ClassVar = "ingest"

    limits: IngestLimits
    decoder: Decoder
    seed: Seed

    def anew(self, local: Local, rules: RuleSet) -> Intake:
        return Ingest(self.limits, decoder=self.decoder, meters=_meters(local, rules), local=local, seed=self.seed)

    def restored(self, arrays: Arrays, local: Local, rules: RuleSet) -> Intake:
        if "merge" in arrays:
            raise ValueError("it was written by role detect; role all begins with a directory of its own")
        return Ingest.restore(arrays, self.limits, self.decoder, _meters(local, rules), local)


def _meters(local: Local, rules: RuleSet) -> Meters:
    return Meters(rules.names_metric, rates=local.rates)


@dataclass(frozen=True)
class Merging:
    """OTLP was read elsewhere, and what it counted is added up here: role detect."""

    part: ClassVar = "slots"

    limits: IngestLimits
    seed: Seed
    names: Seed

    def anew(self, local: Local, rules: RuleSet) -> Intake:
        return Merge(self.limits, local, self.seed, self.names, _meters(local, rules))

    def restored(self, arrays: Arrays, local: Local, rules: RuleSet) -> Intake:
        return Merge.restore(arrays, self.limits, local, self.seed, self.names, _meters(local, rules))
