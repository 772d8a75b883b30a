"""An objective, and how fast what it allows is used up: a page when a part of the budget of errors goes too quickly.

`objective: 99.5%` allows half a percent of the calls of thirty days to be bad. The burn rate is the bad share over a
window, in multiples of that. A page needs a burn rate over a window, and over the last twelfth of that window too, so
that it ends soon after the burning does. No budget of false pages: it is arithmetic, not a test.

Source: The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts", for the parts of the budget.
"""

import math
from collections.abc import Mapping

import numpy as np

from detectors.core.columns import TICK_NS, Arrays, Bytes, Finding, Floats, Ids, Tick
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.descriptor import Descriptor, Gauge
from detectors.core.limit import compared
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot, under
from detectors.core.window import PLACES, Window

HOUR_TICKS = 60
PERIOD_TICKS = 30 * 24 * HOUR_TICKS
PARTS = {HOUR_TICKS: 0.02, 6 * HOUR_TICKS: 0.05, 72 * HOUR_TICKS: 0.10, PERIOD_TICKS: 1.0}
"""Windows, ticks, and the part of thirty days' budget that is a page when it is used up within one."""
SHORT = PLACES // 12
"""Places of a window's last twelfth."""
WINDOW_NAMES = {60: "1h", 360: "6h", 4320: "3d", PERIOD_TICKS: "30d"}
"""What a rule calls each window."""


def burn_rate(ticks: int) -> float:
    """How many times as fast as allowed the budget must go, over a window of so many ticks.

    >>> [round(burn_rate(ticks), 1) for ticks in PARTS]
    [14.4, 6.0, 1.0, 1.0]
    """
    return PARTS[ticks] * PERIOD_TICKS / ticks


@dataclass(eq=False)
class Known:
    """(S,) tick index of a series' first tick, -1 before it."""

    first: Ids = column(fill=-1, dtype=np.int64)

    def __post_init__(self) -> None:
        resize(self, 0)


class Slo:
    """An objective for every series of a rule, looked at over some windows."""

    def __init__(self, terms: Terms) -> None:
        self.terms, self.allowed, self.known = terms, 1 - terms.objective, Known()
        self.windows = {
            ticks: Window(terms.signal, ticks, terms.goods, len(terms.outcomes) - 1) for ticks in terms.spans
        }

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Compare every series that counted something in this tick."""
        rows, now = tick.series, tick.start_ns // TICK_NS
        resize(self.known, len(modes))
        self.known.first[rows[self.known.first[rows] < 0]] = now
        age = now - self.known.first[rows] + 1
        burning: dict[int, Finding] = {}
        for ticks, window in self.windows.items():
            window.add(tick, len(modes))
            level, count = window.levels(rows)
            recent, _ = window.levels(rows, SHORT)
            with np.errstate(invalid="ignore"):
                # A series younger than the window has used up what it has in its own time.
                least = burn_rate(ticks) * self.allowed * ticks / np.minimum(age, ticks)
                over = (level >= least) & (recent >= least) & (count >= self.terms.at_least)
            for i in np.flatnonzero(over).tolist():
                burning.setdefault(int(rows[i]), self._finding(ticks, float(level[i]), float(count[i])))
        return {row: compared(burning.get(row), modes[row]) for row in rows.tolist()}

    def _finding(self, ticks: int, level: float, count: float) -> Finding:
        window, pace = self.windows[ticks], level / self.allowed
        days = PERIOD_TICKS / pace / (24 * HOUR_TICKS)
        said = f"over {WINDOW_NAMES[ticks]}, {pace:.3g} times the allowed: 30 days of it are gone in {days:.2g} days"
        since_ns = (window.now - ticks + 1) * TICK_NS
        return Finding(window.signal.unit, self.allowed, level, since_ns, count, math.nan, math.nan, said)

    def ask(self, row: int, asked: Asked) -> None:
        """Nothing: the objective is the same for all."""

    def forget(self, rows: Ids) -> None:
        clear(self.known, rows)
        for window in self.windows.values():
            window.forget(rows)

    def doubt(self, row: int) -> None:
        """Nothing: an objective that pages too often is too high."""

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """The bad share over the longest window, what is allowed, and the burn rate over each window."""
        told: dict[str, Floats] = {}
        for ticks, window in self.windows.items():
            level, _ = window.levels(np.arange(len(window.ring.at), dtype=np.int32))
            told |= {f"slo_burn_{WINDOW_NAMES[ticks]}": level / self.allowed, "slo_bad": level}
        return told | {"slo_allowed": np.full(len(told["slo_bad"]), self.allowed)}

    def snapshot(self) -> Arrays:
        windows = {WINDOW_NAMES[ticks]: window.snapshot() for ticks, window in self.windows.items()}
        arrays = {f"{at}/{name}": array for at, window in windows.items() for name, array in window.items()}
        return arrays | snapshot(self.known, "known")

    def restore(self, arrays: Arrays) -> None:
        restore(self.known, arrays, "known")
        for ticks, window in self.windows.items():
            window.restore(under(arrays, f"{WINDOW_NAMES[ticks]}/"))


def _burn(window: str) -> Gauge:
    help_ = "How many times as fast as the objective allows its budget goes."
    return Gauge("tocsin_slo_burn_rate", help_, ("window", window))


DETECTOR = Descriptor(
    Slo,
    {
        "slo_bad": Gauge("tocsin_slo_bad_ratio", "Bad share over the longest window.", None, "ratio", "slo_allowed"),
        "slo_allowed": Gauge("tocsin_slo_allowed_ratio", "Bad share that the objective allows."),
        **{f"slo_burn_{name}": _burn(name) for name in WINDOW_NAMES.values()},
    },
    arrow="allowed",
    takes_signal=True,
    takes_objective=True,
)
