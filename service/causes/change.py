"""One change of one series: which part of it is whose, looked for among the cells that the series is made of."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from alertrules.cause import Cause, How, Term
from alertrules.lifecycle import Labels
from alertrules.rules import Rule
from alertrules.wording import percent
from detectors.core.columns import ENDINGS, Bools, Entries, Finding, Floats, Ids
from detectors.core.series import OVERFLOW, SeriesTable
from detectors.core.signals import SIGNALS, Signal
from service.causes import factors, terms
from service.causes.levels import level, own_shares, shares
from service.causes.past import Past, only
from service.causes.terms import Candidate, Codes, Shares
from service.ingest.endings import error_class
from service.ingest.vocabulary import MODEL_OPERATIONS

LABELS = ("tool", "model", "agent_version", "tenant", "agent", "operation", "provider")
"""Labels that may be a cause; of two that mean the same calls the first is named."""
UNPRICED_TOLD, WEIGHTED = 0.001, 1.001
SEEN_CHANGE = 1 / 3
"""Part of the change that a detector found which the cells must show, for their terms to mean anything."""
_VAGUE = ENDINGS.index("error")


class Change:
    """What the cells of a series counted before and since a time, by a signal.

    mine     (n,) the cells, ascending
    finding  what the detector says of the change
    """

    def __init__(
        self, past: Past, cells: SeriesTable, errors: SeriesTable, mine: Ids, signal: Signal, finding: Finding
    ) -> None:
        self._past, self._cells, self._errors = past, cells, errors
        self._mine, self._signal, self._finding = mine, signal, finding
        every = np.arange(len(mine), dtype=np.int32)
        self._before, self._now = past.between(mine, every, finding.since_ns)

    @cached_property
    def _parts(self) -> Shares | None:
        return shares(self._signal, self._before, self._now)

    @cached_property
    def _labels(self) -> Mapping[str, Codes]:
        """The labels of the cells as numbers, each (n,)."""
        values = [self._cells.values(cell) for cell in self._mine.tolist()]
        places = {name: self._cells.labels.index(name) for name in LABELS}
        return {
            name: np.unique([each[place] for each in values], return_inverse=True)[1] for name, place in places.items()
        }  # fmt: skip

    def shows(self, rule: Rule) -> bool:
        """Whether the cells changed as the detector says, so that it makes sense to ask which of them did."""
        parts, found, signal = self._parts, self._finding, self._signal
        if parts is None or not (parts.units0.sum() >= terms.NEW_BELOW and parts.units1.sum() > 0 and parts.change):
            return False
        change, told = level(signal, self._now) - level(signal, self._before), found.now - found.before
        if found.unit == "share" and signal.unit != "share":
            told = -told  # The detector tells of the good outcomes, the signal of the bad ones.
        # How far a level is beyond a limit says nothing of how far it went.
        least = 0.0 if rule.described.limit else SEEN_CHANGE * abs(told)
        return bool(change * told > 0 and abs(change) >= least)

    @property
    def is_weighted(self) -> bool:
        """Whether its units of now stand for more than themselves: then they are no counts."""
        tick = self._now.tick
        return bool(tick.squares.sum() > WEIGHTED * tick.count.sum())

    def unpriced(self) -> str:
        """What of the calls since then has no known price, in words: a sum of dollars that lacks some is too low."""
        calls, unpriced = (float(column.sum()) for column in (self._now.tick.count, self._now.tick.unpriced))
        share = unpriced / calls if calls else 0.0
        return f"unpriced: {percent(share)} of the calls have no known price" if share >= UNPRICED_TOLD else ""

    def cause(self) -> tuple[Cause, Bools]:
        """The terms that explain most of the change, and the cells that they name: all, where nothing does."""
        parts = self._parts
        assert parts is not None, "ask first whether the cells show the change"
        own = own_shares(self._signal, self._before, self._now, parts)
        chosen = terms.cause(parts, own, self._labels)
        found = [self._term(one, parts) for one in chosen]
        which = chosen[-1].which if chosen else np.ones(len(self._mine), np.bool_)
        is_shift = bool(chosen) and chosen[-1].mixed
        if self._signal is SIGNALS["error_ratio"] and not is_shift and (error := self._error(parts, which)):
            found.append(error)
        return tuple(found), which

    def _term(self, of: Candidate, parts: Shares) -> Term:
        place = self._cells.labels.index(of.label)
        value = self._cells.values(int(self._mine[of.which][0]))[place]
        if of.mixed:
            return Term(How.MIX, of.label, value, of.share0, of.share, "share", of.explains)
        before, now = (level(self._signal, only(each, of.which)) for each in (self._before, self._now))
        is_new = parts.of(of.which).units0.sum() < terms.NEW_BELOW
        return Term(
            How.RATE, of.label, value, float("nan") if is_new else before, now, self._signal.unit, of.explains
        )  # fmt: skip

    def _error(self, parts: Shares, which: Bools) -> Term | None:
        """What most of the failures that came besides are: a type of error, or types that mean the same."""
        mine = parts.of(which)
        if not (mine.units0.sum() and mine.units1.sum() and mine.change > 0):
            return None
        before, now = (self._by_error(each.error, which) for each in (self._before, self._now))
        ids = np.flatnonzero(before + now).astype(np.int32)
        ids = ids[self._errors.are_used(ids) & (ids != OVERFLOW)]
        names = [self._errors.values(one)[0] for one in ids.tolist()]
        classes = ["" if (kind := error_class(name)) == _VAGUE else ENDINGS[kind] for name in names]
        for words in (names, classes):
            found, at = np.unique(np.array(words, np.str_), return_inverse=True)
            then = np.bincount(at, before[ids], len(found)) / mine.units0.sum()
            since = np.bincount(at, now[ids], len(found)) / mine.units1.sum()
            explains = np.where(found == "", 0.0, (since - then) / mine.change)
            if explains.max(initial=0.0) >= terms.EXPLAINS:
                most = int(np.argmax(explains))
                levels = float(then[most]), float(since[most])
                return Term(How.RATE, "error", str(found[most]), *levels, "ratio", float(explains[most]))
        return None

    def _by_error(self, errors: Entries, which: Bools) -> Floats:
        """(types of errors,) failures of these cells."""
        mine = errors.at(which[errors.cell])
        return np.bincount(mine.bucket, mine.count, self._errors.size).astype(float)

    def of_spend(self, labels: Labels) -> Cause:
        """Which factor of a session's cost changed: looked for among the calls of models of the same agent.

        labels  of the series of sessions
        """
        calls = self._calls_of(labels)
        if not len(calls):
            return ()
        place = self._cells.labels.index("model")
        models = [self._cells.values(cell)[place] or "a model without a name" for cell in calls.tolist()]
        names, group = np.unique(models, return_inverse=True)
        counted = self._past.between(calls, group.astype(np.int32), self._finding.since_ns)
        then, since = (
            factors.spent(float(sessions.tick.count.sum()), each)
            for sessions, each in zip((self._before, self._now), counted, strict=True)
        )
        term = factors.named(then, since, names.tolist())
        return (term,) if term and self._goes_with(then, since) else ()

    def _goes_with(self, then: factors.Spent, since: factors.Spent) -> bool:
        """Whether what the calls cost a session changed the way that the detector says."""
        change = since.dollars.sum() / since.sessions - then.dollars.sum() / then.sessions
        return bool(change * (self._finding.now - self._finding.before) > 0)

    def _calls_of(self, labels: Labels) -> Ids:
        """Cells of the model calls that have these labels, the operation apart."""
        cells, at = self._cells, self._cells.labels.index
        wanted = [(at(name), value) for name, value in (*labels, ("metric", "")) if name != "operation"]
        found = [
            cell
            for cell in np.sort(cells.rows()).tolist()
            if (values := cells.values(cell))[at("operation")] in MODEL_OPERATIONS
            and all(values[place] == value for place, value in wanted)
        ]
        return np.array(found, np.int32)
