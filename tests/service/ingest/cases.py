"""Traces written by hand after the sources of SDKs, and what `tocsin inspect` is to say of them."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.replay.inspect import inspect_bodies
from tests.service.ingest.wire import Sent, Value, body

Attributes = dict[str, Value]
TOKENS = ("input_tokens", "output_tokens", "cache_read", "cache_write", "reasoning")
LEAVES = ("llm", "embedding", "tool", "retrieval")


@dataclass(frozen=True)
class Case:
    """Spans by id, parent, name and attributes; and what they come to.

    failed   ids of spans whose status is ERROR
    calls    calls of models, tools and retrievals by operation; those that failed after a slash
    tokens   in, out, cache read, cache written, reasoning
    """

    spans: tuple[tuple[int, int, str, Attributes], ...]
    calls: str
    tokens: tuple[int, ...] = (0, 0, 0, 0, 0)
    agent: str = "shop"
    tenant: str = ""
    models: tuple[str, ...] = ()
    stated: float = 0.0
    failed: tuple[int, ...] = ()
    resource: dict[str, str] = field(default_factory=lambda: {"service.name": "shop"})


def quoted(**values: object) -> Attributes:
    """Attributes of which each is JSON, as MLflow writes them."""
    return {key.replace("__", "."): json.dumps(value) for key, value in values.items()}


def usage(inside: int, outside: int, **more: Value) -> Attributes:
    """Tokens by the names of the conventions."""
    return {"gen_ai.usage.input_tokens": inside, "gen_ai.usage.output_tokens": outside} | {
        key.replace("__", "."): value for key, value in more.items()
    }


def chat(model: str, operation: str = "chat", **more: Value) -> Attributes:
    """What most spans of model calls say."""
    return {"gen_ai.operation.name": operation, "gen_ai.system": "openai", "gen_ai.request.model": model} | {
        key.replace("__", "."): value for key, value in more.items()
    }


def kind(which: str, **more: Value) -> Attributes:
    """A span of OpenInference."""
    return {"openinference.span.kind": which} | {key.replace("__", "."): value for key, value in more.items()}


def body_of(case: Case) -> bytes:
    """What its sender sends. Children end before their parents."""
    spans = [
        Sent(1, span, span / 100, 9 - span / 100, parent, name, span in case.failed, attributes=attributes)
        for span, parent, name, attributes in case.spans
    ]
    return body(*spans, resource=case.resource)


def found_in(case: Case, path: Path) -> dict[str, object]:
    """What `tocsin inspect` says of a case, in its terms."""
    path.write_bytes(body_of(case))
    found = json.loads(json.dumps(inspect_bodies([path])))
    groups = [group for group in found["groups"] if any(group["calls"].get(leaf) for leaf in LEAVES)]
    calls = {leaf: sum(group["calls"].get(leaf, 0) for group in groups) for leaf in LEAVES}
    failed = {leaf: sum(group["failed"].get(leaf, 0) for group in groups) for leaf in LEAVES}
    return {
        "calls": ", ".join(
            f"{leaf} {calls[leaf]}" + (f"/{failed[leaf]}" if failed[leaf] else "") for leaf in LEAVES if calls[leaf]
        ),
        "tokens": tuple(sum(group[name] for group in found["groups"]) for name in TOKENS),
        "agent": ", ".join(sorted({group["agent"] for group in groups})),
        "tenant": ", ".join(sorted({group["tenant"] for group in groups})),
        "models": tuple(found["models"]),
        "stated": pytest.approx(sum(group["cost_source"].get("span", 0.0) for group in found["groups"])),
    }
