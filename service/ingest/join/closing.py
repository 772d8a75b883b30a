"""A slot that closes: its calls and the sessions that ended in it, as units."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.core.columns import NO_FIRSTS, NOTHING, SLOT_NS, Entries, Firsts, Floats, Ids
from detectors.core.runs import NONE_RUNS, Running
from detectors.core.series import OVERFLOW
from service.batch import Dropped, Tally
from service.ingest.join.join import Join
from service.ingest.kernel import counting, joining
from service.ingest.kernel.constants import (
    ASK,
    BANDS_MAX,
    COST,
    COVERED,
    FAILED,
    HAS_PARTS,
    IS_NATIVE,
    L_AGENT,
    L_ANSWERED,
    L_MODEL,
    L_PROMPT,
    LISTED,
    MAY_BE_DUPLICATE,
    OP_EMBEDDING,
    OWN,
    SPENT,
    TO_BE_ASKED,
    UNIT_CELL,
    UNIT_ERROR,
    UNIT_IS_CUT,
    UNIT_OUTCOME,
    UNIT_WEIGHT,
    UNKNOWN,
    USAGE_BELOW,
)
from service.ingest.kernel.results import Counts, Structs
from service.ingest.legs import Legs, legs
from service.ingest.local import Bands
from service.ingest.prices import DAY_NS, CostSource, Prices, Tokens
from service.ingest.running import lengths, running
from service.ingest.stretches import NO_STRETCHES, Stretches, of_rows
from service.ingest.twins import Account, Twins

LABELS_MAX, PRICES_KEPT = 1 << 17, 1 << 13
"""Labels whose cell, and models whose price is remembered; with more of them all are looked up again."""
COST_SOURCES = (
    CostSource.SPAN, CostSource.OVERRIDE, CostSource.PRICED, CostSource.FREE, CostSource.UNPRICED, CostSource.NONE
)  # fmt: skip
"""Where a cost comes from, by its number."""
NO_BANDS = Bands((), ())
NO_WORDS: Mapping[tuple[str, str], float] = MappingProxyType({})
NO_ERRORS: Mapping[int, str] = MappingProxyType({})
Rows = NDArray[np.int64]
Labels = tuple[str, str, str, str, str, str, str, str, str]
"""Values of CELL_LABELS, without the last, in that order."""
NO_MORE = ("", "", "", "", "", "")
"""The labels after the operation, of sessions whose version is not told."""


class Closed(NamedTuple):
    """What a slot counts.

    units     float64 (units, n), the first `calls` of them calls, the rest sessions; good until the next slot. The
              rows are the kernel's UNIT_* constants
    cells     theirs; labels likewise, as rows of the join's
    ended     (sessions,) structs of the sessions
    sampled   services, the number of their spans, and the largest weight among them
    nameless  agents, and the number of sessions that nothing named; `named` of the others
    cut       agents, and the number of calls one of whose values was too long for a label
    no_class  outcomes that are of no class, and agents: how many sessions ended so
    errors    types of error by the number that UNIT_ERROR has for each
    firsts    what labels tell that were met for the first time; what was seen before may be among it
    legs      what the sessions went through; None where there is none
    running   sessions that are open after the slot, and long
    lengths   of the sessions that ended
    stretches of traces, where sessions are joined elsewhere
    """

    units: Floats
    cells: Ids
    labels: Rows
    calls: int
    ended: Structs
    sampled: list[tuple[str, int, float]]
    nameless: dict[str, int]
    named: dict[str, int]
    cut: dict[str, int]
    no_class: Mapping[tuple[str, str], float] = NO_WORDS
    errors: Mapping[int, str] = NO_ERRORS
    firsts: Firsts = NO_FIRSTS
    legs: Legs | None = None
    running: Running = NONE_RUNS
    lengths: Entries = NOTHING
    stretches: Stretches = NO_STRETCHES


class Closing:
    """Closes slots, with prices and with what SDKs told of calls that are told twice."""

    def __init__(self, join: Join, prices: Prices) -> None:
        self._join, self._tables, self._prices = join, join.tables, prices
        self.twins = Twins()
        self._day = -1

    def close(self, start_ns: int, cell_of: Callable[[Labels, int], int], tally: Tally) -> Closed:
        """Close the first of the open slots. `cell_of` gives the cell of some labels, which count so many units."""
        tables = self._tables
        self._forget(start_ns // DAY_NS)
        waiting, natives = counting.begin(tables, start_ns)
        if natives or self.twins.remembers:
            self._pair(waiting, start_ns)
        done = 0
        while (done := counting.count(tables, done, waiting, start_ns + SLOT_NS)) < waiting:
            self._help(done, start_ns)
        return self._finished(start_ns, cell_of, tally)

    def bear(
        self, stretches: Stretches, start_ns: int, cell_of: Callable[[Labels, int], int], tally: Tally
    ) -> Closed:  # fmt: skip
        """Close the first of the open slots, which has these stretches of traces that were counted elsewhere."""
        self._forget(start_ns // DAY_NS)
        counting.begin(self._tables, start_ns)
        self._join.bear(stretches, start_ns + SLOT_NS)
        return self._finished(start_ns, cell_of, tally)

    def _finished(self, start_ns: int, cell_of: Callable[[Labels, int], int], tally: Tally) -> Closed:
        tables = self._tables
        units, calls, sessions, counts = counting.finish(tables, start_ns)
        closed = self._closed(units, calls, sessions, cell_of, start_ns)
        counting.drop(tables, sessions)
        _tell(counts, tally)
        return closed

    def _forget(self, day: int) -> None:
        """Forget labels and prices where there are too many; and prices of yesterday, which may have changed."""
        tables = self._tables
        if tables.count("labels") > LABELS_MAX:
            tables.clear("labels")
        if day != self._day or tables.count("prices") > PRICES_KEPT:
            tables.clear("prices")
            self._day = day

    def _pair(self, waiting: int, start_ns: int) -> None:
        """Find the calls that an SDK told beside an instrumentation."""
        waits, spans = self._tables.rows("waits"), self._tables.rows("spans")
        rows = counting.listed(self._tables, waiting)
        said = spans[waits["span"][rows]]
        readings = self._tables.readings()[said["reading"]]
        flags = said["flags"]
        is_call = (readings["operation"] <= OP_EMBEDDING) & (readings["is_log"] == 0)
        is_open = is_call & (flags & COVERED == 0)
        natives = self._accounts(rows[is_open & (flags & MAY_BE_DUPLICATE != 0)])
        pairs = self.twins.pair(natives, self._accounts(rows[is_open & (flags & IS_NATIVE == 0)]), start_ns)
        spans["flags"][waits["span"][pairs.told]] |= COVERED | USAGE_BELOW
        numbers = waits["numbers"]
        for native, other in pairs.better:
            if spans["flags"][waits["span"][native]] & SPENT == 0:
                continue
            for number in range(COST + 1):
                knows = not np.isnan(numbers[native, number])
                if knows and (number != COST or np.isnan(numbers[other, COST])):
                    numbers[other, number] = numbers[native, number]
            if spans["flags"][waits["span"][native]] & HAS_PARTS:
                waits["parts"][other] = waits["parts"][native]
                spans["flags"][waits["span"][other]] |= HAS_PARTS
            spans["flags"][waits["span"][other]] |= SPENT

    def _accounts(self, rows: NDArray[np.int32]) -> Iterator[Account]:
        lexicon, waits = self._join.lexicon, self._tables.rows("waits")
        spans, readings = self._tables.rows("spans"), self._tables.readings()
        for row in rows.tolist():
            wait = waits[row]
            span = spans[wait["span"]]
            reading = readings[span["reading"]]
            words = (int(reading["model"]), int(reading["answered_by"]))
            tokens = float(wait["numbers"][0])
            yield Account(
                lexicon.resources[span["resource"]], bool(span["flags"] & FAILED),
                None if np.isnan(tokens) else tokens, int(span["start"]), int(wait["end"]),
                int(span["response"].astype(np.int64)), tuple(lexicon.text(word) for word in words if word), row,
            )  # fmt: skip

    def _help(self, place: int, start_ns: int) -> None:
        """Look up the prices that are new, or else ask for that of the call at this place."""
        text = self._join.lexicon.text
        new = counting.new_prices(self._tables)
        for row, provider, response, model, tier in new:
            kind, bands = self._looked_up(text(provider), (text(response), text(model)), text(tier), start_ns)
            told = [
                (start, unit.input, unit.output, unit.cache_read, unit.cache_write, *unit.parts)
                for start, unit in zip((0, *bands.starts), bands.units, strict=False)
            ]
            counting.set_price(self._tables, row, kind, told)
        if not new:
            (provider, response, model, tier), numbers, end_ns = counting.stopped(self._tables, place)
            tokens = Tokens(*np.nan_to_num(numbers).tolist())
            models = text(response), text(model)
            dollars, source = self._prices.cost(text(provider), models, tokens, end_ns, text(tier))
            counting.set_dollars(self._tables, place, float("nan") if source is CostSource.UNPRICED else dollars)

    def _looked_up(self, provider: str, models: tuple[str, str], tier: str, time_ns: int) -> tuple[int, Bands]:
        """The kind of a price, and what it asks."""
        price = next(iter(self._prices.fitting(provider, models, time_ns, tier)), None)
        if price is None:
            return UNKNOWN, NO_BANDS
        if price.bands is None or len(price.bands.units) > BANDS_MAX:
            return TO_BE_ASKED, NO_BANDS
        return OWN if price.source is CostSource.OVERRIDE else LISTED, price.bands

    def _closed(
        self, units: Floats, calls: int, sessions: int, cell_of: Callable[[Labels, int], int], start_ns: int
    ) -> Closed:
        tables, lexicon = self._tables, self._join.lexicon
        rows = units[UNIT_CELL].astype(np.int64)
        asked = counting.asked(tables)
        labels = tables.rows("labels")
        times = np.bincount(rows, minlength=len(labels)) if asked else np.zeros(0, np.int64)
        known = labels["cell"]
        for row, each in zip(asked, self.labels(asked), strict=True):
            known[row] = cell_of(each, int(times[row]))
        cells = known[rows]
        for row in asked:  # Where there was no room there may be some by the next slot.
            if known[row] == OVERFLOW:
                known[row] = ASK
        ended = tables.rows("ended")[counting.listed(tables, sessions)]
        nameless, named = (self._by_text(ended["agent"][(ended["is_trace"] > 0) == of]) for of in (True, False))
        cut = self._by_text(labels["words"][rows[units[UNIT_IS_CUT] > 0], L_AGENT])
        sampled = counting.sampled(tables, len(lexicon.resources))
        services = [(lexicon.resources[i].agent, spans, weight) for i, spans, weight in sampled]
        no_class = self._no_class(units[:, calls:], rows[calls:])
        stretches = self._told(no_class)
        told = units[UNIT_ERROR][units[UNIT_ERROR] != 0]
        errors = {int(word): lexicon.text(int(word)) for word in np.unique(told)} if len(told) else NO_ERRORS
        gone = legs(ended, lexicon.texts(), lexicon.outcomes) if sessions else None

        def of_sessions(named: tuple[str, str]) -> int:
            # No units: those that find no room were counted with their cells.
            return cell_of((*named, "session", *NO_MORE), 0)

        texts = lexicon.texts()
        return Closed(
            units, cells, rows, calls, ended, services, nameless, named, cut, no_class, errors,
            self._firsts(labels), gone,
            running(counting.running(tables, start_ns), texts, of_sessions), lengths(ended, texts, of_sessions),
            stretches,
        )  # fmt: skip

    def _firsts(self, labels: Structs) -> Firsts:
        text, told = self._join.lexicon.text, labels["words"][counting.met(self._tables)].tolist()
        answers = {(text(words[L_MODEL]), text(words[L_ANSWERED])) for words in told if words[L_ANSWERED]}
        prompts = {(text(words[L_AGENT]), text(words[L_PROMPT])) for words in told if words[L_PROMPT]}
        return Firsts(tuple(sorted(answers)), tuple(sorted(prompts)))

    def _no_class(self, sessions: Floats, rows: Rows) -> dict[tuple[str, str], float]:
        """Words of no class that sessions ended with: from here on these are unmapped."""
        outcomes, words = self._join.lexicon.outcomes, self._join.lexicon.no_class
        ended, found = sessions[UNIT_OUTCOME], dict[tuple[str, str], float]()
        at = np.flatnonzero(ended >= len(outcomes.names))
        agents = self._tables.rows("labels")["words"][rows[at], L_AGENT].tolist()
        for i, agent in zip(at.tolist(), agents, strict=True):
            if (number := int(ended[i])) in words:  # Else it was saved when there were more classes.
                key = " / ".join(words[number]), self._join.lexicon.text(agent)
                found[key] = found.get(key, 0.0) + sessions[UNIT_WEIGHT, i]
        ended[at] = outcomes.unmapped
        return found

    def _told(self, no_class: dict[tuple[str, str], float]) -> Stretches:
        """What traces went through. Outcomes of no class are unmapped from here on, too."""
        lexicon, rows = self._join.lexicon, joining.told(self._tables)
        for row in rows[rows["outcome"] >= len(lexicon.outcomes.names)]:
            if (number := int(row["outcome"])) in lexicon.no_class:
                key = " / ".join(lexicon.no_class[number]), lexicon.text(int(row["agent"]))
                no_class[key] = no_class.get(key, 0.0) + float(row["weight"])
        rows["outcome"] = np.minimum(rows["outcome"], lexicon.outcomes.unmapped)
        return of_rows(rows, lexicon.texts())

    def _by_text(self, words: NDArray[np.uint32]) -> dict[str, int]:
        """How often each of the words stands there."""
        if not len(words):
            return {}
        found = zip(*(each.tolist() for each in np.unique(words, return_counts=True)), strict=True)
        return {self._join.lexicon.text(word): times for word, times in found}

    def labels(self, rows: Sequence[int] | Rows) -> list[Labels]:
        """The texts of some labels."""
        words = self._tables.rows("labels")["words"][rows].tolist()
        texts = self._join.lexicon.texts()
        return [
            (texts[a], texts[b], texts[c], texts[d], texts[e], texts[f], texts[g], texts[h], texts[i])
            for a, b, c, d, e, f, g, h, i in words
        ]


def _tell(counts: Counts, tally: Tally) -> None:
    if counts["traces_full"]:
        tally.dropped[Dropped.TRACES_FULL] += counts["traces_full"]
    for source, n in zip(COST_SOURCES, counts["sources"], strict=True):
        if n:
            tally.costs[source] += n
    tally.weighted += counts["weighted"]
    tally.stated_tokens += counts["stated"]
    tally.leaf_tokens += counts["leaves"]
