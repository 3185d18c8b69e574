"""The Kubernetes manifests are valid, refer to existing objects, and harden their containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonpatch
import kubernetes_validate
import pytest
import yaml

from service.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
BASE = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / "base" / name).read_text()) for name in BASE["resources"]
}
VERSION = "1.30"


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_valid(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], VERSION, strict=True)


def test_the_validation_finds_mistakes() -> None:
    broken = {**MANIFESTS["disruption.yaml"], "spec": {"minAvailble": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


def test_every_manifest_is_listed() -> None:
    assert {file.name for file in (FOLDER / "base").iterdir()} == {"kustomization.yaml", *BASE["resources"]}


def test_the_gpu_overlay_gives_a_valid_deployment_with_a_gpu() -> None:
    overlay = yaml.safe_load((FOLDER / "gpu/kustomization.yaml").read_text())
    [patch] = overlay["patches"]
    patched = jsonpatch.apply_patch(MANIFESTS["deployment.yaml"], yaml.safe_load(patch["patch"]))
    kubernetes_validate.validate(patched, VERSION, strict=True)
    [container] = patched["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_pods_are_confined_probed_and_found_by_what_refers_to_them() -> None:
    spec = MANIFESTS["deployment.yaml"]["spec"]
    pod = spec["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    [container] = pod["containers"]
    paths = {
        probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert MANIFESTS["service.yaml"]["spec"]["selector"] == labels
    assert MANIFESTS["disruption.yaml"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["network.yaml"]["spec"]["podSelector"]["matchLabels"] == labels
    assert container["ports"][0]["containerPort"] == Settings.model_fields["port"].default
