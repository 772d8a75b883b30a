"""What deploy/ holds, checked by the real tools where they can be had, and against what the project says of itself."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from service.config.settings import load, table
from service.own_metrics.catalog import DECLARED
from service.runtime import systemd
from service.sampling.collector import rendered
from service.sampling.needs import NOTHING_NEEDED
from service.sampling.policy import SHIPPED
from tests.service.ingest.wire import EPOCH_S, body, chat
from tests.service.running import running

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def needs(program: str, package: str) -> None:
    """Skip where a program is missing; fail in CI, which skips nothing."""
    if shutil.which(program):
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI skips nothing: there is no {program}")
    pytest.skip(f"no {program} here: install Debian's {package}")


def documents(path: str) -> list[Any]:
    return [one for one in YAML(typ="safe", pure=True).load_all((DEPLOY / path).read_text()) if one]


def containers(manifests: list[Any]) -> list[Any]:
    """The containers of all pods."""
    specs = [one["spec"].get("template", {}).get("spec", {}) for one in manifests if "spec" in one]
    return [container for spec in specs for container in spec.get("containers", ())]


def test_prometheus_rules() -> None:
    """They are rules, fire when they should, and are of metrics that there are."""
    needs("promtool", "prometheus")
    folder = DEPLOY / "prometheus"
    for command in (("check", "rules", "tocsin.rules.yml"), ("test", "rules", "tocsin.rules.test.yml")):
        done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (written,) = documents("prometheus/tocsin.rules.yml")
    rules = [rule for group in written["groups"] for rule in group["rules"]]
    tested = (folder / "tocsin.rules.test.yml").read_text()
    for rule in rules:
        assert set(re.findall(r"\btocsin_\w+", rule["expr"])) <= set(DECLARED), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning") and f"alertname: {rule['alert']}" in tested


def test_the_metrics_are_clean(tmp_path: Path) -> None:
    """promtool has nothing to say of what a daemon at work exports."""
    needs("promtool", "prometheus")
    with running(tmp_path, LATENESS="1s") as daemon:
        door, web = daemon.addresses()
        for ago_s in (200, 100, 0):
            end_s = time.time() - EPOCH_S - ago_s
            headers = {"Content-Type": "application/x-protobuf"}
            httpx.post(f"{door}/v1/traces", content=body(chat(ago_s + 1, 1, end_s - 1, end_s)), headers=headers)
        until_s = time.monotonic() + 20
        while "tocsin_latency_seconds{" not in (text := httpx.get(f"{web}/metrics", trust_env=False).text):
            assert time.monotonic() < until_s, text
            time.sleep(0.2)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_settings_are_settings() -> None:
    """Every setting that a file of deploy/ names is one, with a value that is taken."""
    known = {name for name, *_ in table()}
    given: dict[str, str] = {}
    for service in documents("compose/compose.yaml")[0]["services"].values():
        given |= {
            name: str(value) for name, value in service.get("environment", {}).items() if name.startswith("TOCSIN_")
        }
    for manifest in (
        "kubernetes/tocsin.yaml",
        "kubernetes-machines/detect.yaml",
        "kubernetes-machines/ingest/ingest.yaml",
    ):
        for container in containers(documents(manifest)):
            given |= {pair["name"]: pair["value"] for pair in container["env"]}
            load({name: value for name, value in given.items() if name != "TOCSIN_RULES"})
    load({name: value for name, value in given.items() if name != "TOCSIN_RULES"})
    assert set(given) <= known
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix in (".yaml", ".service", "") and path.name != "README.md":
            assert set(re.findall(r"\bTOCSIN_[A-Z_]+\b(?=[=:])", path.read_text())) <= known, path


def test_the_policies_are_those_that_tocsin_renders() -> None:
    """As shipped, where nothing is needed. Their names tell what each keeps; the gate has them recorded."""
    (collector,) = documents("collector/collector.yaml")
    wanted = YAML(typ="safe").load(rendered(SHIPPED, NOTHING_NEEDED))["processors"]["tail_sampling"]["policies"]
    assert collector["processors"]["tail_sampling"]["policies"] == wanted
    (compose,) = documents("compose/compose.yaml")
    command = compose["services"]["collector"]["command"]
    assert "--feature-gates=processor.tailsamplingprocessor.recordpolicy" in command


def test_files_that_are_named_are_there() -> None:
    """Of compose's volumes and builds, of kustomize's resources, and of the Dockerfile's copies."""
    (compose,) = documents("compose/compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / "compose" / source).exists(), volume
    (machines,) = documents("kubernetes-machines/kustomization.yaml")
    for name in (*machines["resources"], *(patch["path"] for patch in machines["patches"])):
        assert (DEPLOY / "kubernetes-machines" / name).exists(), name
    (kustomize,) = documents("kubernetes/kustomization.yaml")
    for name in (*kustomize["resources"], *kustomize["configMapGenerator"][0]["files"]):
        assert (DEPLOY / "kubernetes" / name).exists(), name
    # kustomize takes no files from outside its folder, so the shipped packs stand there once more.
    packs = sorted(pack for pack in (ROOT / "alertrules" / "packs").glob("*.yaml") if ".test." not in pack.name)
    assert kustomize["configMapGenerator"][0]["files"] == [f"rules/{pack.name}" for pack in packs]
    for pack in packs:
        assert (DEPLOY / "kubernetes" / "rules" / pack.name).read_text() == pack.read_text()
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert all((ROOT / name).exists() for name in line.split()[1:-1]), line


def test_the_runtime_lock_is_part_of_the_other() -> None:
    """What an image installs are the versions that the tests ran with."""
    pins = [
        dict(re.findall(r"(?m)^([\w-]+)==(\S+)", (ROOT / f"{name}.lock").read_text()))
        for name in ("runtime", "requirements")
    ]
    assert pins[0].items() <= pins[1].items() and "mypy" not in pins[0]


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it is ready, that it lives, and that it stops; where nobody listens nothing happens."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(path))
        one.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        with running(tmp_path) as daemon:
            words = {one.recv(100).decode() for _ in range(3)}
            assert words == {systemd.READY, systemd.ALIVE}
            assert daemon.stop() == 0
        one.settimeout(0.1)
        left = []
        try:
            while True:
                left.append(one.recv(100).decode())
        except TimeoutError:
            pass
        assert systemd.STOPPING in left
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.notify(systemd.READY)


def test_the_unit() -> None:
    """systemd finds no fault in it but that Tocsin is not installed here."""
    needs("systemd-analyze", "systemd")
    unit = DEPLOY / "systemd" / "tocsin.service"
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "tocsin.service" in line]
    assert [line for line in said if "is not executable" not in line] == []


def test_pods_of_both_roles_are_as_safe() -> None:
    """Role ingest runs as role all does: not root, nothing to write but its folders, probed, one at a time drained."""
    alone, ingest = documents("kubernetes/tocsin.yaml"), documents("kubernetes-machines/ingest/ingest.yaml")
    for name in ("securityContext", "livenessProbe", "readinessProbe", "startupProbe", "image"):
        assert containers(alone)[0][name] == containers(ingest)[0][name], name
    pods = [next(one["spec"]["template"]["spec"] for one in some if "template" in one["spec"])
            for some in (alone, ingest)]  # fmt: skip
    assert pods[1]["securityContext"].items() <= pods[0]["securityContext"].items()
    assert not pods[1]["automountServiceAccountToken"]
    kinds = {one["kind"]: one["spec"] for one in ingest}
    assert kinds["PodDisruptionBudget"]["maxUnavailable"] == 1
    named = kinds["Deployment"]["template"]["metadata"]["labels"]
    for kind in ("PodDisruptionBudget", "Deployment", "ServiceMonitor"):
        assert kinds[kind]["selector"]["matchLabels"] == named, kind
    assert kinds["NetworkPolicy"]["podSelector"]["matchLabels"] == kinds["Service"]["selector"] == named


def kustomized(folder: str) -> dict[tuple[str, str], Any]:
    """What kubectl makes of a folder: specs by kind and name."""
    if not shutil.which("kubectl"):
        pytest.skip("no kubectl here; Debian's is older than these manifests")
    done = subprocess.run(["kubectl", "kustomize", DEPLOY / folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["metadata"]["name"]): one.get("spec", {})
            for one in YAML(typ="safe", pure=True).load_all(done.stdout)}  # fmt: skip


def test_kustomize_makes_the_roles() -> None:
    """Two of detect with volumes and without doors for OTLP, and as many of ingest as were asked for."""
    made = kustomized("kubernetes-machines")
    detect, ingest = made["StatefulSet", "tocsin"], made["Deployment", "tocsin-ingest"]
    assert (detect["replicas"], ingest["replicas"]) == (2, 3) and detect["volumeClaimTemplates"]
    for pods, role in ((detect, "detect"), (ingest, "ingest")):
        (container,) = pods["template"]["spec"]["containers"]
        assert {"name": "TOCSIN_ROLE", "value": role} in container["env"]
        assert [port["containerPort"] for port in container["ports"]] == [9464]
    assert [port["port"] for port in made["Service", "tocsin"]["ports"]] == [9464]
    taken = [port["port"] for rule in made["NetworkPolicy", "tocsin"]["ingress"] for port in rule["ports"]]
    assert taken == [9464] and ("ServiceMonitor", "tocsin-ingest") in made


def test_kustomize_puts_role_sum_between() -> None:
    """Its pods are those of role ingest but for role and name, by which each object finds its own. All roles know its
    topic, and the others stay as they are."""
    without, made = kustomized("kubernetes-machines"), kustomized("kubernetes-sum")
    assert {name for name in made if name not in without} == {
        (kind, "tocsin-sum") for kind, name in without if name == "tocsin-ingest"
    }  # fmt: skip
    topic, of_role = {"name": "TOCSIN_KAFKA__SUMS_TOPIC", "value": "tocsin.sums"}, {}
    for kind, name in (("Deployment", "tocsin-ingest"), ("Deployment", "tocsin-sum"), ("StatefulSet", "tocsin")):
        (container,) = made[kind, name]["template"]["spec"]["containers"]
        of_role[name] = container["env"]
        container["env"].remove(topic)
    assert of_role["tocsin-sum"][0] == {"name": "TOCSIN_ROLE", "value": "sum"}
    assert of_role["tocsin-sum"][1:] == of_role["tocsin-ingest"][1:]
    assert without == {name: spec for name, spec in made.items() if name in without}
    for kind, name in without:
        if name == "tocsin-ingest":
            text = json.dumps(without[kind, name]).replace('/name": "tocsin-ingest"', '/name": "tocsin-sum"')
            wanted = json.loads(text)
            if kind == "Deployment":
                wanted["replicas"] = 2
                wanted["template"]["spec"]["containers"][0]["env"][0]["value"] = "sum"
            assert made[kind, "tocsin-sum"] == wanted, kind
