"""One change of one series: which part of it is whose, looked for among the cells that the series is made of."""

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np

from alertrules.cause import Cause, How, Term
from alertrules.lifecycle import Labels
from alertrules.rules import Rule
from alertrules.wording import VALUE_LENGTH_MAX, clean, percent
from detectors.core.columns import ENDINGS, Bools, Entries, Finding, Floats, Ids
from detectors.core.series import OVERFLOW, SeriesTable
from detectors.core.signals import SIGNALS, Signal
from service.causes import below, factors, terms
from service.causes.levels import level, own_shares, shares
from service.causes.past import Counted, Past, only
from service.causes.terms import Candidate, Codes, Shares
from service.ingest.reasons import error_class
from service.ingest.vocabulary import AGENT_RUN, MODEL_OPERATIONS, RETRIEVAL, SESSION_UNIT, TOOL, WORKFLOW

LABELS = (
    "tool", "model", "agent_version", "prompt", "response_model", "tenant", "agent", "operation", "provider",
)  # fmt: skip
"""Labels that may be a cause; of two that mean the same calls the first is named."""
UNPRICED_TOLD, WEIGHTED = 0.001, 1.001
SEEN_CHANGE = 1 / 3
"""Part of the change that a detector found which the cells must show, for their terms to mean anything."""
_VAGUE = ENDINGS.index("error")
_WHOLES = frozenset((SESSION_UNIT, AGENT_RUN, WORKFLOW))
"""Operations whose units have calls below them."""
_STEPS = MODEL_OPERATIONS | {TOOL, RETRIEVAL}
"""Operations of calls that wait for no call of another kind, mostly."""
SPEND_OF = SIGNALS["spend_per_hour"]


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

    def of_calls(self, labels: Labels, counts_sessions: bool) -> Cause:
        """What the calls of the same labels did, where nothing among the series' own cells explains the change.

        labels  of the series
        """
        if self._signal is SPEND_OF or (self._signal.unit == "usd" and counts_sessions):
            return self._of_spend(labels)
        return self._of_waiting(labels) if self._signal.unit == "s" and self._is_of_wholes else ()

    @cached_property
    def _is_of_wholes(self) -> bool:
        """Whether its units are sessions, or runs of agents."""
        place = self._cells.labels.index("operation")
        return all(self._cells.values(cell)[place] in _WHOLES for cell in self._mine.tolist())

    def _of_spend(self, labels: Labels) -> Cause:
        """Which factor of a session's cost (of an hour's spend) changed, among the calls of models."""
        models, (then, since) = self._calls_of(labels, MODEL_OPERATIONS)
        if not models:
            return ()
        hourly = self._signal is SPEND_OF
        spent0, spent1 = (
            factors.spent(one.seconds / 3600 if hourly else float(one.tick.count.sum()), calls)
            for one, calls in ((self._before, then), (self._now, since))
        )
        names = [value or "a model without a name" for _, value in models]
        term = factors.named(spent0, spent1, names, "an hour" if hourly else "a session")
        return (term,) if term and self._goes_with(spent0, spent1) else ()

    def _of_waiting(self, labels: Labels) -> Cause:
        """The tool or model that sessions (or runs) wait longer for, where that explains how much longer they take."""
        kinds, calls = self._calls_of(labels, _STEPS)
        if not kinds:
            return ()
        told = self._finding.now - self._finding.before
        if (found := below.waited_for((self._before, self._now), calls, told)) is None:
            return ()
        group, explains = found
        which = np.arange(len(kinds)) == group
        levels = [level(self._signal, only(each, which)) for each in calls]
        return (Term(How.RATE, *kinds[group], levels[0], levels[1], "s", explains),)

    def beside(self, labels: Labels) -> str:
        """The tool or model that failed more as sessions (or runs) went worse, in words; empty where none did.

        It explains nothing by itself: nobody counts which sessions had the failed calls.
        """
        if self._signal.unit != "ratio" or not self._is_of_wholes or not len(self._mine):
            return ""
        kinds, calls = self._calls_of(labels, _STEPS)
        if not kinds or (found := below.failing(calls)) is None:
            return ""
        group, before, now = found
        label, value = kinds[group]
        name = clean(value, VALUE_LENGTH_MAX) or f"calls without a {label}"
        return f"beside it, {name} failed {percent(before)} to {percent(now)}"

    def _goes_with(self, then: factors.Spent, since: factors.Spent) -> bool:
        """Whether what the calls cost a session changed the way that the detector says."""
        change = since.dollars.sum() / since.sessions - then.dollars.sum() / then.sessions
        return bool(change * (self._finding.now - self._finding.before) > 0)

    def _calls_of(
        self, labels: Labels, operations: Collection[str]
    ) -> tuple[list[tuple[str, str]], tuple[Counted, Counted]]:  # fmt: skip
        """What the calls counted that have these labels, the operation apart: by tool or model, before and since."""
        cells, at = self._cells, self._cells.labels.index
        wanted = [(at(name), value) for name, value in (*labels, ("metric", "")) if name != "operation"]
        found = [
            cell
            for cell in np.sort(cells.rows()).tolist()
            if (values := cells.values(cell))[at("operation")] in operations
            and all(values[place] == value for place, value in wanted)
        ]
        kinds = []
        for values in map(cells.values, found):
            label = "model" if values[at("operation")] in MODEL_OPERATIONS else "tool"
            kinds.append((label, values[at(label)]))
        names = sorted(set(kinds))
        group = np.array([names.index(kind) for kind in kinds], np.int32)
        return names, self._past.between(np.array(found, np.int32), group, self._finding.since_ns)
