"""What a call ended with: a model's reason to stop, the kind of its error, a guardrail's verdict.

Senders word them in many ways; the classes are few, so that a rule can watch the share of each.
"""

import re

from detectors.core.columns import ENDINGS
from service.ingest.failures import UNSPECIFIC, bare, short

_REASONS = {
    "stop": ("stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete", "completed", "finish", "finished",
             "end", "normal", "success", "pause_turn"),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call", "function_calls"),
    "length": ("length", "max_tokens", "max_output_tokens", "max_length", "token_limit", "incomplete",
               "model_context_window_exceeded", "model_length"),
    "content_filter": ("content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content",
                       "spii", "image_safety", "guardrail_intervened", "guardrails", "sensitive"),
    "refusal": ("refusal", "refused"),
    "cancelled": ("cancelled", "canceled", "abort", "aborted", "user_cancelled"),
    "error": ("error", "failed", "malformed_function_call"),
}  # fmt: skip
"""Finish reasons by class, as OpenAI, Anthropic, Gemini, Bedrock, Mistral, Cohere, vLLM and SGLang word them."""
_CLASS_OF = {word: ENDINGS.index(name) for name, words in _REASONS.items() for word in words}
_ERRORS = (
    ("rate_limit", r"rate_?limit|too_?many_?requests|throttl|resource_?exhausted|quota|\b429\b"),
    ("timeout", r"time_?d?_?out|deadline|\b408\b|\b504\b"),
    ("overloaded", r"overloaded|unavailable|\b503\b|\b529\b|internal_?server|\b50[02]\b"),
    ("auth", r"authentication|unauthori[sz]ed|forbidden|permission|access_?denied|\b40[13]\b"),
    ("content_filter", r"content_?(filter|policy)|safety|guardrail|moderation"),
    ("refusal", r"refus"),
    (
        "invalid",
        r"bad_?request|invalid|not_?found|unprocessable|validation|context_?(length|window)|\b4(00|04|13|22)\b",
    ),
)
_KINDS = [(ENDINGS.index(name), re.compile(pattern)) for name, pattern in _ERRORS]
_JOINTS = re.compile(r"[\s-]+")
_BLOCKED = frozenset(
    ("blocked", "block", "deny", "denied", "tripped", "triggered", "trip", "true", "1", "fail", "failed", "failure",
     "intervened", "guardrail_intervened", "reject", "rejected", "violation", "unsafe", "flagged", "yes")
)  # fmt: skip
UNTOLD = -1
_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
"""What may be the name of a type: a message of an exception is not, whoever writes it there."""


def reason_class(text: str) -> int:
    """Index into ENDINGS of a finish reason, UNTOLD for one that is not known.

    >>> ENDINGS[reason_class("FinishReason.MAX_TOKENS")], ENDINGS[reason_class('["tool-calls"]')]
    ('length', 'tool_calls')
    """
    word = text.strip("[]\"' ").split(",")[0].strip("\"' ").rpartition(".")[2].lower().removeprefix("finish_reason_")
    return _CLASS_OF.get(_JOINTS.sub("_", word), UNTOLD)


def error_class(kind: str) -> int:
    """Index into ENDINGS of a type of error, or of the status code in its place.

    >>> ENDINGS[error_class("openai.RateLimitError")], ENDINGS[error_class("504")], ENDINGS[error_class("ValueError")]
    ('rate_limit', 'timeout', 'error')
    """
    name = _JOINTS.sub("_", bare(kind))
    return next((place for place, pattern in _KINDS if pattern.search(name)), ENDINGS.index("error"))


def error_name(kind: str) -> str:
    """A type of error as people know it, without its module; empty where it tells nothing or is a sentence.

    >>> error_name("openai.RateLimitError"), error_name("504"), error_name("error"), error_name("no such file: x")
    ('RateLimitError', '504', '', '')
    """
    if bare(kind) in UNSPECIFIC:
        return ""
    name = short(kind)
    return name if _NAME.fullmatch(name) else ""


def verdict_class(text: str, means_passed: bool = False) -> int:
    """Index into ENDINGS of a guardrail's verdict; some attributes say that it passed, rather.

    >>> ENDINGS[verdict_class("DENY")], ENDINGS[verdict_class("false", means_passed=True)]
    ('blocked', 'blocked')
    """
    word = _JOINTS.sub("_", text.strip().lower())
    is_blocked = word in ("false", "0", "no", *(_BLOCKED - {"true", "1", "yes"})) if means_passed else word in _BLOCKED
    return ENDINGS.index("blocked" if is_blocked else "passed")
