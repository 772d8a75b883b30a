"""The words that every dialect is translated into, and the span that carries them."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from alertrules.outcome_classes import SHIPPED
from detectors.core.columns import OUTCOMES

LLM, EMBEDDING, RETRIEVAL, TOOL = "llm", "embedding", "retrieval", "tool"
AGENT_RUN, WORKFLOW, GUARDRAIL, CLASSIFICATION = "agent", "workflow", "guardrail", "classification"
EVALUATION, OTHER, SESSION_UNIT = "evaluation", "other", "session"
SPEND = "spend"
"""The operation of dollars that a metric states for no call, of an agent whose sessions nobody tells."""
OPERATIONS = frozenset(
    (LLM, EMBEDDING, RETRIEVAL, TOOL, AGENT_RUN, WORKFLOW, GUARDRAIL, CLASSIFICATION, EVALUATION, OTHER)
)
MODEL_OPERATIONS = frozenset((LLM, EMBEDDING))
"""Operations whose tokens cost money: these inherit model and provider, and can be unpriced."""

# Canonical fields. Plain strings, as an enum's hash would be the dearest step of decoding.
TENANT, AGENT, AGENT_VERSION, SESSION = "tenant", "agent", "agent_version", "session"
OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL = "operation", "provider", "request_model", "response_model"
EXCEPTION_TYPE, STATUS_WORD = "exception_type", "status_word"
"""What an event tells of an exception; and the first word of a failed span's status, if it may be a type."""
RESPONSE_ID, TOOL_NAME, STORE, ERROR_TYPE, OUTCOME = "response_id", "tool", "store", "error_type", "outcome"
INPUT, OUTPUT, CACHE_READ, CACHE_WRITE = "input_tokens", "output_tokens", "cache_read", "cache_write"
REASONING, COST = "reasoning", "cost_usd"
AGENT_BY_NAME, ENTITY = "agent_by_name", "entity"
"""An agent that only the name of a span or a workflow tells: believed last. And what a span says it is called."""
TOTAL, INPUT_COST, OUTPUT_COST = "total_tokens", "input_cost_usd", "output_cost_usd"
CACHE_WRITE_LONG, WEB_SEARCHES, TOOL_INPUT = "cache_write_1h", "web_searches", "tool_input"
AUDIO_IN, AUDIO_OUT, AUDIO_READ = "audio_in", "audio_out", "audio_cache_read"
IMAGE_IN, IMAGE_OUT, VIDEO_IN = "image_in", "image_out", "video_in"
PARTS = (CACHE_WRITE_LONG, AUDIO_IN, AUDIO_OUT, AUDIO_READ, IMAGE_IN, IMAGE_OUT, VIDEO_IN, WEB_SEARCHES)
"""Parts of usage with prices of their own, inside the others but for searches. TOOL_INPUT is input that no count of
Google's but the total holds."""
FIRST_TOKEN, FIRST_TOKEN_MS = "first_token", "first_token_ms"
ARGUMENTS = "arguments"
"""What a tool was called with, as a number that stands for the text: decoders keep nothing else of it."""
HITS, TOP_K, SCORE = "hits", "top_k", "score"
"""How many a retrieval found, how many it asked for, and the score of the best."""
PROMPT_NAME, PROMPT_VERSION, PROMPT_USED = "prompt_name", "prompt_version", "prompt_used"
"""What a call was asked with, and which version of it; the two in one, which only a version makes."""
FINISH, VERDICT, PASSED = "finish", "verdict", "passed"
"""Why a model stopped; what a guardrail found, and whether it let pass."""
TIER, BATCH, CURRENCY = "tier", "batch", "currency"
"""The tier that a call was served in; whether it was part of a batch; what its cost is told in."""
CACHE_APART = "cache_apart"
"""Told by a document that tells of a cache: the input tokens beside it leave that out."""
NUMBERS = frozenset(
    (INPUT, OUTPUT, CACHE_READ, CACHE_WRITE, REASONING, COST, TOTAL, INPUT_COST, OUTPUT_COST, *PARTS, TOOL_INPUT,
     FIRST_TOKEN, FIRST_TOKEN_MS, ARGUMENTS, HITS, TOP_K, SCORE)
)  # fmt: skip
"""Fields that hold a finite number >= 0; all others hold text fit for a label."""

Own = dict[str, str | float]
Scalar = str | int | float | bool
"""What an attribute's value may be once decoded; arrays, maps and bytes are never read."""
Reader = Callable[[Mapping[str, object]], Iterable[tuple[str, object]]]
"""Canonical fields and their values, of a JSON object that an attribute holds as text."""

LABEL_CHARACTERS_MAX = 200
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def label(text: str) -> str:
    r"""`text` as it may stand in a label: no control, bidi override or lone surrogate, at most 200 characters.

    >>> label("a\x1b[31m\u202eb")
    'a�[31m�b'
    """
    if len(text) > LABEL_CHARACTERS_MAX:
        text = text[:LABEL_CHARACTERS_MAX]
    return text if text.isprintable() else _UNFIT.sub("\ufffd", text)


class Resource(NamedTuple):
    """What a process says of itself. `agent` is its service name, empty if the SDK made that up."""

    tenant: str = ""
    agent: str = ""
    version: str = ""


class Reading:
    """What the dialects say of one span, in canonical fields; `own` holds only what the span itself said.

    is_root       whether it has no parent
    session_rank  precedence of the name that gave `own[SESSION]`; smaller is better
    dialect       name of the dialect that told the operation
    is_log        a log written as a span: no call, though it may say what one spent
    is_cut        one of its values was longer than a label may be
    rate          dollars for one of what its cost is told in, 0.0 where that is not known
    error         the type of its error, empty if it told none; `error_class` is its index into ENDINGS, -1 for none
    ending        what it ended with if it did not fail, likewise
    names_top     its name is its agent's only if nothing is above it
    is_excused    what ended it was control flow: its status does not count
    has_raised    an event of it tells an exception and nothing that it came to a result: it failed, unless its status
                  is that all is well
    listed        how many documents its numbered attributes list, 0 for none
    """

    __slots__ = (
        "dialect", "ending", "error", "error_class", "failed", "has_raised", "is_cut", "is_excused", "is_log",
        "is_root", "listed", "names_top", "operation", "own", "rate", "session_rank",
    )  # fmt: skip

    def __init__(self, is_root: bool) -> None:
        self.is_root = is_root
        self.own: Own = {}
        self.operation = OTHER
        self.dialect = ""
        self.session_rank = 0
        self.error, self.rate = "", 1.0
        self.ending = self.error_class = -1
        self.listed = 0
        self.failed = self.is_log = self.is_cut = False
        self.is_excused = self.has_raised = self.names_top = False


@dataclass(frozen=True)
class Dialect:
    """How one family of SDKs names things: tables only, so that a new one is a new file and nothing else.

    precedence   who is believed first when two dialects stand on one span; smaller is sooner
    fields       attribute names by canonical field, in order of preference
    operations   canonical operation by the (lower-case) value of the attributes under `fields[OPERATION]`
    span_names   canonical operation by span name, for spans without such an attribute; what follows the name after
                 a space, dot, colon or slash is the tool's or the agent's name
    model_names  canonical operation by the first word of the name of a span that tells nothing else, if the only other
                 word looks like a model's name
    implies      canonical operation of spans that have an attribute at all and nothing else that tells
    entity       canonical field that holds what a span is called, by operation: the attributes under `fields[ENTITY]`,
                 else the span's name
    roots        operations whose root's name is an agent's
    steps        ends of the names of spans that are only a step of the call they lie in, whatever kind they are said to
                 be of: if they name no tool and spent nothing, they are no call
    failures     values (lower case) of attributes that say that a call failed
    tool_failures  values (lower case) of attributes that say so on spans of tools alone
    excuses      values (lower case) of attributes that say that a call was called off: no failure, whatever the status
    logs         values of attributes that say that a span is a log; none of them: whatever the value
    scopes       beginnings of the instrumentation scopes of an SDK that writes spans of its own
    apart_scopes beginnings of those whose input tokens leave out the cache, though nothing on their spans says so
    only_named   its attributes are named so plainly that fields and failures are believed only on spans told by
                 `span_names` or `implies`; several such dialects may share one
    cache_apart  its input tokens leave out the cache
    html         its text is escaped as HTML
    documents    attributes whose text is a JSON object: a reader of that object, see `paths`; what it tells of the
                 operation is looked up in `operations`
    alike        those of the documents that are the same on many calls, as they say what was asked for: a short one is
                 looked up with the span's shape, all others are read anew each time
    placeholders agent names that an SDK writes on everything; believed on agent spans only
    gathers      names of tools that are none: such a span hands in what others' spans told, and is no call
    listed       attributes of one of several documents that a retrieval found: the place of that document, from 1
    resource     attribute names of resources by canonical field
    means        the operation of a span that says one of these canonical fields and has no other sign of what it is
    content      attributes that hold prompts, completions, arguments or results: never kept, only counted. Of numbered
                 ones the first stands for all
    """

    name: str
    precedence: int
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    operations: Mapping[str, str] = field(default_factory=dict)
    span_names: Mapping[str, str] = field(default_factory=dict)
    model_names: Mapping[str, str] = field(default_factory=dict)
    implies: Mapping[str, str] = field(default_factory=dict)
    entity: Mapping[str, str] = field(default_factory=dict)
    roots: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    failures: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tool_failures: Mapping[str, frozenset[str]] = field(default_factory=dict)
    excuses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    logs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    apart_scopes: tuple[str, ...] = ()
    only_named: bool = False
    cache_apart: bool = False
    html: bool = False
    documents: Mapping[str, Reader] = field(default_factory=dict)
    alike: frozenset[str] = frozenset()
    placeholders: frozenset[str] = frozenset()
    gathers: frozenset[str] = frozenset()
    listed: Mapping[str, int] = field(default_factory=dict)
    resource: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    means: Mapping[str, str] = field(default_factory=dict)
    content: tuple[str, ...] = ()


def paths(table: Mapping[str, str]) -> Reader:
    """A reader of the canonical fields of `table` by key; dots in a key lead into objects within.

    >>> list(paths({"a.b": "model"})({"a": {"b": "gpt-4o"}}))
    [('model', 'gpt-4o')]
    """
    steps = [(key.split("."), name) for key, name in table.items()]

    def read(document: Mapping[str, object]) -> Iterable[tuple[str, object]]:
        for keys, name in steps:
            found: object = document
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
            if found is not None:
                yield name, found

    return read


PROVIDERS = {
    "az.ai.inference": "azure.ai.inference", "az.ai.openai": "azure.ai.openai", "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai", "bedrock": "aws.bedrock", "aws_bedrock": "aws.bedrock", "aws": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock", "vertex_ai": "gcp.vertex_ai", "vertexai": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai", "gemini": "gcp.gemini", "google": "gcp.gemini", "google_genai": "gcp.gemini",
    "xai": "x_ai", "x-ai": "x_ai", "mistral": "mistral_ai", "mistralai": "mistral_ai", "moonshot": "moonshot_ai",
    "moonshotai": "moonshot_ai", "watsonx": "ibm.watsonx.ai", "amazon-bedrock": "aws.bedrock",
    "azure-openai": "azure.ai.openai", "google.generative-ai": "gcp.gemini", "google.vertex": "gcp.vertex_ai",
    "vertex": "gcp.vertex_ai", "bedrock_converse": "aws.bedrock",
}  # fmt: skip
"""Providers by the other names they go by; keys are lower case."""
FRAMEWORKS = frozenset(
    (
        "ag2", "agno", "autogen", "claude_code", "crewai", "haystack", "langchain", "langgraph", "langsmith", "litellm",
        "llama_index", "llamaindex", "mastra", "mem0", "microsoft.agent_framework", "openai-agents", "openai_agents",
        "pydantic_ai", "semantic_kernel", "smolagents", "spring_ai", "strands", "strands-agents", "unknown",
    )
)  # fmt: skip
"""What frameworks write where a provider belongs; it is none."""
METHODS = frozenset(
    ("agent", "arun", "workflow", "run", "kickoff", "invoke", "ainvoke", "forward", "_execute_core", "_run")
)
"""What SDKs hang on the name of an agent to call its span by."""
CALLED = ".__call__"
"""What they hang on the name of anything that is called like a function."""
_INTERFACES = frozenset(
    ("chat", "responses", "completion", "embedding", "messages", "image", "speech", "transcription", "reranking")
)


def provider_name(text: str) -> str:
    """The name of a provider that the conventions prefer; unknown ones stay, in lower case.

    >>> provider_name("OpenAI"), provider_name("xai"), provider_name("openai.responses")
    ('openai', 'x_ai', 'openai')
    """
    name = text.lower()
    if "." in name:  # Vercel names the interface too.
        provider, _, interface = name.rpartition(".")
        name = provider if interface in _INTERFACES else name
    return PROVIDERS.get(name, name)


UNMAPPED = OUTCOMES.index("unmapped")


def outcome_class(text: str) -> int:
    """Index into OUTCOMES of a session's outcome as its sender words it, by the shipped table.

    >>> OUTCOMES[outcome_class("Handed-Off")], OUTCOMES[outcome_class("42")]
    ('escalated', 'unmapped')
    """
    return SHIPPED.place(text)
