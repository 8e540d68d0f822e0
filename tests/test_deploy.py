"""The container's files, held against the service's own options, limits and times."""

import ast
import json
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

import mien
from mien.cli.app import app as cli
from mien.serving import server
from mien.serving.app import create_app
from mien.serving.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text("utf-8")
UNITS = {"m": 2**20, "g": 2**30, "Mi": 2**20, "Gi": 2**30}


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.*)$", joined, flags=re.MULTILINE)


def size(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([a-zA-Z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def serve_options(arguments: list[str]) -> dict[str, Any]:
    """Read a call as the command does, which refuses what it does not know."""
    assert arguments[0] == "serve"
    command = get_command(cli).commands["serve"]  # type: ignore[attr-defined]
    return dict(command.make_context("serve", arguments[1:]).params)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))
    return dict(parsed["services"]["mien"])


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    text = (ROOT / "deploy/kubernetes.yaml").read_text("utf-8")
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


@pytest.fixture(scope="module")
def pod(manifests: dict[str, Any]) -> dict[str, Any]:
    return dict(manifests["Deployment"]["spec"]["template"]["spec"])


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return dict(only)


@pytest.fixture(scope="module")
def calls(compose: dict[str, Any], container: dict[str, Any]) -> dict[str, list[str]]:
    (command,) = instructions("CMD")
    return {
        "Dockerfile": json.loads(command),
        "compose": compose["command"],
        "kubernetes": container["args"],
    }


def test_every_call_is_one_that_the_service_takes(calls: dict[str, list[str]]) -> None:
    (exposed,) = instructions("EXPOSE")
    for file, call in calls.items():
        options = serve_options(call)
        assert options["host"] == "0.0.0.0", file
        assert options["port"] == int(exposed), file


def test_the_image_installs_the_extra_alone_with_the_suites_versions() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (install,) = (line for line in instructions("RUN") if "pip" in line)

    assert re.findall(r"\.\[(.*?)\]", install) == ["serve"]
    assert "serve" in extras["optional-dependencies"]
    assert "--constraint constraints.txt" in install
    for copied in instructions("COPY")[:2]:
        for name in shlex.split(copied)[:-1]:
            assert (ROOT / name).exists(), name
            ignored = (ROOT / "deploy/Dockerfile.dockerignore").read_text("utf-8")
            assert f"!{name}" in ignored.splitlines(), name


def test_the_pins_were_made_for_the_images_python() -> None:
    (version,) = re.findall(r"^ARG PYTHON=(\S+)-slim$", DOCKERFILE, flags=re.MULTILINE)

    assert f"--python-version {version}\n" in (ROOT / "constraints.txt").read_text("utf-8")


def test_the_graphs_that_are_built_are_those_that_are_read() -> None:
    built, read = (re.search(r"MIEN_CACHE=(\S+)", line) for line in instructions("ENV"))
    (target,) = (shlex.split(line)[-1] for line in instructions("COPY") if "--from=build" in line)

    assert built is not None
    assert read is not None
    assert built[1] == read[1]
    assert built[1].startswith(f"{target}/")


def test_nobody_is_root(pod: dict[str, Any]) -> None:
    (user,) = instructions("USER")
    made = re.search(r"--uid (\d+)", "\n".join(instructions("RUN")))
    context = pod["securityContext"]

    assert made is not None
    assert user == f"{made[1]}:{made[1]}"
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert context["runAsNonRoot"] is True
    assert DOCKERFILE.rindex("\nUSER") > DOCKERFILE.rindex("\nRUN")


def test_the_health_check_tells_the_living_from_the_dead() -> None:
    (check,) = (line for line in instructions("HEALTHCHECK"))
    python, flag, code = ast.literal_eval(check.partition("CMD ")[2])
    assert (python, flag) == ("python", "-c")

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" and healthy else 503)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    def run() -> int:
        local = code.replace(":8000/", f":{listener.server_port}/")
        # A proxy that the environment names must not be asked.
        environment = {"http_proxy": "http://127.0.0.1:9"}
        command = [sys.executable, "-c", local]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    healthy = True
    with HTTPServer(("127.0.0.1", 0), Answer) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        assert run() == 0
        healthy = False
        assert run() != 0
        listener.shutdown()


def test_probes_ask_for_what_the_service_has(
    manifests: dict[str, Any], container: dict[str, Any]
) -> None:
    routes = {getattr(route, "path", None) for route in create_app().routes}
    routes |= set(create_app().openapi()["paths"])
    for kind, path in (("startup", "/healthz"), ("readiness", "/readyz"), ("liveness", "/healthz")):
        request = container[f"{kind}Probe"]["httpGet"]
        assert request == {"path": path, "port": "http"}
        assert path in routes
    (port,) = container["ports"]
    assert port["containerPort"] == serve_options(container["args"])["port"]
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    (rule,) = manifests["NetworkPolicy"]["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port["name"]}]


def test_it_is_given_the_time_to_finish(
    pod: dict[str, Any], compose: dict[str, Any], container: dict[str, Any]
) -> None:
    config = server._config(create_app(), ServiceSettings())
    finishing = config.timeout_graceful_shutdown
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert finishing is not None
    assert int(compose["stop_grace_period"].removesuffix("s")) > finishing
    assert pod["terminationGracePeriodSeconds"] > sleep + finishing


def test_clips_fit_where_they_lie_and_in_memory(
    compose: dict[str, Any], pod: dict[str, Any], container: dict[str, Any]
) -> None:
    (mount,) = compose["tmpfs"]
    folder, _, options = mount.partition(":")
    held = size(dict(part.split("=") for part in options.split(",") if "=" in part)["size"])
    (volume,) = pod["volumes"]
    limits = container["resources"]["limits"]
    for call, room, memory in (
        (compose["command"], held, size(compose["mem_limit"]) - held),
        (container["args"], size(volume["emptyDir"]["sizeLimit"]), size(limits["memory"])),
    ):
        given = serve_options(call)
        assert given["max_videos"] * given["max_video_mb"] * 1e6 <= room
        # As measured with two readers at the largest picture; and what waits.
        assert memory >= 2.1e9 * given["threads"] / 2 + given["max_waiting_mb"] * 1e6
    assert folder == "/tmp" == container["volumeMounts"][0]["mountPath"]
    assert size(volume["emptyDir"]["sizeLimit"]) <= size(limits["ephemeral-storage"])


def test_there_are_as_many_threads_as_cores(
    compose: dict[str, Any], container: dict[str, Any]
) -> None:
    assert serve_options(compose["command"])["threads"] == compose["cpus"]
    cores = int(container["resources"]["limits"]["cpu"])
    assert serve_options(container["args"])["threads"] == cores


def test_nothing_can_be_written_or_gained(
    compose: dict[str, Any], pod: dict[str, Any], container: dict[str, Any]
) -> None:
    assert compose["read_only"] is True
    assert compose["cap_drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]
    assert compose["ports"] == ["127.0.0.1:8000:8000"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False


def test_the_key_is_the_one_that_the_command_reads(
    compose: dict[str, Any], container: dict[str, Any]
) -> None:
    command = get_command(cli).commands["serve"]  # type: ignore[attr-defined]
    (name,) = (option.envvar for option in command.params if option.name == "api_key")

    assert list(compose["environment"]) == [name]
    assert [variable["name"] for variable in container["env"]] == [name]


def test_every_selector_finds_the_pods(manifests: dict[str, Any]) -> None:
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    specs = {kind: document["spec"] for kind, document in manifests.items()}
    for kind, selector in (
        ("Deployment", specs["Deployment"]["selector"]["matchLabels"]),
        ("Service", specs["Service"]["selector"]),
        ("PodDisruptionBudget", specs["PodDisruptionBudget"]["selector"]["matchLabels"]),
        ("NetworkPolicy", specs["NetworkPolicy"]["podSelector"]["matchLabels"]),
    ):
        assert selector.items() <= labels, kind
    least = specs["PodDisruptionBudget"]["minAvailable"]
    assert least < specs["Deployment"]["replicas"], "a node could not be emptied"
    assert specs["NetworkPolicy"]["egress"] == []


def test_versions_are_the_packages(compose: dict[str, Any], container: dict[str, Any]) -> None:
    assert compose["image"].endswith(f":{mien.__version__}")
    assert container["image"].endswith(f":{mien.__version__}")
    assert f'version="{mien.__version__}"' in DOCKERFILE
