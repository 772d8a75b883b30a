"""Fixtures that several test files share: the real servers. And which tests take long."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import broker

# An example may wait for a processor that other tests use: how long one took says nothing.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

LONG = (
    "tests/service/exchange/test_standby.py", "tests/service/test_demo.py", "tests/test_sanitize.py",
    "tests/service/test_any_numbers.py",
    "tests/service/rule_tests/test_packs.py", "tests/service/exchange/test_roles.py", "tests/service/test_replay.py",
    "tests/service/test_crash.py", "tests/service/test_broker_dies.py", "tests/service/test_chaos.py",
    "tests/service/test_simulation.py", "tests/detectors/test_promise.py", "tests/detectors/test_fast.py",
    "tests/detectors/test_latency_and_cost.py", "tests/detectors/test_outcomes.py", "tests/detectors/test_calendar.py",
    "tests/detectors/test_absence_and_burn.py", "tests/detectors/test_level.py", "tests/detectors/test_visible.py",
    "tests/service/ingest/test_odd_streams.py", "tests/service/ingest/test_reference.py",
    "tests/service/exchange/test_machines.py",
)  # fmt: skip
"""The demo, fuzz, weeks of streams through detectors, and servers that die for minutes, the longest first: nearly half
of the time that all tests take. `make test` leaves them out; `make check` runs them, too.
"""
SLOW = (
    "tests/detectors", "tests/service/test_cli.py", "tests/test_install.py", "tests/service/test_alertmanager.py",
    "tests/service/test_bombs.py", "tests/service/test_connections.py", "tests/service/test_daemon.py",
    "tests/service/test_deliver.py", "tests/service/test_detect.py", "tests/service/test_kafka.py",
    "tests/service/test_kafka_security.py", "tests/service/test_kafka_login.py", "tests/service/test_kafka_topics.py",
    "tests/service/test_outcomes_topic.py", "tests/service/test_otlp_grpc.py", "tests/service/test_reload.py",
    "tests/service/test_progress.py", "tests/service/test_kafka_rights.py", "tests/service/test_saved_parts.py",
    "tests/service/test_seen.py", "tests/service/sampling/test_served.py",
    "tests/service/sampling/test_real_collector.py", "tests/service/test_compare.py", "tests/service/test_marks.py",
    "tests/service/test_metrics.py", "tests/service/test_otlp_http.py", "tests/service/test_outages.py",
    "tests/service/test_plugins.py", "tests/service/test_state_lost.py", "tests/service/test_trust.py",
    "tests/service/ingest/test_elements.py", "tests/service/ingest/test_plans.py", "tests/test_deploy.py",
    "tests/service/test_rehearsal.py", "tests/service/test_trial.py", "tests/service/test_weekly.py",
    "tests/service/test_metric_cases.py", "tests/service/test_cases_daemon.py", "tests/service/test_sessions_daemon.py",
    "tests/service/writeback/test_two_daemons.py", "tests/service/test_people.py",
    "tests/service/test_spend_of_metrics.py", "tests/service/rule_tests/test_compare.py",
    "tests/service/exchange/test_conversations.py", "tests/service/test_pipeline.py", "tests/service/test_due.py",
    "tests/service/ingest/test_older_state.py", "tests/service/test_backtest.py", "tests/service/causes/test_pages.py",
    "tests/alertrules/test_any_text.py", "tests/service/ingest/test_scan.py", "tests/service/test_agentforce.py",
    "tests/service/causes/test_whole_and_parts.py", "tests/service/ingest/test_any_bytes.py",
    "tests/service/rule_tests/test_limits.py", "tests/service/exchange/test_record.py",
    "tests/service/exchange/test_adding.py", "tests/service/exchange/test_metered.py",
    "tests/service/exchange/test_part.py", "tests/service/test_stop_hook.py", "tests/alertrules/test_json_schema.py",
    "tests/alertrules/test_routes.py", "tests/alertrules/test_groups.py", "tests/service/ledger/test_cohorts.py",
    "tests/service/ledger/test_worst.py", "tests/service/rule_tests/test_stream.py",
)  # fmt: skip
"""Files and folders that start servers, or compute for seconds. `make quick` leaves them out, and the long ones.

All other runs begin with the long ones and these: so no process is left with a long one at the end.
"""
ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long ones and the slow ones, and put them first."""
    places = {item: _place(item) for item in items}
    for item, place in places.items():
        if place < len(LONG):
            item.add_marker(pytest.mark.long)
        if place < len(LONG + SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=places.__getitem__)


def _place(item: pytest.Item) -> int:
    """The place in LONG and SLOW; their length for all that are quick."""
    path = item.path.relative_to(ROOT)
    return next((i for i, slow in enumerate(LONG + SLOW) if path.is_relative_to(slow)), len(LONG + SLOW))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Kafka broker; each test makes topics of its own."""
    directory: Path = tmp_path_factory.mktemp("kafka")
    with broker.running(directory) as one:
        yield one.address
