"""Slack: one message with one coloured attachment, by incoming webhook or by bot token.

Telemetry's strings come cleaned and are escaped here, so that no `<!channel>` or link of theirs is ever Slack's.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from alertrules.notice import Notice, Status
from alertrules.rules import Name, Written
from alertrules.wording import utc
from service.config.setting_types import Hook, Secret, Section, named, revealed
from service.notifiers.notifier import Notifier
from service.notifiers.request import (
    SECRET_LENGTH_MIN,
    Delivered,
    Habit,
    HttpRequest,
    Outcome,
    Pace,
    Reason,
    Refused,
    Retry,
    host_and_path,
    json_object,
    retry_after_s,
    unlike,
)
from service.notifiers.slack_actions import INBOUND, buttons

PACE = Pace(per_s=1.0, burst=4)  # One less than Slack takes: requests do not arrive as evenly as they leave.
HEADER_MAX = 150
SECTION_MAX = 3000
CONTEXT_MAX = 300
RUNBOOK_MAX = 2500
DESCRIPTION_MAX = 1500
MORE_MAX = 2500
SLACK_LINES_MAX = 20  # A page nobody reads to the end helps nobody; we say how many we left out.
LINE_MAX = 500
MESSAGE_MAX = 8000  # Slack refuses about 12,000 characters of blocks in all, and documents no limit.
_LEFT_OUT_MAX = 40

HABIT = Habit(singly_max=20, keeps_incidents=False)

_COLORS = {
    Status.FIRING: "#d92d20",
    Status.STILL_FIRING: "#f79009",
    Status.RESOLVED: "#12b76a",
    Status.OVER: "#667085",
    Status.REPORT: "#2e90fa",
}
_WORDS = {
    Status.FIRING: "Firing",
    Status.STILL_FIRING: "Still firing after 24 h",
    Status.RESOLVED: "Resolved",
    Status.OVER: "Over before it could be told",
    Status.REPORT: "Weekly",
}
_SIGNS = {"critical": "🔴", "page": "🔴", "error": "🟠", "warning": "🟡", "info": "🔵"}
_REASONS = {
    Reason.CREDENTIAL: (
        "action_prohibited", "invalid_token", "posting_to_general_channel_denied", "team_disabled",
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope",
        "not_in_channel", "restricted_action", "no_permission", "access_denied", "ekm_access_denied",
        "enterprise_is_restricted", "org_login_required", "not_allowed_token_type", "team_access_not_granted",
    ),
    Reason.GONE: (
        "channel_not_found", "no_service", "no_service_id", "no_team", "no_active_hooks", "channel_is_archived",
        "is_archived", "team_not_found",
    ),
    Reason.MALFORMED: (
        "invalid_payload", "user_not_found", "no_text", "too_many_attachments", "invalid_blocks",
        "invalid_blocks_format", "missing_text_or_fallback_or_attachments", "msg_blocks_too_long", "msg_too_long",
        "invalid_attachments", "metadata_too_large", "thread_not_found", "invalid_thread_ts", "cannot_reply_to_message",
        "message_not_found", "cant_update_message", "edit_window_closed", "invalid_metadata_format",
        "markdown_text_conflict",
    ),
}  # fmt: skip
_REASON_OF = {word: reason for reason, words in _REASONS.items() for word in words}
_THROTTLED = ("rate_limited", "ratelimited", "message_limit_exceeded")


class Settings(Section):
    webhook_url: Hook | None = Field(None, description="incoming webhook; pages go to its channel")
    webhook_urls: dict[str, Hook] = Field({}, description="further webhooks, for receivers that say `hook: NAME`")
    bot_token: Secret | None = Field(None, description="bot token, for receivers that name a channel")
    signing_secret: Secret | None = Field(
        None, description="the app's signing secret: pages have buttons then, and /api/v1/slack/actions takes presses"
    )


def _channel(text: object) -> str:
    if not isinstance(text, str) or not 1 <= len(text) <= 80 or any(letter in "<>&\n" for letter in text):
        raise ValueError("is not a channel; write '#agents-oncall' or a channel id")
    return text


class Words(Written):
    """A message, by the bot token into a channel, or by a webhook, which belongs to one channel."""

    channel: Annotated[str, BeforeValidator(_channel)] = ""
    hook: Name | None = None


@dataclass(frozen=True)
class Target:
    """Where to post: the webhook, or with a bot token and a channel the API."""

    webhook_url: str = field(repr=False)
    bot_token: str = field(default="", repr=False)
    channel: str = ""
    has_buttons: bool = False
    api_url: str = "https://slack.com/api/chat.postMessage"

    @property
    def by_token(self) -> bool:
        """Whether it is the API that is asked, and not a webhook."""
        return bool(self.bot_token and self.channel)

    @property
    def identity(self) -> tuple[str, ...]:
        at = (self.api_url, self.bot_token, self.channel) if self.by_token else (self.webhook_url,)
        return ("slack", *at)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token; the hook's URL, and of its path each part that is no common word."""
        path = host_and_path(self.webhook_url)[1].strip("/")
        parts = [part for part in path.split("/") if len(part) >= SECRET_LENGTH_MIN and part != "services"]
        wholes = [self.webhook_url, path, path.removeprefix("services/")] if path else []
        return tuple(filter(None, (self.bot_token, *wholes, *parts)))

    @property
    def place(self) -> str:
        """For people: where it is, and nothing secret."""
        if self.by_token:
            return f"Slack's channel {self.channel}"
        return f"Slack's webhook at {host_and_path(self.webhook_url)[0]}"


def render(notice: Notice, target: Target) -> HttpRequest:
    """The notice as one message: red while firing, amber after a day, green once resolved."""
    heading = f"{_emoji(notice)} {_WORDS[notice.status]}: {notice.title}"
    context = escape(f"{notice.rule} · {notice.severity} · since {utc(notice.began_ns)}", CONTEXT_MAX)
    runbook = f"<{_entities(notice.runbook)}|Runbook>" if notice.runbook else ""
    if len(runbook) > RUNBOOK_MAX:
        runbook = ""  # Half a link leads nowhere.
    described = escape(notice.description, DESCRIPTION_MAX)
    more = _more(notice)
    spent = HEADER_MAX + len(context) + len(runbook) + len(described) + len(more)
    lines = _sections(notice.lines, MESSAGE_MAX - spent)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(heading, HEADER_MAX), "emoji": False}},
        *(_section(text) for text in (*lines, described, more, runbook) if text),
        {"type": "context", "elements": [_mrkdwn(context)]},
        *(buttons(notice) if target.has_buttons else ()),
    ]
    attachment = {"color": _COLORS[notice.status], "fallback": escape(heading, 300), "blocks": blocks}
    # Beside an attachment a text is shown above it, twice the same: phones take the fallback.
    message = {"attachments": [attachment]}
    channel, _, first = notice.reference.partition(" ")
    if not (target.by_token and first):
        return _request(message, target)
    # What was told first is brought up to date in its place, and the story goes into its thread.
    url = target.api_url.removesuffix("chat.postMessage") + "chat.update"
    update = _request({**message, "channel": channel, "ts": first}, target, url)
    return replace(_request({**message, "thread_ts": first}, target), then=update)


def render_least(notice: Notice, target: Target) -> HttpRequest:
    """The notice as one line of text: for a Slack that finds the message malformed."""
    return _request({"text": escape(f"{_WORDS[notice.status]}: {notice.title}", 300), "mrkdwn": False}, target)


def outcome(status: int, headers: Mapping[str, str], body: str, now_ns: int, target: Target) -> Outcome:
    """What Slack's answer means: its word first, its status second, as the API says `ok: false` with status 200.

    A webhook's delivery is 200 with `ok` alone, the API's 200 with `"ok": true`; neither takes the other's.
    """
    answer = json_object(body)
    taken = answer.get("ok") is True if target.by_token else body.strip() == "ok"
    if status == 200 and taken:
        return Delivered(_reference(answer))
    said = str(answer.get("error") or body.strip())[:100]  # Some of a webhook's errors are JSON as the API's.
    if said in _THROTTLED:
        return Retry(retry_after_s(headers, now_ns), Reason.THROTTLED, said)
    if reason := _REASON_OF.get(said):
        return Refused(reason, said)
    return unlike(status, headers, said, now_ns)


def _reference(answer: Mapping[str, Any]) -> str:
    """The channel and the first message of a thread, of which this is that message or a reply; empty for a webhook."""
    message = answer.get("message")
    first = message.get("thread_ts") if isinstance(message, Mapping) else None
    channel, own = answer.get("channel"), first or answer.get("ts")
    told = f"{channel} {own}"
    return told if re.fullmatch(r"[A-Z0-9]{1,40} \d{1,20}\.\d{1,10}", told, re.ASCII) else ""


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


def _emoji(notice: Notice) -> str:
    """One sign for state and severity."""
    if notice.status is Status.FIRING:
        return _SIGNS.get(notice.severity, "🟠")
    return {Status.STILL_FIRING: "🕐", Status.RESOLVED: "✅", Status.OVER: "☑️", Status.REPORT: "🗓️"}[notice.status]


def _more(notice: Notice) -> str:
    """The trend, the traces and the links of the first alert."""
    if not notice.alerts:
        return ""
    first = notice.alerts[0]
    links = [f"<{_entities(address)}|{_entities(name)}>" for name, address in notice.links]
    if not any(name.endswith(" trace") for name, _ in notice.links):
        links += [f"{what} trace `{trace}`" for what, trace in first.examples]
    said = f"`{first.trend}` last two hours" if first.trend else ""
    for link in links:
        if len(said) + len(link) + 3 <= MORE_MAX:
            said += (" · " if said else "") + link
    return said


def _sections(lines: tuple[str, ...], length_max: int) -> Iterable[str]:
    """The lines in as many texts as needed, each short enough for a section; what is left out is said."""
    text = ""
    shown = 0
    for line in lines[:SLACK_LINES_MAX]:
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


def _request(message: dict[str, Any], target: Target, api_url: str = "") -> HttpRequest:
    message |= {"unfurl_links": False, "unfurl_media": False, "link_names": False}
    headers = {"Content-Type": "application/json; charset=utf-8"}
    url = target.webhook_url
    if target.by_token:
        url = api_url or target.api_url
        headers["Authorization"] = f"Bearer {target.bot_token}"
        message = {"channel": target.channel, **message}
    return HttpRequest("POST", url, headers, json.dumps(message, allow_nan=False).encode())


def targets(settings: Settings, words: Words | None) -> tuple[Target, ...]:
    """Lead a receiver's words to a hook, or to a channel by the bot token."""
    hook, token = settings.webhook_url, revealed(settings.bot_token)
    if words and words.hook:
        return (Target(revealed(named(settings.webhook_urls, words.hook, "slack needs TOCSIN_SLACK__WEBHOOK_URLS"))),)
    if token and words and words.channel:
        return (Target("", token, words.channel, has_buttons=settings.signing_secret is not None),)
    if hook:
        return (Target(revealed(hook)),)
    if token:
        raise ValueError("a Slack bot token needs a channel; write slack: {channel: …}")
    if words:
        raise ValueError("slack needs TOCSIN_SLACK__WEBHOOK_URL (or …_FILE), or TOCSIN_SLACK__BOT_TOKEN and a channel")
    return ()


def every(settings: Settings) -> tuple[Target, ...]:
    """Find every hook that is set. Of a token alone nobody knows the channels."""
    hooks = [settings.webhook_url, *settings.webhook_urls.values()]
    return tuple(Target(revealed(hook)) for hook in hooks if hook)


NOTIFIER = Notifier(Settings, Words, targets, every, PACE, HABIT, render, render_least, outcome, INBOUND)
