"""What one Kafka record of `tocsin.slots` holds: a source partition's parts, and how far it has come.

A byte of format, the length of the head, the head as JSON, and the parts as they are (part.py), each with its length.
"""

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.exchange import told_evaluations
from service.exchange.part import TIME_MAX_NS, texts, whole_number
from service.ingest.metrics.told import Spoken
from service.ingest.otlp.points import Evaluation

REPORT_FORMAT = 5
"""Of reports and parts together. A reader knows its own and those before it, so detect instances are upgraded first."""
REPORTS_READABLE = (1, 2, 3, 4, REPORT_FORMAT)
"""In 1 sessions were joined by partition, and counted with the cells. In 2 nothing was told of legs. In 3 versions of
sessions were told with legs alone. In 4 cells had neither a prompt nor a model that answered."""
HEAD_MAX, PARTS_MAX, TOPICS_MAX, PARTITIONS_MAX, TOLD_MAX = 1 << 20, 10_000, 1_000, 1_000_000, 20_000
_MAGIC = b"tocsin-slots"
_LENGTH = struct.Struct("<I")
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_SOURCE = re.compile(r"([a-zA-Z0-9._-]{1,249})/([0-9]{1,7})")
Place = tuple[int, int]


class ReportError(ValueError):
    """Bytes that are not a report; the text says why."""


@dataclass(frozen=True, eq=False)
class Report:
    """What an ingest instance says of one source partition.

    source        the partition, as `otlp_spans/3`
    topics        all topics of spans that are shared, with how many partitions each has
    after         the place of the last part before these; None if they are the first of all
    next_offset   where in the source the next span comes from, once these are counted
    watermark_ns  event time of the partition that will not be gone behind; None while it is not known
    is_heard      whether it ever brought a span; one that is empty alone tells how far it was read
    spans         how many were read since the report before
    share         which of the partitions of its topic it is for, where several instances add reports up; not written
    told          services, what their spans told, and until when, as far as that is news
    evaluations   that spans told, for the record of sessions
    parts         bytes, in order of their places
    """

    source: str
    topics: Mapping[str, int]
    after: Place | None
    next_offset: int
    watermark_ns: int | None
    is_heard: bool
    spans: int
    share: int = 0
    parts: Sequence[bytes] = field(default=(), repr=False)
    told: Sequence[Spoken] = ()
    evaluations: Sequence[Evaluation] = field(default=(), repr=False)


def encoded(report: Report) -> bytes:
    """A report as the value of a record."""
    head = {
        "source": report.source, "topics": dict(report.topics), "after": report.after,
        "next_offset": report.next_offset, "watermark_ns": report.watermark_ns, "is_heard": report.is_heard,
        "spans": report.spans, "told": report.told, "evaluations": told_evaluations.written(report.evaluations),
    }  # fmt: skip
    pieces = [json.dumps(head, separators=(",", ":")).encode(), *report.parts]
    return _MAGIC + bytes([REPORT_FORMAT]) + b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def decoded(body: bytes) -> Report:
    """The report that a record holds; its parts are not looked into. Raises ReportError."""
    if not body.startswith(_MAGIC) or len(body) == len(_MAGIC):
        raise ReportError("it is not a report of slots")
    if (written := body[len(_MAGIC)]) not in REPORTS_READABLE:
        said = f"it has format {written}, this version reads {', '.join(map(str, REPORTS_READABLE))}"
        raise ReportError(f"{said}; upgrade detect instances before ingest instances")
    pieces, at = list[bytes](), len(_MAGIC) + 1
    while at < len(body):
        if len(pieces) > PARTS_MAX or at + _LENGTH.size > len(body):
            raise ReportError("its parts do not fit into it")
        (size,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        if at + size > len(body):
            raise ReportError("its parts do not fit into it")
        pieces.append(body[at : at + size])
        at += size
    if not pieces or len(pieces[0]) > HEAD_MAX:
        raise ReportError("it has no head")
    try:
        return _of(json.loads(pieces[0]), pieces[1:])
    except ReportError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ReportError(f"its head cannot be read ({type(error).__name__}: {str(error)[:200]})") from None


def _of(head: Any, parts: list[bytes]) -> Report:
    source, topics, watermark_ns, after = (head[name] for name in ("source", "topics", "watermark_ns", "after"))
    if not isinstance(source, str) or not _SOURCE.fullmatch(source):
        raise ReportError(f"{str(source)[:80]!r} is not a partition of a topic")
    if not isinstance(topics, dict) or len(topics) > TOPICS_MAX or not all(map(_TOPIC.fullmatch, topics)):
        raise ReportError("its topics are not topics")
    if after is not None:
        after = whole_number(after[0], TIME_MAX_NS), whole_number(after[1], TIME_MAX_NS)
    if not isinstance(head["is_heard"], bool):
        raise ReportError("is_heard is neither true nor false")
    return Report(
        source, {topic: whole_number(count, PARTITIONS_MAX) for topic, count in topics.items()}, after,
        whole_number(head["next_offset"], TIME_MAX_NS),
        None if watermark_ns is None else whole_number(watermark_ns, TIME_MAX_NS), head["is_heard"],
        whole_number(head["spans"], TIME_MAX_NS), parts=parts, told=_told(head.get("told", [])),
        evaluations=told_evaluations.read(head.get("evaluations", [])),
    )  # fmt: skip


def _told(listed: Any) -> list[Spoken]:
    """What spans told; reports of a version before say nothing of it."""
    if not isinstance(listed, list) or len(listed) > TOLD_MAX:
        raise ReportError(f"what spans told is no list of at most {TOLD_MAX}")
    found = []
    for service, signal, last_ns in listed:
        service, signal = texts([service, signal])
        found.append((service, signal, whole_number(last_ns, TIME_MAX_NS)))
    return found
