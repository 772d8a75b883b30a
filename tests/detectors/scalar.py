"""The error engine once more, one number at a time: slow, plain, and independent of the arrays it checks.

Sections of the definition: the evidence of one tick, the baseline and the dispersion refitted at midnight, the states
of a series. Only errors; budget 1 a week; effect 1.5x and half a point.
"""

import math
from dataclasses import dataclass, field
from statistics import median

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
BLOCKS = (1, 2, 5, 10, 30, 60, 180, 360, 720, 1440)
DAY = 1440
KEEP = 2 ** (-1 / 7)
COLD, WATCHED, PAGING, RECOVERING, MUTED = range(5)


@dataclass
class Series:
    """One series' whole state."""

    n: list[float] = field(default_factory=lambda: [0.0] * 24)
    k: list[float] = field(default_factory=lambda: [0.0] * 24)
    dn: list[float] = field(default_factory=lambda: [0.0] * 24)
    dk: list[float] = field(default_factory=lambda: [0.0] * 24)
    bad: list[bool] = field(default_factory=lambda: [False] * 24)
    share: list[float] = field(default_factory=lambda: [0.01] * 24)
    upper: list[float] = field(default_factory=lambda: [0.02] * 24)
    days: int = 0
    bad_run: int = 0
    ia: float = 0.0
    ic: float = 0.0
    ne: float = 0.0
    ia_sum: float = 0.0
    ic_sum: float = 0.0
    ne_sum: float = 0.0
    ticks: float = 0.0
    open: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0] for _ in BLOCKS])
    today: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0, 0.0] for _ in BLOCKS])
    blocks: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0, 0.0] for _ in BLOCKS])
    raw: list[float] = field(default_factory=lambda: [4.0] * len(BLOCKS))
    rho: float = 0.02
    eta: list[float] = field(default_factory=lambda: [1.0] * 6)
    log_r: list[float] = field(default_factory=lambda: [-math.inf] * 6)
    cusum: list[float] = field(default_factory=lambda: [0.0] * 6)
    run: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0, 0.0, 0.0] for _ in RATIOS])
    state: int = COLD
    reverse: float = 0.0
    against: int = 0
    paged: int = 0
    kept: int = 0
    hot: bool = False

    def reset(self, state: int) -> None:
        self.state, self.reverse, self.hot = state, 0.0, False
        self.log_r, self.cusum = [-math.inf] * 6, [0.0] * 6


class Rule:
    """All series of a rule, stepped minute by minute from a midnight."""

    def __init__(self, series: int) -> None:
        self.series = [Series() for _ in range(series)]
        self.h = math.log(2 ** math.ceil(math.log2(series)) * 10080)
        self.cap = (self.h + math.log(6)) / 4
        self.t = 0
        self.pages: list[tuple[int, int]] = []
        self.closed: list[tuple[int, int]] = []

    def step(self, counts: list[tuple[int, int]]) -> None:
        hour = self.t % DAY // 60
        for i, (one, (n, k)) in enumerate(zip(self.series, counts, strict=True)):
            if n:
                self._learn(one, n, k, hour)
            self._end_blocks(one)
            if n and one.state != COLD:
                self._judge(i, one, n, k, hour)
            self._clock(i, one)
        self.t += 1
        if self.t % DAY == 0:
            self._refit()

    def _learn(self, one: Series, n: int, k: int, hour: int) -> None:
        shut = one.state in (PAGING, RECOVERING) or (one.hot and one.bad_run < 24)
        one.dn[hour] += n
        one.dk[hour] += k
        one.bad[hour] |= shut
        if shut or not one.days:
            return
        p = one.share[hour]
        w = 1 / (1 + (n - 1) * one.rho)
        r, v = k - n * p, n * p * (1 - p)
        if n > 1:
            one.ia += w * w * (min(r * r, 64 * v / w) - v)
        one.ic += w * w * v * (n - 1)
        one.ne += n * w
        for block in one.open:
            block[0] += r * w
            block[1] += v * w

    def _end_blocks(self, one: Series) -> None:
        for b, width in enumerate(BLOCKS):
            if (self.t + 1) % width == 0:
                r, v = one.open[b]
                one.today[b][0] += min(r * r, 64 * v * max(1, one.raw[b]))
                one.today[b][1] += v
                one.today[b][2] += v > 0
                one.open[b] = [0.0, 0.0]

    def _judge(self, i: int, one: Series, n: int, k: int, hour: int) -> None:
        plain = [_ratio(n, k, one.upper[hour], min(0.95, r * one.upper[hour]), 1 / one.rho - 1) for r in RATIOS]
        if one.state in (PAGING, MUTED):
            plain.append(_ratio(n, k, one.upper[hour], _outage(one.upper[hour]), 1 / one.rho - 1))
            one.reverse = max(0.0, one.reverse + min(1.0, -plain[one.against]))
            return
        for j in range(6):
            gain = min(one.eta[j] * plain[j], self.cap)
            if one.cusum[j] <= 0:
                one.cusum[j], one.run[j] = 0.0, [0.0, 0.0, 0.0, float(self.t)]
            one.cusum[j] += gain
            one.run[j][0] += k
            one.run[j][1] += n
            one.run[j][2] += n * one.share[hour]
            one.log_r[j] = _log1p_exp(one.log_r[j]) + gain
        top = max(one.log_r)
        one.hot = top >= self.h / 2
        if not one.hot:
            return
        total = top + math.log(sum(math.exp(x - top) for x in one.log_r) / 6)
        leader = one.log_r.index(top)
        failed, count, expected, since = one.run[leader]
        effect = failed >= 1.5 * expected and failed / count - expected / count >= 0.005
        if effect and one.state == WATCHED and total >= self.h:
            self.pages.append((i, self.t))
            one.paged = self.t
            first = max(int(since), self.t - self.t % DAY) % DAY // 60
            for h in range(first, hour + 1):
                one.bad[h] = True
        elif not (effect and one.state == RECOVERING and total >= self.h / 2):
            return
        one.reset(PAGING)
        u, p = sum(one.upper) / 24, failed / count
        raised = [*(min(0.95, r * u) for r in RATIOS), _outage(u)]
        fits = [p * math.log(q) + (1 - p) * math.log(1 - q) for q in raised]
        one.against = 6 if fits[6] >= max(fits) else min(max(leader - 1, 0), 1)

    def _clock(self, i: int, one: Series) -> None:
        if one.state == PAGING and one.reverse >= 5:
            one.reset(RECOVERING)
            one.kept = self.t
        elif (one.state == RECOVERING and self.t - one.kept >= 30) or (one.state == MUTED and one.reverse >= 5):
            one.reset(WATCHED)
            self.closed.append((i, self.t))
        if one.state in (PAGING, RECOVERING) and self.t - one.paged >= DAY:
            one.reset(MUTED)

    def _refit(self) -> None:
        for one in self.series:
            flags = []
            for h in range(24):
                e = one.dn[h] * one.share[h]
                incident = one.dk[h] > 3 * e and one.dk[h] - e > 6 * math.sqrt(e + 1) and one.days > 0
                flags.append((incident or one.bad[h]) and one.bad_run < 24 and one.state != MUTED)
                one.n[h] = KEEP * one.n[h] + (0 if flags[h] else one.dn[h])
                one.k[h] = KEEP * one.k[h] + (0 if flags[h] else one.dk[h])
            one.bad_run = one.bad_run + sum(flags) if any(flags) else 0
            one.days += sum(one.dn) > 0 or one.days > 0
        pool = (sum(sum(s.k) for s in self.series) + 1) / (sum(sum(s.n) for s in self.series) + 100)
        for one in self.series:
            mean = (sum(one.k) + 1) / (sum(one.n) + 1 / pool)
            for h in range(24):
                k = one.k[h] + 0.5 * (one.k[h - 1] + one.k[(h + 1) % 24])
                n = one.n[h] + 0.5 * (one.n[h - 1] + one.n[(h + 1) % 24])
                one.share[h] = min(max((k + 1500 * mean) / (n + 1500), 1e-6), 0.8)
                one.upper[h] = min(max(one.share[h] * (1.1 + 1 / math.sqrt(sum(one.k) + 1)), 2e-6), 0.85)
        self._spread()
        for one in self.series:
            one.dn, one.dk, one.bad = [0.0] * 24, [0.0] * 24, [False] * 24
            if one.state == COLD and one.days >= 2 and sum(one.n) >= 200:
                one.state = WATCHED

    def _spread(self) -> None:
        for one in self.series:
            one.ia_sum, one.ic_sum = KEEP * one.ia_sum + one.ia, KEEP * one.ic_sum + one.ic
            one.ne_sum, one.ticks = KEEP * one.ne_sum + one.ne, KEEP * one.ticks + (DAY if one.days > 1 else 0)
            one.blocks = [
                [KEEP * a + b for a, b in zip(x, y, strict=True)] for x, y in zip(one.blocks, one.today, strict=True)
            ]
            one.ia = one.ic = one.ne = 0.0
            one.today = [[0.0, 0.0, 0.0] for _ in BLOCKS]
        known = [s for s in self.series if s.ic_sum > 0]
        if not known:
            return
        ranked = sorted((max(0.0, s.ia_sum / s.ic_sum), s.ic_sum) for s in known)
        mass, whole = 0.0, sum(weight for _, weight in ranked)
        pool = next(own for own, weight in ranked if (mass := mass + weight) >= 0.9 * whole)
        prior = 0.1 * median(s.ic_sum for s in known)
        own_phi = []
        for one in self.series:
            own = max(0.0, one.ia_sum / max(one.ic_sum, 1e-12))
            one.rho = min(max(1.1 * (own * one.ic_sum + min(0.2, pool) * prior) / (one.ic_sum + prior), 1e-5), 0.5)
            one.raw = [a / b if b > 0 else 4.0 for a, b, _ in one.blocks]
            own_phi.append(
                [max(1.0, r * (1 + math.sqrt(2 / max(c, 1)))) for r, (_, _, c) in zip(one.raw, one.blocks, strict=True)]
            )
        pooled = [
            _quantile([f[b] for f, s in zip(own_phi, self.series, strict=True) if s.blocks[b][1] > 0], 0.75)
            for b in range(len(BLOCKS))
        ]
        for one, phi in zip(self.series, own_phi, strict=True):
            self._temper(one, phi, pooled)

    def _temper(self, one: Series, phi: list[float], pooled: list[float]) -> None:
        mixed, highest = [], 0.0
        for b in range(len(BLOCKS)):
            a = one.blocks[b][2] / (one.blocks[b][2] + 3)
            highest = max(highest, math.exp(a * math.log(phi[b]) + (1 - a) * math.log(pooled[b])))
            mixed.append(highest)
        u = sum(one.upper) / 24
        for j, ratio in enumerate(RATIOS):
            p = min(0.95, ratio * u)
            drift = one.ne_sum / max(one.ticks, 1) * (p * math.log(p / u) + (1 - p) * math.log((1 - p) / (1 - u)))
            reach = [b for b, width in enumerate(BLOCKS) if width * drift / mixed[b] >= self.h]
            one.eta[j] = 1 / mixed[reach[0] if reach else -1]


def _outage(upper: float) -> float:
    return max(0.5, min(0.95, 30 * upper))


def _ratio(n: int, k: int, p0: float, p1: float, m: float) -> float:
    def log(p: float) -> float:
        a, b = p * m, (1 - p) * m
        return math.lgamma(k + a) - math.lgamma(a) + math.lgamma(n - k + b) - math.lgamma(b)

    return log(p1) - log(p0)


def _log1p_exp(x: float) -> float:
    return 0.0 if x == -math.inf else max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _quantile(values: list[float], q: float) -> float:
    if not values:
        return 4.0
    values = sorted(values)
    at = q * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])
