"""A new version (or model, prompt) beside the one that ran before, on the same minutes: no baseline is needed.

Series that differ in one label alone are kin. The first sight of one, where another was there for an hour, begins a
comparison with the kin that has most traffic, for a week or until that has been gone for a day. Compared are shares of
bad units (see MEASURES), block by block, by `core/beside.py`; the measures that the old one told before share one
e-process.

A unit counts in the minute in which it ends, a session in that in which it closes. At first a new version has ended
short ones alone, beside those of any length of the old one: nothing counts until it is older than 99 of 100 units last.

The budget: a release may page without cause with a chance of at most one in twenty, ever, however often one looks and
whatever it is compared by; a comparison with at most alpha. alpha is one in twenty over the comparisons of one release,
those that began within a week for the same version, and at most the rule's budget over all that began within a week;
both numbers are rounded up to a power of two.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from detectors.core.beside import FIRST_STAKE, HOURS, LATER_STAKE, mean_evidence, ratios, temper, times
from detectors.core.budget import rounded
from detectors.core.columns import SECOND_NS, TICK_NS, Arrays, Bools, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.descriptor import Descriptor, Effects, Gauge
from detectors.core.dispersion import DAY_TICKS
from detectors.core.doubt import raised
from detectors.core.engine import GAUGES
from detectors.core.histogram import quantile_position
from detectors.core.pairs import Known, Pairs, restore_pairs
from detectors.core.rows import clear, resize, restore, snapshot
from detectors.core.side import CUTS, MEASURES, SHAPES, histograms, level_at, sides, told_of
from detectors.core.worth import Worth

HOUR, WEEK = 60, 7 * DAY_TICKS
"""Ticks."""
ALPHA_MAX = 0.05
BLOCK_UNITS, BLOCK_TICKS, BLOCK_TICKS_MAX = 5.0, 15, 60
"""A block ends once both have so many units; or as old as that if both have any; older it is left out."""
CUT_UNITS = 60.0
"""Values of the old version from which its quantiles are taken to be known."""
LASTS = 0.99
"""Of the units, how many last no longer than what a new version waits for before it counts."""
USUAL_KEEPS = 0.5 ** (1 / (12 * HOUR))
"""What a minute leaves of what is known of the time before."""
RECOVERED_NATS = 5.0
LEAST_RATIO, LEAST_POINTS = 1.5, 0.005
CHANGED_SDS = 3.0
"""By how many standard deviations the old version's level must have moved for a page to say that it did."""


class Versions:
    """All series of a rule."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.ratio = terms.ratio or (1.0 if terms.points else LEAST_RATIO)
        self.points = terms.points or (0.0 if terms.ratio else LEAST_POINTS)
        self.known, self.pairs, self.worth = Known(), Pairs(), Worth()
        self.names: dict[int, str] = {}
        self.asked: dict[int, Asked] = {}
        self._kin: dict[tuple[str, ...], int] = {}
        self.now = -1

    def meet(self, row: int, others: tuple[str, ...], value: str) -> None:
        """A series and the label that tells it from its kin; one without a value has none."""
        resize(self.known, row + 1)
        self.known.kin[row] = self._kin.setdefault(others, len(self._kin)) if value else -1
        self.names[row] = value

    def beside(self) -> Mapping[int, int]:
        """The older series that each one is compared with."""
        return {int(row): int(self.pairs.old[row]) for row in np.flatnonzero(self.pairs.old >= 0)}

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Count both versions of each comparison, and judge those whose block ended."""
        size = max(len(modes), len(self.known.kin))
        resize(self.known, size)
        resize(self.pairs, size)
        now, self.now = tick.start_ns // TICK_NS, tick.start_ns // TICK_NS
        ended = self._end(now)
        self._begin(tick, now)
        self._know(tick, now)
        new = np.flatnonzero(self.pairs.old >= 0).astype(np.int32)
        self._count(tick, new, now)
        mode = np.zeros(size, np.int8)
        mode[: len(modes)] = modes
        closed = new[self._is_whole(new, now)]
        weak = self._gather(closed, now) if len(closed) else np.empty((0, len(MEASURES)))
        judged = {row: Judgement(Verdict.RECOVERED) for row in ended if mode[row] in (Mode.PAGING, Mode.MUTED)}
        told = zip(weak, self._evidence(closed).tolist(), self._thresholds(closed).tolist(), strict=True)
        for row, (weakest, evidence, threshold) in zip(closed.tolist(), told, strict=True):
            if (word := self._judge(row, Mode(int(mode[row])), weakest, evidence, threshold)) is not None:
                judged[row] = word
        return judged

    def _know(self, tick: Tick, now: int) -> None:
        """What counted in this tick, of every series."""
        known, rows = self.known, tick.series[tick.count > 0]
        known.usual *= USUAL_KEEPS
        known.usual[rows] += np.stack([tick.count, tick.failed], 1)[tick.count > 0]
        known.told[tick.series] |= told_of(tick)
        if now // DAY_TICKS > known.last.max(initial=-1) // DAY_TICKS:
            known.lasts *= np.float32(0.5)
        known.lasts[tick.series] += histograms(tick.duration, tick.series)
        known.last[rows] = now
        new = rows[known.first[rows] < 0]
        known.first[new] = now

    def _begin(self, tick: Tick, now: int) -> None:
        """Begin comparisons of what is new, where its kin was there an hour before and still is."""
        known, pairs = self.known, self.pairs
        rows = tick.series[(tick.count > 0) & (known.kin[tick.series] >= 0)]
        young = (known.first[rows] < 0) | (known.first[rows] > now - HOUR)
        grown = np.flatnonzero((known.first >= 0) & (known.first <= now - HOUR) & (known.last > now - HOUR))
        # In a fleet's first hour all are young, and none is grown.
        has_older = np.isin(known.kin[rows], known.kin[grown])
        for row in rows[young & (known.begun[rows] < 0) & has_older].tolist():
            older = grown[known.kin[grown] == known.kin[row]]
            old = int(older[known.usual[older, 0].argmax()])
            clear(pairs, np.array([row], np.int32))
            pairs.old[row], pairs.since[row], known.begun[row] = old, now, now
            pairs.opened[row] = pairs.from_[row] = now + self._waits(old)
            pairs.before[row], pairs.told[row] = known.usual[old], known.told[old]

    def _waits(self, old: int) -> int:
        """Whole ticks that nearly all units of the old version end within."""
        lasts = self.known.lasts[old]
        return int(level_at(quantile_position(lasts[None], LASTS))[0] * SECOND_NS // TICK_NS) if lasts.any() else 0

    def _end(self, now: int) -> list[int]:
        """End comparisons that have lasted a week, and those whose old version is gone for a day."""
        rows = np.flatnonzero(self.pairs.old >= 0).astype(np.int32)
        over = now - self.pairs.since[rows] >= HOURS * HOUR
        gone = now - self.known.last[self.pairs.old[rows]] >= DAY_TICKS
        ended = rows[over | gone]
        clear(self.pairs, ended)
        return list(map(int, ended))

    def _count(self, tick: Tick, new: Ids, now: int) -> None:
        """Add this tick to the open blocks."""
        pairs, classes = self.pairs, len(self.terms.outcomes)
        self.worth.add(tick.series, tick.count, tick.squares)
        weight = self.worth.weight(tick.series, tick.count, tick.squares)
        new = new[pairs.opened[new] <= now]
        of_new, of_old = (
            sides(tick, weight, rows, pairs.cuts[new], self.terms.goods, classes) for rows in (new, pairs.old[new])
        )
        pairs.open[new] += np.stack([of_new.bad, of_new.units, of_old.bad, of_old.units], 2)
        pairs.spent[new] += np.stack([of_new.spent, of_old.spent], 1)
        for kind in range(len(SHAPES)):
            shape, first = slice(2 * kind, 2 * kind + 2), kind * len(CUTS)
            pairs.shape[new, shape] += np.stack([of_new.shape[:, kind], of_old.shape[:, kind]], 1)
            of_old_ones = pairs.shape[:, 2 * kind + 1]
            unknown = new[np.isnan(pairs.cuts[new, first]) & (of_old_ones[new].sum(1) >= CUT_UNITS)]
            for place, share in enumerate(CUTS):  # From the next tick on, so that no unit has chosen its own limit.
                pairs.cuts[unknown, first + place] = np.ceil(quantile_position(of_old_ones[unknown], share))

    def _is_whole(self, new: Ids, now: int) -> Bools:
        """Which open blocks end now; one that waited too long for one side is left out."""
        pairs, units = self.pairs, self.pairs.open[new, 0][:, [1, 3]].min(1)
        age = now - pairs.opened[new] + 1
        stale = new[(age >= BLOCK_TICKS_MAX) & (units == 0)]
        pairs.open[stale], pairs.opened[stale] = 0, now + 1
        whole: Bools = (units >= BLOCK_UNITS) | ((age >= BLOCK_TICKS) & (units > 0))
        return whole

    def _gather(self, rows: Ids, now: int) -> Floats:
        """Close blocks: (r, M) the log ratios of the weakest alternative in each."""
        pairs = self.pairs
        k1, n1, k2, n2 = np.moveaxis(pairs.open[rows], 2, 0)
        every, bad = np.maximum(n1 + n2, 1e-9), k1 + k2
        share = n1 / every
        power = temper(*np.moveaxis(pairs.spread[rows], 2, 0))[..., None]
        logs = ratios(k1, bad, share)
        cap = self._thresholds(rows)[:, None, None] / 4
        since = pairs.since[rows]
        hours = (now - since) // HOUR - (np.maximum(pairs.opened[rows] - 1, since) - since) // HOUR
        stake = LATER_STAKE + np.log(np.maximum(hours, 1e-300))[:, None, None]
        pairs.logs[rows] = np.logaddexp(pairs.logs[rows], stake) + np.minimum(power * logs, cap)
        pairs.run[rows] = np.maximum(0.0, pairs.run[rows] + (power * logs)[..., 1])
        zero = pairs.run[rows] == 0
        pairs.from_[rows] = np.where(zero, now + 1, pairs.from_[rows])
        residual, variance = k1 - bad * share, bad * share * (1 - share)
        last, last_variance = np.moveaxis(pairs.past[rows], 2, 0)
        again = (variance > 0) & (last_variance > 0)
        more = np.stack([(residual - last) ** 2, variance + last_variance, np.ones_like(last)], 2)
        pairs.spread[rows] += np.where(again[..., None], more, 0)
        pairs.past[rows] = np.where((variance > 0)[..., None], np.stack([residual, variance], 2), pairs.past[rows])
        alike = np.stack([k1 * n2, k2 * n1, n1 * n2], 2) / every[..., None]
        pairs.sums[rows] += np.concatenate([pairs.open[rows], alike], 2)
        pairs.open[rows], pairs.opened[rows] = 0, now + 1
        weak: Floats = logs[..., 0]
        return weak

    def _judge(self, row: int, mode: Mode, weak: Floats, evidence: float, threshold: float) -> Judgement | None:
        pairs = self.pairs
        if mode in (Mode.PAGING, Mode.MUTED):
            pairs.better[row] = max(0.0, pairs.better[row] + min(1.0, -float(weak[pairs.leads[row]])))
            if pairs.better[row] < RECOVERED_NATS:
                return Judgement(Verdict.QUIET)
            pairs.better[row], pairs.logs[row] = 0, FIRST_STAKE
            return Judgement(Verdict.RECOVERED)
        if evidence < (threshold / 2 if mode == Mode.RECOVERING else threshold):
            return None
        shown = [place for place in range(len(MEASURES)) if self._shows_effect(row, place)]
        if not shown:
            return None
        pairs.leads[row] = max(shown, key=lambda place: float(mean_evidence(pairs.logs[row, place])))
        pairs.better[row] = 0
        found = self._finding(row, int(pairs.leads[row]), evidence, threshold)
        return Judgement(Verdict.RELAPSED if mode == Mode.RECOVERING else Verdict.ANOMALOUS, found)

    def _evidence(self, rows: Ids) -> Floats:
        """(r,) log evidence of all measures that are judged, together."""
        told = self.pairs.told[rows, :, None] > 0
        logs = np.where(told, self.pairs.logs[rows], -np.inf).reshape(len(rows), math.prod(self.pairs.logs.shape[1:]))
        judged = told.sum((1, 2)) / len(MEASURES)
        with np.errstate(divide="ignore"):
            found: Floats = mean_evidence(logs) - np.log(judged)
        return np.where(judged > 0, found, -np.inf)

    def _levels(self, row: int, place: int) -> tuple[float, float]:
        """The old and the new version's level: shares over the same minutes; seconds or dollars of a quantile."""
        measure = MEASURES[place]
        if measure.shape is not None:
            both = self.pairs.shape[row, 2 * measure.shape : 2 * measure.shape + 2]
            new, old = level_at(quantile_position(both, CUTS[measure.cut])).tolist()
            return float(old), float(new)
        _, _, _, _, new, old, weight = self.pairs.sums[row, place]
        return (float(old / weight), float(new / weight)) if weight > 0 else (math.nan, math.nan)

    def _shows_effect(self, row: int, place: int) -> bool:
        """Whether the difference is one that matters, by a measure that is judged."""
        if not self.pairs.told[row, place]:
            return False
        old, new = self._levels(row, place)
        asked = self.asked.get(row)
        ratio, points = (asked.ratio or 1.0, asked.points or 0.0) if asked else (self.ratio, self.points)
        if MEASURES[place].shape is not None:
            return new >= ratio ** (2 / 3) * old and float(self.pairs.sums[row, place, 0]) >= 3
        return new >= ratio * old and new - old >= points

    def _finding(self, row: int, place: int, evidence: float, threshold: float) -> Finding:
        pairs, measure = self.pairs, MEASURES[place]
        old, new = self._levels(row, place)
        from_ = int(pairs.from_[row, place])
        after = _after(from_ - int(self.known.first[row]))
        beside = self.names.get(int(pairs.old[row]), "the version")
        name = self.names.get(row, "its first call")
        detail = f"{measure.said}, began {after} {name}; {beside} beside it {self._stood(row)}"
        count = float(pairs.sums[row, place, 1])
        return Finding(measure.unit, old, new, from_ * TICK_NS, count, evidence, threshold, detail)

    def _stood(self, row: int) -> str:
        """What became of the old version's failures meanwhile: a provider's bad hour is nobody's regression."""
        units, failed = self.pairs.before[row].tolist()
        _, _, now_failed, now_units = self.pairs.sums[row, 0, :4].tolist()
        if not (units >= 1 and now_units >= 1):
            return "was not known before"
        before, now = failed / units, now_failed / now_units
        mean = (failed + now_failed + 1) / (units + now_units + 2)
        deviation = math.sqrt(mean * (1 - mean) * (1 / units + 1 / now_units))
        moved = abs(now - before) > max(CHANGED_SDS * deviation, 0.5 * before)
        return f"changed, too: {before:.1%} to {now:.1%} failed" if moved else "is unchanged"

    def _thresholds(self, rows: Ids) -> Floats:
        """(r,) log evidence that a page needs."""
        begun = np.flatnonzero(self.known.begun > self.now - WEEK)
        usual = self.terms.budget_per_week / rounded(len(begun))
        own = [one.share if (one := self.asked.get(row)) and one.share is not None else usual for row in rows.tolist()]
        released = Counter(self.names.get(row) for row in begun.tolist())
        most = [ALPHA_MAX / rounded(released[self.names.get(row)]) for row in rows.tolist()]
        alpha = np.minimum(np.array(most, np.float64), np.array(own, np.float64))
        found: Floats = -np.log(alpha) * raised(self.known.doubted[rows], max(self.now, 0) // DAY_TICKS)
        return found

    def ask(self, row: int, asked: Asked) -> None:
        """Take the effect and the chance of a page without cause of one series from the rule's override."""
        self.asked[row] = asked

    def forget(self, rows: Ids) -> None:
        gone = np.flatnonzero(np.isin(self.pairs.old, rows) & (self.pairs.old >= 0)).astype(np.int32)
        for part, which in ((self.pairs, gone), (self.pairs, rows), (self.known, rows), (self.worth, rows)):
            clear(part, which)
        for row in rows.tolist():
            self.names.pop(row, None)
            self.asked.pop(row, None)

    def doubt(self, row: int) -> None:
        resize(self.known, row + 1)
        self.known.doubted[row] = max(self.now, 0) // DAY_TICKS

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """Of each comparison: levels of both, by measure, and the evidence; NaN where none is under way."""
        rows = np.flatnonzero(self.pairs.old >= 0).astype(np.int32)
        found = dict(self._told(rows))
        full = {name: np.full(len(self.known.kin), math.nan) for name in found}
        for name, values in found.items():
            full[name][rows] = values
        return full

    def _told(self, rows: Ids) -> Iterator[tuple[str, Floats]]:
        sums, logs, spent = self.pairs.sums[rows], self.pairs.logs[rows], self.pairs.spent[rows]
        yield "calls_new", sums[:, 0, 1]
        yield "calls_old", sums[:, 0, 3]
        dollars = np.divide(spent[..., 0], spent[..., 1], out=np.full(spent.shape[:2], np.nan), where=spent[..., 0] > 0)
        yield "usd_new", dollars[:, 0]
        yield "usd_old", dollars[:, 1]
        yield "compared_evidence", self._evidence(rows)
        yield "compared_threshold", self._thresholds(rows)
        yield "compared_since", self.pairs.since[rows].astype(np.float64) * (TICK_NS // SECOND_NS)
        for place, measure in enumerate(MEASURES):
            levels = np.array([self._levels(row, place) for row in rows.tolist()]).reshape(-1, 2)
            yield f"old_{measure.name}", levels[:, 0]
            yield f"new_{measure.name}", levels[:, 1]
            yield f"evidence_{measure.name}", mean_evidence(logs[:, place])
            yield f"bad_{measure.name}", sums[:, place, 0]
            yield f"units_{measure.name}", sums[:, place, 1]
            power = temper(*np.moveaxis(self.pairs.spread[rows, place], 1, 0))
            for name, values in zip(("times", "least", "most"), times(sums[:, place], power), strict=True):
                yield f"{name}_{measure.name}", values
            yield f"matters_{measure.name}", np.array([self._shows_effect(row, place) for row in rows.tolist()], float)

    def snapshot(self) -> Arrays:
        parts = {
            **snapshot(self.known, "known"), **snapshot(self.pairs, "pairs"), **snapshot(self.worth, "worth"),
        }  # fmt: skip
        return {"versions": np.array([self.now]), **parts}

    def restore(self, arrays: Arrays) -> None:
        """Go on; who is kin to whom, and their names, are told again by `meet`."""
        self.now = int(arrays["versions"][0])
        restore(self.known, arrays, "known")
        restore_pairs(self.pairs, arrays, "pairs")
        restore(self.worth, arrays, "worth")
        resize(self.known, len(self.known.kin))
        resize(self.pairs, len(self.pairs.old))


def _after(minutes: int) -> str:
    """How long after something, in words."""
    if minutes < 1:
        return "with"
    return f"{minutes} min after" if minutes < 120 else f"{minutes // 60} h after"


def build(terms: Terms) -> Versions:
    """Make the detector of a rule with `detector: versions`."""
    return Versions(terms)


NEW = "Level of the new version: a share, seconds or dollars."


def _by_measure(stem: str, metric: str, text: str) -> dict[str, Gauge]:
    return {f"{stem}_{one.name}": Gauge(metric, text, ("measure", one.name)) for one in MEASURES}


DETECTOR = Descriptor(
    build,
    {
        "calls_new": Gauge("tocsin_version_calls", "Calls of the new version in its comparison."),
        "calls_old": Gauge("tocsin_version_beside_calls", "Calls of the version beside it in the same minutes."),
        "usd_new": Gauge("tocsin_version_call_usd", "What a call of the new version costs, of those with a price."),
        "usd_old": Gauge("tocsin_version_beside_call_usd", "The same of the version beside it, in the same minutes."),
        "compared_evidence": GAUGES["evidence"],
        "compared_threshold": GAUGES["evidence_threshold"],
        "compared_since": Gauge("tocsin_version_since_timestamp_seconds", "When the comparison began."),
        **_by_measure("new", "tocsin_version_level", NEW),
        "new_failed": Gauge("tocsin_version_level", NEW, ("measure", "failed"), shows="ratio", usual="old_failed"),
        **_by_measure("old", "tocsin_version_beside_level", "Level of the version beside it, in the same minutes."),
        **_by_measure("evidence", "tocsin_version_measure_nats", "Log evidence of this measure alone."),
        **_by_measure("times", "tocsin_version_times", "How many times as often units of the new version are bad."),
        **_by_measure("least", "tocsin_version_times_least", "Lower end of its 95% interval, at any time."),
        **_by_measure("most", "tocsin_version_times_most", "Upper end of its 95% interval, at any time."),
        **_by_measure("matters", "tocsin_version_matters", "1 where the difference is as large as the effect, else 0."),
        **_by_measure("units", "tocsin_version_units", "Units of the new version that this measure was told of."),
        **_by_measure("bad", "tocsin_version_bad", "Of these units, those that were bad."),
    },
    subject="worse:",
    arrow="beside it",
    effects=Effects(LEAST_RATIO, LEAST_POINTS, "1.5x and +0.5pp"),
    of_points=False,
    series_usual=2_000,
    compares=("agent_version", "model", "prompt", "response_model"),
    version=2,
)
