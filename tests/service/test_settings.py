"""Settings: what may be written, what is said of what may not, and that secrets stay where they are."""

from pathlib import Path
from typing import Any

import pytest

from service.config.settings import PREFIX, Settings, SettingsError, load, table
from service.ingest.limits import IngestLimits

ROOT = Path(__file__).parents[2]
KEY = "hunter2".ljust(32, "0")


def test_defaults() -> None:
    """An empty environment is a daemon that works."""
    assert load({}) == Settings()


def test_limits_are_those_of_ingest() -> None:
    """What bounds memory is set by name, and is what ingest has where nothing is set."""
    assert IngestLimits(**Settings().limits.model_dump()) == IngestLimits()
    limits = load({"TOCSIN_LIMITS__TRACES_MAX": "1000000", "TOCSIN_LIMITS__CELLS_MAX": "7"}).limits
    assert (limits.traces_max, limits.cells_max) == (1_000_000, 7)


def test_what_may_be_written() -> None:
    """Durations, sizes, addresses and lists, as people write them."""
    settings = load(
        {
            "TOCSIN_LATENESS": "1h30m",
            "TOCSIN_MAX_PAGE_AGE": "0",
            "TOCSIN_SAVE_EVERY": "250ms",
            "TOCSIN_OTLP__BODY_MAX": "512KiB",
            "TOCSIN_WEB__LISTEN": "[::1]:0",
            "TOCSIN_KAFKA__TOPICS": "a, b c",
            "TOCSIN_RULES": "",
            "TOCSIN_KAFKA__CHECK_CRCS": "false",
            "OTHER": "x",
        }
    )
    assert (settings.lateness, settings.max_page_age, settings.save_every) == (5_400 * 10**9, 0, 250_000_000)
    assert (settings.otlp.body_max, settings.web.listen) == (512 << 10, "[::1]:0")
    assert (settings.kafka.topics, settings.rules, settings.kafka.check_crcs) == (("a", "b", "c"), (), False)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("LATENESS", "5 m", '"5 m" is not a duration; write 5m, 90s or 1h30m'),
        ("LATENESS", "", '"" is not a duration; write 5m, 90s or 1h30m'),
        ("OTLP__BODY_MAX", "2 pages", '"2 pages" is not a size; write 512KiB, 2MiB or a number of bytes'),
        ("OTLP__BODY_MAX", "0", "Input should be greater than 0"),
        ("OTLP__QUEUE_MAX", "many", "Input should be a valid integer, unable to parse string as an integer"),
        ("OTLP__LISTEN", "4318", '"4318" is not an address; write HOST:PORT, as 127.0.0.1:4318'),
        ("WEB__LISTEN", "::1:80000", '"::1:80000" is not an address; write HOST:PORT, as 127.0.0.1:4318'),
        ("KAFKA__TOPICS", " ", "should have at least 1 item"),
        (
            "KAFKA__TOPICS",
            '["a"]',
            '"["a"]" is not a name of a topic; write names between spaces, as otlp_spans otlp_logs',
        ),
        (
            "SLACK__WEBHOOK_URL",
            "hunter2",
            "this is not a URL of a hook; write https://hooks.slack.com/services/T…/B…/…",
        ),
        ("SLACK__WEBHOOK_URL", "https://hunter2/", "this is not a URL of a hook"),
        ("SLACK__WEBHOOK_URL", "", "is empty; write the hook's URL, or leave the setting out"),
        ("SLACK__BOT_TOKEN", "", "is empty; write the secret, or leave the setting out"),
        ("SLACK__BOT_TOKEN", "hunter2 hunter2", "this cannot be a secret: it has a space"),
        ("WEB__TOKEN", "", "is empty"),
        ("PAGERDUTY__ROUTING_KEY", "", "is empty; write the integration key, or leave the setting out"),
        (
            "PAGERDUTY__ROUTING_KEY",
            "hunter2",
            "this is not an integration key: it has 7 characters; write the 32",
        ),
        ("PAGERDUTY__ROUTING_KEY", "hunter2 " * 4, "this is not an integration key"),
        ("PAGERDUTY__URL", "", "this is not a URL"),
        ("PAGERDUTY__URL", "events", "this is not a URL; write https://HOST or https://HOST/PATH"),
        ("PAGERDUTY__KEY", "hunter2", "no such setting; there is TOCSIN_PAGERDUTY__ROUTING_KEY, TOCSIN_PAGERDUTY__URL"),
        ("SLACK__BOT_TOKEN_FILE", "/no/such", "cannot read /no/such: No such file or directory"),
    ],
)
def test_what_may_not(name: str, text: str, line: str) -> None:
    """One line: which setting, what is wrong, what to write."""
    with pytest.raises(SettingsError) as error:
        load({PREFIX + name: text})
    assert str(error.value).startswith(f"{PREFIX}{name}: ")
    assert line in str(error.value) and len(str(error.value).splitlines()) == 1
    assert "hunter2" not in str(error.value)


def test_every_problem_is_told() -> None:
    """Several wrong settings are several lines."""
    with pytest.raises(SettingsError) as error:
        load({"TOCSIN_LATENES": "1m", "TOCSIN_LATENESS": "x", "TOCSIN_OTLP__LISTEN": "y"})
    assert [line.partition(":")[0] for line in str(error.value).splitlines()] == [
        "TOCSIN_LATENES", "TOCSIN_OTLP__LISTEN", "TOCSIN_LATENESS",
    ]  # fmt: skip


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    """Without the newline that editors add; not both ways at once."""
    (tmp_path / "key").write_text(KEY + "\n")
    environ = {"TOCSIN_PAGERDUTY__ROUTING_KEY_FILE": str(tmp_path / "key")}
    notifiers: Any = load(environ).notifiers
    key = notifiers.pagerduty.routing_key
    assert key is not None and key.get_secret_value() == KEY
    with pytest.raises(SettingsError, match="TOCSIN_PAGERDUTY__ROUTING_KEY is set too; keep one"):
        load(environ | {"TOCSIN_PAGERDUTY__ROUTING_KEY": "other"})


def test_secrets_are_hidden() -> None:
    """Neither repr nor dump shows them."""
    settings = load({"TOCSIN_SLACK__WEBHOOK_URL": "https://h/hunter2", "TOCSIN_PAGERDUTY__ROUTING_KEY": KEY})
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_the_document_says_the_same() -> None:
    """deploy/settings.md has every setting with its default and meaning, in order."""
    rows = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in table()]
    text = (ROOT / "deploy" / "settings.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("| `TOCSIN_")] == rows
