"""Parts of slots on their way to their readers: in their order, each once, in reports that brokers take."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from detectors.core.columns import SECOND_NS, SLOT_NS
from service.exchange.part import Part, encoded
from service.exchange.report import Place, Report
from service.exchange.told_evaluations import EVALUATIONS_MAX, of_sessions
from service.ingest.otlp.points import Evaluation

REPORT_BYTES_MAX = 512 << 10
"""A report with more is followed by another one: brokers take records of a megabyte."""
BEAT_NS = 10 * SECOND_NS
"""How often is reported that there is nothing new."""


class Unreported:
    """What was closed and is not reported yet, by the share that it is of. One owner.

    reported  by share, the place of the last part that was reported; None before the first
    last      the same of what was added
    """

    def __init__(self, reported: Sequence[Place | None]) -> None:
        self.reported, self.last = list(reported), list(reported)
        self._parts: list[list[tuple[Place, bytes]]] = [[] for _ in reported]
        self._evaluations: list[Evaluation] = []
        self._told_slot = self._told_ns = -1

    @property
    def is_empty(self) -> bool:
        return not (any(self._parts) or self._evaluations)

    def is_due(self, watermark_ns: int | None, now_ns: int) -> bool:
        """Whether there is something to report: parts, event time that went on, or nothing new for a while."""
        return not self.is_empty or _slot(watermark_ns) != self._told_slot or now_ns - self._told_ns >= BEAT_NS

    def add(self, share: int, parts: Iterable[Part]) -> None:
        """Have parts be reported, whose places come after all before."""
        for part in parts:
            self._parts[share].append((part.place, encoded(part)))
            self.last[share] = part.place

    def tell(self, evaluations: Iterable[Evaluation]) -> None:
        """Have evaluations be reported, with the next parts or without any."""
        self._evaluations += of_sessions(evaluations)

    def take(self, standing: Report, now_ns: int) -> list[Report]:
        """Everything, in this order. `standing` says what is told beside parts, to the first share what all told."""
        self._told_slot, self._told_ns, reports = _slot(standing.watermark_ns), now_ns, list[Report]()
        for share in range(len(self._parts)):
            reports += self._of(share, replace(standing, share=share))
            standing = replace(standing, spans=0, told=())
        evaluations, self._evaluations = self._evaluations, []
        reports[0] = replace(reports[0], evaluations=evaluations[:EVALUATIONS_MAX])
        for begin in range(EVALUATIONS_MAX, len(evaluations), EVALUATIONS_MAX):
            more = replace(standing, share=0, evaluations=evaluations[begin : begin + EVALUATIONS_MAX])
            reports.append(self._report(more, []))
        return reports

    def _of(self, share: int, standing: Report) -> list[Report]:
        reports, parts, size = list[Report](), list[tuple[Place, bytes]](), 0
        for place, body in self._parts[share]:
            if parts and size + len(body) > REPORT_BYTES_MAX:
                # Its last slot may go on in the next report, so event time is only come to where that begins.
                reports.append(self._report(replace(standing, watermark_ns=parts[-1][0][0]), parts))
                standing, parts, size = replace(standing, spans=0, told=()), [], 0
            parts.append((place, body))
            size += len(body)
        self._parts[share] = []
        return [*reports, self._report(standing, parts)]

    def _report(self, standing: Report, parts: list[tuple[Place, bytes]]) -> Report:
        after = self.reported[standing.share]
        self.reported[standing.share] = parts[-1][0] if parts else after
        return replace(standing, after=after, parts=[body for _, body in parts])


def _slot(watermark_ns: int | None) -> int:
    return -1 if watermark_ns is None else watermark_ns // SLOT_NS
