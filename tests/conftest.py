"""Fixtures that several test files share: the real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import broker


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Kafka broker; each test makes topics of its own."""
    directory: Path = tmp_path_factory.mktemp("kafka")
    with broker.running(directory) as one:
        yield one.address
