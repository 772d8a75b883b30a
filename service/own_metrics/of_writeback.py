"""What is exported of writing back; nothing but names where it is not set."""

from typing import TYPE_CHECKING

from service.own_metrics.tallied import Values
from service.writeback import LOST

if TYPE_CHECKING:
    from service.writeback.back import WriteBack


def counters(back: "WriteBack | None") -> dict[str, Values]:
    """By metric."""
    sending = back.sending if back else None
    return {
        "tocsin_writeback_written_total": {(): sending.written} if sending else {},
        "tocsin_writeback_failures_total": {(): sending.failures} if sending else {},
        "tocsin_writeback_dropped_total": {(why,): sending.lost[why] for why in LOST} if sending else {},
    }


def gauges(back: "WriteBack | None") -> dict[str, Values]:
    """By metric."""
    return {"tocsin_writeback_waiting": {(): float(back.sending.waiting)} if back else {}}
