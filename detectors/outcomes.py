"""Outcome drift: the mix of good sessions and of each class of bad ones against the hour's.

Which classes there are, and which of them are good, is the operator's to say; all good ones are one here, the first.
Sessions whose outcome is a word of no class may be anything. So where they are many a series is neither judged nor
learnt, and where they are few they are judged as if they were good: a page is true whatever they were.

Dirichlet-multinomial ratios. The null is the baseline whose good class (the first) has lost a little slack; an
alternative takes 10, 20 or 40 points more from the good class, and gives them to one bad class or to all in proportion.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.core.anchor import Anchor
from detectors.core.columns import OUTCOMES, TICK_NS, Bools, Entries, Floats, Ids, Precision, Singles, Tick
from detectors.core.contract import Terms
from detectors.core.count_signal import Counted
from detectors.core.descriptor import Descriptor, Effects, Gauge
from detectors.core.dispersion import DAY_BLOCK, KEEP, Dispersion
from detectors.core.engine import GAUGES, LEARNS, Engine
from detectors.core.gates import Gates
from detectors.core.hours import HOUR_STRENGTH, with_neighbours
from detectors.core.loops import outcome_ratios
from detectors.core.recent import Recent
from detectors.core.rows import column, resize
from detectors.core.traffic import Traffic
from detectors.core.worth import Worth

DROPS = np.array([0.10, 0.20, 0.40])
MIX_POOL_STRENGTH = 5.0
MIX_SLACK = 0.015
MIX_LEAST_POINTS = 0.10
UNMAPPED_MAX = 0.10
"""Share of the last active minutes' sessions that may be of no class."""
MOVES_TOLD_MAX, TOLD_LEAST = 2, 0.01
"""Classes that grew, and that fell, of which a page tells, and the share by which they must have moved."""
TERMS_MAX = 32
"""Sessions up to which a rising product is multiplied out: it takes no longer than a gamma function, and fits a float,
as concentrations are at most 1e5."""


@dataclass(eq=False)
class MixBaseline:
    """Sessions by hour of day and class: decayed, and today's; from them the expected mix and the null.

    classes    K: one for all good ones, one for each bad one, and a last one that nothing is in
    mean       (S, K)  the series' mix at the last refit, drawn towards the pool's
    mix, null  (S, K)  those of the open hour, shares that sum to 1
    """

    classes: int = len(OUTCOMES)
    count: Singles = column(24, "classes", dtype=np.float32)
    today: Singles = column(24, "classes", dtype=np.float32)
    mean: Singles = column("classes", fill=1 / len(OUTCOMES), dtype=np.float32)
    mix: Floats = column("classes", fill=1 / len(OUTCOMES))
    null: Floats = column("classes", fill=1 / len(OUTCOMES))

    def __post_init__(self) -> None:
        resize(self, 0)


class Outcomes:
    """The signal. A run's sums are its good sessions, the good ones expected, all, and by how many those of each bad
    class exceed the expected.

    names  of the classes by id, as the sessions have them: `goods` good ones, then bad ones, the last those of no class
    mix    of a tick: what is counted by class
    """

    precision: Precision = np.float32

    def __init__(
        self, points: float, names: tuple[str, ...] = OUTCOMES, goods: int = 1,
        mix: Callable[[Tick], Entries] = lambda tick: tick.outcome,
    ) -> None:  # fmt: skip
        self.names, self.goods, self._mix = names, goods, mix
        self.classes = len(names) - goods + 1
        self.alternatives, self.sums = len(DROPS) * self.classes, self.classes + 1
        self.residual_of = np.zeros(self.alternatives, np.int32)
        self.effects = np.repeat(DROPS, self.classes)
        self.gates = Gates(1.0, points)
        self.baseline = MixBaseline(self.classes)
        self.recent = Recent(len(names))
        self.anchor = Anchor()
        self.traffic, self.worth = Traffic(), Worth()
        self.parts: Mapping[str, Any] = {
            "baseline": self.baseline, "recent": self.recent, "anchor": self.anchor, "traffic": self.traffic,
            "worth": self.worth,
        }  # fmt: skip

    def counted(self, tick: Tick) -> Counted:
        """(r, K) sessions by class, of series that closed any with an outcome; weights scaled to effective size.

        Those of no class are among the good ones, and once more alone in the place of ratios.
        """
        mix, ids = self._mix(tick), len(self.names)
        rows, at = mix.cells()
        # What was counted with more classes than there are now is of none.
        place = np.minimum(mix.bucket, ids - 1)
        flat = np.bincount(at * ids + place, mix.count, minlength=len(rows) * ids)
        here = np.searchsorted(tick.series, rows)
        self.worth.add(rows, tick.count[here], tick.squares[here])
        weight = self.worth.weight(rows, tick.count[here], tick.squares[here])
        told: Floats = np.nan_to_num(flat.reshape(len(rows), ids) / weight[:, None])
        self.recent.add(rows, told)
        values = np.zeros((len(rows), self.classes))
        values[:, 0] = told[:, : self.goods].sum(1) + told[:, -1]
        values[:, 1:-1] = told[:, self.goods : -1]
        of_late = self.recent.sums[rows].astype(np.float64)
        clear = of_late[:, -1] <= UNMAPPED_MAX * of_late.sum(1)
        return Counted(tick.start_ns // TICK_NS, rows, values.sum(1), values, told[:, -1:]).only(clear)

    def learn(self, counted: Counted, hour: int) -> None:
        known = counted.values.copy()
        known[:, :1] -= counted.ratios
        self.baseline.today[counted.rows, hour] += known
        self.traffic.add(counted.rows, counted.count, counted.index)

    def residuals(self, counted: Counted, hour: int) -> tuple[Floats, Floats]:
        good = self.baseline.mix[counted.rows, 0]
        residual = counted.values[:, 0] - counted.count * good
        return residual[:, None], (counted.count * good * (1 - good))[:, None]

    def ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats:
        """(r, J) log-likelihood ratios; alternative d * K + g: drop d to class g, g = 0 meaning all in proportion."""
        null, concentration = self.baseline.null[counted.rows], 1 / rho[:, 0].astype(np.float64) - 1
        return outcome_ratios(null, counted.values, concentration, DROPS, TERMS_MAX)

    def of_ends(self, counted: Counted, hour: int, rho: Floats, ratios: Floats) -> Floats:
        return ratios

    def tempering(self, rows: Ids, eta: Floats) -> Floats:
        return self.traffic.tempered(rows, eta)

    def run_sums(self, counted: Counted, hour: int) -> Floats:
        expected = counted.count[:, None] * self.baseline.mix[counted.rows]
        surplus = counted.values[:, 1:-1] - expected[:, 1:-1]
        return np.concatenate([counted.values[:, :1], expected[:, :1], counted.count[:, None], surplus], 1)

    def shows_effect(self, rows: Ids, run: Floats) -> Bools:
        """Total variation between the run's mix and the expected one is at least half the effect: measured to be the
        gate at which drifts as large as the effect itself are still found."""
        surplus = np.concatenate([run[:, :1] - run[:, 1:2], run[:, 3:]], 1)
        distance = (np.abs(surplus).sum(1) + np.abs(surplus.sum(1))) / 2 / run[:, 2]
        shows: Bools = distance >= self.gates.points_of(rows) / 2
        return shows

    def asked(self) -> Floats:
        return self.gates.points_of(np.arange(len(self.baseline.mix), dtype=np.int32))

    def weaker(self, alternatives: Ids, rows: Ids, run: Floats) -> Ids:
        return np.where(alternatives >= self.classes, alternatives - self.classes, alternatives).astype(np.int32)

    def rho(self, dispersion: Dispersion) -> Floats:
        return dispersion.unpooled_rho()

    def drift(self) -> Floats:
        """(S, J) mean log ratio of one session under each alternative, at the series' mean mix."""
        null = self._null(self.baseline.mean.astype(np.float64))
        mixes = []
        for drop in DROPS:
            lost = np.minimum(drop, 0.9 * null[:, :1])
            others = null[:, 1:]
            left = null[:, :1] - lost
            mixes.append(np.concatenate([left, others * (1 + lost / (1 - null[:, :1]))], 1))
            for g in range(1, self.classes):
                gained = null.copy()
                gained[:, :1] = left
                gained[:, g] += lost[:, 0]
                mixes.append(gained)
        return np.stack([(mix * np.log(mix / null)).sum(1) for mix in mixes], 1)

    def enter_hour(self, closing: int | None, opening: int, excluded: Bools) -> None:
        """Set up the hour's mix; it is refitted at midnight only."""
        if closing is not None:
            self.traffic.close_hour()
        self.baseline.mix[:], self.baseline.null[:] = self._hour(opening % 24)

    def _hour(self, hour: int) -> tuple[Floats, Floats]:
        """(S, K) mix of an hour of the day, and its null."""
        b, around = self.baseline, np.array([hour - 1, hour, (hour + 1) % 24])
        near = with_neighbours(b.count[:, around].astype(np.float64))[:, 1]
        mix = (near + HOUR_STRENGTH * b.mean) / (near.sum(1, keepdims=True) + HOUR_STRENGTH)
        return mix, self._null(mix)

    def _null(self, mix: Floats) -> Floats:
        """(S, K) the mix with good sessions fewer by some slack."""
        good, sessions = mix[:, :1], np.maximum(self.mass(), 1)[:, None]
        slack = np.minimum(MIX_SLACK + np.sqrt(good * (1 - good) / sessions), good / 2)
        return np.concatenate([good - slack, mix[:, 1:] * (1 + slack / (1 - good))], 1)

    def refit(self, excluded: Bools, judgeable: Bools) -> Bools:
        """Midnight: decay, add today's hours that may be learnt, and derive the mix and its null."""
        b = self.baseline
        b.today[excluded] = 0
        b.count *= KEEP
        b.count += b.today
        self.traffic.decay(KEEP)
        learnt = b.today.sum(1, dtype=np.float64)
        self.anchor.add(learnt.sum(1), learnt[:, 1:].sum(1))
        b.today[:] = 0
        whole = b.count.sum(1, dtype=np.float64)
        sessions = whole.sum(1)
        pool = (whole.sum(0) + 1) / (whole.sum() + self.classes)
        b.mean[:] = (whole + MIX_POOL_STRENGTH * pool) / (sessions + MIX_POOL_STRENGTH)[:, None]
        b.mix[:], b.null[:] = self._hour(0)
        return excluded

    def mass(self) -> Floats:
        mass: Floats = self.baseline.count.sum((1, 2), dtype=np.float64)
        return mass

    def finding(self, row: int, run: Floats, hour: int) -> tuple[str, float, float, float]:
        good, expected, count = run[:3].tolist()
        return "share", expected / count, good / count, count

    def said(self, row: int, run: Floats) -> str:
        """Which classes have moved, and from what share to what: those that grew first, then by how far."""
        before = self.baseline.mix[row].copy()
        now, count = before.copy(), float(run[2])
        before[0], now[0] = run[1] / count, run[0] / count
        now[1:-1] += run[3:] / count
        good = self.names[0] if self.goods == 1 else "good"
        names = (good, *self.names[self.goods : -1])
        moved = [(name, float(before[i]), max(float(now[i]), 0.0)) for i, name in enumerate(names)]
        moved = sorted(
            (one for one in moved if abs(one[2] - one[1]) >= TOLD_LEAST), key=lambda one: -abs(one[2] - one[1])
        )
        grew, fell = [one for one in moved if one[2] > one[1]], [one for one in moved if one[2] < one[1]]
        told = grew[:MOVES_TOLD_MAX] + fell[:MOVES_TOLD_MAX]
        return ", ".join(f"{name} {_percent(share)} to {_percent(level)}" for name, share, level in told)

    def wobble(self, dispersion: Dispersion) -> Floats:
        """(S,) by how much an hour's good share lies off its expectation: one standard deviation, as a share."""
        with np.errstate(invalid="ignore", divide="ignore"):
            wobble: Floats = dispersion.hourly_wobble() / dispersion.sessions_an_hour()[:, 0]
        return wobble

    def crept(self, day: int, dispersion: Dispersion) -> Mapping[int, tuple[str, float, float, float]]:
        """Whose share of bad sessions has risen in four weeks; told as the good one."""
        mass = self.baseline.count.sum(1, dtype=np.float64)
        clumping = dispersion.inflation()[:, DAY_BLOCK, 0]
        found = self.anchor.crept(mass.sum(1), mass[:, 1:].sum(1), clumping)
        return {row: ("share", 1 - before, 1 - now, count) for row, (before, now, count) in found.items()}

    def gauges(self, hour: int) -> dict[str, Floats]:
        """Share of each class now, and the good one's baseline and the share from which there is an effect."""
        with np.errstate(invalid="ignore"):
            share = self.recent.sums / self.recent.sums.sum(1, keepdims=True)
        good = np.where(self.mass() > 0, self.baseline.mix[:, 0], np.nan)
        asked = self.gates.points_of(np.arange(len(good), dtype=np.int32))
        levels = {f"outcome_share_{name}": share[:, i] for i, name in enumerate(self.names)}
        levels["outcome_good"] = share[:, : self.goods].sum(1)
        return levels | {"outcome_share_baseline": good, "outcome_share_effect": good - asked}


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.1 else f"{100 * share:.2g}%"


def _share(outcome: str) -> Gauge:
    return Gauge("tocsin_outcome_share", "Share of closed sessions of late, by outcome.", ("outcome", outcome))


def build(terms: Terms) -> Engine:
    """Make the detector of a rule with `detector: outcomes`."""
    return Engine(Outcomes(terms.points or MIX_LEAST_POINTS, terms.outcomes, terms.goods), terms)


DETECTOR = Descriptor(
    build,
    {
        **{f"outcome_share_{outcome}": _share(outcome) for outcome in OUTCOMES},
        "outcome_good": Gauge(
            "tocsin_outcome_good_share",
            "Share of closed sessions of late that ended well.",
            shows="share",
            usual="outcome_share_baseline",
        ),
        "outcome_share_baseline": Gauge(
            "tocsin_outcome_baseline_share", "Share of good outcomes that the baseline expects."
        ),
        "outcome_share_effect": Gauge(
            "tocsin_outcome_threshold_share", "Share of good outcomes that is the smallest effect."
        ),
        **GAUGES,
    },
    named={"outcome_share_": _share("")},
    subject="good outcomes",
    signal="bad_outcome_share",
    effects=Effects(None, MIX_LEAST_POINTS, "10pp"),
    learns=LEARNS,
    of_sessions=True,
    operations=("session", "evaluation"),
)
