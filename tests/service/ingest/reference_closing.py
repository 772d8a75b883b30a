"""How a slot's calls are counted, as the rules would be told: see `reference.py`."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from detectors.core.columns import ENDINGS, SLOT_NS, Firsts
from service.batch import Tally
from service.ingest.join.closing import Closed
from service.ingest.kernel import constants
from service.ingest.prices import CostSource, Prices, Tokens
from service.ingest.reasons import error_name
from service.ingest.twins import Account, Twins
from service.ingest.vocabulary import (
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    FIRST_TOKEN,
    GUARDRAIL,
    HITS,
    INPUT,
    LLM,
    OTHER,
    OUTPUT,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    SCORE,
    TIER,
    TOOL,
    TOOL_NAME,
    TOP_K,
    WORKFLOW,
)
from service.ingest.vocabulary import PARTS as VALUED
from tests.service.ingest.reference import Ended, Join, Slot
from tests.service.ingest.reference_labels import Labels, labels
from tests.service.ingest.reference_spans import Span

PARTS = (CACHE_READ, CACHE_WRITE, REASONING, COST)
NUMBERS = (INPUT, OUTPUT, *PARTS)


class Unit(NamedTuple):
    """A call, or a session, as it is added up."""

    labels: Labels
    weight: float
    failed: bool
    tokens: tuple[float, float]
    dollars: float
    source: CostSource
    seconds: float
    outcome: int = -1
    ending: int = -1
    first: float = np.nan
    cached: tuple[float, float] = (0.0, 0.0)
    each: float = 1.0
    error: str = ""
    trace: tuple[int, int] = (0, 0)
    score: float = np.nan


def is_doubled(span: Span) -> bool:
    """Whether two layers of instrumentation may both write a span for such a call, one inside the other."""
    return span.is_model or span.operation in (TOOL, RETRIEVAL)


def is_same_tool(one: str, other: str) -> bool:
    """Whether two names are of one tool: `server.tool` and `tool` are."""
    short, long = sorted((one.encode(), other.encode()), key=len)
    return one == other or (0 < len(short) < len(long) and long.endswith(short) and long[-len(short) - 1] in b"_./:-")


class Closing:
    """What `stage.py` asks of the closing of slots."""

    def __init__(self, join: Join, prices: Prices) -> None:
        self._join, self._prices, self.twins = join, prices, Twins()

    def close(self, start_ns: int, cell_of: Callable[[Labels, int], int], tally: Tally) -> Closed:
        """Close the first slot."""
        join = self._join
        join.rise(start_ns)
        slot = join.open(start_ns)
        spans = sorted(slot.waiting, key=lambda span: (span.placed, -span.start, span.id, span.trace.id))
        for span in spans:
            self._mark(span)
        self._pair(spans, start_ns)
        units, cut = list[Unit](), Counter[str]()
        for span in spans:
            made = self._count(span, tally)
            if made is not None:
                units.append(made)
                cut[made.labels[1]] += span.reading.is_cut
        join.close_due(start_ns + SLOT_NS)
        calls = len(units)
        units += [_session(each) for each in reversed(slot.ended)]
        del join.slots[start_ns]
        return self._closed(units, calls, slot, spans, cell_of, +cut)

    def _mark(self, span: Span) -> None:
        """Find the span around it that is the same call; and tell those above that tokens are known below them."""
        if is_doubled(span):
            self._mark_above(span)
        if span.is_native and span.duplicate is None:
            told = any(not each.is_native and each.is_model for each in span.trace.spans.values())
            span.may_be_duplicate = not span.parent_id or told

    @staticmethod
    def _mark_above(span: Span) -> None:
        usage, looking, part = span.spent and span.is_model, True, None
        if span.reading.is_log:
            usage, looking = usage and not _is_spent_above(span), False
        for row in span.ancestors():
            if not usage and not looking:
                return
            row.usage_below |= usage
            if not looking:
                continue
            own, theirs = span.says(TOOL_NAME), row.says(TOOL_NAME)
            if row.operation == span.operation and (span.operation != TOOL or not own or is_same_tool(own, theirs)):
                span.duplicate, looking, row.covered = row, False, True
                if part is not None:
                    part.covered = True
                if usage and row.waits and row.spent:
                    _complete(span, row)
            elif row.operation == span.operation == TOOL and part is None and not theirs:
                part = row
            elif row.operation not in (OTHER, WORKFLOW):
                looking = False

    def _pair(self, spans: list[Span], start_ns: int) -> None:
        """Find the calls that an SDK told beside an instrumentation."""
        natives = [span for span in spans if span.is_native and span.may_be_duplicate]
        if not natives and not self.twins.remembers:
            return
        of = dict(enumerate(spans))

        def accounts(native: bool) -> Iterator[Account]:
            for row, span in of.items():
                told = span.may_be_duplicate if native else not span.is_native
                if told and span.is_model and not span.reading.is_log and not span.covered:
                    models = tuple(filter(None, (span.says(REQUEST_MODEL), span.says(RESPONSE_MODEL))))
                    response = hash(span.response) if span.response else 0
                    tokens = span.numbers.get(INPUT)
                    yield Account(span.resource, span.failed, tokens, span.start, span.end, response, models, row)

        pairs = self.twins.pair(accounts(True), accounts(False), start_ns)
        for row in pairs.told:
            of[row].covered = of[row].usage_below = True
        for native, other in pairs.better:
            if of[native].spent:
                stated = {COST: of[other].numbers[COST]} if COST in of[other].numbers else {}
                of[other].numbers |= of[native].numbers | stated
                of[other].spent = True

    def _count(self, span: Span, tally: Tally) -> Unit | None:
        """The unit of a span that is a call, or that hands in what a call did not report."""
        join, trace, words = self._join, span.trace, labels(span)
        join.attach(span)
        trace.waits -= 1
        join.pending -= 1
        counts, usage = self._counts(span)
        repeats = counts and self._repeats(span)
        tokens = span.number(INPUT) + span.number(OUTPUT)
        if span.spent and span.usage_below and not span.parent_id and not is_doubled(span):
            tally.stated_tokens += tokens
            tally.leaf_tokens += trace.tokens
        span.waits = False
        if not counts and not usage:
            return None
        dollars, source = self._cost(span, words) if usage else (0.0, CostSource.NONE)
        if source is not CostSource.NONE:
            tally.costs[source] += 1
            trace.tokens += tokens
            trace.dollars += dollars
            trace.unpriced += source is CostSource.UNPRICED
            trace.free += source is CostSource.FREE
        tally.weighted += span.weight != 1.0
        spent = (span.number(INPUT) * span.weight, span.number(OUTPUT) * span.weight) if usage else (0.0, 0.0)
        seconds = (span.end - span.start) / 1e9 if span.end >= span.start else np.nan
        weight = span.weight if counts else 0.0
        ending = self._ending(span, repeats) if counts else -1
        first = span.number(FIRST_TOKEN) if counts and span.number(FIRST_TOKEN) > 0 else np.nan
        is_scored = counts and span.operation == RETRIEVAL and span.number(SCORE) > 0
        score = span.number(SCORE) if is_scored else np.nan
        cached = (span.number(CACHE_READ), span.number(CACHE_WRITE)) if usage else (0.0, 0.0)
        return Unit(
            words, weight, span.failed, spent, dollars * span.weight, source, seconds, -1, ending, first, cached,
            span.weight, error_name(span.reading.error) if counts and span.failed else "", span.trace.id,
            score,
        )  # fmt: skip

    @staticmethod
    def _repeats(span: Span) -> bool:
        """Whether a tool was called like this before in its trace."""
        if span.operation != TOOL or not span.called:
            return False
        if span.called in span.trace.answers:
            return True
        if not span.is_loose:
            span.trace.answers[span.called] = False
        return False

    @staticmethod
    def _ending(span: Span, repeats: bool) -> int:
        """What a call ended with, or was."""
        said = span.reading.ending
        if span.operation == TOOL:
            return -1 if not span.called else ENDINGS.index("repeat" if repeats else "new_call")
        if span.operation == RETRIEVAL:
            score, top_k = span.number(SCORE), span.number(TOP_K)
            hits = span.numbers.get(HITS, float(span.reading.listed) or (1.0 if score > 0 else -1.0))
            if hits <= 0:
                return ENDINGS.index("nothing") if hits == 0 else -1
            return ENDINGS.index("short" if hits < top_k else "found")
        if span.operation == GUARDRAIL:
            return said
        if not span.is_model:
            return -1
        if span.failed:
            return span.reading.error_class if span.reading.error_class >= 0 else ENDINGS.index("error")
        is_empty = span.operation == LLM and span.told_empty and span.number(INPUT) > 0
        return ENDINGS.index("empty") if is_empty and said <= 0 else said

    def _cost(self, span: Span, words: Labels) -> tuple[float, CostSource]:
        """Dollars of a call as it states them, else by price."""
        stated, tokens = span.numbers.get(COST), span.number(INPUT) + span.number(OUTPUT)
        if stated is not None and stated > 0:
            return stated, CostSource.SPAN
        has_parts, is_foreign = any(span.number(name) > 0 for name in VALUED), stated == -1
        none = CostSource.UNPRICED if is_foreign else CostSource.NONE
        if stated == 0 or not (tokens or has_parts) or not span.spent:
            return 0.0, CostSource.FREE if stated == 0 and tokens > 0 else none
        provider, model = words[3], words[4]
        if not span.is_model:
            if span.operation not in (AGENT_RUN, WORKFLOW, OTHER):
                return 0.0, none
            provider = span.says(PROVIDER) or span.trace.default(PROVIDER)
            model = span.says(REQUEST_MODEL) or span.trace.default(REQUEST_MODEL)
        spent = Tokens(*(span.number(name) for name in (*NUMBERS[:5], *VALUED)))
        return self._prices.cost(provider, (span.says(RESPONSE_MODEL), model), spent, span.end, span.says(TIER))

    @staticmethod
    def _counts(span: Span) -> tuple[bool, bool]:
        """Whether a span is a call of its own, and whether its tokens and cost are to be added."""
        usage = span.spent
        if span.reading.is_log:
            return False, usage and not _is_spent_above(span)
        if span.is_model:
            usage = usage and not any(row.usage_counted for row in span.ancestors())
        elif usage:
            usage = not span.usage_below
            if usage:  # It stands in for leaves that said nothing.
                span.usage_counted = True
                for row in span.ancestors():
                    row.usage_below = True
        if is_doubled(span):
            if span.covered:
                return False, usage and not span.usage_below
            if span.duplicate is not None and span.duplicate.is_counted:
                return False, usage and not span.duplicate.spent
            response = span.response
            if response and span.is_model:
                answers = span.trace.answers
                if response in answers:
                    was_spent = answers[response]
                    answers[response] = was_spent or usage
                    return False, usage and not was_spent
                if not span.is_loose:
                    answers[response] = usage
        span.is_counted = True
        return True, usage

    def _closed(
        self, units: list[Unit], calls: int, slot: Slot, spans: list[Span], cell_of: Callable[[Labels, int], int],
        cut: Counter[str],
    ) -> Closed:  # fmt: skip
        times = Counter(unit.labels for unit in units)
        cells = {each: cell_of(each, n) for each, n in times.items()}
        columns, words = np.zeros((constants.UNIT_COLUMNS, len(units))), {"": 0}
        for i, unit in enumerate(units):
            columns[constants.UNIT_WEIGHT, i], columns[constants.UNIT_FAILED, i] = unit.weight, unit.failed
            columns[[constants.UNIT_INPUT, constants.UNIT_OUTPUT], i] = unit.tokens
            columns[constants.UNIT_DOLLARS, i] = unit.dollars
            columns[constants.UNIT_UNPRICED, i] = unit.source is CostSource.UNPRICED
            columns[constants.UNIT_FREE, i] = unit.source is CostSource.FREE
            columns[constants.UNIT_SCORE, i] = unit.score
            columns[constants.UNIT_ENDING, i], columns[constants.UNIT_FIRST, i] = unit.ending, unit.first
            columns[constants.UNIT_EACH, i] = unit.each
            columns[constants.UNIT_ERROR, i] = words.setdefault(unit.error, len(words))
            ids = np.array(unit.trace, np.int64).view(float)
            columns[[constants.UNIT_TRACE_HIGH, constants.UNIT_TRACE_LOW], i] = ids
            columns[[constants.UNIT_CACHE_READ, constants.UNIT_CACHE_WRITE], i] = unit.cached
            columns[constants.UNIT_SECONDS, i], columns[constants.UNIT_OUTCOME, i] = unit.seconds, unit.outcome
        services = [(span.resource.agent, 1, span.weight) for span in spans]
        nameless, named = (
            Counter(each.labels[1] for each in slot.ended if each.is_named == is_) for is_ in (False, True)
        )
        found = np.array([cells[unit.labels] for unit in units], np.int32)
        ended = np.zeros(len(slot.ended), [("high", np.uint64), ("low", np.uint64)])
        rows, errors = np.zeros(len(units), np.int64), {number: word for word, number in words.items() if number}
        return Closed(
            columns, found, rows, calls, ended, services, dict(nameless), dict(named), dict(cut), errors=errors,
            firsts=Firsts(
                tuple(sorted({(unit.labels[4], unit.labels[8]) for unit in units if unit.labels[8]})),
                tuple(sorted({(unit.labels[1], unit.labels[7]) for unit in units if unit.labels[7]})),
            ),
        )  # fmt: skip


def _session(each: Ended) -> Unit:
    tenant, agent, version = each.labels
    source = CostSource.UNPRICED if each.unpriced else CostSource.FREE if each.free else CostSource.NONE
    words = (tenant, agent, "session", "", "", "", version, "", "")
    return Unit(
        words, each.weight, each.failed, (0.0, 0.0), each.dollars, source, each.seconds, each.outcome, trace=each.trace
    )  # fmt: skip


def _is_spent_above(span: Span) -> bool:
    return any(row.spent and row.is_model for row in span.ancestors())


def _complete(span: Span, other: Span) -> None:
    """Add from another account of the same tokens the parts that it knows, and the cost."""
    mine, theirs = span.numbers, other.numbers
    reasoning = theirs.get(REASONING, 0.0)
    for name, is_told in ((INPUT, False), (OUTPUT, span.told_empty)):
        if not is_told and not mine.get(name, 0.0) > 0 and theirs.get(name, 0.0) > 0:
            mine[name] = theirs[name]
    if mine.get(INPUT) != theirs.get(INPUT):
        return
    is_more = OUTPUT in mine and theirs.get(OUTPUT) == mine[OUTPUT] + reasoning
    if reasoning > 0 and is_more and not mine.get(REASONING, 0.0) > 0:
        mine[OUTPUT] = theirs[OUTPUT]
    if mine.get(OUTPUT) == theirs.get(OUTPUT) or not theirs.get(OUTPUT, 0.0) > 0:
        for name in PARTS:
            if not mine.get(name, 0.0) > 0 and theirs.get(name, 0.0) > 0:
                mine[name] = theirs[name]
        if not any(mine.get(name, 0.0) > 0 for name in VALUED):
            mine |= {name: theirs[name] for name in VALUED if theirs.get(name, 0.0) > 0}
