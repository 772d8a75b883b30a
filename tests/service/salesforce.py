"""A Salesforce org as far as Agentforce's sessions go: the three requests that are documented, and their errors.

Tokens by client credentials; a query of Data 360 that lists sessions, in pages; one session as OTLP/JSON. Errors have
the vendor's shapes: `{"error", "error_description"}` of tokens, `[{"errorCode", "message"}]` of all else.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLIENT, SECRET = "3MVG9consumer", "s3cret-of-the-app"
Answer = tuple[int, dict[str, str], bytes]


def iso(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def document(name: str, spans: list[tuple[int, int]], agent: str = "concierge") -> dict[str, Any]:
    """A session of these spans (start_ns, end_ns): the first is its root, the others are calls of a model below it."""
    trace = name.encode().hex().ljust(32, "0")[:32]
    told = []
    for number, (start_ns, end_ns) in enumerate(spans):
        operation = "chat" if number else "invoke_agent"
        attributes = {"gen_ai.operation.name": operation, "gen_ai.agent.name": agent}
        told.append({
            "traceId": trace, "spanId": f"{number + 1:016x}", "parentSpanId": f"{1:016x}" if number else "",
            "name": f"{operation} {agent}", "startTimeUnixNano": str(start_ns), "endTimeUnixNano": str(end_ns),
            "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()],
        })  # fmt: skip
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "agentforce"}}]}
    return {"resourceSpans": [{"resource": service, "scopeSpans": [{"scope": {"name": "einstein"}, "spans": told}]}]}


class Org:
    """What it holds, what it is told to answer instead, and what it was asked.

    sessions  by id, (start_ns, end_ns, document or raw body)
    instead   by a part of a path, answers to give first, one a request
    asked     paths, by how often
    tokens    that are valid
    """

    def __init__(self) -> None:
        self.sessions: dict[str, tuple[int, int, dict[str, Any] | bytes]] = {}
        self.instead: dict[str, list[Answer]] = {}
        self.asked: Counter[str] = Counter()
        self.tokens: set[str] = set()
        self.page_rows, self.url = 2, ""
        self._rows: list[list[str]] = []

    def add(self, name: str, spans: list[tuple[int, int]]) -> None:
        ends = [end for _, end in spans]
        self.sessions[name] = (min(start for start, _ in spans), max(ends), document(name, spans))

    def answer(self, method: str, target: str, token: str, body: bytes) -> Answer:
        parts = urlsplit(target)
        self.asked[f"{method} {parts.path}"] += 1
        for piece, answers in self.instead.items():
            if piece in parts.path and answers:
                return answers.pop(0)
        if parts.path == "/services/oauth2/token":
            return self._token(parse_qs(body.decode()))
        if token.removeprefix("Bearer ") not in self.tokens:
            return wrong(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if parts.path.endswith("/ssot/query-sql"):
            return self._query(json.loads(body)["sql"])
        if found := re.fullmatch(r".*/ssot/query-sql/q1/rows", parts.path):
            offset = int(parse_qs(parts.query)["offset"][0])
            return ok({"data": self._rows[offset : offset + self.page_rows]})
        if found := re.fullmatch(r"/services/data/v66\.0/einstein/audit/otel/([^/]+)", parts.path):
            if found[1] not in self.sessions:
                return wrong(404, "NOT_FOUND", "The requested resource does not exist")
            held = self.sessions[found[1]][2]
            return (200, {}, held) if isinstance(held, bytes) else ok(held)
        return wrong(404, "NOT_FOUND", "no such resource")

    def _token(self, form: dict[str, list[str]]) -> Answer:
        sent = {name: values[0] for name, values in form.items()}
        if sent != {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}:
            told = {"error": "invalid_client", "error_description": f"invalid credentials {sent.get('client_secret')}"}
            return 400, {}, json.dumps(told).encode()
        self.tokens.add(token := f"00D!token{self.asked['POST /services/oauth2/token']}")
        return ok({"access_token": token, "instance_url": self.url, "token_type": "Bearer", "issued_at": "1"})

    def _query(self, sql: str) -> Answer:
        since = re.search(r"ssot__EndTimestamp__c > '([^']+)'", sql)
        assert since is not None and "FROM ssot__AiAgentSession__dlm" in sql
        rows = [[name, iso(start), iso(end)] for name, (start, end, _) in self.sessions.items() if iso(end) > since[1]]
        self._rows = sorted(rows, key=lambda row: row[2])
        names = ("ssot__Id__c", "ssot__StartTimestamp__c", "ssot__EndTimestamp__c")
        status = {"queryId": "q1", "rowCount": len(rows), "completionStatus": "Finished"}
        metadata = [{"name": name} for name in names]
        return ok({"data": self._rows[: self.page_rows], "metadata": metadata, "status": status})


def ok(told: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(told).encode()


def wrong(status: int, code: str, message: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps([{"errorCode": code, "message": message}]).encode()


@contextmanager
def serving(org: Org) -> Iterator[Org]:
    """The org on a port of this machine; `org.url` says where."""

    class Serving(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, text = org.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    org.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield org
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
