"""The signal of a whole distribution, for latency and cost: histograms against six 4-hour shapes and 24 hourly shifts.

Memory is constant: the open hour's counts are taken into the shape of their 4-hour block when the hour closes, with
that hour's own shift taken out, and everything decays with a half-life of a week.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from detectors.core import packed, shape
from detectors.core.anchor import LevelAnchor
from detectors.core.columns import TICK_NS, Bools, Bytes, Entries, Floats, Ids, Places, Precision, Singles, Tick
from detectors.core.count_signal import Counted
from detectors.core.descriptor import Gauge
from detectors.core.dispersion import KEEP, Dispersion
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
from detectors.core.kin import Kin, swing
from detectors.core.packed import FINEST, Packed, unpacked
from detectors.core.recent import DECAY
from detectors.core.rows import column, resize
from detectors.core.traffic import Traffic
from detectors.core.worth import Worth

HOUR_NS = 60 * TICK_NS
QUANTILES = (0.5, 0.95, 0.99)
"""What is shown of a distribution."""
BLOCKS, BLOCK_HOURS = 6, 4
SHIFT_STRENGTH, BLOCK_STRENGTH, POOL_STRENGTH = 300.0, 3000.0, 20.0
"""Sessions with which no shift, the series' shape and the pool's shape weigh."""
PLACED_AT = 50
"""Sessions after which, at the next hour, a series' window moves from its first tick's median to its own."""
UNSEEN, ON_FIRST_TICK, ON_MEDIAN = range(3)
SLIDE_AT = 8
"""Buckets that the median may leave the middle by before the window follows: a factor of four."""
WEEK_DAYS = 7
SWAY_HOURS, SWAY_START = 12.0, 0.10
"""Hours with which the pool's wobble weighs on a series', and the wobble (log) where there is no pool yet."""
SWAY_SESSIONS, WARM_SESSIONS = 30, 200
"""What an hour, and the baseline it is held against, must hold to tell of wobble."""
GATE_POWER = 2 / 3
"""The gate stands at `effect ** (2/3)`: one at the effect itself would miss a third of the changes that large."""
GATE_SHARE, GATE_COUNT = 0.05, 3.0
GROWS = np.log(1.1)
"""How far over its null a level may lie before evidence grows, in the mean, for the smallest alternative."""
REBUILT_ROWS = 1024
"""Series whose tables are made together: what that needs fits into a processor's cache."""
RESIDUALS = np.array([0, 4, 5], np.int32)
"""Alternatives whose ratios tell the wobble: of shifts one does, as the ratios of all sizes rise and fall together. Of
1.3, 1.5, 2 and 3 times, the variance of their blocks was the same to 5% at all widths but the day's, where the first
of them had most (9%)."""


@dataclass(eq=False)
class ShapeBaseline:
    """What a series' distribution was.

    offset   (S,)         OTLP scale-2 index of the window's first bucket, and `placed` what it stands on
    blocks   (S, 6, W)    decayed counts by 4-hour block of the day, each hour's shift taken out (`packed.py`)
    hour     (S, W)       the open hour's counts; `recent` (S, W) the last minutes', for what is shown
    count    (S, 24)      decayed sessions by hour of day; `total` (S, 24) the sum of their positions
    shift    (S,)         the open hour's expected shift, in buckets
    table    (S, W, J)    log ratios of the open block; `worth` (S, J) their mean under j, `mean` and
             `variance` (S, A) of those that are residuals, under the baseline
    sway     (S, 2)       decayed squares of how far hours lay from what was expected (buckets), and how many
    wobble   (S,)         from them: standard deviation of an hour's level, natural log
    p95      (S,)         position of the open block's 95% quantile before the shift
    """

    offset: Ids = column(dtype=np.int32)
    placed: Bytes = column(fill=UNSEEN, dtype=np.int8)
    blocks: Packed = column(BLOCKS, WIDTH, dtype=np.uint16)
    blocks_unit: Singles = column(BLOCKS, fill=FINEST, dtype=np.float32)
    hour: Packed = column(WIDTH, dtype=np.uint16)
    hour_unit: Singles = column(fill=FINEST, dtype=np.float32)
    recent: Packed = column(WIDTH, dtype=np.uint8)
    recent_unit: Singles = column(fill=FINEST, dtype=np.float32)
    count: Singles = column(24, dtype=np.float32)
    total: Singles = column(24, dtype=np.float32)
    shift: Singles = column(dtype=np.float32)
    table: NDArray[np.int16] = column(WIDTH, shape.ALTERNATIVES, dtype=np.int16)
    worth: Singles = column(shape.ALTERNATIVES, dtype=np.float32)
    mean: Singles = column(len(RESIDUALS), dtype=np.float32)
    variance: Singles = column(len(RESIDUALS), dtype=np.float32)
    sway: Singles = column(2, dtype=np.float32)
    wobble: Singles = column(fill=SWAY_START, dtype=np.float32)
    p95: Singles = column(fill=np.nan, dtype=np.float32)

    def __post_init__(self) -> None:
        resize(self, 0)

    def block(self, rows: Ids, block: int) -> Floats:
        """(r, W) counts of one block of the day."""
        return unpacked(self.blocks[rows, block], self.blocks_unit[rows, block])

    def each_block(self) -> tuple[Packed, Singles]:
        """(S * 6, W) counts and their units; block b of series s is row 6 s + b."""
        return self.blocks.reshape(-1, WIDTH), self.blocks_unit.reshape(-1)

    def all_blocks(self, rows: Ids) -> Floats:
        """(r, W) counts of the whole day."""
        whole: Floats = np.sum([self.block(rows, block) for block in range(BLOCKS)], 0)
        return whole


class Distribution:
    """The signal. A run's sums are the sessions above the gate's level, and all of them."""

    alternatives = shape.ALTERNATIVES
    sums = 2
    precision: Precision = np.float32
    residual_of = np.array([0, 0, 0, 0, 1, 2], np.int32)
    effects = np.concatenate([np.exp(shape.SHIFTS), np.full(len(shape.TAILS), np.nan)])

    def __init__(self, entries: Callable[[Tick], Entries], unit: str, gauge: str, ratio: float) -> None:
        self.entries, self.unit, self.gauge = entries, unit, gauge
        self.gates = Gates(ratio, 0.0)
        self.baseline = ShapeBaseline()
        self.traffic, self.worth = Traffic(), Worth()
        self.anchor = LevelAnchor()
        self.parts: Mapping[str, Any] = {
            "baseline": self.baseline, "traffic": self.traffic, "anchor": self.anchor, "worth": self.worth,
        }  # fmt: skip

    def counted(self, tick: Tick) -> Counted:
        """Dense windows of the series that counted; sampling weights are scaled to their effective size."""
        entries = self.entries(tick)
        rows, cell = entries.cells()
        if not len(rows):
            return Counted(tick.start_ns // TICK_NS, rows, np.empty(0), np.empty((0, WIDTH)), np.empty((0, 0)))
        self._place(entries, rows, cell)
        at = np.searchsorted(tick.series, rows)
        self.worth.add(rows, tick.count[at], tick.squares[at])
        weight = self.worth.weight(rows, tick.count[at], tick.squares[at])
        values = windowed(entries, cell, self.baseline.offset[rows], 1 / weight)
        ratios = shape.ratios(values, rows, self.baseline.shift[rows], self.baseline.table)
        return Counted(tick.start_ns // TICK_NS, rows, values @ np.ones(WIDTH), values, ratios)

    def _place(self, entries: Entries, rows: Ids, cell: Places) -> None:
        """Put new windows on the tick's median; `cell` (m,) says which of the rows each entry is of."""
        b = self.baseline
        new = b.placed[rows] == UNSEEN
        if new.any():
            mine = new[cell]
            first = entries.at(mine)
            b.offset[rows[new]] = medians(first) - BELOW
            b.placed[rows[new]] = ON_FIRST_TICK

    def _slide(self, rows: Ids, hour: int, least: int) -> None:
        """Move the windows of these series whose median is `least` or more buckets off the middle."""
        b = self.baseline
        everything = b.all_blocks(rows) + unpacked(b.hour[rows], b.hour_unit[rows])
        off = np.nan_to_num(quantile_position(everything, 0.5) - BELOW - 0.5)
        by = np.rint(off).astype(np.int32)
        moved = np.abs(by) >= least
        rows, by = rows[moved], by[moved]
        if not len(rows):
            return
        for block in range(BLOCKS):
            packed.put(*b.each_block(), BLOCKS * rows + block, slid(b.block(rows, block), by))
        for counts, unit in ((b.hour, b.hour_unit), (b.recent, b.recent_unit)):
            packed.put(counts, unit, rows, slid(unpacked(counts[rows], unit[rows]), by))
        b.total[rows] -= b.count[rows] * by[:, None]
        b.p95[rows] -= by
        b.offset[rows] += by
        self._rebuild(rows, hour)

    def learn(self, counted: Counted, hour: int) -> None:
        b, rows = self.baseline, counted.rows
        packed.add(b.hour, b.hour_unit, rows, counted.values)
        b.recent_unit[rows] = np.maximum(DECAY * b.recent_unit[rows], packed.LEAST_UNIT)
        packed.add(b.recent, b.recent_unit, rows, counted.values)
        self.traffic.add(rows, counted.count, counted.index)

    def residuals(self, counted: Counted, hour: int) -> tuple[Floats, Floats]:
        b, n = self.baseline, counted.count[:, None]
        return counted.ratios[:, RESIDUALS] - n * b.mean[counted.rows], n * b.variance[counted.rows]

    def ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats:
        """(r, J) log-likelihood ratios, discounted for sessions of one tick that move together."""
        apart = 1 / (1 + np.maximum(counted.count[:, None] - 1, 0) * rho)
        return counted.ratios * apart[:, self.residual_of]

    def of_ends(self, counted: Counted, hour: int, rho: Floats, ratios: Floats) -> Floats:
        return ratios

    def tempering(self, rows: Ids, eta: Floats) -> Floats:
        return self.traffic.tempered(rows, eta)

    def run_sums(self, counted: Counted, hour: int) -> Floats:
        b = self.baseline
        level = b.p95[counted.rows] + b.shift[counted.rows] + self._gate(counted.rows)
        return np.stack([count_above(counted.values, level), counted.count], 1)

    def _gate(self, rows: Ids) -> Floats:
        """(r,) buckets that a run's p95 must lie above the expected one."""
        gate: Floats = GATE_POWER * np.log(self.gates.ratios(rows)) / STEP
        return gate

    def shows_effect(self, rows: Ids, run: Floats) -> Bools:
        """The run's p95 lies at or above the gate times the baseline's, and not by a session or two."""
        shows: Bools = (run[:, 0] >= GATE_SHARE * run[:, 1]) & (run[:, 0] >= GATE_COUNT)
        return shows

    def asked(self) -> Floats:
        return self.gates.ratios(np.arange(len(self.baseline.p95), dtype=np.int32))

    def weaker(self, alternatives: Ids, rows: Ids, run: Floats) -> Ids:
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
            rows = np.flatnonzero(b.hour.any(1) & ~excluded[:, closing % 24]).astype(np.int32)
            self._take_in(rows, closing % 24)
            b.hour[:], b.hour_unit[:] = 0, FINEST
            b.wobble[:] = self._sway()
        known = np.flatnonzero(b.count.any(1)).astype(np.int32)
        b.shift[known] = self._shift(known, opening % 24)
        settled = known[(b.placed[known] == ON_FIRST_TICK) & (b.count[known].sum(1) >= PLACED_AT)]
        self._slide(settled, opening % 24, least=1)
        b.placed[settled] = ON_MEDIAN
        if closing is None or closing // BLOCK_HOURS != opening // BLOCK_HOURS:
            self._rebuild(known, opening % 24)

    def _take_in(self, rows: Ids, hour: int) -> None:
        b = self.baseline
        counts = unpacked(b.hour[rows], b.hour_unit[rows])
        n = counts.sum(1)
        self._learn_sway(rows, counts, n)
        shares = shifted(counts / n[:, None], -b.shift[rows] * STEP)
        packed.add(*b.each_block(), BLOCKS * rows + hour // BLOCK_HOURS, n[:, None] * shares)
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

    def _sway(self) -> Floats:
        """(S,) standard deviation of the hours' levels about the expected ones, in natural log.

        Drawn towards the pool's upper quartile while a series has few hours of its own.
        """
        square, hours = self.baseline.sway.T.astype(np.float64)
        told = hours >= SWAY_HOURS
        pool = float(np.quantile(square[told] / hours[told], 0.75)) if told.any() else (SWAY_START / STEP) ** 2
        known = (square + SWAY_HOURS * max(pool, 0.0)) / (hours + SWAY_HOURS)
        sway: Floats = np.sqrt(np.maximum(known, 0)) * STEP
        return sway

    def _shift(self, rows: Ids, hour: int) -> Floats:
        """(r,) how far this hour of the day lies from the series' mean, in buckets, shrunk to none."""
        b, around = self.baseline, np.array([hour - 1, hour, (hour + 1) % 24])
        count, total = b.count[rows].astype(np.float64), b.total[rows].astype(np.float64)
        mean = total.sum(1) / count.sum(1)
        near = with_neighbours(count[:, around])[:, 1]
        shift: Floats = (with_neighbours(total[:, around])[:, 1] - near * mean) / (near + SHIFT_STRENGTH)
        return shift

    def _rebuild(self, rows: Ids, hour: int, off: Floats | None = None) -> None:
        """Ratio tables of the hour's block for these series; `off` (r,) as in `shape.table`."""
        b, off = self.baseline, np.zeros(len(rows)) if off is None else off
        for at in range(0, len(rows), REBUILT_ROWS):
            some = rows[at : at + REBUILT_ROWS]
            block, whole = b.block(some, hour // BLOCK_HOURS), b.all_blocks(some)
            sessions = whole.sum(1)
            p = (whole + POOL_STRENGTH * shape.POOL) / (sessions + POOL_STRENGTH)[:, None]
            p = (block + BLOCK_STRENGTH * p) / (block.sum(1) + BLOCK_STRENGTH)[:, None]
            wobble, lies_off = b.wobble[some].astype(np.float64), off[at : at + REBUILT_ROWS]
            b.table[some], b.worth[some] = shape.table(p, sessions, wobble, lies_off)
            nats = b.table[some][:, :, RESIDUALS] / shape.UNITS
            mean = np.einsum("rw,rwj->rj", p, nats)
            b.mean[some] = mean
            b.variance[some] = np.einsum("rw,rwj->rj", p, nats * nats) - mean**2
            b.p95[some] = quantile_position(p, 0.95)

    def learnt(self, excluded: Bools) -> tuple[Floats, Floats]:
        """(S,) sessions of the hours that closed, and how many hours."""
        return self.mass(), (self.baseline.count > 0).sum(1).astype(np.float64)

    def variance(self, rows: Ids, lenders: Ids) -> Floats:
        """The kin's, as the newcomers have no table yet."""
        return np.full(len(rows), np.median(self.baseline.variance[lenders, 0].astype(np.float64)))

    def lend(self, kin: Kin, excluded: Bools, hour: int) -> None:
        """The newcomer's own level and shape; the null lies as far off as kin's hours differ and its data may err."""
        b = self.baseline
        count, total = (column[kin.lenders].astype(np.float64) for column in (b.count, b.total))
        with np.errstate(invalid="ignore", divide="ignore"):
            hours = np.where(count >= SWAY_SESSIONS, total / count, np.nan) - (total.sum(1) / count.sum(1))[:, None]
        whole, x = b.all_blocks(kin.rows), np.arange(WIDTH)
        sessions = np.maximum(whole.sum(1), 1)
        variance = np.maximum(whole @ (x * x) / sessions - (whole @ x / sessions) ** 2, 1.0)
        off = STEP * ndtri(1 - kin.chance) * np.sqrt(variance / kin.units + swing(hours))
        self._rebuild(kin.rows, hour, np.maximum(off - GROWS, 0))

    def refit(self, excluded: Bools, judgeable: Bools) -> Bools:
        """Midnight: decay, and let windows follow their medians."""
        b = self.baseline
        packed.decay(b.blocks_unit, KEEP)
        for past in (b.count, b.total, b.sway):
            past *= KEEP
        self.traffic.decay(KEEP)
        self._slide(np.flatnonzero(b.placed == ON_MEDIAN).astype(np.int32), hour=0, least=SLIDE_AT)
        return excluded

    def mass(self) -> Floats:
        mass: Floats = self.baseline.count.sum(1, dtype=np.float64)
        return mass

    def finding(self, row: int, run: Floats, hour: int) -> tuple[str, float, float, float]:
        """The p95 of the last minutes, or where it has fallen again the gate's: the run's lies at or above that."""
        b, rows = self.baseline, np.array([row], np.int32)
        before = b.p95[row] + b.shift[row]
        now = max(quantile_position(b.recent[rows], 0.95)[0], before + self._gate(rows)[0])
        offset = b.offset[rows]
        return self.unit, float(value_at(before, offset)[0]), float(value_at(now, offset)[0]), float(run[1])

    def said(self, row: int, run: Floats) -> str:
        """Nothing more: the level says it all."""
        return ""

    def wobble(self, dispersion: Dispersion) -> Floats:
        """(S,) by how much, as a factor, an hour's level lies off its expectation: one standard deviation."""
        wobble: Floats = np.exp(self.baseline.wobble.astype(np.float64))
        return wobble

    def crept(self, day: int, dispersion: Dispersion) -> Mapping[int, tuple[str, float, float, float]]:
        """Whose mean level has risen in four weeks; told as the p95 of now, and so much less."""
        if day % WEEK_DAYS:
            return {}
        b, mass = self.baseline, self.mass()
        with np.errstate(invalid="ignore", divide="ignore"):
            level = STEP * (b.total.sum(1, dtype=np.float64) / mass + b.offset)
        # At the worst an hour's stray lasts for its day.
        crept = self.anchor.crept(np.where(mass >= WARM_SESSIONS, level, np.nan), b.wobble / np.sqrt(WEEK_DAYS))
        told = {}
        for row, rise in crept.items():
            whole = b.all_blocks(np.array([row], np.int32))
            p95 = float(value_at(quantile_position(whole, 0.95), b.offset[[row]])[0])
            told[row] = self.unit, p95 / np.exp(rise), p95, float(mass[row])
        return told

    def gauges(self, hour: int) -> dict[str, Floats]:
        """Quantiles of the last minutes, the baseline's p95 and the p95 from which there is an effect."""
        b = self.baseline
        known = self.mass() > 0
        levels = {
            f"{self.gauge}_p{round(100 * q)}": value_at(quantile_position(b.recent, q), b.offset) for q in QUANTILES
        }
        before = np.where(known, value_at(b.p95.astype(np.float64) + b.shift, b.offset), np.nan)
        asked = self.gates.ratios(np.arange(len(before), dtype=np.int32))
        return levels | {f"{self.gauge}_baseline": before, f"{self.gauge}_effect": before * asked}


def quantile_gauges(name: str, metric: str, help_: str, unit: str) -> dict[str, Gauge]:
    """The gauges of the quantiles that `Distribution.gauges` tells; `explain` shows the p95 beside its baseline."""
    names = {f"{name}_p{round(100 * q)}": ("percentile", f"{round(100 * q)}") for q in QUANTILES}
    gauges = {gauge: Gauge(metric, help_, label) for gauge, label in names.items()}
    p95 = f"{name}_p95"
    return gauges | {p95: replace(gauges[p95], shows=unit, usual=f"{name}_baseline")}
