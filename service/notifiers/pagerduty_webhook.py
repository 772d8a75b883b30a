"""What PagerDuty sends of its incidents, webhooks version 3: that somebody has acknowledged or resolved one.

Each request is signed: `X-PagerDuty-Signature` has one or more `v1=`, the HMAC-SHA256 of the body in hex digits, each
with a secret that is in use. An incident is known by its `incident_key`, which is the key that we opened it with.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping

from alertrules.wording import clean
from service.config.setting_types import revealed
from service.notifiers.inbound import Inbound, Reply, Request

WEBHOOK_PATH = "/api/v1/pagerduty/webhook"
_TAKEN = {"incident.acknowledged": "", "incident.resolved": ", who resolved it there"}
_TAKEN_BACK = ("incident.unacknowledged", "incident.reopened")


def problem(secret: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> str:
    """Why this is not PagerDuty's; empty if it is."""
    expected = "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    sent = [one.strip().encode("utf-8", "replace") for one in headers.get("x-pagerduty-signature", "").split(",")]
    if any(hmac.compare_digest(one, expected.encode()) for one in sent[:10]):
        return ""
    return "the signature is wrong; see TOCSIN_PAGERDUTY__WEBHOOK_SECRET"


def read(body: bytes) -> tuple[tuple[Request, ...], Reply | None]:
    """What somebody did with an incident of ours; nothing of others and of other events."""
    document = json.loads(body)
    event = document.get("event") if isinstance(document, dict) else None
    if not isinstance(event, dict):
        raise ValueError("there is no event; this door takes PagerDuty's webhooks, version 3")
    data, kind = event.get("data"), event.get("event_type")
    key = data.get("incident_key") if isinstance(data, dict) else None
    is_ours = isinstance(key, str) and re.fullmatch(r"[0-9a-f]{64}", key)
    if not is_ours or not isinstance(kind, str) or kind not in (*_TAKEN, *_TAKEN_BACK):
        return (), None
    agent = event.get("agent")
    name = agent.get("summary") if isinstance(agent, dict) else None
    by = f"{clean(name, 80)} (PagerDuty){_TAKEN.get(kind, '')}" if isinstance(name, str) else "PagerDuty"
    return (Request("ack", {"alerts": [key], "by": by, "is_taken_back": kind in _TAKEN_BACK}),), None


INBOUND = Inbound(WEBHOOK_PATH, lambda settings: revealed(settings.webhook_secret), problem, read)
