"""docker-compose.yml matches docs/operations.md, and the images contain what pyproject.toml requires."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from service.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"migrate", "indexer"}


def test_every_container_is_confined() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert set(service.get("cap_add", ())) <= ({"NET_BIND_SERVICE"} if name == "proxy" else set()), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert "network_mode" not in service, name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        assert all(volume.split(":")[0] != "/var/run/docker.sock" for volume in service["volumes"]), name


def test_what_runs_for_long_has_a_health_check_and_a_version() -> None:
    in_image = "HEALTHCHECK" in (ROOT / "docker/Dockerfile").read_text()
    for name, service in SERVICES.items():
        tag = service["image"].rsplit(":", 1)[1]
        assert re.search(r"\d+\.\d+", tag), name
        if name not in ONCE:
            assert "healthcheck" in service or ("build" in service and in_image), name


def test_ports_are_open_on_loopback_only_unless_told_otherwise() -> None:
    published = {port for service in SERVICES.values() for port in service.get("ports", ())}
    assert published == {"${LISTEN:-127.0.0.1}:${HTTPS_PORT:-8443}:8443", "127.0.0.1:${GRAFANA_PORT:-3000}:3000"}
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "outside" in service["networks"]} == {"proxy", "grafana"}


def test_no_secret_is_in_an_environment_variable_and_all_are_made_by_prepare(tmp_path: Path) -> None:
    for name, service in SERVICES.items():
        for variable in service.get("environment") or ():
            assert not re.search(r"PASSWORD$|_URL$|TOKEN|SECRET|KEY$", variable), (name, variable)
    copy = tmp_path / "docker"
    copy.mkdir()
    (copy / "prepare.sh").write_text((ROOT / "docker/prepare.sh").read_text())
    (tmp_path / ".env.example").write_text((ROOT / ".env.example").read_text())
    made: list[dict[str, str]] = []
    for _ in range(2):
        subprocess.run(["sh", copy / "prepare.sh"], check=True)
        made.append({file.name: file.read_text() for file in (tmp_path / "secrets").iterdir() if file.is_file()})
    assert made[0] == made[1]
    assert set(made[0]) == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert len(made[0]["database_password"]) == 40
    assert made[0]["database_password"] in made[0]["touchstone_database_url"]
    assert ((tmp_path / "secrets").stat().st_mode & 0o777) == 0o700


def test_a_secret_file_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "touchstone_database_url").write_text("postgresql://touchstone:secret@database/touchstone")
    assert Settings(_secrets_dir=tmp_path).database_url == "postgresql://touchstone:secret@database/touchstone"  # type: ignore[call-arg]


def test_the_example_explains_every_variable_and_names_settings_with_their_defaults() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = set(re.findall(r"\$\{(\w+)", text)) | {
        name
        for service in SERVICES.values()
        for name, value in (service.get("environment") or {}).items()
        if value is None
    }
    example = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert used <= example.keys()
    settings = {f"TOUCHSTONE_{name.upper()}": field.default for name, field in Settings.model_fields.items()}
    assert example.keys() - used - {"COMPOSE_PROFILES"} <= settings.keys(), "neither compose nor the service reads it"
    examples = {"TOUCHSTONE_ENCODER", "TOUCHSTONE_ROOT_PATH", "TOUCHSTONE_TRACES_ENDPOINT"}  # of what has no number
    for name in example.keys() & settings.keys() - examples:
        assert example[name] == str(settings[name]), name


def test_every_setting_of_the_env_file_reaches_every_container_of_the_service() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["env_file"] == [".env"], name
            assert "environment" not in service, name


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    lint = subprocess.run([hadolint, ROOT / "docker/Dockerfile"], capture_output=True, text=True)
    assert (lint.returncode, lint.stdout) == (0, ""), lint.stdout + lint.stderr


def test_the_images_pin_a_version_of_every_dependency_that_fits() -> None:
    lines = (ROOT / "docker/constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    [torch] = re.findall(r"^ARG TORCH=(.+)$", dockerfile, re.MULTILINE)
    assert f"TORCH := torch=={torch}" in (ROOT / "Makefile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    installed = (line for extra in ("cpu", "gpu", "oidc", "ray-serve", "s3", "tracing") for line in extras[extra])
    for line in (*project["dependencies"], *installed):
        requested = Requirement(line)
        version = torch if requested.name == "torch" else pinned[canonicalize_name(requested.name)]
        assert requested.specifier.contains(version), line
    assert f"touchstone:${{TOUCHSTONE_VERSION:-{project['version']}}}-cpu" == SERVICES["service"]["image"]
