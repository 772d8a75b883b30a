"""The signal of a whole distribution, for latency and cost: histograms against six 4-hour shapes and 24 hourly shifts.

Memory is constant: the open hour's counts are taken into the shape of their 4-hour block when the hour closes, with
that hour's own shift taken out, and everything decays with a half-life of a week.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.core import shape
from detectors.core.columns import TICK_NS, Bools, Entries, Floats, Ids, Precision, Singles, Tick
from detectors.core.dispersion import KEEP, Dispersion
from detectors.core.engine import Counted
from detectors.core.gates import Gates
from detectors.core.histogram import (
    BELOW,
    STEP,
    WIDTH,
    count_above,
    medians,
    quantile_position,
    shifted,
    slid,
    value_at,
    windowed,
)
from detectors.core.hours import with_neighbours
from detectors.core.recent import Recent
from detectors.core.rows import column, resize
from detectors.core.traffic import Traffic

HOUR_NS = 60 * TICK_NS
BLOCKS, BLOCK_HOURS = 6, 4
SHIFT_STRENGTH, BLOCK_STRENGTH, POOL_STRENGTH = 300.0, 3000.0, 20.0
"""Sessions with which no shift, the series' shape and the pool's shape weigh."""
PLACED_AT = 50
"""Sessions after which a series' window is put on its median."""
SLIDE_AT = 8
"""Buckets that the median may leave the middle by before the window follows: a factor of four."""
SWAY_HOURS, SWAY_START = 12.0, 0.10
"""Hours with which the pool's wobble weighs on a series', and the wobble (log) where there is no pool yet."""
SWAY_SESSIONS, WARM_SESSIONS = 30, 200
"""What an hour, and the baseline it is held against, must hold to tell of wobble."""
GATE_POWER = 2 / 3
"""The gate stands at `effect ** (2/3)`: one at the effect itself would miss a third of the changes that large."""
GATE_SHARE, GATE_COUNT = 0.05, 3.0


@dataclass(eq=False)
class ShapeBaseline:
    """What a series' distribution was.

    offset   (S,)         OTLP scale-2 index of the window's first bucket; `placed` once it stands on the median
    blocks   (S, 6, W)    decayed counts by 4-hour block of the day, each hour's shift taken out
    count    (S, 24)      decayed sessions by hour of day; `total` (S, 24) the sum of their positions
    hour     (S, W)       the open hour's counts
    shift    (S,)         the open hour's expected shift, in buckets
    table    (S, W, J)    log ratios of the open block; `worth` (S, J) their mean under j, `mean` and
             `variance` (S, J) under the baseline
    sway     (S, 2)       decayed squares of how far hours lay from what was expected (buckets), and how many
    p95      (S,)         position of the open block's 95% quantile before the shift
    """

    offset: Ids = column(dtype=np.int32)
    placed: Bools = column(dtype=np.bool_)
    blocks: Singles = column(BLOCKS, WIDTH, dtype=np.float32)
    count: Singles = column(24, dtype=np.float32)
    total: Singles = column(24, dtype=np.float32)
    hour: Singles = column(WIDTH, dtype=np.float32)
    shift: Floats = column()
    table: NDArray[np.int16] = column(WIDTH, shape.ALTERNATIVES, dtype=np.int16)
    worth: Singles = column(shape.ALTERNATIVES, dtype=np.float32)
    mean: Singles = column(shape.ALTERNATIVES, dtype=np.float32)
    variance: Singles = column(shape.ALTERNATIVES, dtype=np.float32)
    sway: Singles = column(2, dtype=np.float32)
    p95: Floats = column(fill=np.nan)

    def __post_init__(self) -> None:
        resize(self, 0)


class Distribution:
    """The signal. A run's sums are the sessions above the gate's level, and all of them."""

    alternatives = shape.ALTERNATIVES
    sums = 2
    precision: Precision = np.float32
    residual_of = np.arange(shape.ALTERNATIVES, dtype=np.int32)
    effects = np.concatenate([np.exp(shape.SHIFTS), np.full(len(shape.TAILS), np.nan)])

    def __init__(self, entries: Callable[[Tick], Entries], unit: str, gauge: str, ratio: float) -> None:
        self.entries, self.unit, self.gauge = entries, unit, gauge
        self.gates = Gates(ratio, 0.0)
        self.baseline = ShapeBaseline()
        self.recent = Recent(WIDTH)
        self.traffic = Traffic()
        self.parts: Mapping[str, Any] = {"baseline": self.baseline, "recent": self.recent, "traffic": self.traffic}

    def counted(self, tick: Tick) -> Counted:
        """Dense windows of the series that counted; sampling weights are scaled to their effective size."""
        entries = self.entries(tick)
        rows, cell = entries.cells()
        if not len(rows):
            return Counted(tick.start_ns // TICK_NS, rows, np.empty(0), np.empty((0, WIDTH)), np.empty((0, 0)))
        self._place(entries, rows, tick.start_ns // HOUR_NS % 24)
        at = np.searchsorted(tick.series, rows)
        values = windowed(entries, cell, self.baseline.offset[rows], tick.count[at] / tick.squares[at])
        ratios = shape.ratios(values, rows, self.baseline.shift[rows], self.baseline.table)
        return Counted(tick.start_ns // TICK_NS, rows, values.sum(1), values, ratios)

    def _place(self, entries: Entries, rows: Ids, hour: int) -> None:
        """Put new windows on the tick's median, and those that have seen PLACED_AT sessions on their own."""
        b = self.baseline
        rows = rows[~b.placed[rows]]
        if not len(rows):
            return
        seen = b.hour[rows].sum(1) + b.count[rows].sum(1)
        new, enough = rows[seen == 0], rows[seen >= PLACED_AT]
        mine = np.isin(entries.cell, new)
        first = Entries(entries.cell[mine], entries.bucket[mine], entries.count[mine])
        b.offset[new] = medians(first) - BELOW
        self._slide(enough, hour, least=1)
        b.placed[enough] = True

    def _slide(self, rows: Ids, hour: int, least: int) -> None:
        """Move the windows of these series whose median is `least` or more buckets off the middle."""
        b = self.baseline
        everything = b.blocks[rows].sum(1) + b.hour[rows]
        off = np.nan_to_num(quantile_position(everything, 0.5) - BELOW - 0.5)
        by = np.rint(off).astype(np.int32)
        moved = np.abs(by) >= least
        rows, by = rows[moved], by[moved]
        if not len(rows):
            return
        for block in range(BLOCKS):
            b.blocks[rows, block] = slid(b.blocks[rows, block], by)
        b.hour[rows] = slid(b.hour[rows], by)
        self.recent.sums[rows] = slid(self.recent.sums[rows], by)
        b.total[rows] -= b.count[rows] * by[:, None]
        b.p95[rows] -= by
        b.offset[rows] += by
        self._rebuild(rows, hour)

    def learn(self, counted: Counted, hour: int) -> None:
        self.baseline.hour[counted.rows] += counted.values
        self.recent.add(counted.rows, counted.values)
        self.traffic.add(counted.rows, counted.count, counted.index)

    def residuals(self, counted: Counted, hour: int) -> tuple[Floats, Floats]:
        b, n = self.baseline, counted.count[:, None]
        return counted.ratios - n * b.mean[counted.rows], n * b.variance[counted.rows]

    def ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats:
        """(r, J) log-likelihood ratios, discounted for sessions of one tick that move together."""
        return counted.ratios / (1 + np.maximum(counted.count[:, None] - 1, 0) * rho)

    def tempering(self, rows: Ids, eta: Floats) -> Floats:
        return self.traffic.tempered(rows, eta)

    def run_sums(self, counted: Counted, hour: int) -> Floats:
        b = self.baseline
        gate = GATE_POWER * np.log(self.gates.ratios(counted.rows)) / STEP
        level = b.p95[counted.rows] + b.shift[counted.rows] + gate
        return np.stack([count_above(counted.values, level), counted.count], 1)

    def shows_effect(self, rows: Ids, run: Floats) -> Bools:
        """The run's p95 lies at or above the gate times the baseline's, and not by a session or two."""
        shows: Bools = (run[:, 0] >= GATE_SHARE * run[:, 1]) & (run[:, 0] >= GATE_COUNT)
        return shows

    def weaker(self, alternatives: Ids) -> Ids:
        return shape.WEAKER[alternatives]

    def rho(self, dispersion: Dispersion) -> Floats:
        return dispersion.unpooled_rho()

    def drift(self) -> Floats:
        return self.baseline.worth.astype(np.float64)

    def enter_hour(self, closing: int | None, opening: int, excluded: Bools) -> None:
        """Close the open hour into its block unless it is excluded, and set up the new one."""
        b = self.baseline
        if closing is not None:
            self.traffic.close_hour()
            rows = np.flatnonzero((b.hour.sum(1) > 0) & ~excluded[:, closing % 24]).astype(np.int32)
            self._take_in(rows, closing % 24)
            b.hour[:] = 0
        known = np.flatnonzero(b.count.sum(1) > 0).astype(np.int32)
        b.shift[known] = self._shifts(known)[:, opening % 24]
        if closing is None or closing // BLOCK_HOURS != opening // BLOCK_HOURS:
            self._rebuild(known, opening % 24)

    def _take_in(self, rows: Ids, hour: int) -> None:
        b, counts = self.baseline, self.baseline.hour[rows].astype(np.float64)
        n = counts.sum(1)
        self._learn_sway(rows, counts, n)
        shares = shifted(counts / n[:, None], -b.shift[rows] * STEP)
        b.blocks[rows, hour // BLOCK_HOURS] += n[:, None] * shares
        b.count[rows, hour] += n
        b.total[rows, hour] += counts @ np.arange(WIDTH)

    def _learn_sway(self, rows: Ids, counts: Floats, n: Floats) -> None:
        """Add how far these hours' means lay from the expected ones, less what chance alone would give."""
        b, x = self.baseline, np.arange(WIDTH)
        mean = counts @ x / n
        variance = counts @ (x * x) / n - mean * mean
        count = b.count[rows].sum(1, dtype=np.float64)
        known = (n >= SWAY_SESSIONS) & (count >= WARM_SESSIONS)
        rows, n, mean, variance, count = rows[known], n[known], mean[known], variance[known], count[known]
        off = mean - (b.total[rows].sum(1, dtype=np.float64) / count + b.shift[rows])
        b.sway[rows] += np.stack([off * off - variance / n, np.ones(len(rows))], 1)

    def _sway(self, rows: Ids) -> Floats:
        """(r,) standard deviation of the hours' levels about the expected ones, in natural log.

        Drawn towards the pool's upper quartile while a series has few hours of its own.
        """
        square, hours = self.baseline.sway.T.astype(np.float64)
        told = hours >= SWAY_HOURS
        pool = float(np.quantile(square[told] / hours[told], 0.75)) if told.any() else (SWAY_START / STEP) ** 2
        known = (square[rows] + SWAY_HOURS * max(pool, 0.0)) / (hours[rows] + SWAY_HOURS)
        sway: Floats = np.sqrt(np.maximum(known, 0)) * STEP
        return sway

    def _shifts(self, rows: Ids) -> Floats:
        """(r, 24) how far each hour lies from the series' mean, in buckets, shrunk to none."""
        b = self.baseline
        count, total = b.count[rows].astype(np.float64), b.total[rows].astype(np.float64)
        mean = total.sum(1, keepdims=True) / count.sum(1, keepdims=True)
        near = with_neighbours(count)
        shifts: Floats = (with_neighbours(total) - near * mean) / (near + SHIFT_STRENGTH)
        return shifts

    def _rebuild(self, rows: Ids, hour: int) -> None:
        """Ratio tables of the hour's block for these series."""
        if not len(rows):
            return
        b = self.baseline
        block = b.blocks[rows, hour // BLOCK_HOURS].astype(np.float64)
        whole = b.blocks[rows].sum(1, dtype=np.float64)
        sessions = whole.sum(1)
        p = (whole + POOL_STRENGTH * shape.POOL) / (sessions + POOL_STRENGTH)[:, None]
        p = (block + BLOCK_STRENGTH * p) / (block.sum(1) + BLOCK_STRENGTH)[:, None]
        table, worth = shape.table(p, sessions, self._sway(rows))
        nats = table / shape.UNITS
        b.table[rows], b.worth[rows] = table, worth
        b.mean[rows] = np.einsum("rw,rwj->rj", p, nats)
        b.variance[rows] = np.einsum("rw,rwj->rj", p, nats * nats) - b.mean[rows] ** 2
        b.p95[rows] = quantile_position(p, 0.95)

    def refit(self, excluded: Bools, judgeable: Bools) -> Bools:
        """Midnight: decay, and let windows follow their medians."""
        b = self.baseline
        for past in (b.blocks, b.count, b.total, b.sway):
            past *= KEEP
        self.traffic.decay(KEEP)
        self._slide(np.flatnonzero(b.placed).astype(np.int32), hour=0, least=SLIDE_AT)
        return excluded

    def mass(self) -> Floats:
        mass: Floats = self.baseline.count.sum(1, dtype=np.float64)
        return mass

    def finding(self, row: int, run: Floats, hour: int) -> tuple[str, float, float, float]:
        b = self.baseline
        now = quantile_position(self.recent.sums[[row]], 0.95)[0]
        before = b.p95[row] + b.shift[row]
        offset = b.offset[[row]]
        return self.unit, float(value_at(before, offset)[0]), float(value_at(now, offset)[0]), float(run[1])

    def wobble(self, dispersion: Dispersion) -> Floats:
        """(S,) by how much, as a factor, an hour's level lies off its expectation: one standard deviation."""
        wobble: Floats = np.exp(self._sway(np.arange(len(self.baseline.sway), dtype=np.int32)))
        return wobble

    def crept(self, dispersion: Dispersion) -> Mapping[int, tuple[str, float, float, float]]:
        """Nothing: the four-week anchor is the failures' alone."""
        return {}

    def gauges(self, hour: int) -> dict[str, Floats]:
        """Quantiles of the last minutes, the baseline's p95 and the p95 from which there is an effect."""
        b = self.baseline
        known = self.mass() > 0
        levels = {
            f"{self.gauge}_p{round(100 * q)}": value_at(quantile_position(self.recent.sums, q), b.offset)
            for q in (0.5, 0.95, 0.99)
        }
        before = np.where(known, value_at(b.p95 + b.shift, b.offset), np.nan)
        asked = self.gates.ratios(np.arange(len(before), dtype=np.int32))
        return levels | {f"{self.gauge}_baseline": before, f"{self.gauge}_effect": before * asked}
