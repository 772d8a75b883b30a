"""The metrics that tell what spans tell, too: what each of them counts, and what of its points can be believed.

A word that no table knows (a unit, a kind of token, a currency) is never guessed: what bears it feeds nothing, is
counted under its reason, and told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from service.batch import Dropped
from service.ingest.metrics.histograms import Increase, scaled
from service.ingest.metrics.meanings import Meaning
from service.ingest.metrics.units import counts_things, currency_of, seconds_in
from service.ingest.otlp.points import Kind, Point
from service.ingest.prices import Tokens
from service.ingest.vocabulary import AGENT_RUN, LLM, MODEL_OPERATIONS, SESSION_UNIT, TOOL, WORKFLOW

KNOWN_MAX = 1e9
"""Calls, sessions or dollars that one point may tell: no agent makes, or costs, a billion between two exports."""
TOKENS_MAX = 1e15
USD = "USD"


class Tells(StrEnum):
    """What a metric tells."""

    CALLS = "calls"  # How many calls, and how many of them failed; if it is timed, how long they took.
    TOKENS = "tokens"
    COST = "cost"
    OUTCOMES = "outcomes"


class Token(StrEnum):
    """Kinds of tokens."""

    FRESH = "fresh"
    OUTPUT = "output"
    READ = "read"  # From the cache, and not among the fresh ones.
    WRITTEN = "written"
    TOTAL = "total"  # Of all kinds: adds nothing to them.


_TOKENS = {
    Token.FRESH: ("input", "in", "prompt", "input_token", "input_tokens", "prompt_token", "prompt_tokens"),
    Token.OUTPUT: ("output", "out", "completion", "output_token", "output_tokens", "completion_token",
                   "completion_tokens"),
    Token.READ: ("cacheread", "cache_read", "cache_read_input", "cache_read_tokens", "cache_read_input_tokens"),
    Token.WRITTEN: ("cachecreation", "cache_creation", "cachewrite", "cache_write", "cache_creation_input",
                    "cache_creation_tokens", "cache_write_tokens", "cache_creation_input_tokens",
                    "cache_write_input_tokens"),
    Token.TOTAL: ("total", "total_token", "total_tokens", "all"),
}  # fmt: skip
TOKENS = {word: kind for kind, words in _TOKENS.items() for word in words}
"""Kinds by the words that senders use. Which kind includes which is not the same for all, so no word stands here that
may mean a part of input or output: `cached`, `reasoning`, `thought`, `tool`, `audio`."""
_PARTS = {
    Token.FRESH: ("uncached", "none", "miss", "false"),
    Token.READ: ("read", "hit", "cache_read"),
    Token.WRITTEN: ("write", "creation", "cache_write", "cache_creation"),
}
PARTS = {word: kind for kind, words in _PARTS.items() for word in words}
"""Parts of the input by the words of `gen_ai.token.cache`: each point is one part, and the parts add up."""


@dataclass(frozen=True)
class Measure:
    """A known metric.

    operation  holds where its attributes name none; empty where it is of no call
    token      the kind that it counts, if that is always one
    timed      whether its histogram is of durations
    family     metrics that tell one signal together; where a service tells it by several families, one counts
    rank       of its family: the first one counts
    """

    tells: Tells
    operation: str
    token: str = ""
    timed: bool = False
    family: str = ""
    rank: int = 0

    def signal(self, meant: Meaning) -> str:
        """What spans tell, too, if they tell this."""
        return meant.labels[2] if self.tells is Tells.CALLS else self.tells

    def is_leaf(self, meant: Meaning) -> bool:
        """Whether nothing else adds up to it: tokens and cost of an agent or a workflow are those of its calls."""
        adds_up = self.tells in (Tells.TOKENS, Tells.COST)
        return not adds_up or not meant.labels[2] or meant.labels[2] in MODEL_OPERATIONS

    def is_sane(self, more: Increase) -> bool:
        """Whether a point tells what can be: one of absurd size would hide all others of its rule for weeks."""
        largest = TOKENS_MAX if self.tells is Tells.TOKENS else KNOWN_MAX
        amount = 0.0 if math.isnan(more.amount) or self.timed else more.amount
        return max(more.n, abs(amount)) <= largest

    def unread(self, meant: Meaning, point: Point, rates: Mapping[str, float]) -> tuple[Dropped, str] | None:
        """Why a point cannot be believed, and the word that is not known; None where it can.

        rates  dollars of one of a currency
        """
        is_sum, is_histogram = point.kind is Kind.SUM, point.kind is Kind.HISTOGRAM
        fits = {
            Tells.CALLS: is_histogram or (is_sum and not self.timed),
            Tells.TOKENS: is_histogram or is_sum,
            Tells.COST: is_histogram or is_sum,
            Tells.OUTCOMES: is_sum,
        }[self.tells]
        if not fits:
            return Dropped.UNKNOWN_KIND, f"a {point.kind.name.lower()}"
        if self.tells in (Tells.TOKENS, Tells.COST) and point.histogram and math.isnan(point.histogram.total):
            return Dropped.UNKNOWN_KIND, "a histogram without a sum"
        if self.tells is Tells.COST:
            currency = self.currency(meant, point)
            return None if currency == USD or currency in rates else (Dropped.UNKNOWN_UNIT, currency)
        known = seconds_in(point.unit) is not None if self.timed else counts_things(point.unit)
        if not known:
            return Dropped.UNKNOWN_UNIT, point.unit
        if self.tells is Tells.TOKENS:
            kind = self.kind(meant)
            if kind is None:
                return Dropped.UNKNOWN_TOKEN, " ".join(filter(None, (meant.token, meant.cache)))
            if kind is Token.TOTAL:
                return Dropped.AGGREGATE, ""
        return None

    def in_seconds(self, point: Point) -> Point:
        """A point of durations in seconds, if its unit is known; any other as it is."""
        seconds = seconds_in(point.unit) if self.timed else None
        if not seconds or seconds == 1.0 or point.histogram is None:
            return point
        return point._replace(unit="s", histogram=scaled(point.histogram, seconds))

    def currency(self, meant: Meaning, point: Point) -> str:
        """The currency of what was paid: the attribute's before the unit's; dollars where neither says one."""
        return currency_of(meant.currency) or currency_of(point.unit) or USD

    def kind(self, meant: Meaning) -> Token | None:
        """The kind of its tokens; None where its word is not known."""
        kind = TOKENS.get(self.token or meant.token)
        if kind is Token.FRESH and meant.cache:
            return PARTS.get(meant.cache)
        return kind

    def tokens(self, meant: Meaning, amount: float) -> Tokens:
        """So many tokens, of the kind that they are. It must be known."""
        kind = self.kind(meant)
        if kind is Token.OUTPUT:
            return Tokens(output=amount)
        return Tokens(
            amount,
            cache_read=amount if kind is Token.READ else 0.0,
            cache_write=amount if kind is Token.WRITTEN else 0.0,
        )


_INFERENCE = "gen_ai.client.inference.usage"
_MEASURES: Mapping[str, Measure] = {
    "gen_ai.invoke_agent.duration": Measure(Tells.CALLS, AGENT_RUN, timed=True),
    "gen_ai.execute_tool.duration": Measure(Tells.CALLS, TOOL, timed=True),
    "gen_ai.invoke_workflow.duration": Measure(Tells.CALLS, WORKFLOW, timed=True),
    "gen_ai.workflow.duration": Measure(Tells.CALLS, WORKFLOW, timed=True),
    "gen_ai.client.inference.duration": Measure(Tells.CALLS, LLM, timed=True),
    "gen_ai.client.operation.duration": Measure(Tells.CALLS, LLM, timed=True),
    "agent.tool.call.count": Measure(Tells.CALLS, TOOL),
    "gen_ai.client.token.usage": Measure(Tells.TOKENS, LLM),
    f"{_INFERENCE}.input_tokens": Measure(Tells.TOKENS, LLM, "input", family=_INFERENCE),
    f"{_INFERENCE}.output_tokens": Measure(Tells.TOKENS, LLM, "output", family=_INFERENCE),
    "claude_code.token.usage": Measure(Tells.TOKENS, LLM),
    "agent.cost.usd": Measure(Tells.COST, ""),
    "operation.cost": Measure(Tells.COST, ""),
    "claude_code.cost.usage": Measure(Tells.COST, ""),
    "agent.session.outcome": Measure(Tells.OUTCOMES, SESSION_UNIT),
}
_FAMILIES = tuple(dict.fromkeys(measure.family or name for name, measure in _MEASURES.items()))
MEASURES: Mapping[str, Measure] = {
    name: replace(measure, family=(family := measure.family or name), rank=_FAMILIES.index(family))
    for name, measure in _MEASURES.items()
}
"""The metrics that tell what spans tell too. A new one is a line; of two that tell the same the upper one counts."""
