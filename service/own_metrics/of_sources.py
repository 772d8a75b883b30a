"""What is exported of partitions that others report, by whoever adds their reports up: role detect, and role sum."""

from collections.abc import Sequence

from detectors.core.columns import SECOND_NS
from service.exchange.merge import Merge
from service.own_metrics.tallied import Values
from service.pipeline.front import Intake


def gauges(intakes: Sequence[Intake], now_ns: int) -> dict[str, Values]:
    """How each partition stands, as far as it was reported; where several shares are told of it, the worst."""
    behind: dict[tuple[str, ...], float] = {}
    silent: dict[tuple[str, ...], float] = {}
    for merge in (one for one in intakes if isinstance(one, Merge)):
        for name, source in dict(merge.sources).items():
            silent[name,] = max(silent.get((name,), 0.0), (now_ns - source.heard_ns) / SECOND_NS)
            if source.watermark_ns is not None:
                delay_s = (now_ns - source.watermark_ns) / SECOND_NS
                behind[name,] = max(behind.get((name,), delay_s), delay_s)
    return {"tocsin_source_delay_seconds": behind, "tocsin_source_silent_seconds": silent}
