"""The tempered Shiryaev-Roberts mixture: evidence that a series has changed, tick by tick.

For each alternative j, log R_j <- log(1 + R_j) + min(l_j, cap) where l_j is a log-likelihood ratio whose null
expectation of exp(l_j) is at most 1. Then R_j - ticks is a supermartingale under the null, and so the expected number
of times the mixture M = log mean R passes h is at most exp(-h) a tick. Beside R runs Page's CUSUM C_j: its last zero
is where the run of evidence began, and the effect of the change is measured over that run.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Bools, Bytes, Floats, Ids, Mode, Precision, Singles
from detectors.core.loops import add_evidence
from detectors.core.rows import PRECISION, clear, column, resize

REVERSE_ENOUGH = 5.0
"""Log evidence that a change is gone. Each tick adds at most 1, so it takes at least five."""


@dataclass(eq=False)
class Evidence:
    """The state of all series of a rule.

    log_r       (S, J)     log R_j; -inf at the start
    cusum       (S, J)     C_j
    since       (S, J)     tick index (minutes since 1970) in which the run of j began
    run         (S, J, Q)  the signal's own sums over that run
    reverse     (S,)       D, the same evidence turned round, while paging or muted
    reverse_of  (S,)       the alternative that D tests against
    suspicious  (S,)       evidence over half the threshold: the next tick is not learnt
    standing    (S,)       alternatives, a bit each, that are left out of M for today (`stand`)
    mode        (S,)       the mode the series was last seen in
    """

    alternatives: int
    sums: int
    precision: Precision
    log_r: Floats = column("alternatives", fill=-np.inf, dtype=PRECISION)
    cusum: Floats = column("alternatives", dtype=PRECISION)
    since: Ids = column("alternatives", dtype=np.int32)
    run: Singles = column("alternatives", "sums", dtype=np.float32)
    reverse: Floats = column(dtype=PRECISION)
    reverse_of: Bytes = column(dtype=np.int8)
    suspicious: Bools = column(dtype=np.bool_)
    standing: NDArray[np.uint16] = column(dtype=np.uint16)
    mode: Bytes = column(dtype=np.int8)

    def __post_init__(self) -> None:
        resize(self, 0)

    def enter(self, modes: Bytes) -> None:
        """Take over the modes; a series whose mode has changed starts again from no evidence."""
        known = self.mode[: len(modes)]
        changed = np.flatnonzero(known != modes[: len(known)]).astype(np.int32)
        if len(changed):
            entered = modes[changed]
            kept = self.reverse_of[changed].copy()
            clear(self, changed)
            self.reverse_of[changed] = kept
            self.mode[changed] = entered

    def begin(self, rows: Ids) -> None:
        """A tick of these watched or recovering series begins: with it, a change may have begun."""
        # log(1 + R), a few operations of a whole column each: several times as fast as logaddexp, number by number.
        log_r = self.log_r[rows]
        self.log_r[rows] = np.maximum(log_r, 0) + np.log(1 + np.exp(-np.abs(log_r)))

    def add(self, rows: Ids, gain: Floats, sums: Floats, tick: int) -> Floats:
        """What a tick (or a part of it) says of series for which it has begun; (r,) their largest log R_j then.

        rows (r,) ids · gain (r, J) l_j, already capped · sums (r, Q) what this tick adds to every run
        """
        state = self.log_r, self.cusum, self.since, self.run
        return add_evidence(*state, rows.astype(np.int64), np.ascontiguousarray(gain), sums.astype(np.float64), tick)

    def turn_round(self, rows: Ids, against: Floats) -> None:
        """One tick of paging or muted series; `against` (r, J or more) is -l_j, untempered: for the baseline."""
        step = np.minimum(1.0, np.take_along_axis(against, self.reverse_of[rows, None], 1)[:, 0])
        self.reverse[rows] = np.maximum(0, self.reverse[rows] + step)

    def stand(self, rows: Ids, which: Bools) -> None:
        """Until it is said again, leave these alternatives (r, J) of these series out of M, and no others.

        A tail that was a little heavier for weeks gathers evidence without end. It leads, and its long run, which never
        shows an effect, would hide from the gate whatever happens beside it.
        """
        self.standing[:] = 0
        self.standing[rows] = which @ (1 << np.arange(self.alternatives))

    def leading(self, rows: Ids) -> tuple[Ids, Floats]:
        """(leader, M) of these series: the alternative with the most evidence, and the log of the mean of R over all of
        them; -inf before any evidence. One that is left out counts as zero, which keeps the bound on pages."""
        log_r = self.log_r[rows].astype(np.float64)
        left_out = np.flatnonzero(self.standing[rows])
        if len(left_out):
            stands = self.standing[rows[left_out], None] >> np.arange(self.alternatives) & 1
            log_r[left_out] = np.where(stands, -np.inf, log_r[left_out])
        top = log_r.max(1)
        with np.errstate(invalid="ignore"):
            spread = np.where(np.isfinite(top)[:, None], np.exp(log_r - top[:, None]), 1.0)
        return log_r.argmax(1).astype(np.int32), top + np.log(spread.mean(1))

    def total(self, rows: Ids) -> Floats:
        """M of these series."""
        return self.leading(rows)[1]

    def recovered(self, rows: Ids) -> Bools:
        """Which of these paging or muted series have gone back."""
        gone: Bools = self.reverse[rows] >= REVERSE_ENOUGH
        return gone

    def modes(self, rows: Ids) -> tuple[Bools, Bools]:
        """(gathering, turned): which of the rows gather evidence of a change, and which of its end."""
        mode = self.mode[rows]
        gathering: Bools = (mode == Mode.WATCHED) | (mode == Mode.RECOVERING)
        return gathering, ~gathering
