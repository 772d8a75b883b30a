"""The command: what it says and answers when it is used wrongly, and how a daemon ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from service.cli import main
from service.config.settings import table
from service.sources.otlp_http import PROTOBUF
from tests.service.ingest.wire import EPOCH_S, Sent, body, chat
from tests.service.running import ROOT, ended, running

CANARY = "hunter2"


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(arguments)
    except SystemExit as end:
        status = int(str(end.code))
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize("arguments", [(), ("fly",), ("run", "fast"), ("inspect",), ("check", "--yaml")])
def test_wrong_use(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Exit status 2, and how it is used."""
    status, out, err = outcome(capsys, *arguments)
    assert (status, out) == (2, "") and err.startswith("usage: tocsin")


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With default and meaning; never what is set."""
    monkeypatch.setenv("TOCSIN_PAGERDUTY__ROUTING_KEY", CANARY)
    status, out, _ = outcome(capsys, "run", "--help")
    assert status == 0 and CANARY not in out
    for name, default, meaning in table():
        assert f"  {name}\n      {meaning} (default: {default})" in out


def test_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """0 and the rules, or 1 and every problem; with --json one object."""
    assert outcome(capsys, "check")[0] == 0
    status, out, _ = outcome(capsys, "check", "--json")
    assert status == 0 and json.loads(out)["ok"] is True and "AgentErrorsUp" in json.loads(out)["rules"]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("groups:\n  - name: a\n    rules:\n      - alert: A\n        detector: magic\n      - alert: 1\n")
    status, out, err = outcome(capsys, "check", str(wrong))
    assert (status, out) == (1, "") and err.count(f"{wrong}:") >= 2
    status, out, err = outcome(capsys, "check", "--json", str(wrong))
    told = json.loads(out)
    assert (status, err, told["ok"]) == (1, "", False) and len(told["problems"]) >= 2


def test_wrong_settings_end_it(tmp_path: Path) -> None:
    """A line a problem, no traceback, exit status 2; rules that ask for what is not set are one too."""
    status, lines = ended(tmp_path, LATENESS="x", NO_SUCH="y")
    assert status == 2 and len(lines) == 2
    (tmp_path / "r.yaml").write_text(
        "groups: [{name: g, rules: [{alert: A, detector: errors, budget: 1/week}]}]\n"
        "receivers:\n  - name: oncall\n    pagerduty: {}\n"
    )
    status, lines = ended(tmp_path, RULES=str(tmp_path / "r.yaml"))
    assert (status, lines) == (
        2, ['receiver "oncall": pagerduty needs TOCSIN_PAGERDUTY__ROUTING_KEY (or …_FILE)'],
    )  # fmt: skip
    assert ended(tmp_path, RULES=str(tmp_path / "none.yaml"))[0] == 2
    (tmp_path / "empty.yaml").write_text("# later\n")
    status, lines = ended(tmp_path, RULES=str(tmp_path / "empty.yaml"))
    assert status == 2 and "there is no rule in" in lines[0]


def test_what_is_taken_already(tmp_path: Path) -> None:
    """An address in use, a directory in use, a directory that is a file: one clear line and exit status 1."""
    with running(tmp_path) as first:
        door, _ = first.addresses()
        address = door.removeprefix("http://")
        (tmp_path / "other").mkdir()
        status, lines = ended(tmp_path / "other", OTLP__LISTEN=address)
        assert (status, lines[-1]) == (1, f"tocsin: cannot listen on {address}: Address already in use")
        status, lines = ended(tmp_path)
        assert status == 1
        assert lines == [f"tocsin: {tmp_path / 'state'} is in use by another Tocsin; stop it, or set TOCSIN_DATA_DIR"]
    (tmp_path / "file").write_text("")
    status, lines = ended(tmp_path, DATA_DIR=str(tmp_path / "file"))
    assert (status, lines) == (1, [f"tocsin: {tmp_path / 'file'} is not a directory; set TOCSIN_DATA_DIR to one"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_loses_nothing(tmp_path: Path, number: int) -> None:
    """What was accepted is in the state of the next daemon, although no save was due; telemetry's secrets and ours
    are in no log and on no page."""
    secrets = {"PAGERDUTY__ROUTING_KEY": CANARY.ljust(32, "0"), "SLACK__WEBHOOK_URL": f"http://127.0.0.1:1/{CANARY}"}
    with running(tmp_path, SAVE_EVERY="1h", **secrets) as daemon:
        door, web = daemon.addresses()
        now_s = time.time() - EPOCH_S - 3
        spans = [chat(i, i, now_s - 1, now_s, gen_ai__prompt=CANARY) for i in range(1, 50)]
        assert post(door, *spans) == 200
        pages = [httpx.get(web + path, trust_env=False) for path in PATHS]
        assert [page.status_code for page in pages] == [200] * len(PATHS)
        assert daemon.stop(number) == 0
    with running(tmp_path, SAVE_EVERY="1h", **secrets) as again:
        door, web = again.addresses()
        assert post(door, *spans) == 200
        said = httpx.get(web + "/metrics", trust_env=False).text
        assert 'tocsin_dropped_total{reason="duplicate"} 49.0' in said
        assert again.stop(number) == 0
    shown = "".join([daemon.said, again.said, *(page.text for page in pages)])
    assert CANARY not in shown


PATHS = ("/", "/metrics", "/-/healthy", "/-/ready", "/api/v1/alerts", "/api/v1/rules")


def post(door: str, *spans: Sent) -> int:
    headers = {"Content-Type": PROTOBUF}
    return httpx.post(door + "/v1/traces", content=body(*spans), headers=headers, trust_env=False).status_code


def test_python_m_service() -> None:
    """It is the same command."""
    ran = subprocess.run([sys.executable, "-m", "service", "check"], cwd=ROOT, capture_output=True, check=True)
    assert b"AgentErrorsUp" in ran.stdout
