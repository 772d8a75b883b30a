"""What people say of who is told: `tocsin silence`, `tocsin ack`, the API, buttons in Slack, PagerDuty's webhooks."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from service.demo.standins import SlackStandIn
from service.notifiers import slack, slack_actions
from tests.service.running import Running, running
from tests.service.test_marks import _fail, tocsin
from tests.service.test_notifiers import NOTICE

RULES = """
groups:
  - name: people
    rules:
      - alert: Fails
        detector: static
        by: [agent]
        signal: error_ratio
        above: 20%
        window: 1m
        keep_firing_for: 1d
        labels: {team: agents}
receivers: [{name: oncall}, {name: boss}]
route: {group_by: [agent], escalate: {after: 1h, to: boss}}
"""
SLACK, PAGERDUTY = "shhh-slack", "shhh-pagerduty"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon in which the agents `one`, `two` and `three` fail."""
    directory: Path = tmp_path_factory.mktemp("people")
    (directory / "rules.yaml").write_text(RULES)
    secrets = {"SLACK__SIGNING_SECRET": SLACK, "PAGERDUTY__WEBHOOK_SECRET": PAGERDUTY}
    with running(directory, RULES=str(directory / "rules.yaml"), SAVE_EVERY="1h", **secrets) as daemon:
        door, web = daemon.addresses()
        for number, ago_s in enumerate(range(400, 120, -20)):
            _fail(door, number, ago_s)
        eventually(lambda: len(alerts(web)) == 3)
        yield daemon


def eventually(is_so: Callable[[], bool], seconds: float = 20) -> None:
    until_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.1)


def alerts(web: str) -> dict[str, dict[str, Any]]:
    found = httpx.get(web + "/api/v1/alerts").json()["alerts"]
    return {alert["labels"]["agent"]: alert for alert in found if alert["state"] == "firing"}


def test_a_silence_is_set_listed_and_ended(daemon: Running) -> None:
    """In one step each, by matchers over all rules; the answer names it."""
    web = daemon.addresses()[1]
    status, said, error = tocsin(
        web, "silence", "agent=one", "team=agents", "--for", "2h", "--by", "anna", "--why", "x"
    )
    assert status == 0 and said.startswith("silence ") and '{agent="one",team="agents"} until ' in said, error
    number = said.split()[1]
    status, said, _ = tocsin(web, "silence", "list")
    assert status == 0 and said.startswith(f'{number} active agent="one", team="agents" until ') and ", anna: x" in said
    metrics = httpx.get(web + "/metrics").text
    assert 'tocsin_silences{state="active"} 1.0' in metrics
    assert 'tocsin_alerts_suppressed{receiver="oncall",state="silenced"} 1.0' in metrics
    assert alerts(web)["one"]["suppressed"] == [{"receiver": "oncall", "state": "silenced", "by": number}]
    status, said, _ = tocsin(web, "silence", "end", number[:8])
    assert status == 0 and said.startswith(f"ended: silence {number}")
    time.sleep(1.1)
    assert json.loads(tocsin(web, "silence", "list", "--json")[1])["silences"][0]["state"] == "expired"
    status, _, error = tocsin(web, "silence", "end", number[:8])
    assert status == 1 and "no silences begin with" in error


def test_what_was_said_shows_at_once(daemon: Running) -> None:
    """However short a time ago somebody looked: the list after a silence has it, and the one after its end says so."""
    url = daemon.addresses()[1] + "/api/v1/silences"
    for _ in range(3):
        before = {one["id"] for one in httpx.get(url).json()["silences"]}
        said = {"matchers": ["agent=two"], "for": "2h", "by": "anna", "why": "y"}
        assert httpx.post(url, json=said).status_code == 200
        (number,) = {one["id"] for one in httpx.get(url).json()["silences"]} - before
        assert httpx.delete(f"{url}/{number}").status_code == 200
        states = {one["id"]: one["state"] for one in httpx.get(url).json()["silences"]}
        assert states[number] == "expired"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("agent=four", "--for", "2h"), 1, 'no agent that was seen matches agent="four"; there are one, three, two'),
        (("team=search", "--for", "2h"), 1, 'no team that was seen matches team="search"; there are agents'),
        (("agnt=one", "--for", "2h"), 1, '"agnt" is not a label; there are agent'),
        (("agent=one", "--for", "2h", "--from", "2020-01-01T00:00Z"), 1, "this window ended"),
        (("agent=one",), 2, "how long? write --for 2h"),
    ],
)
def test_a_silence_of_nothing_is_refused(daemon: Running, words: tuple[str, ...], status: int, said: str) -> None:
    """With what to write."""
    found, _, error = tocsin(daemon.addresses()[1], "silence", *words)
    assert found == status and said in error


def test_an_incident_is_acknowledged(daemon: Running) -> None:
    """Who and when can be asked for."""
    web = daemon.addresses()[1]
    status, said, error = tocsin(web, "ack", alerts(web)["one"]["id"][:8], "--by", "anna")
    assert status == 0 and said.startswith("acknowledged by anna: Fails: agent one"), error
    eventually(lambda: bool(alerts(web)["one"]["acknowledged"]))
    found = alerts(web)["one"]
    assert found["acknowledged"]["by"] == "anna" and abs(found["acknowledged"]["at_s"] - time.time()) < 60
    assert (found["receivers"], found["suppressed"]) == (["oncall"], [])
    assert "tocsin_alerts_acknowledged 1.0" in httpx.get(web + "/metrics").text
    assert tocsin(web, "ack", "00000000")[0] == 1
    (told,) = httpx.get(web + "/api/v1/quality").json()["groups"]
    assert told["verdicts"]["acknowledged"] == 1
    status, said, error = tocsin(web, "quality", "--by", "rule")
    assert status == 0 and "1 acknowledged" in said, error
    assert tocsin(web, "quality", "--by", "tema")[0] == 1
    assert httpx.get(web + "/api/v1/quality", params={"weeks": "many"}).status_code == 400


def press(web: str, payload: object, secret: str = SLACK, ago_s: int = 0) -> httpx.Response:
    """A button in Slack is pressed."""
    body = urlencode({"payload": json.dumps(payload)}).encode()
    stamp = str(int(time.time()) - ago_s)
    signature = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    signed = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={signature}"}
    return httpx.post(web + slack_actions.ACTIONS_PATH, content=body, headers={**FORM, **signed})


def button(action: str, **told: object) -> dict[str, Any]:
    value = json.dumps(told)
    user = {"id": "U1", "username": "ben", "name": "ben"}
    return {"type": "block_actions", "user": user, "actions": [{"action_id": f"tocsin:{action}", "value": value}]}


def test_buttons_in_slack_do_what_they_say(daemon: Running) -> None:
    """Acknowledge, silence, expected, as who pressed them."""
    web = daemon.addresses()[1]
    two = alerts(web)["two"]["id"][:12]
    said = press(web, button("ack", alerts=[two])).json()
    assert said["message"].startswith("acknowledged by ben (Slack): Fails: agent two")
    said = press(web, button("silence", matchers=['agent="two"'])).json()
    assert "silence " in said["message"] and "ben (Slack): by a button in Slack" in said["message"]
    assert "means" not in press(web, button("new_normal", alerts=[two])).json()["message"]
    said = press(web, button("expected", alerts=[two])).json()
    assert said["message"].startswith("expected: 1 series of Fails")
    eventually(lambda: "two" not in alerts(web))


def test_what_slack_did_not_sign_is_refused(daemon: Running) -> None:
    """Another secret, an old request, no signature, another body; and what is signed but not ours does nothing."""
    web = daemon.addresses()[1]
    three = alerts(web)["three"]["id"][:12]
    ours = button("ack", alerts=[three])
    assert press(web, ours, secret="guessed").status_code == 401
    # Slack allows 300 s; a busy machine may take some seconds to ask.
    assert press(web, ours, ago_s=301).status_code == 401 and press(web, ours, ago_s=-360).status_code == 401
    assert httpx.post(web + slack_actions.ACTIONS_PATH, content=b"payload={}", headers=FORM).status_code == 401
    assert press(web, [1]).status_code == 400 and press(web, None).status_code == 400
    assert press(web, button("kill")).status_code == 400
    for other in ({"type": "view_submission"}, {"type": "block_actions", "actions": [{"action_id": "x"}]}):
        assert press(web, other).json() == {"ok": True, "message": ""}
    assert alerts(web)["three"]["acknowledged"] is None


def webhook(web: str, event: object, secret: str = PAGERDUTY) -> httpx.Response:
    """PagerDuty tells what became of an incident."""
    body = json.dumps(event).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={signature}", "Content-Type": "application/json"}
    return httpx.post(web + "/api/v1/pagerduty/webhook", content=body, headers=headers)


def event(kind: str, key: str | None, agent: object = None) -> dict[str, Any]:
    data = {"id": "Q1", "type": "incident", "incident_key": key, "status": "acknowledged"}
    return {"event": {"id": "01", "event_type": kind, "resource_type": "incident", "agent": agent, "data": data}}


def test_pagerduty_tells_that_somebody_acknowledged(daemon: Running) -> None:
    """By the key of the incident; it is taken back when it is there; what is not ours does nothing."""
    web = daemon.addresses()[1]
    key = next(one["groups"][0] for name, one in alerts(web).items() if name == "three")
    anna = {"type": "user_reference", "summary": "Anna Berg"}
    assert webhook(web, event("incident.acknowledged", key, anna), secret="guessed").status_code == 401
    assert webhook(web, event("incident.acknowledged", key, anna)).json()["message"].startswith("acknowledged by Anna")
    eventually(lambda: bool(alerts(web)["three"]["acknowledged"]))
    assert alerts(web)["three"]["acknowledged"]["by"] == "Anna Berg (PagerDuty)"
    assert webhook(web, event("incident.unacknowledged", key)).status_code == 200
    eventually(lambda: not alerts(web)["three"]["acknowledged"])
    for other in (
        event("incident.acknowledged", "disk full"),
        event("incident.triggered", key),
        event("pagey.ping", None),
    ):
        assert webhook(web, other).json() == {"ok": True, "message": ""}
    assert "no open alert" in webhook(web, event("incident.resolved", "0" * 64)).json()["message"]
    assert webhook(web, [1]).status_code == 400


def test_buttons_stand_where_slack_can_send_them_back() -> None:
    """With a bot token and the signing secret; on pages, not on resolves; each within Slack's limits."""
    settings = slack.Settings.model_validate({"bot_token": "xoxb-1", "signing_secret": SLACK})
    (target,) = slack.targets(settings, slack.Words(channel="#agents"))
    blocks = json.loads(slack.render(NOTICE, target).body)["attachments"][0]["blocks"]
    elements = blocks[-1]["elements"]
    assert [one["text"]["text"] for one in elements] == list(slack_actions._LABELS.values())
    stand_in = SlackStandIn(time.monotonic)
    assert stand_in.answer("/services/T/B/x", slack.render(NOTICE, target).body).status == 200
    many = replace(NOTICE, alert_ids=("f" * 64,) * 100, labels=tuple((f"l{n}", "v" * 190) for n in range(20)))
    kept = json.loads(slack.render(many, target).body)["attachments"][0]["blocks"][-1]["elements"]
    assert len(kept) == 4  # The labels of the silence do not fit.
    assert stand_in.answer("/services/T/B/x", slack.render(many, target).body).status == 200
    without = slack.Settings.model_validate({"bot_token": "xoxb-1"})
    (target,) = slack.targets(without, slack.Words(channel="#agents"))
    assert "actions" not in slack.render(NOTICE, target).body.decode()


def test_doors_are_shut_without_a_secret(tmp_path: Path) -> None:
    """And people from elsewhere need the token."""
    with running(tmp_path, WEB__TOKEN="open sesame") as daemon:
        web = daemon.addresses()[1]
        assert press(web, button("ack")).status_code == 404
        assert httpx.post(web + "/api/v1/silences", json={}).status_code == 403
        assert httpx.delete(web + "/api/v1/silences/00000000").status_code == 403
        assert (
            httpx.post(web + "/api/v1/acks", json={}, headers={"Authorization": "Bearer open sesame"}).status_code
            == 400
        )
