"""Slack: one message with one coloured attachment, by incoming webhook or by bot token.

Telemetry's strings come cleaned and are escaped here, so that no `<!channel>` or link of theirs is ever Slack's.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alertrules.notice import Notice, Status
from alertrules.wording import utc
from service.notifiers.request import Delivered, HttpRequest, Outcome, Pace, Reason, Refused, Retry, retry_after_s

PACE = Pace(per_s=1.0, burst=4)  # One less than Slack takes: requests do not arrive as evenly as they leave.
HEADER_MAX = 150
SECTION_MAX = 3000
CONTEXT_MAX = 300
RUNBOOK_MAX = 2500
LINES_MAX = 20  # A page nobody reads to the end helps nobody; we say how many we left out.
LINE_MAX = 500
MESSAGE_MAX = 8000  # Slack refuses about 12,000 characters of blocks in all, and documents no limit.
_LEFT_OUT_MAX = 40

_COLORS = {Status.FIRING: "#d92d20", Status.STILL_FIRING: "#f79009", Status.RESOLVED: "#12b76a"}
_WORDS = {Status.FIRING: "Firing", Status.STILL_FIRING: "Still firing after 24 h", Status.RESOLVED: "Resolved"}
_REASONS = {
    Reason.CREDENTIAL: (
        "action_prohibited", "invalid_token", "posting_to_general_channel_denied", "team_disabled",
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope",
        "not_in_channel", "restricted_action",
    ),
    Reason.GONE: (
        "channel_not_found", "no_service", "no_service_id", "no_team", "no_active_hooks", "channel_is_archived",
        "is_archived",
    ),
    Reason.MALFORMED: (
        "invalid_payload", "user_not_found", "no_text", "too_many_attachments", "invalid_blocks",
        "invalid_blocks_format", "missing_text_or_fallback_or_attachments", "msg_blocks_too_long", "msg_too_long",
        "invalid_attachments",
    ),
}  # fmt: skip
_REASON_OF = {word: reason for reason, words in _REASONS.items() for word in words}
_STATUS_REASONS = {400: Reason.MALFORMED, 401: Reason.CREDENTIAL, 403: Reason.CREDENTIAL, 404: Reason.GONE}
_STATUS_REASONS |= {410: Reason.GONE, 413: Reason.MALFORMED}


@dataclass(frozen=True)
class Target:
    """Where to post: the webhook, or with a bot token and a channel the API."""

    webhook_url: str = field(repr=False)
    bot_token: str = field(default="", repr=False)
    channel: str = ""
    api_url: str = "https://slack.com/api/chat.postMessage"


def render(notice: Notice, target: Target) -> HttpRequest:
    """The notice as one message: red while firing, amber after a day, green once resolved."""
    heading = f"{_WORDS[notice.status]}: {notice.title}"
    context = escape(f"{notice.rule} · {notice.severity} · since {utc(notice.began_ns)}", CONTEXT_MAX)
    runbook = f"<{_entities(notice.runbook)}|Runbook>" if notice.runbook else ""
    if len(runbook) > RUNBOOK_MAX:
        runbook = ""  # Half a link leads nowhere.
    lines = _sections(notice.lines, MESSAGE_MAX - HEADER_MAX - len(context) - len(runbook))
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(heading, HEADER_MAX), "emoji": False}},
        *(_section(text) for text in (*lines, runbook) if text),
        {"type": "context", "elements": [_mrkdwn(context)]},
    ]
    attachment = {"color": _COLORS[notice.status], "fallback": escape(heading, 300), "blocks": blocks}
    # Beside an attachment a text is shown above it, twice the same: phones take the fallback.
    return _request({"attachments": [attachment]}, target)


def render_least(notice: Notice, target: Target) -> HttpRequest:
    """The notice as one line of text: for a Slack that finds the message malformed."""
    return _request({"text": escape(f"{_WORDS[notice.status]}: {notice.title}", 300), "mrkdwn": False}, target)


def outcome(status: int, headers: Mapping[str, str], body: str, now_ns: int) -> Outcome:
    """What Slack's answer means: its body first, its status second. The API says `ok: false` with status 200."""
    said = _said(body)
    if status == 429 or said in ("rate_limited", "ratelimited"):
        return Retry(retry_after_s(headers, now_ns), throttled=True, said=said)
    if 200 <= status < 300 and said == "ok":
        return Delivered()
    if reason := _REASON_OF.get(said) or _STATUS_REASONS.get(status):
        return Refused(reason, said)
    if status >= 500 or 300 <= status < 400 or status in (408, 425):
        return Retry(retry_after_s(headers, now_ns), throttled=False, said=said)
    return Refused(Reason.UNEXPECTED, said)


def escape(text: str, length_max: int) -> str:
    """Text that Slack shows as it is, cut so that it is at most that long after escaping.

    >>> escape("a<!channel>", 100), escape("<<<<", 9)
    ('a&lt;!channel&gt;', '&lt;&lt;…')
    """
    escaped = [_ENTITIES.get(letter, letter) for letter in text]
    if sum(map(len, escaped)) <= length_max:
        return "".join(escaped)
    kept: list[str] = []
    room = length_max - 1
    for letter in escaped:
        if len(letter) > room:
            break
        kept.append(letter)
        room -= len(letter)
    return "".join(kept) + "…"


def _entities(text: str) -> str:
    return "".join(_ENTITIES.get(letter, letter) for letter in text)


_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def _sections(lines: tuple[str, ...], length_max: int) -> Iterable[str]:
    """The lines in as many texts as needed, each short enough for a section; what is left out is said."""
    text = ""
    shown = 0
    for line in lines[:LINES_MAX]:
        bullet = "• " + escape(line, LINE_MAX)
        if len(bullet) + 1 + _LEFT_OUT_MAX > length_max:
            break
        if len(text) + len(bullet) + 1 > SECTION_MAX - _LEFT_OUT_MAX:
            yield text
            text = ""
        text += ("\n" if text else "") + bullet
        length_max -= len(bullet) + 1
        shown += 1
    if left_out := len(lines) - shown:
        text += f"\n… and {left_out} more lines"
    if text:
        yield text


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def _request(message: dict[str, Any], target: Target) -> HttpRequest:
    message |= {"unfurl_links": False, "unfurl_media": False, "link_names": False}
    headers = {"Content-Type": "application/json; charset=utf-8"}
    url = target.webhook_url
    if target.bot_token and target.channel:
        url = target.api_url
        headers["Authorization"] = f"Bearer {target.bot_token}"
        message["channel"] = target.channel
    return HttpRequest("POST", url, headers, json.dumps(message, allow_nan=False).encode())


def _said(body: str) -> str:
    """The one word of the answer: a webhook's is plain text, the API's is JSON."""
    text = body.strip()
    if text.startswith("{"):
        try:
            answer = json.loads(text)
        except ValueError:
            return text[:100]
        if isinstance(answer, dict):
            return "ok" if answer.get("ok") is True else str(answer.get("error", ""))[:100]
    return text[:100]
