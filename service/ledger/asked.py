"""What the record of sessions says when somebody asks: of one session, and of who names sessions at all."""

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from alertrules.links import Links, trace_link
from detectors.core.columns import SECOND_NS
from service.ingest.legs import WENT

LEGS_SHOWN = 100
"""Legs of one session that are listed; all of them are added up."""
AGENTS_SHOWN = 1_000
NAMELESS_MIN = 10
"""Legs without a name in a row after which an agent is said to name none: some traffic has names and some has not."""
_TRACE_ID = re.compile("[0-9a-f]{32}")
_OF_LEGS = (
    "SELECT leg.*, label.tenant, label.agent, label.version, label.model, label.outcome FROM leg JOIN label "
    "ON label.id = leg.labels WHERE session = ? ORDER BY first_ns, last_ns"
)

_BY_AGENT = (
    "SELECT agent, count(*) AS legs, sum(named) AS named, max(CASE WHEN named THEN last_ns END) AS last_named_ns "
    "FROM leg JOIN label ON label.id = leg.labels WHERE last_ns >= ? GROUP BY agent "
    "ORDER BY count(*) - sum(named) DESC, agent"
)
_NAMELESS = (
    "WITH last AS (SELECT agent, max(CASE WHEN named THEN last_ns ELSE 0 END) AS named_ns FROM leg "
    "JOIN label ON label.id = leg.labels WHERE last_ns >= ? GROUP BY agent) "
    "SELECT agent, count(*), min(last_ns) FROM leg JOIN label ON label.id = leg.labels JOIN last USING (agent) "
    "WHERE last_ns >= ? AND last_ns > named_ns GROUP BY agent"
)


def key_in(connection: sqlite3.Connection, asked: str, hashed: bytes) -> bytes | None:
    """The key of the session that is asked for: by its own id, whose hash that is, or by the id of a trace of it."""
    keys = [hashed]
    if _TRACE_ID.fullmatch(asked.lower()):
        trace = bytes.fromhex(asked)
        keys.append(trace)
        named = connection.execute("SELECT session FROM leg WHERE trace = ? AND named LIMIT 1", (trace,)).fetchone()
        keys += [bytes(named[0])] if named else []
    found = (key for key in keys if connection.execute("SELECT 1 FROM leg WHERE session = ?", (key,)).fetchone())
    return next(found, None)


def session(connection: sqlite3.Connection, key: bytes, links: Links) -> dict[str, Any]:
    """All that is known of a session, fit for JSON; null is not known. It must be in the record."""
    legs: Sequence[sqlite3.Row] = connection.execute(_OF_LEGS, (key,)).fetchall()
    late = connection.execute(
        "SELECT name, value, number, good, at_ns, source FROM late WHERE session = ? ORDER BY name, at_ns, heard_ns",
        (key,),
    ).fetchall()
    last, latest = legs[-1], {row["name"]: row for row in late}
    outcomes = [leg["outcome"] for leg in legs if leg["outcome"]]
    scores = [leg["lowest_score"] for leg in legs if leg["lowest_score"] is not None]
    has_price = all(leg["dollars"] is not None for leg in legs)
    return {
        "named": bool(last["named"]),
        **{name: last[name] for name in ("tenant", "agent", "version", "model")},
        "from_s": legs[0]["first_ns"] / SECOND_NS,
        "until_s": max(leg["last_ns"] for leg in legs) / SECOND_NS,
        "active_s": sum(leg["last_ns"] - leg["first_ns"] for leg in legs) / SECOND_NS,
        "traces": sum(leg["traces"] for leg in legs),
        **{name: sum(leg[name] for leg in legs) for name in WENT},
        "lowest_retrieval_score": min(scores, default=None),
        "input_tokens": sum(leg["tokens_in"] for leg in legs),
        "output_tokens": sum(leg["tokens_out"] for leg in legs),
        "cost_usd": sum(leg["dollars"] for leg in legs) if has_price else None,
        "failed": any(leg["failed"] for leg in legs),
        "outcome": outcomes[-1] if outcomes else None,
        "late_outcomes": [_late(row, latest[row["name"]] is row) for row in late],
        "stands_for": last["weight"],
        "legs": [_leg(leg, links) for leg in legs[:LEGS_SHOWN]],
        "legs_in_all": len(legs),
    }


def _late(row: sqlite3.Row, holds: bool) -> dict[str, Any]:
    """One late outcome; of those of one name the latest holds."""
    return {
        "outcome": row["name"],
        "value": row["value"] if row["number"] is None else row["number"],
        "good": None if row["good"] is None else bool(row["good"]),
        "at_s": row["at_ns"] / SECOND_NS,
        "source": row["source"],
        "holds": holds,
    }


def _leg(leg: sqlite3.Row, links: Links) -> dict[str, Any]:
    trace_id = bytes(leg["trace"]).hex()
    return {
        "from_s": leg["first_ns"] / SECOND_NS,
        "until_s": leg["last_ns"] / SECOND_NS,
        "trace_id": trace_id,
        "link": trace_link(links, trace_id),
        "model_calls": leg["model_calls"],
        "tool_calls": leg["tool_calls"],
        "outcome": leg["outcome"] or None,
    }


def audit(connection: sqlite3.Connection, since_ns: int) -> dict[str, Any]:
    """Who names sessions: of the legs that closed since then, by agent, how many something names, and since when none.

    An audit record that holds a session id can be joined to those alone.
    """
    rows = connection.execute(_BY_AGENT, (since_ns,)).fetchall()
    nameless = {agent: (legs, first_ns) for agent, legs, first_ns in connection.execute(_NAMELESS, (since_ns,) * 2)}
    legs, named = (sum(row[name] for row in rows) for name in ("legs", "named"))
    return {
        "since_s": since_ns / SECOND_NS,
        "legs": legs,
        "named": named,
        "named_share": named / legs if legs else None,
        "agents": [_agent(row, *nameless.get(row["agent"], (0, 0))) for row in rows[:AGENTS_SHOWN]],
        "agents_in_all": len(rows),
    }


def _agent(row: sqlite3.Row, nameless: int, first_ns: int) -> dict[str, Any]:
    """One agent, of whose legs so many have closed without a name since the last one that has a name."""
    return {
        "agent": row["agent"],
        "legs": row["legs"],
        "named": row["named"],
        "named_share": row["named"] / row["legs"],
        "last_named_s": None if row["last_named_ns"] is None else row["last_named_ns"] / SECOND_NS,
        "nameless_since_s": first_ns / SECOND_NS if nameless >= NAMELESS_MIN else None,
    }
