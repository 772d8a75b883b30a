"""What a metric's unit means: seconds, things counted, or dollars. A word that no table knows is never guessed.

Source: UCUM (case-sensitive symbols; what stands in braces is a remark and means 1), and the words that senders write
in its place: micrometer-registry-otlp writes `milliseconds`, Dropwizard's bridges `seconds`, statsd's receivers `msec`.
"""

import re

_SYMBOLS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SECONDS = {
    1.0: ("sec", "secs", "second", "seconds"),
    1e-3: ("msec", "msecs", "milli", "millis", "millisecond", "milliseconds"),
    1e-6: ("\u00b5s", "\u03bcs", "usec", "usecs", "micro", "micros", "microsecond", "microseconds"),
    1e-9: ("nsec", "nsecs", "nano", "nanos", "nanosecond", "nanoseconds"),
    60.0: ("min", "mins", "minute", "minutes"),
    3600.0: ("hr", "hrs", "hour", "hours"),
    86_400.0: ("day", "days"),
}
_WORDS = {word: seconds for seconds, words in _SECONDS.items() for word in words}
_THINGS = frozenset(
    (
        "", "1", "call", "calls", "count", "counts", "event", "events", "invocation", "invocations", "item", "items",
        "operation", "operations", "outcome", "outcomes", "request", "requests", "session", "sessions", "token",
        "tokens", "unit", "units",
    )
)  # fmt: skip
_USD = frozenset(("$", "dollar", "dollars", "us$", "usd", "us dollar", "us dollars"))
_NO_WORD = frozenset(("", "1", "cost", "currency", "money"))
_REMARK = re.compile(r"\{([^{}]*)\}")


def seconds_in(unit: str) -> float | None:
    """How many seconds one of a unit is; None where its word is not known. Without a word it is a second, as the
    conventions have it of every duration.

    >>> seconds_in("ms"), seconds_in("Milliseconds"), seconds_in("s{call}"), seconds_in("Ms"), seconds_in("fortnight")
    (0.001, 0.001, 1.0, None, None)
    """
    plain = _REMARK.sub("", unit).strip()
    if not plain:
        remark = _REMARK.search(unit)
        plain = "" if remark is None else remark[1].strip()
    return (_SYMBOLS.get(plain) or _WORDS.get(plain.lower())) if plain else 1.0


def counts_things(unit: str) -> bool:
    """Whether a unit is of things that are counted one by one.

    >>> counts_things("{token}"), counts_things(""), counts_things("tokens"), counts_things("k{token}")
    (True, True, True, False)
    """
    return _REMARK.sub("", unit).strip().lower() in _THINGS


def currency_of(unit: str) -> str:
    """The currency that a unit names, as `USD`; empty where it names none. Any other word is given as it is.

    >>> currency_of("{USD}"), currency_of("$"), currency_of("eur"), currency_of("1"), currency_of("{cost}")
    ('USD', 'USD', 'EUR', '', '')
    """
    remark = _REMARK.search(unit)
    word = (_REMARK.sub("", unit).strip() or (remark[1].strip() if remark else "")).lower()
    if word in _NO_WORD:
        return ""
    return "USD" if word in _USD else word.upper() if re.fullmatch("[a-z]{3}", word) else word


def scale_of(unit: str) -> str:
    """What tells two units of one stream apart: those that mean the same are one, and so is one that came to be told.

    >>> scale_of("ms") == scale_of("milliseconds"), scale_of("") == scale_of("{token}") == scale_of("s")
    (True, True)
    >>> scale_of("ms") == scale_of("s"), scale_of("EUR") == scale_of("USD")
    (False, False)
    """
    seconds = seconds_in(unit)
    if counts_things(unit) or seconds == 1.0:
        return ""
    currency = currency_of(unit)
    return f"{seconds:g} s" if seconds is not None else "" if currency == "USD" else currency
