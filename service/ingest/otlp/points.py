"""OTLP metrics and logs to points and evaluations: what each says, in plain values. A bad one is left out alone."""

import base64
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice, pairwise
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from service.batch import Dropped, Signal
from service.ingest.otlp.in_json import is_json
from service.ingest.otlp.in_protobuf import UnreadableError, parse
from service.ingest.otlp.wanted import EVALUATION_EVENT, OWN_MARK, TIME_MAX_NS
from service.ingest.vocabulary import Scalar, label

SCORE_METRIC = "gen_ai.evaluation.score"
"""The metric that tells an evaluation: rules name scores by it, `tool` is the evaluation's name."""
SESSION_ATTRIBUTES = ("gen_ai.conversation.id", "session.id")
EXEMPLARS_MAX = 20
"""Exemplars of a point that are looked at for its session: as many as an SDK keeps."""
_NAME, _LABEL = "gen_ai.evaluation.name", "gen_ai.evaluation.score.label"
SCALE_MIN, SCALE_MAX = -10, 20
"""Scales of exponential histograms that the specification knows."""
BUCKETS_MAX = 4096
NUMBER_MAX = float(2**53)
"""Of a value, a count, a sum or a bound, in either direction: as of spans. Sums of larger ones overflow in the end."""
_DELTA, _CUMULATIVE, _NO_VALUE = 1, 2, 1
_BASE64_OF_HEX = {24: 16, 12: 8}
"""Bytes that hex digits of an id become when they are taken for base64, and how many they mean."""

Labels = tuple[tuple[str, Scalar], ...]


class Kind(IntEnum):
    GAUGE = 0
    SUM = 1
    HISTOGRAM = 2


class Histogram(NamedTuple):
    """Counts by bucket: explicit upper `bounds`, one count more than bounds; or, with a `scale`, exponential ones.

    n       how many values; `total` their sum, NaN where it was not sent
    first   index of the first exponential bucket; `zero` counts values too small for any
    """

    n: float
    total: float
    counts: tuple[float, ...]
    bounds: tuple[float, ...] = ()
    scale: int | None = None
    first: int = 0
    zero: float = 0.0


class Point(NamedTuple):
    """One data point. `labels` and `resource` are sorted by name."""

    metric: str
    unit: str
    scope: str
    kind: Kind
    cumulative: bool
    monotonic: bool
    start_ns: int
    time_ns: int
    labels: Labels
    resource: Labels
    value: float
    histogram: Histogram | None
    is_stale: bool


class Evaluation(NamedTuple):
    """One result of an evaluation: its score or NaN, its label or nothing."""

    name: str
    score: float
    said: str
    time_ns: int
    trace_id: bytes
    span_id: bytes
    labels: Labels
    resource: Labels

    @property
    def session(self) -> str:
        """The id of the session that it names; nothing where it names none."""
        return _session(dict(self.labels))

    @property
    def trace(self) -> str:
        """The id of its trace in hexadecimal digits; nothing where it has none."""
        return self.trace_id.hex() if _names_trace(self.trace_id) else ""


def _session(known: Mapping[str, Scalar]) -> str:
    return next((str(known[name]) for name in SESSION_ATTRIBUTES if known.get(name)), "")


def _names_trace(trace_id: bytes) -> bool:
    return len(trace_id) == 16 and any(trace_id)


@dataclass
class Read:
    """What a body of metrics or logs held, and what was left out of it.

    scores     evaluations that data points told: an exporter may say each of them again every minute
    saturated  values over the last bound of their histogram, by metric: how large they were is not known
    """

    points: list[Point] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    scores: list[Evaluation] = field(default_factory=list)
    records: int = 0
    dropped: Counter[Dropped] = field(default_factory=Counter)
    saturated: Counter[str] = field(default_factory=Counter)


def read(signal: Signal, body: bytes) -> Read:
    """The points or log records of a body. Raises UnreadableError."""
    found = Read()
    if signal is Signal.METRICS:
        message = from_json(ExportMetricsServiceRequest(), body) if is_json(body) else parse(signal, body)
        _read_metrics(message, found)
    else:
        message = from_json(ExportLogsServiceRequest(), body) if is_json(body) else parse(signal, body)
        _read_logs(message, found)
    return found


def from_json(message: Message, body: bytes) -> Any:
    """The message of a body in JSON, its ids as `id_of` takes them. Raises UnreadableError."""
    try:
        return json_format.Parse(body, message, ignore_unknown_fields=True, max_recursion_depth=50)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UnreadableError(f"not OTLP/JSON: {label(str(error))}") from None


def _read_metrics(message: Any, found: Read) -> None:
    for each in message.resource_metrics:
        resource = labels_of(each.resource.attributes)
        for scope in each.scope_metrics:
            name = text_of(scope.scope.name)
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                data = getattr(metric, kind) if kind else None
                for point in data.data_points if data is not None else ():
                    found.records += 1
                    _read_point(metric, kind, data, point, (name, resource), found)


def _read_point(metric: Any, kind: str, data: Any, point: Any, origin: tuple[str, Labels], found: Read) -> None:
    if kind == "summary":
        found.dropped[Dropped.UNREAD] += 1  # Quantiles of one process: nothing can be added up.
        return
    if not 0 < point.time_unix_nano <= TIME_MAX_NS or point.start_time_unix_nano > TIME_MAX_NS:
        found.dropped[Dropped.BAD_TIME] += 1
        return
    if kind != "gauge" and data.aggregation_temporality not in (_DELTA, _CUMULATIVE):
        found.dropped[Dropped.UNKNOWN_KIND] += 1
        return
    is_stale = bool(point.flags & _NO_VALUE)
    value, histogram = 0.0, None
    if kind in ("gauge", "sum"):
        value = _number(point)
        if text_of(metric.name) == SCORE_METRIC and not is_stale and _read_score(point, value, origin[1], found):
            return
        sane = abs(value) <= NUMBER_MAX
    else:
        histogram = _explicit(point) if kind == "histogram" else _exponential(point)
        sane = histogram is not None
    if not (sane or is_stale):
        found.dropped[Dropped.BAD_NUMBER] += 1
        return
    found.points.append(
        Point(
            label(text_of(metric.name)), label(text_of(metric.unit)), origin[0],
            {"gauge": Kind.GAUGE, "sum": Kind.SUM}.get(kind, Kind.HISTOGRAM),
            kind != "gauge" and data.aggregation_temporality == _CUMULATIVE,
            kind != "sum" or data.is_monotonic,
            point.start_time_unix_nano, point.time_unix_nano, labels_of(point.attributes), origin[1],
            value, histogram, is_stale,
        )
    )  # fmt: skip


def _number(point: Any) -> float:
    """The value of a data point or of an exemplar."""
    return float(getattr(point, point.WhichOneof("value") or "as_double"))


def _read_score(point: Any, value: float, resource: Labels, found: Read) -> bool:
    """Read a point as an evaluation of one session; False if it is none, and so a point as any other.

    Its attributes name the session. Or an exemplar does, or has its trace: one whose value is that of the point, as a
    point that adds up several measurements says nothing of one.
    """
    mine = (one for one in point.exemplars if one.WhichOneof("value") and _number(one) == value)
    first = islice(mine, EXEMPLARS_MAX)
    told = [(b"", b"", ()), *((one.trace_id, one.span_id, one.filtered_attributes) for one in first)]
    own = dict(_pairs(point.attributes))
    for trace_id, span_id, more in told:
        known = own | dict(_pairs(more))
        if not known.get(_NAME) or not (_session(known) or _names_trace(id_of(trace_id))):
            continue
        if any(name == OWN_MARK for name, _ in resource):
            found.dropped[Dropped.OWN] += 1  # A Collector can make metrics of what was written back.
            return True
        is_number = abs(value) <= NUMBER_MAX
        said = label(str(known.get(_LABEL, "")))
        found.dropped[Dropped.BAD_NUMBER] += not is_number
        if said or is_number:
            found.scores.append(
                Evaluation(
                    label(str(known[_NAME])), value if is_number else math.nan, said, point.time_unix_nano,
                    id_of(trace_id), id_of(span_id), tuple(sorted(known.items())), resource,
                )
            )  # fmt: skip
        return True
    return False


def _explicit(point: Any) -> Histogram | None:
    """An explicit histogram; None where its numbers cannot be."""
    bounds, counts = tuple(point.explicit_bounds), tuple(map(float, point.bucket_counts))
    if not counts:
        bounds, counts = (), (float(point.count),)
    rising = all(map(math.isfinite, bounds)) and all(a < b for a, b in pairwise(bounds))
    if not rising or len(counts) != len(bounds) + 1 or len(counts) > BUCKETS_MAX:
        return None
    if sum(counts) != point.count or point.count > NUMBER_MAX or abs(point.sum) > NUMBER_MAX:
        return None
    return Histogram(float(point.count), _total(point), counts, bounds)


def _exponential(point: Any) -> Histogram | None:
    counts = tuple(map(float, point.positive.bucket_counts))
    below = sum(point.negative.bucket_counts) + point.zero_count
    fits = SCALE_MIN <= point.scale <= SCALE_MAX and len(counts) <= BUCKETS_MAX
    if not fits or sum(counts) + below != point.count or point.count > NUMBER_MAX or abs(point.sum) > NUMBER_MAX:
        return None
    return Histogram(float(point.count), _total(point), counts, (), point.scale, point.positive.offset, float(below))


def _total(point: Any) -> float:
    total = float(point.sum) if point.HasField("sum") else math.nan
    return total if math.isfinite(total) else math.nan


def _read_logs(message: Any, found: Read) -> None:
    for each in message.resource_logs:
        resource: Labels | None = None
        if is_own(each.resource):
            own = sum(len(scope.log_records) for scope in each.scope_logs)
            found.records += own
            found.dropped[Dropped.OWN] += own
            continue
        for scope in each.scope_logs:
            for record in scope.log_records:
                found.records += 1
                labels = labels_of(record.attributes)
                name = text_of(record.event_name) or str(dict(labels).get("event.name", ""))
                if name != EVALUATION_EVENT:
                    found.dropped[Dropped.UNREAD] += 1
                    continue
                resource = labels_of(each.resource.attributes) if resource is None else resource
                time_ns = record.time_unix_nano or record.observed_time_unix_nano
                read_evaluation(labels, resource, time_ns, (id_of(record.trace_id), id_of(record.span_id)), found)


def read_evaluation(labels: Labels, resource: Labels, time_ns: int, ids: tuple[bytes, bytes], found: Read) -> None:
    """Add what these attributes say of a span: `ids` are its trace's and its own."""
    known = dict(labels)
    if not 0 < time_ns <= TIME_MAX_NS:
        found.dropped[Dropped.BAD_TIME] += 1
        return
    try:
        score = float(known.get("gen_ai.evaluation.score.value", math.nan))
    except (ValueError, OverflowError):
        score = math.nan
    if not abs(score) <= NUMBER_MAX:
        score = math.nan
        found.dropped[Dropped.BAD_NUMBER] += "gen_ai.evaluation.score.value" in known
    found.evaluations.append(
        Evaluation(
            label(str(known.get(_NAME, ""))), score, label(str(known.get(_LABEL, ""))), time_ns, *ids, labels, resource,
        )
    )  # fmt: skip


def is_own(resource: Any) -> bool:
    """Whether Tocsin itself wrote what is of this resource."""
    return any(text_of(pair.key) == OWN_MARK for pair in resource.attributes)


def id_of(read: bytes) -> bytes:
    """An id. In JSON it is hex, which the library takes for base64."""
    if len(read) not in _BASE64_OF_HEX:
        return read
    try:
        return bytes.fromhex(base64.b64encode(read).decode())
    except ValueError:
        return b""


def labels_of(attributes: Iterable[Any]) -> Labels:
    """Attributes whose value is a scalar, each name once (the last one counts), sorted by name."""
    return tuple(sorted(dict(_pairs(attributes)).items()))


def _pairs(attributes: Iterable[Any]) -> Iterator[tuple[str, Scalar]]:
    for pair in attributes:
        kind = pair.value.WhichOneof("value")
        if kind == "string_value":
            yield label(text_of(pair.key)), label(text_of(pair.value.string_value))
        elif kind == "double_value" and not math.isfinite(pair.value.double_value):
            # As Prometheus writes them: it is what makes one stream another, and no number that a save could hold.
            yield label(text_of(pair.key)), f"{pair.value.double_value:+}".replace("+nan", "NaN").replace("inf", "Inf")
        elif kind in ("int_value", "double_value", "bool_value"):
            yield label(text_of(pair.key)), getattr(pair.value, kind)


def text_of(text: bytes | str) -> str:
    """A text: of protobuf read here it is bytes, of JSON it is none."""
    return text if isinstance(text, str) else text.decode(errors="replace")
