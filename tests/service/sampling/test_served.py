"""What a running daemon says to those who sample."""

import asyncio
import json
import re
import struct
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from ruamel.yaml import YAML

from service.cli import main
from service.sampling.collector import rendered
from service.sampling.needs import NOTHING_NEEDED, Need, Needs, Reason
from service.sampling.policy import Policy
from service.sampling.remote import strategy
from service.sources.otlp_grpc import GrpcDoor
from service.sources.otlp_http import Door
from service.sources.sampling_grpc import sampling_handler
from tests.service.running import Running, running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A daemon with a policy of its own, that was told of a deploy of support."""
    directory: Path = tmp_path_factory.mktemp("sampling")
    (directory / "keep.yaml").write_text("rest: 5%\nfresh: 50%\ndeploy_for: 2h\n")
    with running(directory, KEEP=str(directory / "keep.yaml")) as daemon:
        address = daemon.addresses()[1].removeprefix("http://")
        assert main(["change", "support v2.4", "--series", "agent=support", "--at", address]) == 0
        yield daemon


@pytest.fixture(scope="module")
def web(daemon: Running) -> str:
    """The address of its API."""
    return daemon.addresses()[1].removeprefix("http://")


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


def test_a_daemon_is_asked_over_grpc(daemon: Running) -> None:
    """Where its OTLP/gRPC door is."""
    found = re.search(r"OTLP/gRPC on (\S+)", daemon.said)
    assert found
    with grpc.insecure_channel(found[1]) as channel:
        answer = channel.unary_unary(CHANNEL)(b"\x0a\x07support", timeout=10)
    assert answer == b"\x12\x09\x09" + struct.pack("<d", 1.0)


CHANNEL = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy"


async def asked(body: bytes, token: str = "", sent: str = "") -> tuple[grpc.StatusCode, str, bytes]:
    """What a door of its own answers, whose strategies are these: code, words and message."""

    async def found(service: str) -> dict[str, Any]:
        needed = Needs((Need("support", Reason.DEPLOY, "v2", 9), Need("sales", Reason.ALERT, "Up", 0)))
        return strategy(Policy(rest=0.05), needed, service)

    door = GrpcDoor(Door(asyncio.Queue(), 9_000, token), "127.0.0.1:0", 9, beside=partial(sampling_handler, found))
    serving = asyncio.create_task(door.run())
    try:
        async with grpc.aio.insecure_channel(door.address) as channel:
            metadata = (("authorization", sent),) if sent else ()
            try:
                return grpc.StatusCode.OK, "", await channel.unary_unary(CHANNEL)(body, metadata=metadata, timeout=10)
            except grpc.aio.AioRpcError as error:
                return error.code(), str(error.details()), b""
    finally:
        await door.stop()
        await serving


def test_over_grpc() -> None:
    """Field by field as Jaeger's `sampling.proto` numbers them; a type that is 0 is not written."""
    code, _, answer = asyncio.run(asked(b"\x0a\x07support"))
    assert code is grpc.StatusCode.OK and answer == b"\x12\x09\x09" + struct.pack("<d", 1.0)
    _, _, answer = asyncio.run(asked(b"\x0a\x03web"))
    rest, whole = (b"\x09" + struct.pack("<d", share) for share in (0.05, 1.0))
    operations = b"".join(
        b"\x1a" + bytes([len(name) + 13]) + b"\x0a" + bytes([len(name)]) + name + b"\x12\x09" + whole
        for name in (b"invoke_agent sales", b"invoke_agent support")
    )
    assert answer == b"\x12\x09" + rest + b"\x22" + bytes([9 + len(operations)]) + rest + operations


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", grpc.StatusCode.INVALID_ARGUMENT, "serviceName: expected a name"),
        (b"\x0a\xff", grpc.StatusCode.INVALID_ARGUMENT, "not a SamplingStrategyParameters"),
        (b"\x0a\xe9\x07" + b"a" * 1001, grpc.StatusCode.INVALID_ARGUMENT, "1 to 1000 characters"),
        (b"\x0a\x02\xff\xfe", grpc.StatusCode.INVALID_ARGUMENT, "not a SamplingStrategyParameters"),
    ],
)
def test_over_grpc_what_is_wrong_is_said(body: bytes, code: grpc.StatusCode, said: str) -> None:
    answer = asyncio.run(asked(body))
    assert answer[0] is code and said in answer[1]


def test_over_grpc_with_a_token() -> None:
    """The one of the OTLP door."""
    assert asyncio.run(asked(b"\x0a\x01a", "hunter2"))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert asyncio.run(asked(b"\x0a\x01a", "hunter2", "Bearer hunter2"))[0] is grpc.StatusCode.OK
