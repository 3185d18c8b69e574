"""The Kubernetes manifests are valid, refer to existing objects, and harden their containers."""

from __future__ import annotations

import copy
import inspect
import json
from pathlib import Path
from typing import Any

import jsonpatch
import jsonschema
import kubernetes_validate
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from service.ray_serving import applications
from service.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
BASE = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / "base" / name).read_text()) for name in BASE["resources"]
}
RAY: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / "ray" / name).read_text()) for name in ("rayservice.yaml", "network.yaml")
}
VERSION = "1.30"
HARDENED = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}


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
        assert container["securityContext"] == HARDENED
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


def patched_front() -> dict[str, Any]:
    overlay = yaml.safe_load((FOLDER / "ray/kustomization.yaml").read_text())
    assert set(overlay["resources"]) == {"../base", *RAY}
    [patch] = overlay["patches"]
    patched: dict[str, Any] = jsonpatch.apply_patch(MANIFESTS["deployment.yaml"], yaml.safe_load(patch["patch"]))
    return patched


def test_the_ray_overlay_makes_the_pods_of_the_base_fronts_of_the_cluster() -> None:
    patched, network = patched_front(), RAY["network.yaml"]
    for manifest in (patched, network):
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    pod = patched["spec"]["template"]["spec"]
    assert all(container["securityContext"] == HARDENED for container in (*pod["containers"], *pod["initContainers"]))
    head = f"{RAY['rayservice.yaml']['metadata']['name']}-head-svc"  # as KubeRay names it
    assert f"--address={head}:6379" in pod["containers"][0]["command"][-1]
    wait = pod["initContainers"][-1]["command"][-1]
    compile(wait, "await-cluster", "exec")
    assert f"http://{head}:8265/" in wait


def test_the_ray_service_is_one_by_kuberays_own_schema() -> None:
    schema = json.loads((Path(__file__).parent / "rayservice.schema.json").read_text())
    manifest = RAY["rayservice.yaml"]
    jsonschema.validate(manifest, schema)
    for field, wrong in (("replicas", "two"), ("minReplica", 2)):
        broken = copy.deepcopy(manifest)
        broken["spec"]["rayClusterConfig"]["workerGroupSpecs"][0][field] = wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_the_ray_service_deploys_what_serve_with_ray_does() -> None:
    spec = RAY["rayservice.yaml"]["spec"]
    deployed = ServeDeploySchema.model_validate(yaml.safe_load(spec["serveConfigV2"])).applications
    assert {application.name for application in deployed} == {applications.ENCODER, applications.MEMORY}
    for application in deployed:
        module, _, attribute = application.import_path.partition(":")
        assert module == applications.__name__
        assert len(inspect.signature(getattr(applications, attribute)).parameters) == 1, "as Serve calls a builder"
        assert application.route_prefix is None, "nothing but fronts calls it"
    pins = (FOLDER.parents[1] / "docker/constraints.txt").read_text().splitlines()
    assert f"ray=={spec['rayClusterConfig']['rayVersion']}" in pins


def test_pods_of_the_ray_cluster_are_valid_confined_and_within_their_network() -> None:
    cluster = RAY["rayservice.yaml"]["spec"]["rayClusterConfig"]
    within = RAY["network.yaml"]["spec"]["podSelector"]["matchLabels"].items()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        template = group["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ray", **template["metadata"]}}
        kubernetes_validate.validate({**pod, "spec": template["spec"]}, VERSION, strict=True)
        assert within <= template["metadata"]["labels"].items()
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        [container] = template["spec"]["containers"]
        assert container["securityContext"] == HARDENED
        assert "wget" not in str((container["livenessProbe"], container["readinessProbe"]))
