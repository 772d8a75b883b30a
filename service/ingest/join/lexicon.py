"""Words, readings and resources: what spans say in texts, each told once, as small numbers.

All three are bounded. When one is nearly full those that no live span needs are forgotten, and the rest are numbered
anew; what then still finds no room is counted under `_other`.
"""

import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alertrules.outcome_classes import SHIPPED, Outcomes, plain
from detectors.core.series import OVERFLOW_VALUE
from service.ingest.kernel.constants import APART, INCLUDED, SEEN_TOKENS
from service.ingest.kernel.tables import READINGS_MAX, RESOURCES_MAX, TEXT_BYTES, WORDS_MAX, Tables
from service.ingest.reasons import UNTOLD, error_name
from service.ingest.vocabulary import (
    AGENT,
    AGENT_BY_NAME,
    AGENT_RUN,
    AGENT_VERSION,
    ARGUMENTS,
    CACHE_READ,
    CACHE_WRITE,
    CLASSIFICATION,
    COST,
    EMBEDDING,
    EVALUATION,
    FIRST_TOKEN,
    FIRST_TOKEN_MS,
    GUARDRAIL,
    HITS,
    INPUT,
    INPUT_COST,
    LLM,
    OTHER,
    OUTCOME,
    OUTPUT,
    OUTPUT_COST,
    PARTS,
    PROMPT_USED,
    PROVIDER,
    REASONING,
    REQUEST_MODEL,
    RESPONSE_MODEL,
    RETRIEVAL,
    SCORE,
    SESSION_UNIT,
    STORE,
    TIER,
    TOOL,
    TOOL_INPUT,
    TOOL_NAME,
    TOP_K,
    TOTAL,
    WORKFLOW,
    Reading,
    Resource,
)

OPERATIONS = (
    LLM, EMBEDDING, RETRIEVAL, TOOL, AGENT_RUN, WORKFLOW, GUARDRAIL, CLASSIFICATION, EVALUATION, OTHER, SESSION_UNIT
)  # fmt: skip
"""Operations by their number."""
_NUMBER_OF = {operation: number for number, operation in enumerate(OPERATIONS)}
NUMBERS_OF_SPANS = (
    INPUT, OUTPUT, CACHE_READ, CACHE_WRITE, REASONING, COST, TOTAL, INPUT_COST, OUTPUT_COST, *PARTS, FIRST_TOKEN,
    TOOL_INPUT, FIRST_TOKEN_MS, ARGUMENTS, HITS, TOP_K, SCORE,
)  # fmt: skip
"""The numbers that a span may say, in the order of `kernel/rows.pxd`."""
_WORDS = (AGENT, AGENT_BY_NAME, AGENT_VERSION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, TOOL_NAME, STORE, TIER)
"""Fields that a reading holds as words, in the order of `Tables.set_reading`."""
_FIRST_WORDS = ("", OVERFLOW_VALUE, *OPERATIONS)
Saying = tuple[Any, ...]
_VALUES = 11
_ERROR = _VALUES + len(_WORDS)
_REST = ("", 0)
"""A saying is so many values, the words, the type of its error; and its prompt and how many documents it lists. Older
states do not know these two."""
Rows = NDArray[np.int64]
CLASS_IDS = 127
"""A class is a byte. The numbers that classes leave over are for words of none, by their hash."""
ERRORS_MAX, PROMPTS_MAX = 500, 2_000
"""Types of error, and versions of prompts, that are told apart."""
WORDS_OF = {
    "spans": ("tenant",), "sessions": ("tenant", "agent"),
    "ended": ("tenant", "agent", "version", "model", "open_tenant", "open_agent"),
}  # fmt: skip
"""Where words stand in rows that are saved."""
ALIKE_MAX = 3
"""Words that are remembered of one such number; few have more than one."""


class Lexicon:
    """The owner of all three; `told_by` has the dialect of each reading, `resources` what each resource is."""

    def __init__(self, tables: Tables, outcomes: Outcomes = SHIPPED) -> None:
        self._tables, self.outcomes = tables, outcomes
        self._errors: set[str] = set()
        self.no_class: dict[int, list[str]] = {}  # Words of no class, by a number after those of the classes.
        self._forget()
        self._begin()

    def _forget(self) -> None:
        """Know none of them."""
        self._texts: list[str] = []
        self._readings: dict[Saying, int] = {}
        self._resources: dict[Resource, int] = {}
        self._prompts = {""}
        self.told_by: list[str] = []
        self.resources: list[Resource] = []

    def _begin(self) -> None:
        """Enter what is always there: the words of operations, and what stands for readings that find no room."""
        self._tables.clear_words()
        for text in _FIRST_WORDS[1:]:
            self.word(text)
        others = [*[""] * len(_WORDS), *_REST]  # All words but the agent's, and what follows.
        for operation in OPERATIONS[:-1]:
            self._enter(
                (operation, 0, False, INCLUDED, -1, False, False, 1.0, UNTOLD, UNTOLD, "", OVERFLOW_VALUE, *others)
            )
        self.resource(Resource(agent=OVERFLOW_VALUE))

    def word(self, text: str) -> int:
        """The word of a text."""
        return self._tables.word(text.encode(errors="replace"))

    def fingerprint(self, text: str) -> tuple[int, int]:
        """What stands for a text that nobody need read again."""
        return self._tables.fingerprint(text.encode(errors="replace"))

    def session(self, name: str) -> tuple[int, int]:
        """What stands for the session of a name."""
        return self._tables.session(name.encode(errors="replace"))

    def texts(self) -> list[str]:
        """The texts of all words."""
        texts = self._texts
        if len(texts) < self._tables.words_used[0]:
            texts += [raw.decode(errors="replace") for raw in self._tables.texts(len(texts))]
        return texts

    def text(self, word: int) -> str:
        """The text of a word."""
        return self.texts()[word]

    def reading(self, reading: Reading, apart: bool | None) -> int:
        """The number of what the dialects said of a span, but for its numbers, its tenant and its ids."""
        own = reading.own
        outcome = self._outcome(str(own[OUTCOME])) if OUTCOME in own else -1
        parts = 0 if apart is None else APART if apart else INCLUDED
        texts = tuple([str(own.get(field, "")) for field in _WORDS])
        head = (reading.operation, reading.session_rank, reading.is_log, parts, outcome, reading.is_cut)
        saying = (*head, reading.names_top, reading.rate, reading.ending, reading.error_class, reading.dialect, *texts)
        saying = (*saying, self._error(reading), self._prompt(reading), reading.listed)
        number = self._readings.get(saying)
        if number is None:
            number = _NUMBER_OF[reading.operation] if len(self._readings) >= READINGS_MAX else self._enter(saying)
        return number

    def _error(self, reading: Reading) -> str:
        """The type of a span's error: bounded, as senders may make one up for each."""
        error = error_name(reading.error)
        if error not in self._errors and len(self._errors) >= ERRORS_MAX:
            return OVERFLOW_VALUE
        self._errors.add(error)
        return error

    def _prompt(self, reading: Reading) -> str:
        """The prompt and its version; empty where there are too many for now, as some make a version for each call."""
        prompt = str(reading.own.get(PROMPT_USED, ""))
        if prompt not in self._prompts and len(self._prompts) >= PROMPTS_MAX:
            return ""
        self._prompts.add(prompt)
        return prompt

    def _outcome(self, word: str) -> int:
        """The class of an outcome, or a number of a word that is of none: the same one wherever it comes."""
        place, classes = self.outcomes.place(word), len(self.outcomes.names)
        if place != self.outcomes.unmapped:
            return place
        number = classes + zlib.crc32(plain(word).encode(errors="replace")) % (CLASS_IDS - classes)
        words = self.no_class.setdefault(number, [])
        if word not in words and len(words) < ALIKE_MAX:
            words.append(word)
        return number

    def _enter(self, saying: Saying) -> int:
        operation, rank, is_log, parts, outcome, is_cut, names_top, rate, *ends, dialect = saying[:_VALUES]
        *texts, listed = saying[_VALUES:]
        number = self._readings[saying] = len(self._readings)
        self._prompts.add(saying[_ERROR + 1])
        is_google = str(texts[_WORDS.index(PROVIDER)]).startswith("gcp.")
        words = [self.word(text) for text in texts]
        self._tables.set_reading(
            number,
            (_NUMBER_OF[operation], rank, is_log, parts, outcome, is_google, is_cut, names_top, rate, *ends, listed),
            words,
        )
        self.told_by.append(dialect)
        return number

    def resource(self, resource: Resource) -> int:
        """The number of a resource."""
        number = self._resources.get(resource)
        if number is None:
            if len(self._resources) >= RESOURCES_MAX:
                return 0
            number = self._resources[resource] = len(self._resources)
            self._tables.set_resource(number, [self.word(text) for text in resource])
            self.resources.append(resource)
        return number

    def told(self) -> Iterator[tuple[str, str, int]]:
        """Service, signal and time of what spans told since this was asked last."""
        seen = self._tables.seen[: len(self.resources)]
        for number, signal in np.argwhere(seen > 0).tolist():
            name = "" if signal == SEEN_TOKENS else OPERATIONS[signal]
            yield self.resources[number].agent, name, int(seen[number, signal])
        seen[:] = 0

    def is_full(self) -> bool:
        """Whether there is little room left for new ones."""
        words, text_bytes = self._tables.words_used
        return (
            8 * words > 7 * WORDS_MAX or 8 * text_bytes > 7 * TEXT_BYTES
            or 8 * len(self._readings) > 7 * READINGS_MAX or 8 * len(self._resources) > 7 * RESOURCES_MAX
            or 8 * len(self._prompts) > 7 * PROMPTS_MAX
        )  # fmt: skip

    def forget_unused(self) -> None:
        """Begin anew with what live spans and sessions need. What else knows any number must forget it, too."""
        tables, sayings, resources = self._tables, list(self._readings), self.resources
        spans, fields = tables.live("spans"), self._fields()
        words = {int(word) for name, at, field in fields for word in tables.rows(name)[field][at]}
        texts = {word: self.text(word) for word in sorted(words)}
        used_readings = np.unique(tables.rows("spans")["reading"][spans]).tolist()
        used_resources = np.unique(tables.rows("spans")["resource"][spans]).tolist()
        self._forget()
        self._begin()
        anew = {word: self.word(text) for word, text in texts.items()}
        for name, at, field in fields:
            self._renumber(name, at, field, anew)
        self._renumber("spans", spans, "reading", {old: self._again(sayings[old]) for old in used_readings})
        self._renumber("spans", spans, "resource", {old: self.resource(resources[old]) for old in used_resources})

    def _fields(self) -> list[tuple[str, Rows, str]]:
        """Where words stand in rows that are saved."""
        return [(name, self._tables.live(name), field) for name, fields in WORDS_OF.items() for field in fields]

    def _again(self, saying: Saying) -> int:
        number = self._readings.get(saying)
        return self._enter(saying) if number is None else number

    def _renumber(self, name: str, at: Rows, field: str, anew: dict[int, int]) -> None:
        new = np.zeros(max(anew, default=0) + 1, np.int64)
        new[list(anew)] = list(anew.values())
        rows = self._tables.rows(name)
        rows[field][at] = new[rows[field][at]]

    def _reclassify(self, classes: list[str]) -> None:
        """There were other classes: what live spans and traces said keeps its name, or is of none."""
        now = {name: place for place, name in enumerate(self.outcomes.names)}
        moved = np.full(CLASS_IDS + 1, self.outcomes.unmapped, np.int64)
        moved[: len(classes)] = [now.get(name, self.outcomes.unmapped) for name in classes]
        for number, words in self.no_class.items():
            moved[number] = self.outcomes.place(words[0])
        traces = self._tables.rows("traces")
        said = traces["outcome"] >= 0
        traces["outcome"][said] = moved[traces["outcome"][said]]
        spans, sayings = self._tables.live("spans"), list(self._readings)
        anew = {}
        for number in np.unique(self._tables.rows("spans")["reading"][spans]).tolist():
            *head, outcome = sayings[number][:5]
            has_room = len(self._readings) < READINGS_MAX
            anew[number] = (
                self._again((*head, int(moved[outcome]), *sayings[number][5:])) if outcome >= 0 and has_room else number
            )
        self._renumber("spans", spans, "reading", anew)
        self.no_class = {}

    def snapshot(self) -> str:
        """Readings and resources as JSON text; words are in the tables."""
        said = {
            "readings": list(self._readings),
            "resources": self.resources,
            "no_class": self.no_class,
            "classes": self.outcomes.names,
        }
        return json.dumps(said)

    def restore(self, saved: str) -> None:
        """Take the place of what `snapshot` was taken of, the tables being restored."""
        self._forget()
        state = json.loads(saved)
        self.no_class = {int(number): words for number, words in state.get("no_class", {}).items()}
        for saying in state["readings"]:
            known = (*saying, *_REST[len(saying) - _ERROR - 1 :])
            self._errors.add(known[_ERROR])
            self._enter(known)
        for resource in state["resources"]:
            self.resource(Resource(*resource))
        if tuple(classes := state.get("classes", SHIPPED.names)) != self.outcomes.names:
            self._reclassify(classes)
