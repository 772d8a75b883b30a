"""Sessions whose traces lie on several partitions: stretches of traces in, and the sessions that end out.

The rules are those of role all, and so are the kernels (service/ingest/kernel/sessions.pxd). Here a trace is what was
told of it.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from detectors.core.columns import SLOT_NS, Arrays, Slot, added_up, best_of
from detectors.core.runs import together as running_together
from detectors.core.runs import worst
from service.batch import Tally
from service.ingest.join.closing import Closing, Labels
from service.ingest.join.join import Join, Seed
from service.ingest.legs import NO_LEGS, Legs, key_bytes
from service.ingest.limits import IngestLimits
from service.ingest.local import Local
from service.ingest.metrics.sums import added
from service.ingest.prices import Prices
from service.ingest.rollup import roll_up
from service.ingest.sights import Sights
from service.ingest.stretches import Stretches


class Conversations:
    """The open sessions of all source partitions. One owner."""

    def __init__(self, limits: IngestLimits, local: Local, seed: Seed, names: Seed) -> None:
        self._join = Join(limits, local, seed, names=names)
        self._closing = Closing(self._join, Prices(local.prices))

    def key_of(self, session: str) -> bytes:
        """What stands for the session of that name: the half of it that is told."""
        return key_bytes((self._join.lexicon.session(session)[0], 0))

    def labels_of(self, trace_id: bytes, span_id: bytes) -> tuple[str, str]:
        """Tenant and agent of a trace of an open session; empty where it is not known."""
        return self._join.labels_of(trace_id, span_id)

    @property
    def floor_ns(self) -> int:
        """What ends before counts in no slot any more."""
        return self._join.floor_ns

    @property
    def traces(self) -> int:
        """Traces of open sessions."""
        return self._join.traces

    def open(self, start_ns: int) -> None:
        """Have a slot close in its turn, even if no session ends in it."""
        self._join.open(start_ns)

    def next_start_ns(self) -> int | None:
        """The start of the slot that is to close next: one that was opened, or one in which a session is due."""
        return self._join.next_start_ns()

    def close(
        self, start_ns: int, stretches: Stretches, cell_of: Callable[[Labels, int], int], sights: Sights, tally: Tally
    ) -> tuple[Slot, Legs]:  # fmt: skip
        """The sessions that end in the slot that is to close next, and those that are open after it.

        Also what those that end went through, of which all was told.
        """
        if self._join.is_short_of_names():
            self._join.forget_names()
        closed = self._closing.bear(stretches, start_ns, cell_of, tally)
        self._join.rise(start_ns + SLOT_NS)
        tally.sessions += len(closed.ended)
        tally.sessionless.update(closed.nameless)
        legs = closed.legs or NO_LEGS
        tally.unrecorded += len(closed.ended) - len(legs)
        tally.named.update(closed.named)
        slot = roll_up(start_ns, closed.units, closed.cells, closed.calls, sights.error_ids(closed, start_ns))
        return replace(slot, lengths=closed.lengths, running=closed.running), legs

    def forget_cells(self) -> None:
        """Ask for all cells again: some were freed."""
        self._join.forget_labels()

    def snapshot(self) -> Arrays:
        """All state, as named arrays."""
        return self._join.snapshot()

    def restore(self, arrays: Arrays, is_whole: bool) -> None:
        """Take the place of what `snapshot` was taken of. Raises DamagedError.

        is_whole  whether it was told what legs of sessions are made of
        """
        self._join.restore(arrays)
        if not is_whole:
            self._join.tables.rows("traces")["lowest"] = np.nan


def both(calls: Slot, sessions: Slot) -> Slot:
    """Calls and sessions of one slot. A partition whose ingest is of a version before has sessions among its calls."""
    slot = added(calls, sessions)
    cell, bucket, count = (
        np.concatenate([getattr(each.lengths, name) for each in (calls, sessions)]) for name in vars(calls.lengths)
    )
    return replace(
        slot, examples=best_of([calls.examples, sessions.examples]), lengths=added_up(cell, bucket, count),
        running=worst(running_together([calls.running, sessions.running])),
    )  # fmt: skip
