"""A slot that closes: its calls and the sessions that ended in it, as units."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from detectors.core.columns import SLOT_NS, Floats, Ids
from detectors.core.series import OVERFLOW
from service.batch import Tally
from service.ingest.join.join import Join
from service.ingest.join.labels import L_AGENT, L_CELLS
from service.ingest.join.rows import HIGH
from service.ingest.join.store import Cells
from service.ingest.join.tables import (
    ASK,
    ASKING,
    BAND_CELLS,
    BANDS_MAX,
    COVERED,
    ENDED,
    ENDED_AGENT,
    ENDED_IS_TRACE,
    FAILED,
    FLOOR,
    HELP,
    HELPED,
    IS_NATIVE,
    LABEL_CELL,
    LABEL_WORDS,
    LABELS,
    LEAVES,
    LISTED,
    MAY_BE_TWOFOLD,
    NEW,
    OP_EMBEDDING,
    OWN,
    PRICE_BANDS,
    PRICE_COUNT,
    PRICE_KIND,
    PRICE_PROVIDER,
    PRICES,
    READING_ANSWERED_BY,
    READING_IS_LOG,
    READING_MODEL,
    READING_OPERATION,
    SESSIONS,
    SLOT_SESSIONS,
    SLOT_WAITING,
    SLOTS,
    SOURCES,
    SPAN_FLAGS,
    SPAN_READING,
    SPAN_RESOURCE,
    SPAN_RESPONSE,
    SPAN_START,
    SPANS,
    SPENT,
    STATED,
    STOPPED_AT,
    TO_BE_ASKED,
    UNIT_CELL,
    UNIT_IS_CUT,
    UNITS,
    UNKNOWN,
    USAGE_BELOW,
    WAIT_COST,
    WAIT_END,
    WAIT_INPUT,
    WAIT_SPAN,
    WAITS,
    WEIGHTED,
)
from service.ingest.local import Bands
from service.ingest.memory import as_bits
from service.ingest.prices import DAY_NS, CostSource, Prices, Tokens
from service.ingest.twins import Account, Twins

LABELS_MAX, PRICES_KEPT = 1 << 17, 1 << 13
"""Labels whose cell, and models whose price is remembered; with more of them all are looked up again."""
COST_SOURCES = (
    CostSource.SPAN, CostSource.OVERRIDE, CostSource.PRICED, CostSource.FREE, CostSource.UNPRICED, CostSource.NONE
)  # fmt: skip
"""Where a cost comes from, by its number."""
NO_BANDS = Bands((), ())
Labels = tuple[str, str, str, str, str, str, str]
"""Values of CELL_LABELS, without the last, in that order."""


class Closed(NamedTuple):
    """What a slot counts.

    units     float64 (UNIT_CELLS, n), the first `calls` of them calls, the rest sessions; good until the next slot
    cells     theirs; labels likewise, as rows of the join's
    ended     (sessions, ENDED_CELLS) of the sessions
    sampled   services, the number of their spans, and the largest weight among them
    nameless  agents, and the number of sessions that nothing named
    cut       agents, and the number of calls one of whose values was too long for a label
    """

    units: Floats
    cells: Ids
    labels: Cells
    calls: int
    ended: Cells
    sampled: list[tuple[str, int, float]]
    nameless: dict[str, int]
    cut: dict[str, int]


class Closing:
    """Closes slots, with prices and with what SDKs told of calls that are told twice."""

    def __init__(self, join: Join, prices: Prices) -> None:
        self._join, self._store, self._prices = join, join.store, prices
        self.twins = Twins()
        self._day = -1

    def close(self, start_ns: int, cell_of: Callable[[Labels, int], int], tally: Tally) -> Closed:
        """Close the first of the open slots. `cell_of` gives the cell of some labels, which count so many units."""
        store, kernels = self._store, self._join.kernels
        self._join.spend_room()
        slot = kernels.find_slot(store.tables, start_ns)
        row = store.rows[SLOTS][slot]
        waiting = int(row[SLOT_WAITING])
        store.state[FLOOR] = max(int(store.state[FLOOR]), start_ns)
        store.state[HELPED] = -1
        self._make_room(waiting, start_ns // DAY_NS)
        kernels.list_waiting(store.tables, slot)
        self._sort(waiting)
        natives = kernels.mark(store.tables, waiting)
        if natives or self.twins.remembers:
            self._pair(waiting, start_ns)
        store.counts[:] = 0
        done = 0
        while (done := int(kernels.count(store.tables, done, waiting, start_ns + SLOT_NS))) < waiting:
            self._help(done, start_ns)
        calls, ended = int(store.counts[UNITS]), int(store.rows[SLOTS][slot, SLOT_SESSIONS])
        store.room_for_units(waiting + ended)
        store.room(LABELS, ended)
        kernels.list_ended(store.tables, slot)
        closed = self._closed(calls, ended, cell_of)
        kernels.drop_ended(store.tables, ended)
        kernels.drop_first(store.tables)
        self._count(tally)
        return closed

    def _make_room(self, waiting: int, day: int) -> None:
        store = self._store
        if store.count(LABELS) > LABELS_MAX:
            store.clear(LABELS)
        if day != self._day or store.count(PRICES) > PRICES_KEPT:
            store.clear(PRICES)
            self._day = day
        store.room_for_units(waiting)
        for table in (SESSIONS, LABELS, PRICES):
            store.room(table, waiting)
        # All that are open may end in this slot, and each that is met may end and begin anew.
        sessions = store.count(SESSIONS) + waiting
        store.room(ENDED, sessions)
        store.room(SLOTS, waiting + 1)
        store.room_in_queues(2 * waiting + 1)

    def _sort(self, waiting: int) -> None:
        """Bring the spans into the order in which they ended, whatever the order in which they came."""
        store = self._store
        order, ends = store.order[:waiting], store.ends[:waiting]
        by_end = np.argsort(ends)
        order[:], ends[:] = order[by_end], ends[by_end]
        self._join.kernels.order_ties(store.tables, waiting)

    def _pair(self, waiting: int, start_ns: int) -> None:
        """Find the calls that an SDK told beside an instrumentation."""
        waits, spans = self._store.rows[WAITS], self._store.rows[SPANS]
        rows = self._store.order[:waiting]
        said = spans[waits[rows, WAIT_SPAN]]
        readings = self._store.readings[said[:, SPAN_READING]]
        flags = said[:, SPAN_FLAGS]
        is_call = (readings[:, READING_OPERATION] <= OP_EMBEDDING) & (readings[:, READING_IS_LOG] == 0)
        is_open = is_call & (flags & COVERED == 0)
        natives = self._accounts(rows[is_open & (flags & MAY_BE_TWOFOLD != 0)])
        pairs = self.twins.pair(natives, self._accounts(rows[is_open & (flags & IS_NATIVE == 0)]), start_ns)
        spans[waits[pairs.told, WAIT_SPAN], SPAN_FLAGS] |= COVERED | USAGE_BELOW
        numbers = waits.view(np.float64)
        for native, other in pairs.better:
            if spans[waits[native, WAIT_SPAN], SPAN_FLAGS] & SPENT == 0:
                continue
            for column in range(WAIT_INPUT, WAIT_COST + 1):
                knows = not np.isnan(numbers[native, column])
                if knows and (column != WAIT_COST or np.isnan(numbers[other, WAIT_COST])):
                    numbers[other, column] = numbers[native, column]
            spans[waits[other, WAIT_SPAN], SPAN_FLAGS] |= SPENT

    def _accounts(self, rows: Cells) -> Iterator[Account]:
        lexicon, store = self._join.lexicon, self._store
        numbers = store.rows[WAITS].view(np.float64)
        for row in rows.tolist():
            span = store.rows[SPANS][store.rows[WAITS][row, WAIT_SPAN]].tolist()
            reading = store.readings[span[SPAN_READING]].tolist()
            models = tuple(lexicon.text(reading[at]) for at in (READING_MODEL, READING_ANSWERED_BY) if reading[at])
            tokens = float(numbers[row, WAIT_INPUT])
            yield Account(
                lexicon.resources[span[SPAN_RESOURCE]], bool(span[SPAN_FLAGS] & FAILED),
                None if np.isnan(tokens) else tokens,
                span[SPAN_START], int(store.rows[WAITS][row, WAIT_END]), span[SPAN_RESPONSE], models, row,
            )  # fmt: skip

    def _help(self, place: int, start_ns: int) -> None:
        """Look up the prices that are new, and ask for that of the call at this place, if it has to be asked for."""
        store, text = self._store, self._join.lexicon.text
        prices = store.rows[PRICES][: store.heads[PRICES + HIGH]]
        new = np.flatnonzero(prices[:, PRICE_KIND] == NEW).tolist()
        for row in new:
            provider, *models = [text(word) for word in prices[row, PRICE_PROVIDER : PRICE_PROVIDER + 3].tolist()]
            kind, bands = self._looked_up(provider, (models[0], models[1]), start_ns)
            prices[row, PRICE_KIND], prices[row, PRICE_COUNT] = kind, len(bands.units)
            told = prices[row, PRICE_BANDS:].view(np.float64).reshape(BANDS_MAX, BAND_CELLS)
            for i, (start, unit) in enumerate(zip((0, *bands.starts), bands.units, strict=False)):
                told[i] = (start, unit.input, unit.output, unit.cache_read, unit.cache_write)
        if not new:
            self._ask(place)

    def _looked_up(self, provider: str, models: tuple[str, str], time_ns: int) -> tuple[int, Bands]:
        """The kind of a price, and what it asks."""
        price = next(iter(self._prices.fitting(provider, models, time_ns)), None)
        if price is None:
            return UNKNOWN, NO_BANDS
        if not isinstance(price.bands, Bands) or len(price.bands.units) > BANDS_MAX:
            return TO_BE_ASKED, NO_BANDS
        return OWN if price.source is CostSource.OVERRIDE else LISTED, price.bands

    def _ask(self, place: int) -> None:
        store, text = self._store, self._join.lexicon.text
        wait = store.rows[WAITS][store.order[place]]
        price = store.state[STOPPED_AT]
        provider, response, model = map(text, store.rows[PRICES][price, PRICE_PROVIDER : PRICE_PROVIDER + 3].tolist())
        tokens = Tokens(*np.nan_to_num(wait[WAIT_INPUT:WAIT_COST].view(np.float64)).tolist())
        dollars, source = self._prices.cost(provider, (response, model), tokens, int(wait[WAIT_END]))
        store.state[HELPED] = place
        store.state[HELP] = as_bits(float("nan") if source is CostSource.UNPRICED else dollars)

    def _closed(self, calls: int, ended: int, cell_of: Callable[[Labels, int], int]) -> Closed:
        store, lexicon = self._store, self._join.lexicon
        units = store.units[:, : calls + ended]
        rows = units[UNIT_CELL].astype(np.int64)
        labels = store.rows[LABELS]
        asked = store.asking[: store.state[ASKING]].tolist()
        store.state[ASKING] = 0
        times = np.bincount(rows, minlength=len(labels)) if asked else np.zeros(0, np.int64)
        for row, each in zip(asked, self.labels(asked), strict=True):
            labels[row, LABEL_CELL] = cell_of(each, int(times[row]))
        cells = labels[rows, LABEL_CELL].astype(np.int32)
        for row in asked:  # Where there was no room there may be some by the next slot.
            if labels[row, LABEL_CELL] == OVERFLOW:
                labels[row, LABEL_CELL] = ASK
        over = store.rows[ENDED][store.order[:ended]]
        nameless = self._by_text(over[over[:, ENDED_IS_TRACE] > 0, ENDED_AGENT])
        cut = self._by_text(labels[rows[units[UNIT_IS_CUT] > 0], LABEL_WORDS + L_AGENT])
        sampled = store.sampled[: len(lexicon.resources)]
        weights = sampled[:, 1].view(np.float64)
        seen = np.flatnonzero(sampled[:, 0]).tolist()
        services = [(lexicon.resources[i].agent, int(sampled[i, 0]), float(weights[i])) for i in seen]
        sampled[:] = 0
        return Closed(units, cells, rows, calls, over, services, nameless, cut)

    def _by_text(self, words: Cells) -> dict[str, int]:
        """How often each of the words stands there."""
        found = zip(*(each.tolist() for each in np.unique(words, return_counts=True)), strict=True)
        return {self._join.lexicon.text(word): times for word, times in found}

    def labels(self, rows: Sequence[int] | Cells) -> list[Labels]:
        """The texts of some labels."""
        words = self._store.rows[LABELS][rows, LABEL_WORDS : LABEL_WORDS + L_CELLS].tolist()
        texts = self._join.lexicon.texts()
        return [(texts[a], texts[b], texts[c], texts[d], texts[e], texts[f], texts[g]) for a, b, c, d, e, f, g in words]

    def _count(self, tally: Tally) -> None:
        counts, numbers = self._store.counts.tolist(), self._store.counts.view(np.float64)
        for number, source in enumerate(COST_SOURCES):
            if counts[SOURCES + number]:
                tally.costs[source] += counts[SOURCES + number]
        tally.weighted += counts[WEIGHTED]
        tally.stated_tokens += float(numbers[STATED])
        tally.leaf_tokens += float(numbers[LEAVES])
