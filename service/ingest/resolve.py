"""The calls of a slot that closes: each real call once, at its leaf, with its tokens and its cost."""

from collections.abc import Callable
from typing import Protocol

from service.batch import Tally
from service.ingest.local import Local
from service.ingest.prices import NO_TOKENS, CostSource, Prices, Tokens
from service.ingest.remains import Kept
from service.ingest.rollup import Unit, call_unit
from service.ingest.sessions import add_cost
from service.ingest.traces import SPANS_MAX, Labels, Trace, labels_of
from service.ingest.twins import Twins, complete
from service.ingest.vocabulary import (
    AGENT_RUN,
    CACHE_READ,
    CACHE_WRITE,
    COST,
    INPUT,
    MODEL_OPERATIONS,
    OTHER,
    OUTPUT,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_ID,
    RESPONSE_MODEL,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Span,
)

_TWINNED = MODEL_OPERATIONS | {TOOL}
"""Operations that two layers of instrumentation may both write a span for, one inside the other."""
_TRANSPARENT = frozenset((OTHER, WORKFLOW))
"""What may stand between two spans of one call. Under a tool or an agent another call begins."""

_JOINTS = ("_", ".", "/", ":", "-")

Pending = tuple[Trace, Span]


class Review(Protocol):
    """Who else wants to hear what was counted, besides the slots."""

    def span(self, span: Span) -> None:
        """A span was read."""

    def call(self, labels: Labels, failed: bool, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """A call was counted."""

    def usage(self, labels: Labels, tokens: Tokens, cost: tuple[float, CostSource]) -> None:
        """A wrapper handed in the tokens that its call, counted already, did not report."""

    def session(self, labels: Labels, key: str, outcome: int) -> None:
        """A leg of a session closed; `outcome` is -1 if none was stated."""


def resolve(
    start_ns: int,
    pending: list[Pending],
    prices: Prices,
    local: Local,
    joined: Twins,
    reach: Callable[[Trace, Span], None],
    cell_of: Callable[[Labels], int],
    review: Review | None,
    tally: Tally,
) -> list[Unit]:
    """The units of the calls of the slot that begins at `start_ns`, in the order they ended, however they arrived.

    `reach` is called with each span before it is counted, as event time comes to its end.
    """
    # A child ends no later than its parent, or began later: leaves are settled before what lies above them.
    pending.sort(key=lambda call: (call[1].end_ns, -call[1].start_ns, call[1].span_id, call[1].trace_id))
    twins = [_mark(trace, span) for trace, span in pending]
    joined.pair([span for _, span in pending], start_ns)
    local.weigh(pending)
    units: list[Unit] = []
    for (trace, span), twin in zip(pending, twins, strict=True):
        reach(trace, span)
        counts, usage = _counts(trace, span, twin)
        if span.spent and not span.parent_id and span.usage_below and span.operation not in _TWINNED:
            tally.stated_tokens += _total(span)
            tally.leaf_tokens += trace.tokens
        if not (counts or usage):
            continue
        labels = labels_of(trace, span)
        tokens = _tokens(span) if usage else NO_TOKENS
        cost = _cost(trace, span, labels, tokens, prices) if usage else (0.0, CostSource.NONE)
        if cost[1] is not CostSource.NONE:
            add_cost(trace, *cost)
            tally.costs[cost[1]] += 1
            trace.tokens += tokens.input + tokens.output
        weight = span.weight
        tally.weighted += weight != 1.0
        seconds = (span.end_ns - span.start_ns) / 1e9 if span.end_ns >= span.start_ns else float("nan")
        counted = (tokens.input * weight, tokens.output * weight)
        priced = (cost[0] * weight, cost[1])
        units.append(call_unit(cell_of(labels), weight if counts else 0.0, span.failed, counted, priced, seconds))
        if review is not None:
            if counts:
                review.call(labels, span.failed, tokens, cost)
            else:
                review.usage(labels, tokens, cost)
    return units


def _mark(trace: Trace, span: Span) -> Kept | None:
    """Tell those above a span that it is there; the span above that is the same call, if one is."""
    operation = span.operation
    if operation not in _TWINNED:
        return None
    usage, looking = span.spent and operation in MODEL_OPERATIONS, True
    if span.is_log:
        usage, looking = usage and not _is_told_above(trace, span), False
    twin = None
    for above in trace.ancestors(span):
        if usage and isinstance(above, Span):  # What was counted needs to be told nothing.
            above.usage_below = True
        if looking:
            if above.operation == operation and (operation != TOOL or _same_tool(above, span)):
                twin, looking = above, False
                if isinstance(above, Span):
                    above.covered = True
                if above.spent and usage:
                    complete(span.own, above.own)
            elif above.operation not in _TRANSPARENT:
                looking = False
        if not (usage or looking):
            break
    return twin


def _is_told_above(trace: Trace, span: Span) -> bool:
    """Whether the call that a span lies in says itself what it spent."""
    return any(above.spent and above.operation in MODEL_OPERATIONS for above in trace.ancestors(span))


def _same_tool(above: Kept, span: Span) -> bool:
    """Whether two spans name the same tool; a client may put the server's name before it."""
    outer, inner = str(above.own.get(TOOL_NAME, "")), str(span.own.get(TOOL_NAME, ""))
    longer, shorter = (outer, inner) if len(outer) > len(inner) else (inner, outer)
    return longer == shorter or (shorter != "" and longer.endswith(tuple(each + shorter for each in _JOINTS)))


def _counts(trace: Trace, span: Span, twin: Kept | None) -> tuple[bool, bool]:
    """Whether a span is a call of its own, and whether its tokens and cost are to be added."""
    own = span.own
    usage = span.spent
    if span.is_log:
        return False, usage and not _is_told_above(trace, span)
    if span.operation not in _TWINNED:
        if usage and span.usage_below:
            usage = False
        if usage:
            _claim(trace, span)
        span.counted = True
        return True, usage
    if usage and trace.claimed and any(above.usage_counted for above in trace.ancestors(span)):
        usage = False  # An aggregate above was counted before this leaf was known.
    if span.covered:
        return False, usage and not span.usage_below
    if twin is not None and twin.counted:
        return False, usage and not twin.spent
    response_id = own.get(RESPONSE_ID)
    if type(response_id) is str and span.operation in MODEL_OPERATIONS:
        if trace.answered is None:
            trace.answered = {}
        known = trace.answered.get(response_id)
        if known is not None or len(trace.answered) < SPANS_MAX:
            trace.answered[response_id] = bool(known) or usage
        if known is not None:
            return False, usage and not known
    span.counted = True
    return True, usage


def _claim(trace: Trace, span: Span) -> None:
    """An aggregate stands in for leaves that said nothing: what lies above and below must not be added again."""
    span.usage_counted = trace.claimed = True
    for above in trace.ancestors(span):
        if isinstance(above, Span):
            above.usage_below = True


def _total(span: Span) -> float:
    return float(span.own.get(INPUT, 0.0)) + float(span.own.get(OUTPUT, 0.0))


def _tokens(span: Span) -> Tokens:
    number = span.own.get
    return Tokens(
        float(number(INPUT, 0.0)),
        float(number(OUTPUT, 0.0)),
        float(number(CACHE_READ, 0.0)),
        float(number(CACHE_WRITE, 0.0)),
        float(number(REASONING, 0.0)),
    )


def _cost(trace: Trace, span: Span, labels: Labels, tokens: Tokens, prices: Prices) -> tuple[float, CostSource]:
    """Dollars as stated, else by list price of the answering model, else of the one asked for."""
    own = span.own
    stated = own.get(COST)
    if stated is not None:
        if float(stated) > 0:
            return float(stated), CostSource.SPAN
        if tokens.input + tokens.output > 0:
            return 0.0, CostSource.FREE
    if tokens.input + tokens.output == 0:
        return 0.0, CostSource.NONE
    provider, model = labels[3], labels[4]
    if span.operation not in MODEL_OPERATIONS:
        if span.operation not in (AGENT_RUN, WORKFLOW, OTHER):
            return 0.0, CostSource.NONE
        provider = str(own.get(PROVIDER, "")) or trace.lends(PROVIDER)
        model = str(own.get(REQUEST_MODEL, "")) or trace.lends(REQUEST_MODEL)
    return prices.cost(provider, (str(own.get(RESPONSE_MODEL, "")), model), tokens, span.end_ns)
