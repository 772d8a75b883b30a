"""What a running daemon says to those who sample."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from service.cli import main
from service.sampling.collector import rendered
from service.sampling.needs import NOTHING_NEEDED
from service.sampling.policy import Policy
from tests.service.running import running


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a daemon with a policy of its own, that was told of a deploy of support."""
    directory: Path = tmp_path_factory.mktemp("sampling")
    (directory / "keep.yaml").write_text("rest: 5%\nfresh: 50%\ndeploy_for: 2h\n")
    with running(directory, KEEP=str(directory / "keep.yaml")) as daemon:
        address = daemon.addresses()[1].removeprefix("http://")
        assert main(["change", "support v2.4", "--series", "agent=support", "--at", address]) == 0
        yield address


def get(web: str, path: str) -> httpx.Response:
    return httpx.get(f"http://{web}{path}", trust_env=False, timeout=30)


def test_what_is_needed(web: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, as JSON, and as a gauge."""
    assert main(["sampling", "--at", web]) == 0
    assert capsys.readouterr().out.startswith("support: deploy, support v2.4, until 20")
    assert main(["sampling", "--at", web, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["policy"]["rest"] == 0.05 and told["policy"]["deploy_for_s"] == 7200
    (need,) = told["needs"]
    assert (need["agent"], need["reason"], need["why"]) == ("support", "deploy", "support v2.4")
    assert 7100 < need["until_s"] - time.time() <= 7200
    assert 'tocsin_sampling_needs{reason="deploy"} 1.0' in get(web, "/metrics").text


def test_the_collector_is_told(
    web: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the API says is what the command prints; without a daemon, what the policy says by itself."""
    answer = get(web, "/api/v1/sampling/collector")
    assert answer.headers["content-type"].startswith("application/yaml")
    assert main(["sampling", "collector", "--at", web]) == 0
    assert capsys.readouterr().out == answer.text
    names = [one["name"] for one in YAML(typ="safe").load(answer.text)["processors"]["tail_sampling"]["policies"]]
    assert "tocsin/deploy gen_ai.agent.name=1" in names and names[-1] == "tocsin/rest=0.05"
    (tmp_path / "keep.yaml").write_text("rest: 20%")
    monkeypatch.setenv("TOCSIN_KEEP", str(tmp_path / "keep.yaml"))
    assert main(["sampling", "collector", "--alone"]) == 0
    assert capsys.readouterr().out == rendered(Policy(rest=0.2), NOTHING_NEEDED)
    monkeypatch.setenv("TOCSIN_KEEP", str(tmp_path / "nowhere.yaml"))
    assert main(["sampling", "collector", "--alone"]) == 1
    assert "TOCSIN_KEEP: cannot read" in capsys.readouterr().err


def test_sdks_poll_as_they_poll_jaeger(web: str) -> None:
    """JSON with names for enumerations; a service that is missing, or named twice, is a wrong request."""
    assert get(web, "/sampling?service=support").json()["probabilisticSampling"] == {"samplingRate": 1.0}
    other = get(web, "/sampling?service=web%20shop").json()
    assert (other["strategyType"], other["probabilisticSampling"]) == ("PROBABILISTIC", {"samplingRate": 0.05})
    (operation,) = other["operationSampling"]["perOperationStrategies"]
    assert operation == {"operation": "invoke_agent support", "probabilisticSampling": {"samplingRate": 1.0}}
    for path in ("/sampling", "/sampling?service=", "/sampling?service=a&service=b"):
        answer = get(web, path)
        assert (answer.status_code, answer.text) == (400, "'service' parameter must be provided once\n")
