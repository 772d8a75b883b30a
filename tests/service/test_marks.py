"""A person and a running daemon: what `tocsin explain` tells, what `tocsin mark` changes, and who is not let in."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.ingest.wire import EPOCH_S, agent, chat, json_body
from tests.service.running import ROOT, Running, running

RULES = """
groups:
  - name: marks
    rules:
      - {alert: Fails, detector: static, by: [agent], signal: error_ratio, above: 20%, window: 1m, keep_firing_for: 1d}
      - {alert: Errors, detector: errors, by: [agent], budget: 1/week}
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon in which the agents `one`, `two` and `three` fail."""
    directory: Path = tmp_path_factory.mktemp("marks")
    (directory / "rules.yaml").write_text(RULES)
    with running(directory, RULES=str(directory / "rules.yaml"), SAVE_EVERY="1h") as daemon:
        door, web = daemon.addresses()
        for number, ago_s in enumerate(range(400, 120, -20)):
            _fail(door, number, ago_s)
        until_s = time.monotonic() + 20
        while len(_alerts(web)) < 3 and time.monotonic() < until_s:
            time.sleep(0.1)
        assert len(_alerts(web)) == 3, daemon.said
        yield daemon


def _fail(door: str, number: int, ago_s: float) -> None:
    for name in ("one", "two", "three"):
        at_s = time.time() - EPOCH_S - ago_s
        trace = 10 * number + ("one", "two", "three").index(name) + 1
        spans = json_body(agent(trace, 1, at_s - 3, at_s, name), chat(trace, 2, at_s - 2, at_s - 1, 1))
        body = spans.replace(b'"status": {}', b'"status": {"code": 2}')
        sent = httpx.post(door + "/v1/traces", content=body, headers={"Content-Type": "application/json"})
        assert sent.status_code == 200, sent.content


def _alerts(web: str) -> dict[str, dict[str, Any]]:
    found = httpx.get(web + "/api/v1/alerts").json()["alerts"]
    return {alert["labels"]["agent"]: alert for alert in found if alert["state"] == "firing"}


def tocsin(web: str, *words: str) -> tuple[int, str, str]:
    """Status, output and errors of the command, as a person runs it."""
    ran = subprocess.run(
        [sys.executable, "-m", "service", *words, "--at", web.removeprefix("http://")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout, ran.stderr


def test_explain_tells_a_rule(daemon: Running) -> None:
    """In words, and the same as JSON."""
    web = daemon.addresses()[1]
    status, said, _ = tocsin(web, "explain", "Errors")
    assert status == 0
    assert said.startswith("Errors: errors by agent, 1 false pages a week, for changes of 1.5x and +0.5pp or more\n")
    assert "it cannot be told yet whether the budget is kept" in said
    assert "agent one: learning" in said
    status, said, _ = tocsin(web, "explain", "Errors", "--series", "agent=two", "--json")
    assert [series["labels"] for series in json.loads(said)["shown"]] == [{"agent": "two"}]
    status, said, _ = tocsin(web, "explain", "Fails")
    assert "pages so far: 3 in 0 weeks; 0 marked noise" in said and "with `tocsin mark`" in said


def test_what_cannot_be_explained_is(daemon: Running) -> None:
    """An unknown rule, an unknown label, nobody there."""
    web = daemon.addresses()[1]
    assert tocsin(web, "explain", "Erors")[2] == '"Erors" is no rule; there are Fails, Errors\n'
    assert tocsin(web, "explain", "Errors", "--series", "modl=x")[2].startswith('"modl" is not a label of its series')
    assert tocsin("127.0.0.1:9", "explain", "Errors")[2].startswith("no Tocsin answers at 127.0.0.1:9")


def test_a_page_marked_expected_closes_and_is_remembered(daemon: Running) -> None:
    """It is closed, counted, saved before it is answered; the others stay open."""
    web = daemon.addresses()[1]
    page = _alerts(web)["one"]
    words = ("mark", "expected", "--alert", page["id"][:8], "--for", "1h", "--by", "anna", "--note", "a test")
    status, said, error = tocsin(web, *words)
    assert status == 0 and said.startswith("expected: 1 series of Fails, from "), error
    time.sleep(1.2)  # Levels are taken once a second.
    assert sorted(_alerts(web)) == ["three", "two"]
    assert tocsin(web, "mark", "incident", "--alert", _alerts(web)["three"]["id"][:8])[0] == 0
    time.sleep(1.2)
    mark, _ = httpx.get(web + "/api/v1/marks").json()["marks"]
    assert (mark["kind"], mark["by"], mark["series"]) == ("expected", "anna", [["agent", "one"]])
    rules = {rule["rule"]: rule for rule in httpx.get(web + "/api/v1/rules").json()["rules"]}
    assert (rules["Fails"]["pages"], rules["Fails"]["pages_noise"]) == (3, 0)
    assert 'tocsin_pages_marked_total{mark="incident",rule="Fails"} 1.0' in httpx.get(web + "/metrics").text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("noise", "--alert", "two"), "Fails compares with a limit and learns nothing, so noise changes nothing"),
        (("new_normal", "--rule", "Fails"), "so new_normal changes nothing; write another `above`"),
        (
            ("expected", "--rule", "Fails", "--series", "agent=tow", "--for", "1h"),
            "no series of Fails has agent=tow; it has seen one, three, two",
        ),
        (
            ("expected", "--rule", "Fails", "--for", "1h", "--from", "2020-01-01T00:00Z"),
            "this window ended at 2020-01-01 01:00 UTC: what was learnt of it stays",
        ),
    ],
)
def test_a_mark_that_means_nothing_is_refused(daemon: Running, words: tuple[str, ...], said: str) -> None:
    """With what to write instead; nothing has changed."""
    web = daemon.addresses()[1]
    open_ = _alerts(web)
    status, _, error = tocsin(web, "mark", *(open_[word]["id"] if word in open_ else word for word in words))
    assert status == 1 and said in error
    assert _alerts(web).keys() == open_.keys()


def test_a_maintenance_window_is_not_judged(daemon: Running) -> None:
    """While it is expected, nothing fires again; whoever is not meant goes on."""
    door, web = daemon.addresses()
    words = ("mark", "expected", "--rule", "Fails", "--series", "agent=two", "--for", "1h", "--from")
    assert tocsin(web, *words, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 600)))[0] == 0
    for number, ago_s in enumerate(range(118, 0, -5), 100):
        _fail(door, number, ago_s)
    time.sleep(2.5)
    assert "two" not in _alerts(web) and "three" in _alerts(web)


def test_a_mark_that_fits_nothing_is_refused(daemon: Running) -> None:
    web = daemon.addresses()[1]
    status, _, error = tocsin(web, "mark", "noise", "--alert", "00000000")
    assert (status, error) == (1, 'no alert begins with "00000000"; write more of the id that the page shows\n')


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Host": "evil.example:9464", "Content-Type": "application/json"}, b"{}", 403),
        ({"Content-Type": "text/plain"}, b'{"mark": "noise", "alert": "00000000"}', 415),
        ({"Content-Type": "application/json"}, b"\xff{", 400),
        ({"Content-Type": "application/json"}, b"[" * 60_000, 400),
        ({"Content-Type": "application/json"}, b"[" * 70_000, 400),
        ({"Content-Type": "application/json"}, b'{"mark": "noise", "alert": {"a": 1}}', 400),
    ],
)
def test_other_sites_and_odd_bodies_are_refused(
    daemon: Running, headers: dict[str, str], body: bytes, status: int
) -> None:
    """A browser led here by another site sends its name, or a type that it may send unasked."""
    answer = httpx.post(daemon.addresses()[1] + "/api/v1/marks", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_with_a_token_only_its_holder_marks(tmp_path: Path) -> None:
    """From anywhere, but not without it."""
    with running(tmp_path, WEB__TOKEN="open sesame") as daemon:
        web = daemon.addresses()[1]
        asked = {"mark": "noise", "alert": "00000000"}
        for token, status in (("", 403), ("open sesam", 403), ("open sesame", 404)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            assert httpx.post(web + "/api/v1/marks", json=asked, headers=headers).status_code == status
        # With a token the web server may have any name: who asks was let in on purpose.
        assert httpx.get(web + "/metrics", headers={"Host": "tocsin"}, trust_env=False).status_code == 200
