"""What a destination's answer means: a table of answers, of vendors and of what stands between them and us."""

import json

import pytest

from service.notifiers import pagerduty, slack
from service.notifiers.destination import Destination
from service.notifiers.request import Delivered, Outcome, Reason, Refused, Retry

HOOK = slack.Target("https://hooks.slack.com/services/T0/B0/hunter2hunter2")
BOT = slack.Target("", "xoxb-hunter2", "#agents")
SERVICE = pagerduty.Target("hunter2" + "0" * 25)
LOGIN = "<!DOCTYPE html><html><body>Sign in to the corporate proxy</body></html>"


def at_slack(status: int, body: str, target: slack.Target = HOOK) -> Outcome:
    return slack.outcome(status, {"Retry-After": "7"}, body, 0, target)


def at_pagerduty(status: int, body: str) -> Outcome:
    return pagerduty.outcome(status, {"Retry-After": "7"}, body, 0)


def invalid(*errors: object) -> str:
    return json.dumps({"status": "invalid event", "message": "Event object is invalid", "errors": errors})


def meant(outcome: Outcome) -> tuple[type, Reason | None]:
    return type(outcome), None if isinstance(outcome, Delivered) else outcome.reason


TAKEN = json.dumps({"status": "success", "message": "Event processed", "dedup_key": "2" * 64})


def test_what_is_a_delivery() -> None:
    """The vendor's own answer, and no other one."""
    assert at_slack(200, "ok") == at_slack(200, "ok\n") == Delivered()
    assert at_slack(200, '{"ok": true, "channel": "C1", "ts": "1.2"}', BOT) == Delivered("C1 1.2")
    reply = '{"ok": true, "channel": "C1", "ts": "5.6", "message": {"thread_ts": "1.2"}}'
    assert at_slack(200, reply, BOT) == Delivered("C1 1.2")
    assert at_slack(200, '{"ok": true, "channel": "C1\\n", "ts": "1.2"}', BOT) == Delivered()
    assert at_pagerduty(202, TAKEN) == Delivered()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 301, 302, 303, 307, 308, 304])
@pytest.mark.parametrize(
    "body", ["", " ", LOGIN, "OK, you are online", "{}", "[]", "null", "true", '"ok"', '{"status": "success"}',
             "[" * 9000, '{"ok": "true"}', '{"ok": 1}', '{"status": "success", "dedup_key": null}', '{"a": ' * 5000]
)  # fmt: skip
def test_what_is_none(status: int, body: str) -> None:
    """Pages of proxies and logins, nothing at all, redirects, JSON of others: all are tried again."""
    for outcome in (at_slack(status, body), at_slack(status, body, BOT), at_pagerduty(status, body)):
        assert meant(outcome) == (Retry, Reason.UNEXPECTED)


def test_one_vendors_word_is_not_the_others() -> None:
    """A webhook says `ok` and never JSON, the API the reverse, and PagerDuty 202."""
    assert meant(at_slack(200, '{"ok": true}')) == (Retry, Reason.UNEXPECTED)
    assert meant(at_slack(200, "ok", BOT)) == (Retry, Reason.UNEXPECTED)
    assert meant(at_pagerduty(200, TAKEN)) == (Retry, Reason.UNEXPECTED)
    for status in (201, 202, 302):
        assert meant(at_slack(status, "ok")) == (Retry, Reason.UNEXPECTED)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, "invalid_payload", Reason.MALFORMED),
        (400, "invalid_blocks", Reason.MALFORMED),
        (400, "no_active_hooks", Reason.GONE),
        (403, "invalid_token", Reason.CREDENTIAL),
        (403, "action_prohibited", Reason.CREDENTIAL),
        (403, LOGIN, Reason.CREDENTIAL),
        (401, "", Reason.CREDENTIAL),
        (404, "no_service", Reason.GONE),
        (404, LOGIN, Reason.GONE),
        (410, "channel_is_archived", Reason.GONE),
        (400, LOGIN, Reason.UNEXPECTED),
        (400, "", Reason.UNEXPECTED),
        (400, "a_word_of_tomorrow", Reason.UNEXPECTED),
        (402, "", Reason.UNEXPECTED),
        (409, "conflict", Reason.UNEXPECTED),
        (413, LOGIN, Reason.UNEXPECTED),
        (418, "teapot", Reason.UNEXPECTED),
        (422, "", Reason.UNEXPECTED),
        (451, "", Reason.UNEXPECTED),
    ],
)
def test_what_slack_refuses(status: int, body: str, reason: Reason) -> None:
    """Its word first, its status second; only a known word about the message ends anything."""
    assert at_slack(status, body) == Refused(reason, body.strip()[:100])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("channel_not_found", Reason.GONE),
        ("is_archived", Reason.GONE),
        ("invalid_auth", Reason.CREDENTIAL),
        ("token_revoked", Reason.CREDENTIAL),
        ("missing_scope", Reason.CREDENTIAL),
        ("msg_too_long", Reason.MALFORMED),
        ("invalid_blocks", Reason.MALFORMED),
    ],
)
def test_what_slacks_api_refuses(error: str, reason: Reason) -> None:
    """With status 200."""
    assert at_slack(200, json.dumps({"ok": False, "error": error}), BOT) == Refused(reason, error)


def test_what_slack_puts_off() -> None:
    """Its own failures, what it does not say yet, and that it is sent too much."""
    assert at_slack(429, '{"retry_after": 1, "ok": false, "error": "rate_limited"}') == Retry(
        7.0, Reason.THROTTLED, "rate_limited"
    )
    assert at_slack(429, "") == Retry(7.0, Reason.THROTTLED, "")
    assert at_slack(500, "rollup_error") == Retry(7.0, Reason.UNAVAILABLE, "rollup_error")
    assert meant(at_slack(200, '{"ok": false, "error": "fatal_error"}', BOT)) == (Retry, Reason.UNEXPECTED)
    assert meant(at_slack(200, '{"ok": false, "error": "ratelimited"}', BOT)) == (Retry, Reason.THROTTLED)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, invalid("'summary' is too long (maximum is 1024 characters)"), Reason.MALFORMED),
        (400, invalid("'payload.severity' is invalid"), Reason.MALFORMED),
        (400, invalid("JSON parse error"), Reason.MALFORMED),
        (400, invalid("Invalid routing key"), Reason.CREDENTIAL),
        (400, invalid("Length of 'routing_key' is incorrect (should be 32 characters)"), Reason.CREDENTIAL),
        (400, invalid("'payload.summary' is missing", "'routing_key' is missing or blank"), Reason.CREDENTIAL),
        (400, invalid("this service is disabled"), Reason.UNEXPECTED),
        (400, invalid(), Reason.UNEXPECTED),
        (400, invalid(7, None, {}), Reason.UNEXPECTED),
        (400, LOGIN, Reason.UNEXPECTED),
        (400, "", Reason.UNEXPECTED),
        (400, "[]", Reason.UNEXPECTED),
        (401, "", Reason.CREDENTIAL),
        (403, LOGIN, Reason.CREDENTIAL),
        (404, '{"status": "not found"}', Reason.GONE),
        (410, "", Reason.GONE),
        (402, "", Reason.UNEXPECTED),
        (409, "", Reason.UNEXPECTED),
        (413, "", Reason.UNEXPECTED),
        (422, "", Reason.UNEXPECTED),
    ],
)
def test_what_pagerduty_refuses(status: int, body: str, reason: Reason) -> None:
    """Only its own 400 about a field of the event is about the event; a key may be put right."""
    assert meant(at_pagerduty(status, body)) == (Refused, reason)


@pytest.mark.parametrize("body", ["", LOGIN, "{}", '{"message": "try later"}'])
def test_what_pagerduty_puts_off(body: str) -> None:
    """As its own table has it, whoever wrote the body."""
    assert meant(at_pagerduty(429, body)) == (Retry, Reason.THROTTLED)
    for status in (408, 425, 500, 502, 503, 504, 599):
        assert meant(at_pagerduty(status, body)) == (Retry, Reason.UNAVAILABLE)


@pytest.mark.parametrize("target", [HOOK, BOT, SERVICE])
@pytest.mark.parametrize("form", ["{}", '"{}"', "<b>{}</b>", '{{"ok": false, "error": "{}"}}', '{{"errors": ["{}"]}}'])
def test_what_echoes_a_secret(target: slack.Target | pagerduty.Target, form: str) -> None:
    """Whole, in upper case, or as JSON or a URL writes it: it is no part of what was said."""
    destination = Destination("oncall", target)
    secrets = ["/services/T0/B0/hunter2hunter2", "xoxb-hunter2", SERVICE.routing_key]
    (secret,) = [one for one in secrets if one.strip("/") in target.secrets]
    for written in (secret, secret.upper(), secret.replace("/", "\\/"), secret.replace("/", "%2F")):
        for status in (200, 202, 400, 403, 404, 429, 500):
            outcome = destination.outcome(status, {}, "x" * 70 + " " + form.format(written), 0)
            assert not isinstance(outcome, Delivered) and "hunter2" not in outcome.said.lower()
            assert secret[:12].lower() not in outcome.said.lower()
