"""How long ingest waits, and how much it holds."""

from dataclasses import dataclass

from detectors.core.columns import SECOND_NS


@dataclass(frozen=True)
class IngestLimits:
    """How long ingest waits, and how much it holds.

    lateness_ns       how far the watermark stays behind the latest end
    idle_hold_ns      how long a reachable partition that spoke steadily holds event time after its last record
    future_max_ns     a span that ends later than this after the clock is rejected
    session_idle_ns   quiet after which a session whose roots have ended closes
    rootless_idle_ns  quiet after which a session without a root closes
    session_max_ns    age at which a session closes whatever comes
    traces_max        live traces; a new one then evicts the oldest, whose session closes
    spans_max         spans in live traces, counted ones too; a further one evicts the oldest trace
    pending_max       spans waiting for their slot to close; with more the oldest slot closes before its time
    cells_max         label sets counted apart; later ones share one
    body_bytes_max    a larger body is not read
    """

    lateness_ns: int = 60 * SECOND_NS
    idle_hold_ns: int = 300 * SECOND_NS
    future_max_ns: int = 300 * SECOND_NS
    session_idle_ns: int = 30 * SECOND_NS
    rootless_idle_ns: int = 900 * SECOND_NS
    session_max_ns: int = 86_400 * SECOND_NS
    traces_max: int = 200_000
    spans_max: int = 2_000_000
    pending_max: int = 1_000_000
    cells_max: int = 50_000
    body_bytes_max: int = 64 * 2**20
