"""What is said to a body in which nothing was found."""

from service.batch import Answer, Dropped, Record, Tally
from service.ingest.otlp.foreign import ADVICE, Foreign, is_empty, looks_like
from service.ingest.reader import Decoded


def found_nothing(record: Record, body: Decoded, tally: Tally) -> Answer:
    """Answer a body without a span, point or log record: most are just empty, some are another format.

    A message of another signal can be read as one of this signal, whose ids are none.
    """
    foreign = is_empty(record.signal, record.body)
    if not foreign and not body.dropped:
        return Answer()
    kind = looks_like(record.signal, record.body)
    if not foreign and kind is not Foreign.OTHER_SIGNAL:
        return Answer(*body.rejected())
    tally.dropped[Dropped.FOREIGN] += 1
    tally.foreign[record.source, kind] += 1
    return Answer(message=f"nothing was read of this body: {ADVICE[kind]}")
