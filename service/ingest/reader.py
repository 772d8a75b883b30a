"""Columns to what their spans say: by plan where their shape has one, else each by the tables of the dialects."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from service.batch import Dropped
from service.ingest.dialects import APART_SCOPES, NATIVE_SCOPES, WANTED
from service.ingest.join.lexicon import NUMBERS_OF_SPANS, Lexicon
from service.ingest.kernel import intake
from service.ingest.kernel.columns import Columns
from service.ingest.kernel.constants import APART_SCOPE, NATIVE_SCOPE
from service.ingest.kernel.tables import Tables
from service.ingest.local import Local
from service.ingest.otlp.points import Read
from service.ingest.otlp.wanted import KEYS
from service.ingest.plans import Plans, flags_of
from service.ingest.read import read_resource, read_span, session_of
from service.ingest.vocabulary import RESPONSE_ID, SESSION, TENANT, Reading, label
from service.sampling.names import weight_of

_ENTRIES = tuple(WANTED.get(key) for key in KEYS)
_NATIVE = tuple(scope.encode() for scope in NATIVE_SCOPES)
_APART = tuple(scope.encode() for scope in APART_SCOPES)
ORIGINS_MAX = 1 << 16
"""Resources and scopes that are known at a time; with more of them all are worked out again."""
EXAMPLES = {
    Dropped.BAD_ID: "a trace id is 16 bytes and a span id 8, not all zero (in JSON 32 and 16 hex digits)",
    Dropped.BAD_TIME: "a time is nanoseconds since 1970, above zero and before the year 2262",
    Dropped.FUTURE: "a span ends after the clock of the receiver",
    Dropped.LATE: "a span ends in a minute that was counted already; it joins its trace, and counts in no rule",
    Dropped.UNKNOWN_UNIT: "a unit is s, ms, us, {token} or USD",
    Dropped.UNKNOWN_TOKEN: "a token type is input or output",
    Dropped.UNKNOWN_KIND: "what is counted comes as a counter or a histogram, delta or cumulative",
}


@dataclass
class Decoded:
    """What one record holds: its spans, its points, or why it could not be read; and what was left out of it by reason.

    first, stop    its spans are these of the spans that were decoded last
    last_ns        when the last of them ends, 0 if there are none
    is_snake_case  its names are written as protobuf writes them
    """

    first: int = 0
    stop: int = 0
    last_ns: int = 0
    dropped: dict[Dropped, int] = field(default_factory=dict)
    read: Read | None = None
    content: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    is_snake_case: bool = False

    def drop(self, reason: Dropped, times: int = 1) -> None:
        """Note that so many were left out."""
        self.dropped[reason] = self.dropped.get(reason, 0) + times

    def rejected(self) -> tuple[int, str]:
        """How many spans were rejected, and why, for the sender to read."""
        if not self.dropped:
            return 0, ""
        found = {reason: self.dropped[reason] for reason in EXAMPLES if reason in self.dropped}
        return sum(found.values()), "; ".join(f"{n} {reason}: {EXAMPLES[reason]}" for reason, n in found.items())


class Reader:
    """Makes decoded spans of columns; what was said in texts goes to the lexicon."""

    def __init__(self, tables: Tables, lexicon: Lexicon, local: Local, plans: Plans) -> None:
        self._tables, self._lexicon, self._local, self.plans = tables, lexicon, local, plans
        self.unexplained: Counter[str] = Counter()
        """Tokens that the totals of spans say and their parts do not explain, by scope, since somebody took them."""

    def forget(self) -> None:
        """Forget all that names the lexicon's numbers."""
        self.plans.forget()

    def read(self, columns: Columns) -> list[Decoded]:
        """What each record holds. The columns are needed no longer then."""
        intake.begin(self._tables, columns)
        bad = self._fill(columns) if columns.n_spans else 0
        records = []
        for first, stop, last_ns, is_bad, bad_ids, bad_times, own in columns.records():
            decoded = Decoded(first, stop, last_ns)
            if is_bad:
                decoded.drop(Dropped.MALFORMED)
                decoded.error = "not an OTLP traces body in protobuf"
            for reason, n in ((Dropped.BAD_ID, bad_ids), (Dropped.BAD_TIME, bad_times), (Dropped.OWN, own)):
                if n:
                    decoded.drop(reason, n)
            records.append(decoded)
        if records:  # Counted of all records together.
            records[0].content = {KEYS[key]: n for key, n in columns.content().items()}
            if bad:
                records[0].drop(Dropped.BAD_NUMBER, bad)
        return records

    def _fill(self, columns: Columns) -> int:
        """Write what the spans say; how many of their numbers are not numbers."""
        self.plans.recognise(columns)
        bad = sum(self._read(columns, row) for row in intake.unplanned(columns))
        if self._tables.count("origins") > ORIGINS_MAX:
            self._tables.clear("origins")
        resources, scopes = intake.new_origins(self._tables, columns)
        for row in resources:
            said = [(KEYS[key], value) for key, value in columns.resource(row)]
            number, session = self._lexicon.resource(read_resource(said)), session_of(said)
            name = self._lexicon.session(session) if session else (0, 0)
            intake.learn_resource(self._tables, columns, row, number, *name)
        for row in scopes:
            intake.learn_scope(self._tables, columns, row, *self._scope(columns, row))
        more, unexplained = intake.read(self._tables, columns, self.plans.shapes)
        if unexplained:
            for scope, tokens in columns.unexplained().items():
                self.unexplained[label(scope.decode(errors="replace"))] += round(tokens)
        return bad + more

    def _read(self, columns: Columns, row: int) -> int:
        """Write what a span says by the tables of the dialects; how many of its numbers are not numbers."""
        name, is_root, values = columns.span(row)
        found = [(entry, value) for key, value in values if (entry := _ENTRIES[key]) is not None]
        reading = Reading(is_root)
        bad, apart = read_span(reading, lambda: name, found, self._local)
        own, lexicon = reading.own, self._lexicon
        intake.set_decoded(
            self._tables, row, lexicon.reading(reading, apart), flags_of(reading),
            lexicon.word(str(own.get(TENANT, ""))),
            *(lexicon.session(str(own[SESSION])) if SESSION in own else (0, 0)),
            lexicon.fingerprint(str(own[RESPONSE_ID]))[0] if RESPONSE_ID in own else 0,
            [float(own.get(field, np.nan)) for field in NUMBERS_OF_SPANS],
        )  # fmt: skip
        return bad

    def _scope(self, columns: Columns, row: int) -> tuple[int, float]:
        """Which of NATIVE_SCOPE and APART_SCOPE a scope is, and the weight of its spans, 0.0 if it does not tell."""
        (name, values), policies = columns.scope(row), self._local.policies
        weights = (policies.get(str(value)) or weight_of(str(value)) for _, value in values)
        kinds = NATIVE_SCOPE * name.startswith(_NATIVE) | APART_SCOPE * name.startswith(_APART)
        return kinds, next(filter(None, weights), 0.0)
