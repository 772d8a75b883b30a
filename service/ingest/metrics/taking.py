"""Bodies of metrics and logs on their way to the meters: what these are given, and what is counted of a body."""

from collections.abc import Callable

from service.batch import Dropped, Signal, Tally
from service.ingest.local import Local
from service.ingest.metrics.meanings import Cell, Meaning
from service.ingest.metrics.meters import Doors, Joined, Meters
from service.ingest.prices import CostSource, Prices, Tokens
from service.ingest.reader import Decoded
from service.ingest.words import Unknown, Words

_UNKNOWN = {
    Dropped.UNKNOWN_UNIT: Unknown.UNIT,
    Dropped.UNKNOWN_TOKEN: Unknown.TOKEN,
    Dropped.UNKNOWN_KIND: Unknown.KIND,
}


def doors(
    cell_of: Callable[[Cell, int], int], joined: Joined, prices: Prices, words: Words, local: Local
) -> Doors:  # fmt: skip
    """What metrics need of others: cells, spans and prices. Words that are not known are noted."""

    def dollars_of(meant: Meaning, tokens: Tokens, time_ns: int) -> tuple[float, CostSource]:
        if meant.special:
            return 0.0, CostSource.UNPRICED
        return prices.together(meant.provider, meant.models, tokens, time_ns)

    def unknown(why: Dropped, metric: str, word: str, who: str, time_ns: int) -> None:
        words.note(_UNKNOWN[why], metric, word, who, time_ns)

    def outcome_of(word: str, metric: str, who: str, time_ns: int, count: float) -> int:
        if (place := local.outcomes.place(word)) == local.outcomes.unmapped and count:
            words.note(Unknown.OUTCOME, metric, word, who, time_ns, count)
        return place

    return Doors(cell_of, joined, dollars_of, unknown, outcome_of)


def take(
    meters: Meters, signal: Signal, decoded: Decoded, floor_ns: int, future_ns: int, given: Doors, tally: Tally
) -> tuple[set[int], int]:  # fmt: skip
    """Take in what a body held of points and evaluations, if anything.

    Gives the starts of the slots that it counts in, and the latest time in it; 0 if there is none.
    """
    read = decoded.read
    if read is None:
        return set(), 0
    if signal is Signal.LOGS:
        tally.logs += read.records
    else:
        tally.points += read.records
    starts = meters.take(read, floor_ns, future_ns, given)
    tally.evaluations += read.evaluations
    tally.dropped.update(read.dropped)
    for reason, n in read.dropped.items():
        decoded.drop(reason, n)
    tally.saturated.update(read.saturated)
    times = [point.time_ns for point in read.points]
    times += [each.time_ns for each in (*read.evaluations, *read.scores)]
    return starts, max((time_ns for time_ns in times if time_ns <= future_ns), default=0)
