"""What a call cost: as stated on its span, else tokens times list price, else not known."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint

from detectors.core.columns import SECOND_NS
from service.ingest.local import UNKNOWN, Bands, Override, UnitPrices
from service.ingest.selfhosted import is_self_hosted

DAY_NS = 86_400 * SECOND_NS
PRICES_MAX = 10_000
"""Prices kept, by provider, model and day; a full table is emptied. Model names are the sender's."""

_PROVIDERS = {
    "azure.ai.openai": "azure", "azure.ai.inference": "azure", "aws.bedrock": "aws", "gcp.vertex_ai": "google",
    "gcp.gemini": "google", "gcp.gen_ai": "google", "x_ai": "x-ai", "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
}  # fmt: skip
"""genai-prices' provider by the conventions' name; others have the same name or none."""

BATCH_TIER = "batch"


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
    """What a call used; input includes the cache and all that goes in, output the reasoning and all that comes out."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float = 0.0
    cache_write: float = 0.0
    reasoning: float = 0.0
    cache_write_1h: float = 0.0
    audio_in: float = 0.0
    audio_out: float = 0.0
    audio_cache_read: float = 0.0
    image_in: float = 0.0
    image_out: float = 0.0
    video_in: float = 0.0
    web_searches: float = 0.0


class Price(NamedTuple):
    """A model's price: the operator's own, or the list's; without bands the list is to be asked for it each time."""

    source: CostSource
    model: str
    bands: Bands | None


class Prices:
    """Prices by provider, model, tier and day, looked up once each. The operator's first."""

    def __init__(self, overrides: Sequence[Override] = ()) -> None:
        self._overrides = overrides
        self._known: dict[tuple[str, str, str, int], Price | None] = {}

    def fitting(self, provider: str, models: tuple[str, ...], time_ns: int, tier: str = "") -> list[Price]:
        """The prices of those of the models that have one on that day; the operator's own come first."""
        day = time_ns // DAY_NS
        found = [price for model in models if model and (price := self._price(provider, model, tier, day)) is not None]
        return sorted(found, key=lambda price: price.source is not CostSource.OVERRIDE)

    def _price(self, provider: str, model: str, tier: str, day: int) -> Price | None:
        key = (provider, model, tier, day)
        if key not in self._known:
            if len(self._known) >= PRICES_MAX:
                self._known.clear()
            own = next((each.bands for each in self._overrides if each.fits(provider, model, tier)), None)
            if own is not None:
                self._known[key] = Price(CostSource.OVERRIDE, model, own)
            else:
                self._known[key] = _look_up(provider, model, tier, day * DAY_NS)
        return self._known[key]

    def cost(
        self, provider: str, models: tuple[str, ...], tokens: Tokens, time_ns: int, tier: str = ""
    ) -> tuple[float, CostSource]:
        """Dollars of a call by the first of `models` that has a price; 0.0 with UNPRICED if none has."""
        for source, model, bands in self.fitting(provider, models, time_ns, tier):
            if bands is not None:
                dollars = _times(bands.units[bisect_left(bands.starts, tokens.input)], tokens)
            else:
                dollars = _ask(provider, model, tier, tokens, time_ns)
            return (0.0, CostSource.UNPRICED) if math.isnan(dollars) else _sourced(dollars, source)
        return 0.0, CostSource.UNPRICED

    def together(
        self, provider: str, models: tuple[str, ...], tokens: Tokens, time_ns: int, tier: str = ""
    ) -> tuple[float, CostSource]:
        """Dollars of the tokens of many calls, by the prices of small ones: how large each was is not known."""
        price = next(iter(self.fitting(provider, models, time_ns, tier)), None)
        if price is None:
            return 0.0, CostSource.UNPRICED
        units = _base(provider, price.model, tier, time_ns) if price.bands is None else price.bands.units[0]
        dollars = _times(units, tokens)
        return (0.0, CostSource.UNPRICED) if math.isnan(dollars) else _sourced(dollars, price.source)


def _sourced(dollars: float, source: CostSource) -> tuple[float, CostSource]:
    return dollars, source if dollars > 0 else CostSource.FREE


def _times(price: UnitPrices, tokens: Tokens) -> float:
    """Dollars of so many tokens; NaN where a part of them has no known price. `kernel/units.pxd` is its equal."""
    read, written, heard = tokens.cache_read, tokens.cache_write, min(tokens.audio_cache_read, tokens.audio_in)
    heard = min(heard, read)
    # Cached tokens that can be nothing else are of the audio.
    over = read + written + tokens.audio_in + tokens.image_in + tokens.video_in - tokens.input - heard
    heard += max(min(over, min(tokens.audio_in, read) - heard), 0.0)
    long, audio = min(tokens.cache_write_1h, written), tokens.audio_in - heard
    fresh = tokens.input - read - written - audio - tokens.image_in - tokens.video_in
    dollars = max(fresh, 0.0) * price.input
    dollars += (read - heard) * price.cache_read
    dollars += (written - long) * price.cache_write
    dollars += max(tokens.output - tokens.audio_out - tokens.image_out, 0.0) * price.output
    counts = (
        long, audio, tokens.audio_out, heard, tokens.image_in, tokens.image_out, tokens.video_in, tokens.web_searches
    )  # fmt: skip
    for count, unit in zip(counts, price.parts, strict=True):
        if count > 0:
            dollars += count * unit
    return dollars


def _base(provider: str, model: str, tier: str, time_ns: int) -> UnitPrices:
    """The list's unit prices of a small request at that moment, without what each request costs by itself."""
    info = _listed(provider, model)
    assert info is not None, "only what is in the list is asked for"
    return _units(_prices(info, tier, time_ns) or ModelPrice(), 0)


def _look_up(provider: str, model: str, tier: str, day_ns: int) -> Price | None:
    """A day's price by the list; without bands where it depends on the hour or on more than tokens."""
    info = None if is_self_hosted(provider, model) else _listed(provider, model)
    price = _prices(info, tier, day_ns) if info is not None else None
    if info is None or price is None or (price.input_mtok is None and price.output_mtok is None):
        return None  # No list price at all, which is not a price of zero.
    by_hour = not isinstance(info.prices, ModelPrice) and any(
        isinstance(each.constraint, TimeOfDateConstraint) for each in info.prices
    )
    if by_hour or vars(price).get("requests_kcount") is not None:
        return Price(CostSource.PRICED, model, None)
    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    starts = sorted({step.start for value in tiered for step in value.tiers})
    units = tuple(_units(price, reached) for reached in (0, *(start + 1 for start in starts)))
    return Price(CostSource.PRICED, model, Bands(tuple(starts), units))


def _prices(info: ModelInfo, tier: str, time_ns: int) -> ModelPrice | None:
    """A model's prices at a moment, in a tier; None where the list does not know that tier of it.

    Before the list began to keep it, a tier cost what it did at first, as the list has it of models.
    """
    moment = _moment(time_ns)
    if not tier:
        return info.get_prices(moment)
    context = {"processing": tier} if tier == BATCH_TIER else {"service_tier": tier, "speed": tier}
    fitting = [each for each in info.price_variants or () if _fits(each.when, context)]
    if not fitting:
        return None
    if any(each.constraint is None or each.constraint.active(moment) for each in fitting):
        return info.get_prices(moment, context)
    price = copy(info.get_prices(moment))
    vars(price).update({name: unit for name, unit in vars(fitting[0].prices).items() if unit is not None})
    return price


def _fits(when: Mapping[str, str], context: Mapping[str, str]) -> bool:
    return all(context.get(name) == wanted for name, wanted in when.items())


def _units(price: ModelPrice, input_tokens: int) -> UnitPrices:
    """Unit prices of a request of so many input tokens.

    A cache without a price of its own costs what input does, and so do images and video: lists name those that differ.
    Audio, cache writes for an hour, images that come out and searches never do: without a price theirs is not known.
    """

    def unit(name: str, otherwise: float, per: float = 1e6) -> float:
        value: Decimal | TieredPrices | None = vars(price).get(name)
        if isinstance(value, TieredPrices):
            reached = [step.price for step in value.tiers if input_tokens > step.start]
            value = reached[-1] if reached else value.base
        return otherwise if value is None else float(value) / per

    fresh, read = unit("input_mtok", 0.0), unit("cache_read_mtok", unit("input_mtok", 0.0))
    audio = unit("input_audio_mtok", UNKNOWN)
    return UnitPrices(
        fresh, unit("output_mtok", 0.0), read, unit("cache_write_mtok", fresh),
        unit("cache_write_1h_mtok", UNKNOWN), audio, unit("output_audio_mtok", UNKNOWN),
        unit("cache_audio_read_mtok", audio), unit("input_image_mtok", fresh), unit("output_image_mtok", UNKNOWN),
        unit("input_video_mtok", fresh), unit("web_searches_kcount", UNKNOWN, 1e3),
    )  # fmt: skip


def _listed(provider: str, model: str) -> ModelInfo | None:
    """The list entry of a model; a provider that is not in the list (a framework's name, say) is left out."""
    snapshot = get_snapshot()
    for provider_id in (_PROVIDERS.get(provider, provider), None):
        if provider_id == "" or (provider_id is not None and not _has_provider(provider_id)):
            continue
        try:
            return snapshot.find_provider_model(model, None, provider_id, None)[1]
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


def _ask(provider: str, model: str, tier: str, tokens: Tokens, time_ns: int) -> float:
    """Dollars of a call at that moment, with what a request costs by itself; NaN where that is not known."""
    info = _listed(provider, model)
    price = _prices(info, tier, time_ns) if info is not None else None
    if price is None:
        return UNKNOWN
    each = vars(price).get("requests_kcount")
    return _times(_units(price, int(tokens.input)), tokens) + (float(each) / 1e3 if each is not None else 0.0)


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / SECOND_NS, UTC)
