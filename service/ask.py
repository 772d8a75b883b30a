"""Asking a running daemon from the command line, as `tocsin explain` and `tocsin mark` do."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from service.config import settings

TIMEOUT_S = 40.0
JSON_HEADERS = {"Content-Type": "application/json"}


class AskError(Exception):
    """No answer, or a no; the text says which and what to do."""


class UnknownError(AskError):
    """The daemon does not know what it was asked for."""


def address(at: str | None) -> str:
    """Where the daemon is: as given, else where the settings say that it listens. Raises SettingsError."""
    return at or settings.from_environment().web.listen


def token() -> str:
    """The bearer token that the daemon asks for; empty where the settings have none. Raises SettingsError."""
    found = settings.from_environment().web.token
    return found.get_secret_value() if found else ""


def explain(address: str, rule: str, series: Mapping[str, str]) -> dict[str, Any]:
    """What the daemon at `address` says of a rule and its series. Raises AskError."""
    return _asked("GET", address, f"/api/v1/rules/{quote(rule, safe='')}", {}, params=dict(series))


def mark(address: str, said: Mapping[str, Any], token: str) -> str:
    """Say something of a page or of series; the daemon's answer in words. Raises AskError."""
    return _told("POST", address, "/api/v1/marks", token, json=dict(said))


def change(address: str, said: Mapping[str, Any], token: str) -> str:
    """Tell of a change; the daemon's answer in words. Raises AskError."""
    return _told("POST", address, "/api/v1/changes", token, json=dict(said))


def silence(address: str, said: Mapping[str, Any], token: str) -> str:
    """Have nobody told of some alerts for a while; the daemon's answer in words. Raises AskError."""
    return _told("POST", address, "/api/v1/silences", token, json=dict(said))


def silences(address: str) -> list[dict[str, Any]]:
    """All silences that the daemon knows. Raises AskError."""
    found: list[dict[str, Any]] = _asked("GET", address, "/api/v1/silences", {})["silences"]
    return found


def end_silence(address: str, silence_id: str, token: str) -> str:
    """End a silence now; the daemon's answer in words. Raises AskError."""
    return _told("DELETE", address, f"/api/v1/silences/{quote(silence_id, safe='')}", token)


def acknowledge(address: str, said: Mapping[str, Any], token: str) -> str:
    """Acknowledge an incident; the daemon's answer in words. Raises AskError."""
    return _told("POST", address, "/api/v1/acks", token, json=dict(said))


def session(address: str, session_id: str) -> dict[str, Any]:
    """All that the daemon at `address` knows of a session. Raises AskError."""
    return _asked("GET", address, f"/api/v1/sessions/{quote(session_id, safe='')}", {})


def sessions(address: str, days: float) -> dict[str, Any]:
    """Who named sessions in the last days. Raises AskError."""
    return _asked("GET", address, "/api/v1/sessions", {}, params={"days": days})


def cohorts(address: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What foretold bad ends of sessions. Raises AskError."""
    return _asked("GET", address, "/api/v1/cohorts", {}, params=dict(wanted))


def outcomes(address: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What came of sessions, by day. Raises AskError."""
    return _asked("GET", address, "/api/v1/outcomes", {}, params=dict(wanted))


def review(address: str, days: float) -> dict[str, Any]:
    """The sessions of the last days that are most worth a look. Raises AskError."""
    return _asked("GET", address, "/api/v1/review", {}, params={"days": days})


def outcome(address: str, said: Mapping[str, Any], token: str) -> str:
    """Say what came of a session; what became of that. Raises AskError."""
    return _told("POST", address, "/api/v1/outcomes", token, json=dict(said))


def compare(address: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """What the daemon knows of two versions of an agent. Raises AskError."""
    return _asked("GET", address, "/api/v1/compare", {}, params=dict(asked))


def quality(address: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What pages were worth. Raises AskError."""
    return _asked("GET", address, "/api/v1/quality", {}, params=dict(asked))


def sampling(address: str) -> dict[str, Any]:
    """The sampling policy, and what is needed now. Raises AskError."""
    return _asked("GET", address, "/api/v1/sampling", {})


def collector(address: str) -> str:
    """The policies of the Collector's tail sampling, as YAML. Raises AskError."""
    return _read("GET", address, "/api/v1/sampling/collector", {}).text


def _told(method: str, address: str, path: str, token: str, **more: Any) -> str:
    headers = JSON_HEADERS | ({"Authorization": f"Bearer {token}"} if token else {})
    return str(_asked(method, address, path, headers, **more)["message"])


def _asked(method: str, address: str, path: str, headers: Mapping[str, str], **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = _document(_read(method, address, path, headers, **more), address)
    return found


def _read(method: str, address: str, path: str, headers: Mapping[str, str], **more: Any) -> httpx.Response:
    try:
        answer = httpx.request(
            method, f"http://{address}{path}", headers=dict(headers), timeout=TIMEOUT_S, trust_env=False, **more
        )
    except httpx.HTTPError as error:
        raise AskError(f"no Tocsin answers at {address} ({error}); start it, or name its address with --at") from None
    if answer.status_code != 200:
        kind = UnknownError if answer.status_code == 404 else AskError
        raise kind(str(_document(answer, address).get("error", f"status {answer.status_code}")))
    return answer


def _document(answer: httpx.Response, address: str) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise AskError(f"what answers at {address} is no Tocsin; name its web address with --at") from None
