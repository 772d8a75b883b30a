"""What only the operator knows: prices that no list has, and how much of the traffic the collector lets through."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

PRICE_MAX = 100_000.0
"""Dollars for a million tokens that nobody asks."""
OVERRIDES_MAX = 1_000
STEPS_MAX = 5
"""Sizes of a request at which a price may change; the join keeps as many."""
_REQUIRED, _OPTIONAL = ("input", "output"), ("cache_read", "cache_write")


@dataclass(frozen=True)
class UnitPrices:
    """Dollars a token. `input` is for tokens outside the cache."""

    input: float
    output: float
    cache_read: float
    cache_write: float


@dataclass(frozen=True)
class Bands:
    """Unit prices by size of the request: `units[i]` holds up to and with `starts[i]` input tokens, the last for all
    larger ones.
    """

    starts: tuple[int, ...]
    units: tuple[UnitPrices, ...]


@dataclass(frozen=True)
class Override:
    """The operator's price of the models whose name fits, of the providers whose name fits."""

    provider: re.Pattern[str]
    model: re.Pattern[str]
    bands: Bands

    def fits(self, provider: str, model: str) -> bool:
        return bool(self.model.fullmatch(model.lower()) and self.provider.fullmatch(provider.lower()))


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
    """

    prices: tuple[Override, ...] = ()
    sampling: Sampling | None = None
    policies: Mapping[str, float] = field(default_factory=dict)
    no_failures: frozenset[str] = frozenset()


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
    _only(entry, ("model", "provider", *_REQUIRED, *_OPTIONAL, "above"))
    model, provider = entry.get("model"), entry.get("provider", "*")
    if not isinstance(model, str) or not model or not isinstance(provider, str):
        raise ValueError("model: is missing or no text; write a name, or a pattern as gpt-*")
    return Override(re.compile(translate(provider.lower())), re.compile(translate(model.lower())), _bands(entry))


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
    cached = [_price(entry, name) if name in entry else fresh for name in _OPTIONAL]
    return UnitPrices(fresh / 1e6, output / 1e6, cached[0] / 1e6, cached[1] / 1e6)


def _price(entry: Mapping[str, Any], name: str) -> float:
    value = entry.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= PRICE_MAX:
        raise ValueError(f"{name}: {value!r:.40} is no price; write dollars for a million tokens, as 2.5")
    return float(value)
