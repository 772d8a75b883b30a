"""Evaluations that events of spans told, on their way to the record of sessions: of whom each is, and what it says.

Their series have counted them where the spans were read. A report that comes again tells them again; the record takes
what is the same once.
"""

import math
from collections.abc import Iterable, Iterator

from service.exchange.part import TIME_MAX_NS, PartError, texts, whole_number
from service.ingest.otlp.points import SESSION_ATTRIBUTES, Evaluation

EVALUATIONS_MAX = 100
"""Of one report: with the longest texts, of letters that JSON writes as six, they are a quarter of a megabyte."""
ID_LETTERS_MAX, WORD_LETTERS_MAX = 200, 100


def of_sessions(evaluations: Iterable[Evaluation]) -> Iterator[Evaluation]:
    """Those that say of which session or trace they are: the record has no place for others."""
    return (one for one in evaluations if one.session or one.trace)


def written(evaluations: Iterable[Evaluation]) -> list[list[object]]:
    """What a report's head says of them. An id that is too long to be found by is cut."""
    return [
        [
            one.session[:ID_LETTERS_MAX], one.trace, one.name[:WORD_LETTERS_MAX],
            one.score if math.isfinite(one.score) else None, one.said[:WORD_LETTERS_MAX], one.time_ns,
        ]
        for one in evaluations
    ]  # fmt: skip


def read(listed: object) -> list[Evaluation]:
    """What `written` gave, without the labels. Raises PartError, or ValueError where a trace's id is none."""
    if not isinstance(listed, list) or len(listed) > EVALUATIONS_MAX:
        raise PartError(f"evaluations are no list of at most {EVALUATIONS_MAX}")
    found = []
    for session, trace, name, score, said, time_ns in listed:
        session, trace, name, said = texts([session, trace, name, said])
        if score is not None and not (isinstance(score, int | float) and math.isfinite(score)):
            raise PartError(f"{str(score)[:40]} is not a score")
        of = ((SESSION_ATTRIBUTES[0], session),) if session else ()
        number = math.nan if score is None else float(score)
        time_ns = whole_number(time_ns, TIME_MAX_NS)
        found.append(Evaluation(name, number, said, time_ns, bytes.fromhex(trace), b"", of, ()))
    return found
