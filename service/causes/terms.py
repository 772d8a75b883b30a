"""The change of a share taken apart: which groups changed, and of which there is more.

With `w` a group's share of the units and `r` its own level, before (0) and now (1), and `R` the level of all:

    R1 - R0 = sum of w1 (r1 - r0)  +  sum of (w1 - w0) (r0 - R0)
                     the groups' rates       the mix of groups

A group that was hardly there before has no level of its own then: the level of all stands for it, so that what it
brings is told of its rate.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import Bools, Floats

NEW_BELOW = 5.0
"""Units before; with fewer a group has no level of its own then."""
EXPLAINS = 0.75
"""Part of the change that a cause explains, at least."""
UNCHANGED = 0.25
"""What all else may have changed, as a part of the change of what is named."""
NOTICED = 3.0
"""Units of change from which something is said to have changed, too."""
BY_CHANCE = 0.005
"""That all else only seems to be still, though it changed alike: how likely that may be."""
SHIFTED = 0.4
"""Part of a group's change that may come of a shift between its own parts, for it to be named."""
ALIKE = 0.02
"""Of two labels whose mixes explain as much, to within this part, the first one is told."""
NESTED_MAX = 3

Codes = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Shares:
    """Parts and units of many rows, before and now, each (n,); a row is all that has the same labels."""

    part0: Floats
    units0: Floats
    part1: Floats
    units1: Floats

    def of(self, which: Bools) -> "Shares":
        """Some of the rows."""
        return Shares(self.part0[which], self.units0[which], self.part1[which], self.units1[which])

    def by(self, codes: Codes) -> "Shares":
        """The rows added up by group."""
        size = int(codes.max(initial=-1)) + 1
        part0, units0, part1, units1 = (
            np.bincount(codes, column, size).astype(float)
            for column in (self.part0, self.units0, self.part1, self.units1)
        )
        return Shares(part0, units0, part1, units1)

    @property
    def levels(self) -> tuple[float, float]:
        """The level of all of it, before and now; NaN where there are no units."""
        return _over(self.part0.sum(), self.units0.sum()), _over(self.part1.sum(), self.units1.sum())

    @property
    def change(self) -> float:
        before, now = self.levels
        return now - before


@dataclass(frozen=True, eq=False)
class Parts:
    """The change of all, by group: `rate` and `mix`, each (groups,), add up to it."""

    rate: Floats
    mix: Floats


def taken_apart(groups: Shares) -> Parts:
    """The change by group; levels and change must be numbers.

    >>> one = np.array
    >>> apart = taken_apart(Shares(one([1.0, 9.0]), one([100.0, 900.0]), one([40.0, 9.0]), one([100.0, 900.0])))
    >>> apart.rate.round(3).tolist(), apart.mix.round(3).tolist()
    ([0.039, 0.0], [0.0, 0.0])
    """
    before, _ = groups.levels
    share0, share1 = groups.units0 / groups.units0.sum(), groups.units1 / groups.units1.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        level0 = np.where(groups.units0 >= NEW_BELOW, groups.part0 / groups.units0, before)
        level1 = np.where(groups.units1 > 0, groups.part1 / groups.units1, level0)
    return Parts(share1 * (level1 - level0), (share1 - share0) * (level0 - before))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A group that might be the cause: its rows, and what part of the change it explains.

    share, share0  its share of the units now, and before
    mixed          whether that there is more of it (or less) is what explains the change
    """

    label: str
    which: Bools
    explains: float
    share: float
    share0: float
    mixed: bool = False


def candidate(shares: Shares, own: Shares, label: str, codes: Codes) -> Candidate | None:
    """The group of this label that explains the change while all else is as before; None where none does.

    own  the same rows, each measured by itself: what all else did is told by it
    """
    groups = shares.by(codes)
    explains = taken_apart(groups).rate / shares.change
    best = int(np.argmax(explains))
    which = codes == best
    if explains[best] < EXPLAINS or _seen(own, which, ~which) is not Seen.STILL:
        return None
    mine = shares.of(which)
    share0, share1 = mine.units0.sum() / shares.units0.sum(), mine.units1.sum() / shares.units1.sum()
    return Candidate(label, which, float(explains[best]), float(share1), float(share0))


class Seen(Enum):
    """What some rows did while others changed."""

    STILL = "still"
    MOVED = "moved"
    UNKNOWN = "unknown"  # Too few units to tell.


def _seen(own: Shares, changed: Bools, others: Bools) -> Seen:
    """What the others did, seen against what changed. Those that were not there before are seen against all before."""
    mine, rest = own.of(changed), own.of(others)
    moved, of_rest = (
        each.change if each.units0.sum() >= NEW_BELOW else each.levels[1] - own.levels[0] for each in (mine, rest)
    )
    if not rest.units1.sum() and rest.units0.sum() < NEW_BELOW:
        return Seen.UNKNOWN
    alike = rest.units1.sum() * abs(moved)
    more = max((of_rest if rest.units1.sum() else 0.0) * rest.units1.sum() * np.sign(moved), 0.0)
    if more <= UNCHANGED * alike and _at_most(more, alike) < BY_CHANCE:
        return Seen.STILL
    return Seen.MOVED if more >= NOTICED and more >= alike / 2 else Seen.UNKNOWN


def _at_most(seen: float, expected: float) -> float:
    """The chance of at most so many where so many are expected, by Poisson's law."""
    if expected > 500:  # What is far less than that is not by chance.
        return 0.0
    term = total = math.exp(-expected)
    for i in range(1, int(seen) + 1):
        term *= expected / i
        total += term
    return total


def cause(shares: Shares, own: Shares, labels: Mapping[str, Codes]) -> list[Candidate]:
    """The groups that explain the change, each within those before it; the first `which` is of all rows.

    A shift comes first: where there is more of what always was bad, all that it is part of seems to have got worse.
    """
    found: list[Candidate] = []
    which = np.ones(len(shares.part0), np.bool_)
    while len(found) < NESTED_MAX and not (found and found[-1].mixed):
        mine = shares.of(which)
        if not (mine.units0.sum() >= NEW_BELOW and mine.units1.sum() and mine.change):
            break
        several = {label: np.unique(codes[which], return_inverse=True)[1] for label, codes in labels.items()}
        several = {label: codes for label, codes in several.items() if codes.max(initial=0)}
        best = shift(mine, several) or _narrowest(mine, own.of(which), several)
        if best is None:
            break
        inner = which.copy()
        inner[which] = best.which
        found.append(replace(best, which=inner))
        which = inner
    return [one for i, one in enumerate(found) if not any(_implies(later, one, labels) for later in found[i + 1 :])]


def _implies(narrow: Candidate, wide: Candidate, labels: Mapping[str, Codes]) -> bool:
    """Whether all that has the one label's value has the other's as well, wherever it is."""
    value = labels[narrow.label][narrow.which][0]
    wider = labels[wide.label]
    return bool((wider[labels[narrow.label] == value] == wider[wide.which][0]).all())


def _narrowest(shares: Shares, own: Shares, labels: Mapping[str, Codes]) -> Candidate | None:
    """The narrowest group that explains it, unless what a wider one has besides changed as well.

    None where nobody can tell, or where a shift between its parts is much of its change.
    """
    candidates = [one for label, codes in labels.items() if (one := candidate(shares, own, label, codes))]
    if not candidates:
        return None
    narrow, *wider = sorted(candidates, key=lambda one: one.share)
    for wide in wider:
        besides = wide.which & ~narrow.which
        if shares.of(besides).units1.sum() < 1:
            continue
        match _seen(own, narrow.which, besides):
            case Seen.MOVED:
                narrow = wide
            case Seen.UNKNOWN:
                return None
    mine = shares.of(narrow.which)
    for codes in labels.values() if mine.units0.sum() >= NEW_BELOW else ():
        inner = np.unique(codes[narrow.which], return_inverse=True)[1]
        if mine.change and taken_apart(mine.by(inner)).mix.sum() / mine.change > SHIFTED:
            return None
    return narrow


def shift(shares: Shares, labels: Mapping[str, Codes]) -> Candidate | None:
    """The group of which there is more, or less, where that explains the change; None where it does not."""
    best: Candidate | None = None
    for label, codes in labels.items():
        groups = shares.by(codes)
        explains = taken_apart(groups).mix / shares.change
        if (total := float(explains.sum())) < EXPLAINS or (best and total <= best.explains + ALIKE):
            continue
        most = int(np.argmax(explains))
        share0, share1 = groups.units0[most] / groups.units0.sum(), groups.units1[most] / groups.units1.sum()
        best = Candidate(label, codes == most, total, float(share1), float(share0), mixed=True)
    return best


def _over(part: float, units: float) -> float:
    return float(part / units) if units else float("nan")
