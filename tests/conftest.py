"""Fixtures that several test files share: the real servers. And which tests take long."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import broker

SLOW = (
    "tests/detectors", "tests/test_sanitize.py", "tests/test_install.py", "tests/service/test_alertmanager.py",
    "tests/service/test_any_numbers.py", "tests/service/test_bombs.py", "tests/service/test_broker_dies.py",
    "tests/service/test_cli.py", "tests/service/test_connections.py", "tests/service/test_crash.py",
    "tests/service/test_daemon.py", "tests/service/test_deliver.py", "tests/service/test_demo.py",
    "tests/service/test_detect.py", "tests/service/test_kafka.py", "tests/service/test_kafka_security.py",
    "tests/service/test_kafka_topics.py", "tests/service/test_otlp_grpc.py", "tests/service/test_reload.py",
    "tests/service/test_marks.py", "tests/service/test_metrics.py",
    "tests/service/test_otlp_http.py", "tests/service/test_outages.py", "tests/service/test_plugins.py",
    "tests/service/test_replay.py", "tests/service/test_state_lost.py", "tests/service/test_trust.py",
    "tests/service/ingest/test_elements.py", "tests/service/ingest/test_plans.py",
    "tests/service/ingest/test_reference.py",
)  # fmt: skip
"""Files and folders that start servers, or stream weeks through a detector: `make quick` leaves them out."""
ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow ones, so that `-m "not slow"` is a minute's feedback."""
    for item in items:
        place = item.path.relative_to(ROOT)
        if any(place.is_relative_to(slow) for slow in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Kafka broker; each test makes topics of its own."""
    directory: Path = tmp_path_factory.mktemp("kafka")
    with broker.running(directory) as one:
        yield one.address
