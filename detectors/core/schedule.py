"""Something that must come every so often: a scheduled agent, or anything at all. A plain limit, no budget.

Silence is counted in ticks in which something was heard, of whatever series: a pipeline that stood still is nobody's
absence. A series is judged from its first call on.
"""

import math
from collections.abc import Mapping

import numpy as np

from detectors.core.columns import TICK_NS, Arrays, Bytes, Finding, Floats, Ids, Mode, Tick, Verdict
from detectors.core.contract import Asked, Judgement, Terms
from detectors.core.rows import clear, column, dataclass, resize, restore, snapshot


@dataclass(eq=False)
class Heard:
    """(S,) tick index of the last call, -1 before the first; and ticks since then in which anything was heard."""

    last: Ids = column(fill=-1, dtype=np.int64)
    silent: Ids = column(dtype=np.int64)

    def __post_init__(self) -> None:
        resize(self, 0)


class Schedule:
    """All series of a rule that says `every`."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.most = (terms.every_ns + terms.grace_ns) // TICK_NS
        self.heard = Heard()

    def excuse(self, rows: Ids) -> None:
        """What these series miss is expected: they have until the whole time has passed again."""
        self.heard.silent[rows[rows < len(self.heard.silent)]] = 0

    def tick(self, tick: Tick, modes: Bytes) -> Mapping[int, Judgement]:
        """Count what came, and for how long nothing did."""
        heard, now = self.heard, tick.start_ns // TICK_NS
        resize(heard, len(modes))
        heard.silent += 1
        came = tick.series[tick.count > 0]
        heard.last[came], heard.silent[came] = now, 0
        judged = {row: Judgement(Verdict.RECOVERED) for row in came.tolist() if modes[row] in (Mode.PAGING, Mode.MUTED)}
        for row in np.flatnonzero((heard.last >= 0) & (heard.silent >= self.most)).tolist():
            if modes[row] in (Mode.WATCHED, Mode.RECOVERING):
                judged[row] = self._judge(row, Mode(int(modes[row])))
        return judged

    def _judge(self, row: int, mode: Mode) -> Judgement:
        heard = self.heard
        silent_s = float(heard.silent[row]) * TICK_NS / 1e9
        since_ns = (int(heard.last[row]) + 1) * TICK_NS
        found = Finding(
            "s", self.terms.every_ns / 1e9, silent_s, since_ns, math.nan, math.nan, math.nan, ""
        )  # fmt: skip
        return Judgement(Verdict.RELAPSED if mode == Mode.RECOVERING else Verdict.ANOMALOUS, found)

    def ask(self, row: int, asked: Asked) -> None:
        """Nothing: what must come is the same for all."""

    def forget(self, rows: Ids) -> None:
        clear(self.heard, rows)

    def doubt(self, row: int) -> None:
        """Nothing: a limit that pages too often is in the wrong place."""

    def excess(self) -> float:
        return math.nan

    def gauges(self) -> Mapping[str, Floats]:
        """For how long nothing came, and for how long nothing may, seconds."""
        known, seconds = self.heard.last >= 0, TICK_NS / 1e9
        silent = np.where(known, self.heard.silent * seconds, np.nan)
        return {"silent": silent, "silent_most": np.where(known, self.most * seconds, np.nan)}

    def snapshot(self) -> Arrays:
        return snapshot(self.heard, "schedule")

    def restore(self, arrays: Arrays) -> None:
        restore(self.heard, arrays, "schedule")
