"""Buttons below a page in Slack, and what Slack sends when somebody presses one.

Slack signs what it sends: `X-Slack-Signature` is `v0=`, the HMAC-SHA256 of `v0:TIMESTAMP:BODY` in hex digits, with the
app's signing secret; what is older than five minutes may be somebody else's replay. The body is a form whose field
`payload` is JSON. Who pressed is answered by a message that they alone see, at the URL that the payload names.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any

from alertrules.notice import Notice, Status
from alertrules.silences import silence_matchers
from alertrules.wording import clean
from service.config.setting_types import revealed
from service.notifiers.inbound import Inbound, Reply, Request
from service.notifiers.request import HttpRequest

ACTIONS_PATH = "/api/v1/slack/actions"
AGE_MAX_S = 300
VALUE_MAX = 2000
ALERTS_MAX = 20
ID_DIGITS = 12
WINDOW = "2h"
_PREFIX = "tocsin:"
_LABELS = {
    "ack": "Acknowledge",
    "silence": f"Silence {WINDOW}",
    "expected": f"Expected for {WINDOW}",
    "incident": "Incident",
    "new_normal": "New normal",
}
_PERCENT = re.compile(rb"%([0-9a-fA-F]{2})")
_REPLY_URL = re.compile(r"https://hooks\.slack\.com/[!-~]{1,500}")


def buttons(notice: Notice) -> list[dict[str, Any]]:
    """The block of buttons of a page; none of a resolve, or where the alerts are not named."""
    if notice.status not in (Status.FIRING, Status.STILL_FIRING) or not notice.alert_ids:
        return []
    elements = []
    for action, text in _LABELS.items():
        told: dict[str, Any] = {"alerts": [one[:ID_DIGITS] for one in notice.alert_ids[:ALERTS_MAX]]}
        if action == "silence":
            told = {"matchers": silence_matchers(notice)}
        value = json.dumps(told)
        if len(value) <= VALUE_MAX:
            button = {"type": "button", "action_id": _PREFIX + action, "value": value}
            elements.append({**button, "text": {"type": "plain_text", "text": text}})
    return [{"type": "actions", "elements": elements}]


def problem(secret: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> str:
    """Why this is not Slack's; empty if it is."""
    stamp = headers.get("x-slack-request-timestamp", "")
    if not re.fullmatch(r"\d{1,12}", stamp, re.ASCII):
        return "there is no X-Slack-Request-Timestamp"
    expected = "v0=" + hmac.new(secret.encode(), b"v0:%s:%s" % (stamp.encode(), body), hashlib.sha256).hexdigest()
    sent = headers.get("x-slack-signature", "").encode("utf-8", "replace")
    if not hmac.compare_digest(sent, expected.encode()):
        return "the signature is wrong; see TOCSIN_SLACK__SIGNING_SECRET"
    if abs(now_ns // 1_000_000_000 - int(stamp)) > AGE_MAX_S:
        return "it is older than five minutes; look at this machine's clock"
    return ""


def read(body: bytes) -> tuple[tuple[Request, ...], Reply | None]:
    """What somebody pressed. Raises ValueError where this is not a press of a button."""
    payload = json.loads(_field(body, b"payload") or "null")
    if not isinstance(payload, dict):
        raise ValueError("there is no payload; Slack sends one for each button")
    if payload.get("type") != "block_actions":
        return (), None  # A shortcut or view of another part of the app.
    user = payload.get("user")
    user = user if isinstance(user, dict) else {}
    name = next((user[key] for key in ("name", "username", "id") if isinstance(user.get(key), str)), "somebody")
    actions = payload.get("actions")
    asked = [one for action in (actions if isinstance(actions, list) else []) for one in _asked(action, name)]
    return tuple(asked), _reply(payload.get("response_url"))


def _field(body: bytes, wanted: bytes) -> str:
    """A field of a form, decoded; empty where there is none."""
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == wanted:
            plain = _PERCENT.sub(lambda found: bytes.fromhex(found[1].decode()), value.replace(b"+", b" "))
            return plain.decode("utf-8", "replace")
    return ""


def _asked(action: object, name: str) -> list[Request]:
    """What one button means; nothing where it is another app's."""
    if not isinstance(action, dict) or not str(action.get("action_id", "")).startswith(_PREFIX):
        return []
    kind = str(action["action_id"]).removeprefix(_PREFIX)
    told = json.loads(action["value"]) if isinstance(action.get("value"), str) else None
    if kind not in _LABELS or not isinstance(told, dict):
        raise ValueError(f'"{kind:.40}" is not a button of ours')
    by = f"{clean(name, 80)} (Slack)"
    if kind == "silence":
        return [Request("silence", {**told, "for": WINDOW, "by": by, "why": "by a button in Slack"})]
    if kind == "ack":
        return [Request("ack", {"alerts": told.get("alerts"), "by": by})]
    alerts = told.get("alerts")
    window = {"for": WINDOW} if kind == "expected" else {}
    named = alerts[:ALERTS_MAX] if isinstance(alerts, list) else []
    return [Request("mark", {"mark": kind, "alert": one, "by": by, **window}) for one in named]


def _reply(url: object) -> Reply | None:
    """How to answer the person alone. The URL is Slack's own, or it is not asked for."""
    if not isinstance(url, str) or not _REPLY_URL.fullmatch(url):
        return None

    def reply(text: str) -> HttpRequest:
        message = {"response_type": "ephemeral", "replace_original": False, "text": _escaped(text)}
        return HttpRequest("POST", url, {"Content-Type": "application/json"}, json.dumps(message).encode())

    return reply


def _escaped(text: str) -> str:
    return text[:2500].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


INBOUND = Inbound(ACTIONS_PATH, lambda settings: revealed(settings.signing_secret), problem, read)
