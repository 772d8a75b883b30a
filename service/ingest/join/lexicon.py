"""Words, readings and resources: what spans say in texts, each told once, as small numbers.

All three are bounded. When one is nearly full those that no live span needs are forgotten, and the rest are numbered
anew; what then still finds no room is counted under `_other`.
"""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from detectors.core.series import OVERFLOW_VALUE
from service.ingest.join.rows import COUNT, HIGH, USED
from service.ingest.join.said import APART, INCLUDED
from service.ingest.join.store import READINGS_MAX, RESOURCES_MAX, WORDS_MAX, Cells, Store
from service.ingest.join.tables import (
    ENDED,
    ENDED_AGENT,
    ENDED_TENANT,
    SPAN_READING,
    SPAN_RESOURCE,
    SPAN_TENANT,
    SPANS,
    TOLD_TOKENS,
    WORD_AT,
    WORD_BYTES,
    WORD_SIZE,
    WORDS,
)
from service.ingest.join.tables import (
    WORDS_MAX as WORDS_LIMIT,
)
from service.ingest.join.words import TEXT_BYTES
from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_RUN,
    AGENT_VERSION,
    CLASSIFICATION,
    EMBEDDING,
    EVALUATION,
    GUARDRAIL,
    LLM,
    OTHER,
    OUTCOME,
    PROVIDER,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    SESSION_UNIT,
    STORE,
    TOOL,
    TOOL_NAME,
    WORKFLOW,
    Reading,
    Resource,
    outcome_class,
)

OPERATIONS = (
    LLM, EMBEDDING, RETRIEVAL, TOOL, AGENT_RUN, WORKFLOW, GUARDRAIL, CLASSIFICATION, EVALUATION, OTHER, SESSION_UNIT
)  # fmt: skip
"""Operations by their number."""
_NUMBER_OF = {operation: number for number, operation in enumerate(OPERATIONS)}
_WORDS = (AGENT, AGENT_BY_NAME, AGENT_VERSION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, TOOL_NAME, STORE)
"""Fields that a reading holds as words, in the order of its cells."""
_FIRST_WORDS = ("", OVERFLOW_VALUE, *OPERATIONS)
Saying = tuple[Any, ...]


class Lexicon:
    """The owner of all three; `told_by` has the dialect of each reading, `resources` what each resource is."""

    def __init__(self, store: Store) -> None:
        self._store, self._kernels = store, store.kernels
        store.limits[WORDS_LIMIT] = WORDS_MAX
        self._forget()
        self._begin()

    def _forget(self) -> None:
        """Know none of them."""
        self._texts: list[str] = []
        self._readings: dict[Saying, int] = {}
        self._resources: dict[Resource, int] = {}
        self.told_by: list[str] = []
        self.resources: list[Resource] = []

    def _begin(self) -> None:
        """Enter what is always there: the words of operations, and what stands for readings that find no room."""
        self._store.room(WORDS, 1)
        self._store.heads[[WORDS + HIGH, WORDS + COUNT]] = 1  # The empty one, which is looked for by nobody.
        self._store.rows[WORDS][0] = (USED, 0, 0, 0)
        for text in _FIRST_WORDS[1:]:
            self.word(text)
        for operation in OPERATIONS[:-1]:
            self._enter((operation, 0, False, INCLUDED, -1, False, "", OVERFLOW_VALUE, *[""] * (len(_WORDS) - 1)))
        self.resource(Resource(agent=OVERFLOW_VALUE))

    def word(self, text: str) -> int:
        """The word of a text."""
        raw = text.encode(errors="replace")
        self._store.room(WORDS, 1)
        memory = self._kernels.memory(np.frombuffer(raw, np.uint8))
        return int(self._kernels.word_of(self._store.tables, memory, 0, len(raw)))

    def fingerprint(self, text: str) -> tuple[int, int]:
        """What stands for a text that nobody need read again."""
        raw = np.frombuffer(text.encode(errors="replace"), np.uint8)
        high, low = self._kernels.fingerprint(self._store.tables.seed, self._kernels.memory(raw), 0, len(raw))
        return int(high), int(low)

    def texts(self) -> list[str]:
        """The texts of all words."""
        texts, used = self._texts, int(self._store.heads[WORDS + HIGH])
        if len(texts) < used:
            rows, raw = self._store.rows[WORDS][len(texts) : used, [WORD_AT, WORD_SIZE]].tolist(), self._store.text
            texts += [raw[at : at + size].tobytes().decode(errors="replace") for at, size in rows]
        return texts

    def text(self, word: int) -> str:
        """The text of a word."""
        return self.texts()[word]

    def reading(self, reading: Reading, apart: bool | None) -> int:
        """The number of what the dialects said of a span, but for its numbers, its tenant and its ids."""
        own = reading.own
        outcome = outcome_class(str(own[OUTCOME])) if OUTCOME in own else -1
        parts = 0 if apart is None else APART if apart else INCLUDED
        texts = tuple([str(own.get(field, "")) for field in _WORDS])
        head = (reading.operation, reading.session_rank, reading.is_log, parts, outcome, reading.is_cut)
        saying = (*head, reading.dialect, *texts)
        number = self._readings.get(saying)
        if number is None:
            number = _NUMBER_OF[reading.operation] if len(self._readings) >= READINGS_MAX else self._enter(saying)
        return number

    def _enter(self, saying: Saying) -> int:
        operation, rank, is_log, parts, outcome, is_cut, dialect, *texts = saying
        number = self._readings[saying] = len(self._readings)
        is_google = str(texts[_WORDS.index(PROVIDER)]).startswith("gcp.")
        words = [self.word(text) for text in texts]
        head = (_NUMBER_OF[operation], rank, is_log, parts, outcome, is_google)
        self._store.readings[number] = (*head, *words, is_cut)
        self.told_by.append(dialect)
        return number

    def resource(self, resource: Resource) -> int:
        """The number of a resource."""
        number = self._resources.get(resource)
        if number is None:
            if len(self._resources) >= RESOURCES_MAX:
                return 0
            number = self._resources[resource] = len(self._resources)
            self._store.resources[number] = [self.word(text) for text in resource]
            self.resources.append(resource)
        return number

    def told(self) -> Iterator[tuple[str, str, int]]:
        """Service, signal and time of what spans told since this was asked last."""
        told = self._store.told[: len(self.resources)]
        for number, signal in np.argwhere(told > 0).tolist():
            name = "" if signal == TOLD_TOKENS else OPERATIONS[signal]
            yield self.resources[number].agent, name, int(told[number, signal])
        told[:] = 0

    def is_full(self) -> bool:
        """Whether there is little room left for new ones."""
        used = int(self._store.heads[WORDS + HIGH]), int(self._store.state[WORD_BYTES])
        return (
            8 * used[0] > 7 * WORDS_MAX or 8 * used[1] > 7 * TEXT_BYTES
            or 8 * len(self._readings) > 7 * READINGS_MAX or 8 * len(self._resources) > 7 * RESOURCES_MAX
        )  # fmt: skip

    def forget_unused(self) -> None:
        """Begin anew with what live spans and sessions need. What else knows any number must forget it, too."""
        spans = self._live(SPANS)
        sayings, resources = list(self._readings), self.resources
        kept = [(SPANS, SPAN_TENANT), (ENDED, ENDED_TENANT), (ENDED, ENDED_AGENT)]
        words = np.unique(np.concatenate([self._store.rows[table][self._live(table), at] for table, at in kept]))
        texts = {word: self.text(word) for word in words.tolist()}
        used_readings = np.unique(self._store.rows[SPANS][spans, SPAN_READING]).tolist()
        used_resources = np.unique(self._store.rows[SPANS][spans, SPAN_RESOURCE]).tolist()
        self._store.clear(WORDS)
        self._store.state[WORD_BYTES] = 0
        self._forget()
        self._begin()
        self._renumber(kept, {word: self.word(text) for word, text in texts.items()})
        self._renumber([(SPANS, SPAN_READING)], {old: self._again(sayings[old]) for old in used_readings})
        self._renumber([(SPANS, SPAN_RESOURCE)], {old: self.resource(resources[old]) for old in used_resources})

    def _live(self, table: int) -> Cells:
        rows = self._store.rows[table][: self._store.heads[table + HIGH]]
        return np.flatnonzero(rows[:, 0] == USED)

    def _again(self, saying: Saying) -> int:
        number = self._readings.get(saying)
        return self._enter(saying) if number is None else number

    def _renumber(self, columns: list[tuple[int, int]], anew: dict[int, int]) -> None:
        new = np.zeros(max(anew, default=0) + 1, np.int64)
        new[list(anew)] = list(anew.values())
        for table, column in columns:
            live = self._live(table)
            self._store.rows[table][live, column] = new[self._store.rows[table][live, column]]

    def snapshot(self) -> str:
        """Readings and resources as JSON text; words are in the store."""
        return json.dumps({"readings": list(self._readings), "resources": self.resources})

    def restore(self, saved: str) -> None:
        """Take the place of what `snapshot` was taken of, the store being restored."""
        self._forget()
        state = json.loads(saved)
        for saying in state["readings"]:
            self._enter(tuple(saying))
        for resource in state["resources"]:
            self.resource(Resource(*resource))
