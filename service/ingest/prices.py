"""What a call cost: as stated on its span, else tokens times list price, else not known."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices, TimeOfDateConstraint

from detectors.core.columns import SECOND_NS
from service.ingest.local import Bands, Override, UnitPrices

DAY_NS = 86_400 * SECOND_NS
PRICES_MAX = 10_000
"""Prices kept, by provider, model and day; a full table is emptied. Model names are the sender's."""

_PROVIDERS = {
    "azure.ai.openai": "azure", "azure.ai.inference": "azure", "aws.bedrock": "aws", "gcp.vertex_ai": "google",
    "gcp.gemini": "google", "gcp.gen_ai": "google", "x_ai": "x-ai", "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
}  # fmt: skip
"""genai-prices' provider by the conventions' name; others have the same name or none."""


class CostSource(StrEnum):
    """Where a call's cost comes from."""

    SPAN = "span"
    OVERRIDE = "override"
    """The operator's own price."""
    PRICED = "priced"
    FREE = "free"
    UNPRICED = "unpriced"
    NONE = "none"
    """Nothing to price: no tokens were reported, or it is not a model call."""


class Tokens(NamedTuple):
    """What a call used; input includes the cache, output the reasoning."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0
    reasoning: float = 0.0


class Price(NamedTuple):
    """A model's price: the operator's own, or the list's; `bands` may be the provider to be asked for it each time."""

    source: CostSource
    model: str
    bands: Bands | str


class Prices:
    """Prices by provider, model and day, looked up once each: the library takes 100 us a call. The operator's first."""

    def __init__(self, overrides: Sequence[Override] = ()) -> None:
        self._overrides = overrides
        self._known: dict[tuple[str, str, int], Price | None] = {}

    def fitting(self, provider: str, models: tuple[str, ...], time_ns: int) -> list[Price]:
        """The prices of those of the models that have one on that day; the operator's own come first."""
        day = time_ns // DAY_NS
        found = [price for model in models if model and (price := self._price(provider, model, day)) is not None]
        return sorted(found, key=lambda price: price.source is not CostSource.OVERRIDE)

    def _price(self, provider: str, model: str, day: int) -> Price | None:
        key = (provider, model, day)
        if key not in self._known:
            if len(self._known) >= PRICES_MAX:
                self._known.clear()
            own = next((each.bands for each in self._overrides if each.fits(provider, model)), None)
            bands = own or _look_up(provider, model, day * DAY_NS)
            source = CostSource.PRICED if own is None else CostSource.OVERRIDE
            self._known[key] = None if bands is None else Price(source, model, bands)
        return self._known[key]

    def cost(self, provider: str, models: tuple[str, ...], tokens: Tokens, time_ns: int) -> tuple[float, CostSource]:
        """Dollars of a call by the first of `models` that has a price; 0.0 with UNPRICED if none has."""
        for source, model, bands in self.fitting(provider, models, time_ns):
            if isinstance(bands, Bands):
                dollars: float | None = _times(bands.units[bisect_left(bands.starts, tokens.input)], tokens)
            else:
                dollars = _ask(bands, model, tokens, time_ns)
            if dollars is not None:
                return dollars, source if dollars > 0 else CostSource.FREE
        return 0.0, CostSource.UNPRICED

    def together(
        self, provider: str, models: tuple[str, ...], tokens: Tokens, time_ns: int
    ) -> tuple[float, CostSource]:
        """Dollars of the tokens of many calls, by the prices of small ones: how large each was is not known."""
        price = next(iter(self.fitting(provider, models, time_ns)), None)
        if price is None:
            return 0.0, CostSource.UNPRICED
        bands = price.bands
        units = bands.units[0] if isinstance(bands, Bands) else _base(provider, price.model, time_ns)
        dollars = _times(units, tokens)
        return dollars, price.source if dollars > 0 else CostSource.FREE


def _times(price: UnitPrices, tokens: Tokens) -> float:
    """Dollars of so many tokens."""
    fresh = max(tokens.input - tokens.cache_read - tokens.cache_write, 0.0)
    return (
        fresh * price.input
        + tokens.cache_read * price.cache_read
        + tokens.cache_write * price.cache_write
        + tokens.output * price.output
    )


def _base(provider: str, model: str, time_ns: int) -> UnitPrices:
    """The list's unit prices of a small request at that moment, without what each request costs by itself."""
    listed = _listed(provider, model)
    assert listed is not None, "only what is in the list is asked for"
    return _units(listed[1].get_prices(_moment(time_ns)), 0)


def _look_up(provider: str, model: str, day_ns: int) -> Bands | str | None:
    """A day's prices; or, where they depend on the hour, the library's provider to be asked each time; or None."""
    listed = _listed(provider, model)
    if listed is None:
        return None
    price_provider, info = listed
    price = info.get_prices(_moment(day_ns))
    if price.input_mtok is None and price.output_mtok is None:
        return None  # No list price at all, which is not a price of zero.
    by_hour = not isinstance(info.prices, ModelPrice) and any(
        isinstance(each.constraint, TimeOfDateConstraint) for each in info.prices
    )
    if by_hour or vars(price).get("requests_kcount") is not None:
        return price_provider.id
    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    starts = sorted({tier.start for value in tiered for tier in value.tiers})
    return Bands(tuple(starts), tuple(_units(price, reached) for reached in (0, *(start + 1 for start in starts))))


def _units(price: ModelPrice, input_tokens: int) -> UnitPrices:
    """Unit prices of a request of so many input tokens; a cache without a price of its own costs what input does."""

    def unit(value: Decimal | TieredPrices | None, otherwise: float) -> float:
        if isinstance(value, TieredPrices):
            reached = [tier.price for tier in value.tiers if input_tokens > tier.start]
            value = reached[-1] if reached else value.base
        return otherwise if value is None else float(value) / 1e6

    fresh = unit(price.input_mtok, 0.0)
    return UnitPrices(
        fresh, unit(price.output_mtok, 0.0), unit(price.cache_read_mtok, fresh), unit(price.cache_write_mtok, fresh)
    )


def _listed(provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
    """The list entry of a model; a provider that is not in the list (a framework's name, say) is left out."""
    snapshot = get_snapshot()
    for provider_id in (_PROVIDERS.get(provider, provider), None):
        if provider_id == "" or (provider_id is not None and not _has_provider(provider_id)):
            continue
        try:
            return snapshot.find_provider_model(model, None, provider_id, None)
        except LookupError:
            if provider_id is not None:
                return None
    return None


def _has_provider(provider_id: str) -> bool:
    try:
        get_snapshot().find_provider(None, provider_id, None)
    except LookupError:
        return False
    return True


def _ask(provider_id: str, model: str, tokens: Tokens, time_ns: int) -> float | None:
    usage = Usage(
        input_tokens=int(tokens.input),
        output_tokens=int(tokens.output),
        cache_read_tokens=int(tokens.cache_read) or None,
        cache_write_tokens=int(tokens.cache_write) or None,
    )
    try:
        answer = calc_price(usage, model, provider_id=provider_id, genai_request_timestamp=_moment(time_ns))
    except (LookupError, ValueError):  # Not listed, or counts the library finds at odds.
        return None
    return float(answer.total_price)


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / SECOND_NS, UTC)
