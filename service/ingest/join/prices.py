"""What the tokens of a call cost, by prices that were looked up once."""

from service.ingest.join.rows import MASK, enter, row_at, take
from service.ingest.join.tables import (
    BAND_CELLS,
    BAND_INPUT,
    BAND_OUTPUT,
    BAND_READ,
    BAND_START,
    BAND_WRITE,
    BY_OVERRIDE,
    FREE_OF_CHARGE,
    HELP,
    HELPED,
    NEW,
    OWN,
    PRICE_BANDS,
    PRICE_CELLS,
    PRICE_COUNT,
    PRICE_KIND,
    PRICE_MODEL,
    PRICE_PROVIDER,
    PRICE_RESPONSE,
    PRICED,
    PRICES,
    TO_BE_ASKED,
    UNKNOWN,
    UNPRICED,
    WAIT_CACHE_READ,
    WAIT_CACHE_WRITE,
    WAIT_CELLS,
    WAIT_INPUT,
    WAIT_OUTPUT,
    Tables,
)
from service.ingest.memory import Number, amount, cell, kernel, mixed, number, put


@kernel
def price_row(t: Tables, provider: Number, response: Number, model: Number) -> Number:
    """The price of these models, to be looked up if it is new."""
    hashed = mixed(mixed(mixed(cell(t.seed, 0), provider), response), model)
    mask = cell(t.heads, PRICES + MASK)
    place = hashed & mask
    while True:
        row = row_at(t.price_index, place)
        if row < 0:
            break
        at = row * PRICE_CELLS
        same = cell(t.prices, at + PRICE_PROVIDER) == provider and cell(t.prices, at + PRICE_RESPONSE) == response
        if same and cell(t.prices, at + PRICE_MODEL) == model:
            return row
        place = (place + 1) & mask
    row = take(t.heads, PRICES, t.prices, PRICE_CELLS)
    put(t.prices, row * PRICE_CELLS + PRICE_PROVIDER, provider)
    put(t.prices, row * PRICE_CELLS + PRICE_RESPONSE, response)
    put(t.prices, row * PRICE_CELLS + PRICE_MODEL, model)
    put(t.prices, row * PRICE_CELLS + PRICE_KIND, NEW)
    enter(t.price_index, mask, hashed, row)
    return row


@kernel
def said_number(t: Tables, wait: Number, column: Number) -> Number:
    """A number of a span, 0.0 where it did not say it."""
    return amount(t.waits, wait * WAIT_CELLS + column)


@kernel
def needs_help(t: Tables, price: Number, place: Number) -> Number:
    """Whether a price is to be looked up, or was not yet asked for the call at this place of the list."""
    kind = cell(t.prices, price * PRICE_CELLS + PRICE_KIND)
    return kind == NEW or (kind == TO_BE_ASKED and cell(t.state, HELPED) != place)


@kernel
def dollars_of(t: Tables, wait: Number, row: Number) -> tuple[Number, Number]:
    """Dollars of a call's tokens by its price, and where they come from."""
    price = row * PRICE_CELLS
    kind = cell(t.prices, price + PRICE_KIND)
    if kind == UNKNOWN:
        return 0.0, UNPRICED
    if kind == TO_BE_ASKED:
        dollars = number(t.state, HELP)
        if dollars != dollars:
            return 0.0, UNPRICED
        return dollars, PRICED if dollars > 0.0 else FREE_OF_CHARGE
    cached, written = said_number(t, wait, WAIT_CACHE_READ), said_number(t, wait, WAIT_CACHE_WRITE)
    tokens = said_number(t, wait, WAIT_INPUT)
    band = price + PRICE_BANDS
    for i in range(1, cell(t.prices, price + PRICE_COUNT)):
        if tokens > number(t.prices, price + PRICE_BANDS + i * BAND_CELLS + BAND_START):
            band = price + PRICE_BANDS + i * BAND_CELLS
    dollars = max(tokens - cached - written, 0.0) * number(t.prices, band + BAND_INPUT)
    dollars += cached * number(t.prices, band + BAND_READ)
    dollars += written * number(t.prices, band + BAND_WRITE)
    dollars += said_number(t, wait, WAIT_OUTPUT) * number(t.prices, band + BAND_OUTPUT)
    if dollars <= 0.0:
        return 0.0, FREE_OF_CHARGE
    return dollars, BY_OVERRIDE if kind == OWN else PRICED
