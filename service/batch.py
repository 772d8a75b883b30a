"""What comes in at the doors and what is answered: bytes, where they came from, and a closed set of reasons."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from alertrules.changes import Change
from alertrules.marks import Mark
from alertrules.silences import Word

if TYPE_CHECKING:
    from service.ingest.otlp.points import Evaluation

LATE_PARTITION = "late_outcomes"
"""The partition of what comes from no source: late outcomes whose session became known."""
Said = Mark | Word | Change
"""What a person says: of a page or of series, or of who is told."""


class Signal(StrEnum):
    """The kind of OTLP message a body holds; the value is the last part of its HTTP path."""

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"


class Record(NamedTuple):
    """One OTLP body: a Kafka record's value, or what was posted, already decompressed.

    Protobuf or JSON is told by content: the first byte that is not white space is `{` in JSON.
    `partition` names the ordered stream it belongs to (`otlp_spans/3`, `otlp`): each has its own watermark.
    """

    signal: Signal
    body: bytes
    partition: str

    @property
    def source(self) -> str:
        """The topic or door that it came from."""
        return self.partition.partition("/")[0]


class SetAside(NamedTuple):
    """A record that cannot be read without an exception, and which one."""

    record: Record
    error: str


class Gap(NamedTuple):
    """What the clocks tell of the time since the step before.

    stood_ns    nobody listened for so long: the process stood still
    stepped_ns  the wall clock was put forward by so much; negative if it was put back
    """

    stood_ns: int = 0
    stepped_ns: int = 0


NO_GAP = Gap()


@dataclass(frozen=True)
class Batch:
    """Records in the order they are to be read, and the next offset by partition once they are.

    expected  all partitions of Kafka that hold spans and are read from now on, from before the first of these records:
              a backlog on one is not to be found late because another was read first. None is no news
    checked   by such a partition, the wall time by which all that was in its log is read, once these records are
    gap       time in which nobody listened, or a step of the wall clock, just before these records
    marks     what people said, silences and acknowledgements too; such a batch has no records
    """

    records: tuple[Record, ...]
    offsets: Mapping[str, int]
    expected: tuple[str, ...] | None = None
    checked: Mapping[str, int] = field(default_factory=dict)
    gap: Gap = NO_GAP
    marks: tuple[Said, ...] = ()


class Dropped(StrEnum):
    """Why something was not counted. Closed: every reason is documented and exported, even at zero."""

    MALFORMED = "malformed"  # A body that is not OTLP, protobuf or JSON.
    TOO_LARGE = "too_large"  # A body over the limit, packed or unpacked, or with too much in it.
    BAD_ID = "bad_id"  # A span without a 16-byte trace id or an 8-byte span id.
    BAD_TIME = "bad_time"  # A time that is zero or past the year 2262.
    FUTURE = "future"  # Ends more than `future_max` after the clock.
    LATE = "late"  # Ends in a slot that was closed: joined, but not counted.
    NEGATIVE_DURATION = "negative_duration"  # Ends before it starts: counted, without its duration.
    DUPLICATE = "duplicate"  # A span id seen before in its trace.
    TRACES_FULL = "traces_full"  # The table of live traces is full: counted, not joined.
    TRACE_FULL = "trace_full"  # A trace holds too many spans: counted, but lends nothing to those below.
    SPANS_FULL = "spans_full"  # Too many spans wait for a slow partition: counted in a slot closed before its time.
    SERIES_FULL = "series_full"  # The table of cells or series is full: counted under `_other`.
    BAD_NUMBER = "bad_number"  # A token count, cost or point that is NaN, infinite or negative.
    FOREIGN = "foreign"  # A body that could be read, and holds nothing of OTLP: another format.
    SET_ASIDE = "set_aside"  # A record that cannot be read without an error of ours: kept for a person.
    UNKNOWN_START = "unknown_start"  # A cumulative point of unknown beginning: what it counts from here on counts.
    UNKNOWN_UNIT = "unknown_unit"  # A metric in a unit, or a cost in a currency, that no table knows.
    UNKNOWN_TOKEN = "unknown_token_type"
    UNKNOWN_KIND = "unknown_kind"  # A gauge in place of a counter, or a counter without temporality.
    AGGREGATE = "aggregate"  # A metric that adds up, or tells again, what others of its service tell.
    OWN = "own"  # What Tocsin itself wrote back, and somebody sends to it: no traffic.
    UNREAD = "unread"  # A metric summary, or a log record that is no evaluation.


@dataclass(frozen=True)
class Answer:
    """What the sender of one record is told.

    `error` is None when the body could be read; else it says what was wrong, and nothing of it was taken.
    `rejected` counts spans (points, log records) of a good body that were not taken, `message` says why.
    """

    rejected: int = 0
    message: str = ""
    error: str | None = None


@dataclass
class Tally:
    """What a step read and dropped, added up into metrics outside."""

    spans: int = 0
    points: int = 0
    logs: int = 0
    sessions: int = 0
    unrecorded: int = 0  # Of them those of which another machine did not tell what the record needs.
    slots: int = 0
    dropped: Counter[Dropped] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)  # Bodies, by topic or door.
    foreign: Counter[tuple[str, str]] = field(default_factory=Counter)  # Of them no OTLP, and what they look like.
    snake_case: Counter[str] = field(default_factory=Counter)  # Read of JSON with protobuf's names, by topic or door.
    costs: Counter[str] = field(default_factory=Counter)  # Calls by where their cost came from.
    priced_tokens: Counter[str] = field(default_factory=Counter)  # Of metrics, likewise.
    tickets: list[str] = field(default_factory=list)  # What is worth a look some day.
    weighted: int = 0  # Calls that stand for more than themselves, by sampling weights.
    stated_tokens: float = 0.0  # What wrappers said of calls below them that were counted themselves,
    leaf_tokens: float = 0.0  # and what those said.
    unexplained: Counter[str] = field(default_factory=Counter)  # By scope: tokens of totals that no part explains.
    content: Counter[str] = field(default_factory=Counter)  # By attribute: what was said, seen and not kept.
    sessionless: Counter[str] = field(default_factory=Counter)  # By agent: sessions that nothing named.
    named: Counter[str] = field(default_factory=Counter)  # By agent: sessions that something named.
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)  # By agent and type of error: calls.
    cut: Counter[str] = field(default_factory=Counter)  # By agent: calls with a value too long for a label.
    refused: Counter[str] = field(default_factory=Counter)  # By agent: calls and sessions under `_other`.
    repeats: int = 0  # Parts of slots that were told before: a partition has another owner, or went back to its state.
    gaps: int = 0  # Reports before which another one is missing.
    evaluations: list["Evaluation"] = field(default_factory=list)  # What telemetry told of evaluations.
    saturated: Counter[str] = field(default_factory=Counter)  # By metric: values over the last bound of a histogram.
