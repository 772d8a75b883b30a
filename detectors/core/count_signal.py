"""What one kind of count means: the part of a detector that knows errors, latency, cost or outcomes.

The engine (`engine.py`) does what is common to all. Arrays by series follow `rows.resize`; `rows` are ids of active
series; `hour` is the hour of day, 0 to 23; `run` is (r, sums), the sums of a run of evidence, as `run_sums` makes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from detectors.core.columns import Bools, Floats, Ids, Precision, Tick
from detectors.core.dispersion import Dispersion
from detectors.core.gates import Gates


@dataclass(frozen=True, eq=False)
class Counted:
    """The rows of a tick that a signal can use.

    rows (r,) series ids · count (r,) effective sessions > 0 · values (r,) or (r, K), the signal's own counts ·
    ratios (r, J), the counts' log ratios where they need nothing but the baseline, else (r, 0) ·
    index, the tick's minutes since 1970 · odds (r,), by how much more of the units that did not fail were left out
    by sampling than of those that did; None where that is no matter
    """

    index: int
    rows: Ids
    count: Floats
    values: Floats
    ratios: Floats
    odds: Floats | None = None

    def only(self, which: Bools) -> "Counted":
        """Some of the rows."""
        if which.all():
            return self
        odds = None if self.odds is None else self.odds[which]
        return Counted(self.index, self.rows[which], self.count[which], self.values[which], self.ratios[which], odds)


class Learns(Protocol):
    """Its baseline: what is usual at each hour, and how it ages."""

    parts: Mapping[str, Any]  # State by name, declared as columns (`rows.py`): the engine grows, saves, restores it.
    residual_of: Ids  # (J,) which residual shows how clumped the null is for each alternative.

    def counted(self, tick: Tick) -> Counted:
        """Take from a tick what this signal can use."""

    def learn(self, counted: Counted, hour: int) -> None:
        """Add a tick to today's counts."""

    def residuals(self, counted: Counted, hour: int) -> tuple[Floats, Floats]:
        """Return ((r, residuals) against the baseline, (r, residuals) their variances if nothing were clumped)."""

    def enter_hour(self, closing: int | None, opening: int, excluded: Bools) -> None:
        """Close an hour since 1970, if one was open, without the (S, 24) excluded ones, and open another."""

    def refit(self, excluded: Bools, judgeable: Bools) -> Bools:
        """Take today into the baseline; return the (S, 24) hours that were left out."""

    def mass(self) -> Floats:
        """Return (S,) effective units that the baseline knows."""

    def rho(self, dispersion: Dispersion) -> Floats:
        """Return (S,) the correlation within a tick that the null has."""


class Weighs(Protocol):
    """Evidence for J alternatives, effects of growing size."""

    alternatives: int
    effects: Floats  # (J,) sizes as a rule would state them; NaN where a rule cannot ask for it.
    precision: Precision  # Of the evidence and the sums that eta and rho are made from.

    def ratios(self, counted: Counted, hour: int, rho: Floats) -> Floats:
        """Return (r, J) log-likelihood ratios of the alternatives to the null."""

    def of_ends(self, counted: Counted, hour: int, rho: Floats, ratios: Floats) -> Floats:
        """Return (r, J) the same where the end of an alert is tested; `ratios` are those of `ratios`."""

    def tempering(self, rows: Ids, eta: Floats) -> Floats:
        """Return (r, J) powers that the ratios are raised to."""

    def drift(self) -> Floats:
        """Return (S, J) mean log ratio of one unit while the alternative holds, nats."""


class Decides(Protocol):
    """Whether a run of evidence is worth a page."""

    sums: int
    gates: Gates

    def run_sums(self, counted: Counted, hour: int) -> Floats:
        """Return (r, sums) what a run adds up of this tick."""

    def shows_effect(self, rows: Ids, run: Floats) -> Bools:
        """Return (r,) whether the run shows the effect that the rule asks for."""

    def asked(self) -> Floats:
        """Return (S,) the smallest change that the rule asks for at the usual level, as `effects` are stated."""

    def weaker(self, alternatives: Ids, rows: Ids, run: Floats) -> Ids:
        """Return (r,) the alternative against which the end of a page is tested."""


class Tells(Protocol):
    """What people are shown of it."""

    def said(self, row: int, run: Floats) -> str:
        """Return one more fact for a page of this run (sums,), at most a sentence; empty if there is none."""

    def finding(self, row: int, run: Floats, hour: int) -> tuple[str, float, float, float]:
        """Return (unit, level before, level in the run, units in the run) of one series."""

    def wobble(self, dispersion: Dispersion) -> Floats:
        """Return (S,) how far the level strays from hour to hour by itself, as its effects are stated."""

    def crept(self, day: int, dispersion: Dispersion) -> Mapping[int, tuple[str, float, float, float]]:
        """Return what `finding` would, by series, of those that moved slowly over four weeks."""

    def gauges(self, hour: int) -> dict[str, Floats]:
        """Return levels (S,) by the names of the detector's descriptor."""


class CountSignal(Learns, Weighs, Decides, Tells, Protocol):
    """All of it."""
