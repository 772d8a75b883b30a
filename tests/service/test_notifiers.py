"""What Slack and PagerDuty are sent, and what their answers mean."""

import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from alertrules.notice import Notice, NoticeAlert, Status
from alertrules.parse import combine, parse_rules
from service.config.settings import load
from service.demo.standins import PagerDutyStandIn, SlackStandIn
from service.notifiers import alertmanager, pagerduty, slack, terminal, webhook
from service.notifiers.destination import addresses, destinations
from service.notifiers.notifier import words
from service.notifiers.request import Delivered, HttpRequest, Reason, Refused, Retry, retry_after_s

WEBHOOK = slack.Target("https://hooks.slack.com/services/T0/B0/hunter2")
SERVICE = pagerduty.Target("hunter2" + "0" * 25)
NOTICE = Notice(
    notice_id="1" * 64,
    receiver="oncall",
    group="2" * 64,
    status=Status.FIRING,
    severity="page",
    rule="ToolErrorsUp",
    title="support: search fails 1% to 9.3%",
    lines=("agent support: failed 9.3% (from 1%) since 2025-02-19 21:15 UTC, over 412 calls",),
    labels=(("agent", "support"), ("tenant", "acme")),
    at_ns=1_740_000_000 * 10**9,
    began_ns=1_739_999_700 * 10**9,
    runbook="https://runbooks.example.com/tools",
    alert_ids=("3" * 64,),
)
EVIL = "<!channel> <@U1> <https://evil.example|ok> & *bold* " + "é<&>" * 1300
LONG = replace(NOTICE, title=EVIL, lines=(EVIL,) * 101, labels=(("agent", EVIL),))


def decoded(request: HttpRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


@pytest.mark.parametrize(
    "notice",
    [
        NOTICE,
        LONG,
        replace(NOTICE, lines=(), runbook=""),
        replace(LONG, lines=("<" * 499,) * 40, runbook="https://e.org/" + "&" * 400),
    ],
)
@pytest.mark.parametrize("status", list(Status))
def test_slack_takes_it(notice: Notice, status: Status) -> None:
    """Whatever the telemetry holds, the message keeps Slack's limits and notifies nobody by itself."""
    request = slack.render(replace(notice, status=status), WEBHOOK)
    stand_in = SlackStandIn(lambda: 0.0)
    assert stand_in.answer("/services/T0/B0/x", request.body).body == "ok"
    (post,) = stand_in.posts
    assert [alarm for alarm in post.alarms if not alarm.endswith("|Runbook>")] == []
    attachment = decoded(request)["attachments"][0]
    assert len(json.dumps(attachment["blocks"], ensure_ascii=False)) < 10_000
    texts = [text["text"] for block in attachment["blocks"] for text in block.get("elements", [block.get("text")])]
    assert sum(map(len, texts)) <= slack.MESSAGE_MAX
    assert 0 < len(attachment["fallback"]) <= 300


def test_slack_message() -> None:
    """A header in plain text, the lines, the runbook, and a colour that says how things are."""
    message = decoded(slack.render(NOTICE, WEBHOOK))
    (attachment,) = message["attachments"]
    header, lines, runbook, context = attachment["blocks"]
    assert header["text"] == {"type": "plain_text", "text": f"🔴 Firing: {NOTICE.title}", "emoji": False}
    assert lines["text"] == {"type": "mrkdwn", "text": f"• {NOTICE.lines[0]}", "verbatim": True}
    assert runbook["text"]["text"] == "<https://runbooks.example.com/tools|Runbook>"
    assert context["elements"][0]["text"] == "ToolErrorsUp · page · since 2025-02-19 21:15 UTC"
    assert (message["unfurl_links"], message["unfurl_media"], message["link_names"]) == (False, False, False)
    colors = {decoded(slack.render(replace(NOTICE, status=one), WEBHOOK))["attachments"][0]["color"] for one in Status}
    assert len(colors) == len(Status)


def test_slack_says_what_it_left_out() -> None:
    """Never a silent cut."""
    blocks = decoded(slack.render(replace(NOTICE, lines=("one line",) * 50), WEBHOOK))["attachments"][0]["blocks"]
    assert "… and 30 more lines" in blocks[1]["text"]["text"]


@pytest.mark.parametrize("length", [0, 1, 2, 5, 8, 9, 10, 11, 40])
def test_escaping_never_splits_an_entity(length: int) -> None:
    """The length is that of the escaped text."""
    text = slack.escape("<&>" * 10 + "a", max(length, 1))
    assert len(text) <= max(length, 1)
    assert text.removesuffix("…").replace("&lt;", "").replace("&amp;", "").replace("&gt;", "") in ("", "a")


def test_slack_by_bot_token() -> None:
    """With a token and a channel it is the API that is asked, and the token is in a header alone."""
    request = slack.render(NOTICE, slack.Target("", "xoxb-1", "#agents"))
    assert request.url == "https://slack.com/api/chat.postMessage"
    assert request.headers["Authorization"] == "Bearer xoxb-1"
    assert decoded(request)["channel"] == "#agents"


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("notice", [NOTICE, LONG, replace(NOTICE, severity="odd", title="")])
def test_pagerduty_takes_it(notice: Notice, status: Status) -> None:
    """Whatever the telemetry holds, the event is one that PagerDuty takes."""
    request = pagerduty.render(replace(notice, status=status), SERVICE)
    stand_in = PagerDutyStandIn(lambda: 0.0)
    assert stand_in.answer("/v2/enqueue", request.body).status == 202
    assert len(request.body) <= pagerduty.EVENT_BYTES_MAX


def test_pagerduty_event() -> None:
    """Trigger and resolve share the group as dedup key; the time is the tick's."""
    event = decoded(pagerduty.render(NOTICE, SERVICE))
    assert (event["event_action"], event["dedup_key"]) == ("trigger", NOTICE.group)
    payload = event["payload"]
    assert (payload["severity"], payload["source"], payload["group"]) == ("critical", "support", "acme")
    assert payload["timestamp"] == "2025-02-19T21:20:00+00:00"
    assert payload["custom_details"]["changed"] == list(NOTICE.lines)
    resolve = decoded(pagerduty.render(replace(NOTICE, status=Status.RESOLVED), SERVICE))
    assert (resolve["event_action"], resolve["dedup_key"]) == ("resolve", NOTICE.group)
    url = pagerduty.render(NOTICE, replace(SERVICE, base_url="http://127.0.0.1:1/")).url
    assert url == "http://127.0.0.1:1/v2/enqueue"


def test_a_summary_too_long_is_cut_not_lost() -> None:
    """1024 code points are all that PagerDuty takes, and it refuses the page with the summary."""
    summary = decoded(pagerduty.render(LONG, SERVICE))["payload"]["summary"]
    assert len(summary) == 1024 and summary.endswith("…")


def test_an_event_too_large_loses_its_details() -> None:
    """And says so."""
    event = decoded(pagerduty.render(replace(NOTICE, lines=("x" * 9000,) * 100), SERVICE))
    assert "left out" in event["payload"]["custom_details"]


def test_retry_after() -> None:
    """Seconds, a date, or no such thing."""
    now_ns = 1_740_000_000 * 10**9
    assert retry_after_s({"Retry-After": "Wed, 19 Feb 2025 21:20:30 GMT"}, now_ns) == 30.0
    assert retry_after_s({"retry-after": "Wed, 19 Feb 2025 20:00:00 GMT"}, now_ns) == 0.0
    assert [retry_after_s({"Retry-After": text}, 0) for text in ("", "soon", "nan", "inf", "1e99")] == [None] * 4 + [
        300.0
    ]


def test_secrets_are_not_shown() -> None:
    """Neither of a request nor of a target."""
    shown = [repr(one) for one in (WEBHOOK, SERVICE, slack.Target("", "hunter2", "#a"))]
    shown += [repr(slack.render(NOTICE, WEBHOOK)), repr(pagerduty.render(NOTICE, SERVICE))]
    assert "hunter2" not in "".join(shown)


def test_terminal() -> None:
    """Title, lines, runbook."""
    assert terminal.render(replace(NOTICE, lines=NOTICE.lines * 30))[0] == (
        "2025-02-19 21:20 UTC  PAGE  [page] support: search fails 1% to 9.3%"
    )
    assert terminal.render(replace(NOTICE, lines=NOTICE.lines * 30))[-2:] == (
        "    … and 10 more lines",
        "    runbook: https://runbooks.example.com/tools",
    )


def told(receiver: str, **settings: str) -> list[str]:
    """The destinations of a receiver (`NAME` or `NAME: words` of YAML), under settings without their prefix."""
    named = f"receivers: [{{name: ops{', ' if receiver else ''}{receiver}}}]\nroute: {{receiver: ops}}\n"
    rules = combine([parse_rules(named, "test.yaml", words())])
    notifiers = load({f"TOCSIN_{name}": value for name, value in settings.items()}).notifiers
    return [f"{one.name}: {one.target.place}" for one in destinations(rules.receiver(rules.route.receiver), notifiers)]


HOOK, PAYMENTS = "https://hooks.slack.com/services/T0/B0/hunter2", "https://hooks.slack.com/services/T0/B1/hunter3"
SLACK, PAGERDUTY = "Slack's webhook at hooks.slack.com", "PagerDuty at events.pagerduty.com"
EVERY = {"SLACK__WEBHOOK_URL": HOOK, "PAGERDUTY__ROUTING_KEY": "k" * 32}


@pytest.mark.parametrize(
    ("receiver", "settings", "expected"),
    [
        ("", EVERY, [f"ops/pagerduty: {PAGERDUTY}", f"ops/slack: {SLACK}"]),
        ("", {}, ["ops/terminal: the terminal"]),
        ("slack: {channel: '#ops'}", EVERY, [f"ops/slack: {SLACK}"]),
        ("slack: {channel: '#ops'}", EVERY | {"SLACK__BOT_TOKEN": "xoxb-1"}, ["ops/slack: Slack's channel #ops"]),
        (
            "slack: [{channel: '#a'}, {channel: '#b'}, {channel: '#a'}]",
            {"SLACK__BOT_TOKEN": "xoxb-1"},
            ["ops/slack: Slack's channel #a", "ops/2/slack: Slack's channel #b"],
        ),
        ("slack: {hook: Payments}", {"SLACK__WEBHOOK_URLS__PAYMENTS": PAYMENTS}, [f"ops/slack: {SLACK}"]),
        (
            "pagerduty: {key: payments}",
            {"PAGERDUTY__ROUTING_KEYS__PAYMENTS": "j" * 32},
            [f"ops/pagerduty: {PAGERDUTY}"],
        ),
        (
            "alertmanager: {}",
            {"ALERTMANAGER__URLS": "http://am-0:9093, http://am-1:9093"},
            ["ops/alertmanager: Alertmanager at am-0:9093", "ops/2/alertmanager: Alertmanager at am-1:9093"],
        ),
        ("webhook: {to: x}, terminal: {}", {"WEBHOOK__URLS__X": "https://a.example/b"}, [
            "ops/terminal: the terminal", "ops/webhook: a webhook at a.example",
        ]),
    ],
)  # fmt: skip
def test_destinations(receiver: str, settings: dict[str, str], expected: list[str]) -> None:
    """A receiver that names nothing has all that the settings know; one that names some has these."""
    assert told(receiver, **settings) == expected


@pytest.mark.parametrize(
    ("receiver", "settings", "said"),
    [
        ("slack: {}", {"PAGERDUTY__ROUTING_KEY": "k" * 32}, 'receiver "ops": slack needs TOCSIN_SLACK__WEBHOOK_URL'),
        ("pagerduty: {}", {"SLACK__WEBHOOK_URL": HOOK}, "needs TOCSIN_PAGERDUTY__ROUTING_KEY"),
        ("slack: {hook: other}", EVERY, "needs TOCSIN_SLACK__WEBHOOK_URLS__OTHER"),
        ("pagerduty: {key: other}", EVERY, "needs TOCSIN_PAGERDUTY__ROUTING_KEYS__OTHER"),
        ("alertmanager: {}", EVERY, "needs TOCSIN_ALERTMANAGER__URLS"),
        ("webhook: {}", EVERY, "needs TOCSIN_WEBHOOK__URL"),
        ("webhook: {to: other}", EVERY, "needs TOCSIN_WEBHOOK__URLS__OTHER"),
        ("", {"SLACK__BOT_TOKEN": "xoxb-1"}, "needs a channel"),
    ],
)
def test_what_a_receiver_lacks(receiver: str, settings: dict[str, str], said: str) -> None:
    """The setting is named that is to be set."""
    with pytest.raises(ValueError, match=said):
        told(receiver, **settings)


ALERT = NoticeAlert(
    "3" * 64, "ToolErrorsUp", "page", (("agent", "support"), ("team.name", "a"), ("tool", "")), NOTICE.title,
    NOTICE.lines[0], NOTICE.runbook, NOTICE.began_ns, 0,
)  # fmt: skip


def test_alertmanager_alerts() -> None:
    """Names that every Alertmanager takes; its own start; an end where there is one."""
    ended = replace(ALERT, ended_ns=NOTICE.at_ns)
    target = alertmanager.Target("http://am:9093/", "hunter2")
    request = alertmanager.render(replace(NOTICE, alerts=(ALERT, ended)), target)
    assert isinstance(request, HttpRequest) and request.url == "http://am:9093/api/v2/alerts"
    assert request.headers["Authorization"] == "Bearer hunter2"
    fires, resolved = json.loads(request.body)
    assert fires["labels"] == {"agent": "support", "team_name": "a", "alertname": "ToolErrorsUp", "severity": "page"}
    assert fires["annotations"] == {
        "summary": NOTICE.title, "description": NOTICE.lines[0], "began": "2025-02-19 21:15 UTC",
        "runbook_url": NOTICE.runbook,
    }  # fmt: skip
    assert fires.keys() == {"labels", "annotations"} and resolved["endsAt"] == "2025-02-19T21:20:00+00:00"


def test_a_description_is_delivered() -> None:
    """By every notifier, escaped where it must be."""
    text = "Look at <crm> first."
    notice = replace(NOTICE, description=text, alerts=(replace(ALERT, description=text),))
    (attachment,) = decoded(slack.render(notice, WEBHOOK))["attachments"]
    assert any("Look at &lt;crm&gt; first." in json.dumps(block) for block in attachment["blocks"])
    assert decoded(pagerduty.render(notice, SERVICE))["payload"]["custom_details"]["description"] == text
    assert f"    {text}" in terminal.render(notice)
    for request in (
        alertmanager.render(notice, alertmanager.Target("http://am")),
        webhook.render(notice, webhook.Target("https://a.example/b")),
    ):
        assert isinstance(request, HttpRequest)
        body = json.loads(request.body)
        (alert,) = body["alerts"] if isinstance(body, dict) else body
        assert alert["annotations"]["description"] == text
        assert alert["annotations"]["change"] == NOTICE.lines[0]


def test_webhook_payload() -> None:
    """Alertmanager's version 4, signed."""
    notice = replace(NOTICE, status=Status.RESOLVED, alerts=(ALERT, replace(ALERT, ended_ns=NOTICE.at_ns)))
    request = webhook.render(notice, webhook.Target("https://a.example/b", "key"))
    assert isinstance(request, HttpRequest)
    digest = hmac.new(b"key", request.body, "sha256").hexdigest()
    assert request.headers["X-Tocsin-Signature"] == f"sha256={digest}"
    body = decoded(request)
    assert (body["version"], body["status"], body["groupKey"]) == ("4", "resolved", NOTICE.group)
    assert [one["status"] for one in body["alerts"]] == ["firing", "resolved"]
    assert [one["endsAt"] for one in body["alerts"]] == ["0001-01-01T00:00:00Z", "2025-02-19T21:20:00+00:00"]
    assert body["alerts"][0]["startsAt"] == "2025-02-19T21:15:00+00:00"


def test_answers_of_alertmanager_and_webhooks() -> None:
    """Only Alertmanager's empty 200 is its own; a webhook has no answer but its status."""
    assert isinstance(alertmanager.outcome(200, {}, "", 0), Delivered)
    assert not isinstance(alertmanager.outcome(200, {}, "<html>", 0), Delivered)
    refused = alertmanager.outcome(400, {}, '"at least one label pair required"', 0)
    assert isinstance(refused, Refused) and refused.reason is Reason.MALFORMED
    proxy = alertmanager.outcome(400, {}, "<html>", 0)
    assert isinstance(proxy, Refused) and proxy.reason is Reason.UNEXPECTED
    assert isinstance(webhook.outcome(204, {}, "", 0), Delivered)
    assert isinstance(webhook.outcome(302, {}, "", 0), Retry) and isinstance(webhook.outcome(500, {}, "", 0), Retry)
    bad = webhook.outcome(400, {}, "no", 0)
    assert isinstance(bad, Refused) and bad.reason is Reason.UNEXPECTED


def test_a_place_of_several_receivers_is_one_destination() -> None:
    """It has the name that the first of them gives it; each receiver leads to its own places, too."""
    text = "receivers:\n  - {name: oncall, slack: {}}\n  - name: pay\n    slack: [{}, {hook: pay}]\n"
    text += "    pagerduty: {key: pay}\n"
    written = parse_rules(text + "route: {escalate: {after: 5m, to: pay}}\n", "r.yaml", words())
    rules = combine([written])
    environ = {
        "TOCSIN_SLACK__WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/one",
        "TOCSIN_SLACK__WEBHOOK_URLS__PAY": "https://hooks.slack.com/services/T0/B0/two",
        "TOCSIN_PAGERDUTY__ROUTING_KEYS__PAY": "k" * 32,
    }
    found = addresses(map(rules.receiver, rules.route.receivers()), load(environ).notifiers)
    assert [one.name for one in found.of("oncall")] == ["oncall/slack"]
    assert [one.name for one in found.of("pay")] == ["pay/pagerduty", "oncall/slack", "pay/2/slack"]
    assert len(found.all) == 3 and found.of("nobody") == ()
