"""What only the operator knows: prices that no list has, what currencies are worth, which exceptions are no failures,
and how much of the traffic the collector lets through.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from alertrules.outcome_classes import SHIPPED, Outcomes

DOLLARS = frozenset(("", "USD", "US$", "$", "DOLLAR", "DOLLARS", "USD$"))
PRICE_MAX = 100_000.0
"""Dollars for a million tokens that nobody asks."""
OVERRIDES_MAX = 1_000
STEPS_MAX = 5
"""Sizes of a request at which a price may change; the join keeps as many."""
_REQUIRED, _CACHED = ("input", "output"), ("cache_read", "cache_write")
_PARTS = (
    "cache_write_1h", "audio_input", "audio_output", "audio_cache_read", "image_input", "image_output", "video_input",
    "web_search",
)  # fmt: skip
"""Parts of usage that may have a price of their own; a web search's is for a thousand."""
_OPTIONAL = (*_CACHED, *_PARTS)
UNKNOWN = float("nan")
"""The price of what has none that is known: a call with any of it is unpriced."""


@dataclass(frozen=True)
class UnitPrices:
    """Dollars a token, and a search. `input` is for tokens outside the cache; NaN is not known."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    cache_write_1h: float = UNKNOWN
    audio_input: float = UNKNOWN
    audio_output: float = UNKNOWN
    audio_cache_read: float = UNKNOWN
    image_input: float = UNKNOWN
    image_output: float = UNKNOWN
    video_input: float = UNKNOWN
    web_search: float = UNKNOWN

    @property
    def parts(self) -> tuple[float, ...]:
        """Those of the parts of usage, in the order of `vocabulary.PARTS`."""
        return tuple(getattr(self, name) for name in _PARTS)


@dataclass(frozen=True)
class Bands:
    """Unit prices by size of the request: `units[i]` holds up to and with `starts[i]` input tokens, the last for all
    larger ones.
    """

    starts: tuple[int, ...]
    units: tuple[UnitPrices, ...]


@dataclass(frozen=True)
class Override:
    """The operator's price of the models, providers and tiers whose names fit; an ordinary call's tier is empty."""

    provider: re.Pattern[str]
    model: re.Pattern[str]
    bands: Bands
    tier: re.Pattern[str] = re.compile("")

    def fits(self, provider: str, model: str, tier: str = "") -> bool:
        names = ((self.model, model), (self.provider, provider), (self.tier, tier))
        return all(pattern.fullmatch(name.lower()) for pattern, name in names)


@dataclass(frozen=True)
class Sampling:
    """Shares that the collector keeps: of traces with a failed span, and of the rest.

    >>> Sampling(errors=1.0, rest=0.1).weight(failed=False)
    10.0
    """

    errors: float
    rest: float

    def weight(self, failed: bool) -> float:
        return 1 / (self.errors if failed else self.rest)


@dataclass(frozen=True)
class Local:
    """All of it; by default nothing.

    policies     weights of spans, by the policy of the Collector's tail sampling that let their trace through
    no_failures  names of exceptions that are control flow, see `failures.names`
    rates        dollars for one of a currency, by its name in capitals
    outcomes     the classes of sessions' outcomes, by their words
    """

    prices: tuple[Override, ...] = ()
    sampling: Sampling | None = None
    policies: Mapping[str, float] = field(default_factory=dict)
    no_failures: frozenset[str] = frozenset()
    rates: Mapping[str, float] = field(default_factory=dict)
    outcomes: Outcomes = SHIPPED

    def rate(self, currency: str) -> float:
        """Dollars for one of a currency, 0.0 where that is not known."""
        name = currency.strip().upper()
        return 1.0 if name in DOLLARS else self.rates.get(name, 0.0)


NOTHING_LOCAL = Local()


def overrides(written: Any) -> tuple[Override, ...]:
    """The prices of a file that was read as YAML. Raises ValueError with one line a problem."""
    if not isinstance(written, Mapping) or not isinstance(written.get("prices"), list) or len(written) > 1:
        raise ValueError("prices: expected one list, `prices: [{model: my-model, input: 2.5, output: 10}]`")
    if len(written["prices"]) > OVERRIDES_MAX:
        raise ValueError(f"prices: {len(written['prices'])} entries; at most {OVERRIDES_MAX} are read")
    found, problems = [], []
    for number, entry in enumerate(written["prices"], 1):
        try:
            found.append(_override(entry))
        except ValueError as problem:
            problems.append(f"prices, entry {number}: {problem}")
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(found)


def _override(entry: Any) -> Override:
    if not isinstance(entry, Mapping):
        raise ValueError("is no mapping; write {model: my-model, input: 2.5, output: 10}")
    _only(entry, ("model", "provider", "tier", *_REQUIRED, *_OPTIONAL, "above"))
    model, provider, tier = entry.get("model"), entry.get("provider", "*"), entry.get("tier", "")
    if not isinstance(model, str) or not model or not isinstance(provider, str):
        raise ValueError("model: is missing or no text; write a name, or a pattern as gpt-*")
    if not isinstance(tier, str):
        raise ValueError(f"tier: {tier!r:.40} is no text; write flex, priority, batch, or a pattern as *")
    provider_fits, model_fits, tier_fits = (re.compile(translate(name.lower())) for name in (provider, model, tier))
    return Override(provider_fits, model_fits, _bands(entry), tier_fits)


def _bands(entry: Mapping[str, Any]) -> Bands:
    """The prices of an entry; what larger requests do not name anew is what it was."""
    above = entry.get("above", {})
    if not isinstance(above, Mapping) or not all(type(start) is int and start > 0 for start in above):
        raise ValueError(f"above: {above!r:.40} is not by input tokens; write {{200000: {{input: 5, output: 20}}}}")
    if len(above) > STEPS_MAX:
        raise ValueError(f"above: {len(above)} sizes; at most {STEPS_MAX} are read")
    starts, named, units = sorted(above), dict(entry), [_units(entry)]
    for start in starts:
        try:
            if not isinstance(above[start], Mapping) or not above[start]:
                raise ValueError(f"{above[start]!r:.40} is no price; write {{input: 5, output: 20}}")
            _only(above[start], (*_REQUIRED, *_OPTIONAL))
            named |= above[start]
            units.append(_units(named))
        except ValueError as problem:
            raise ValueError(f"above {start}: {problem}") from None
    return Bands(tuple(starts), tuple(units))


def _only(entry: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := [str(key)[:80] for key in entry if key not in known]:
        raise ValueError(f'"{unknown[0]}" is no field; there are {", ".join(known)}')


def _units(entry: Mapping[str, Any]) -> UnitPrices:
    fresh, output = (_price(entry, name) for name in _REQUIRED)
    cached = [_price(entry, name) if name in entry else fresh for name in _CACHED]
    as_input = dict.fromkeys(("image_input", "video_input"), fresh)
    parts = [_price(entry, name) if name in entry else as_input.get(name, UNKNOWN) for name in _PARTS]
    tokens = [each / 1e6 for each in (fresh, output, *cached, *parts[:-1])]
    return UnitPrices(*tokens, *(each / 1e3 for each in parts[-1:]))


def _price(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= PRICE_MAX:
        raise ValueError(f"{name}: {value!r:.40} is no price; write dollars for a million tokens, as 2.5")
    return float(value)
