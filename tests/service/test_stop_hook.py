"""The hook of docs/running.md, end to end: a session that runs away is stopped while it is open."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copy

from alertrules.parse import PACKS
from tests.service.ingest.test_legs import tool
from tests.service.ingest.wire import EPOCH_S, Sent, agent
from tests.service.running import ROOT, running
from tests.service.test_sessions_daemon import QUICK, send, until

SECRET = "between-the-two"
RUNAWAY = 77


@contextmanager
def hook() -> Iterator[tuple[int, list[tuple[bytes, str]]]]:
    """The port of what stops sessions, and the bodies that it was sent with their signatures."""
    sent: list[tuple[bytes, str]] = []

    class Stopping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((body, self.headers["X-Tocsin-Signature"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Stopping) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, sent
        finally:
            server.shutdown()
            thread.join()


def rules(directory: Path) -> Path:
    """The shipped rule and the route that docs/running.md says to write."""
    directory.mkdir()
    copy(PACKS / "running.yaml", directory)
    route = (ROOT / "docs" / "running.md").read_text().split("```yaml\n")[1].partition("```")[0]
    (directory / "route.yaml").write_text(route)
    return directory


def looping(now_s: float) -> Iterator[Sent]:
    """A tool that is called with the same arguments every two seconds. No root comes."""
    for number in range(40):
        call = tool(RUNAWAY, 10 + number, now_s - 200 + 2 * number)
        who = {"gen_ai.agent.name": "helper", "tenant.id": "acme"}
        yield replace(call, attributes={**call.attributes, **who})


def test_a_session_that_runs_away_is_stopped(tmp_path: Path) -> None:
    """The hook is called with its trace, signed, before its root has come; of ordinary sessions it hears nothing."""
    with hook() as (port, sent):
        settings = {
            **QUICK, "RULES": str(rules(tmp_path / "rules")), "WEBHOOK__SECRET": SECRET,
            "WEBHOOK__URLS__STOP": f"http://127.0.0.1:{port}/stop",
        }  # fmt: skip
        with running(tmp_path, **settings) as daemon:
            door, _ = daemon.addresses()
            now_s = time.time() - EPOCH_S
            for number, ago_s in enumerate((7_200, 3_000, 2_000), 1):  # In the rule's first hour nobody pages.
                send(door, agent(number, 1, now_s - ago_s - 9, now_s - ago_s, tenant__id="acme"))
            send(door, *looping(now_s))
            send(door, agent(RUNAWAY + 1, 1, now_s - 3, now_s - 2, "clock"))
            until(lambda: bool(sent))
            assert daemon.stop() == 0
    ((body, signature),) = sent
    assert signature == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    (alert,) = json.loads(body)["alerts"]
    assert alert["status"] == "firing" and alert["labels"]["alertname"] == "AgentRunaway"
    assert {name: alert["labels"][name] for name in ("tenant", "agent", "trace")} == {
        "tenant": "acme", "agent": "helper", "trace": f"{RUNAWAY:032x}"
    }  # fmt: skip
