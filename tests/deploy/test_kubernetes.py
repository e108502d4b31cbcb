"""k8s/, as kustomize renders it, against the API's own schemas."""

import copy
import json
import re
from typing import Any

import kubernetes_validate
import pytest
from sqlalchemy import make_url

from services.trainer.models import Job
from services.trainer.storage import UNFINISHED
from tests.deploy.rendered import (
    OUTGOING,
    OUTGOING_EXAMPLE,
    ROOT,
    SERVICES,
    WORKERS,
    container,
    container_environment,
    env_file,
    expand,
    kustomize,
    load_settings,
    named,
    peers,
    pods,
)

BASE, GPU = "k8s/base", "k8s/overlays/gpu"
WITH_OUTGOING = "tests/deploy/with-outgoing"
KUBERNETES = "1.33"
both = pytest.mark.parametrize("folder", [BASE, GPU])
Objects = tuple[dict[str, Any], ...]


def template(objects: Objects, name: str) -> dict[str, Any]:
    return dict(pods(objects))[name]


def policies(objects: Objects, direction: str, pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Rules of every NetworkPolicy that selects a pod and limits ``direction``."""
    labels = pod["metadata"]["labels"]
    return [
        rule
        for thing in objects
        if thing["kind"] == "NetworkPolicy"
        and direction.capitalize() in thing["spec"]["policyTypes"]
        and selects(thing["spec"]["podSelector"], labels)
        for rule in thing["spec"].get(direction, [])
    ]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    among = selector.get("matchExpressions", [])
    assert all(expression["operator"] == "In" for expression in among)
    return all(labels.get(key) == value for key, value in wanted) and all(
        labels.get(expression["key"]) in expression["values"] for expression in among
    )


def reachable(objects: Objects, target: str) -> set[str]:
    """Pods of ours whose packets both sides' policies let through to ``target``."""
    everyone = dict(pods(objects))

    def allowed(rules: list[dict[str, Any]], side: str, other: dict[str, Any]) -> bool:
        return any(
            "podSelector" in peer and selects(peer["podSelector"], other["metadata"]["labels"])
            for rule in rules
            for peer in rule.get(side, [])
        )

    return {
        name
        for name, pod in everyone.items()
        if allowed(policies(objects, "ingress", everyone[target]), "from", pod)
        and allowed(policies(objects, "egress", pod), "to", everyone[target])
    }


@both
def test_every_object_fits_the_schema_of_its_kind(folder: str) -> None:
    for thing in kustomize(folder):
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)


def test_a_misspelt_field_does_not_fit() -> None:
    """The check above looks: strictly, and into the pod."""
    pod = copy.deepcopy(template(kustomize(BASE), "vllm"))
    pod["spec"]["containers"][0]["readynessProbe"] = {}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": {"template": pod}}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_it_runs_the_processes_of_the_local_stack_and_fetches_models() -> None:
    expected = {"vllm", "postgres", "redis", "models", *SERVICES, *WORKERS}
    assert {name for name, _ in pods(kustomize(BASE))} == expected


@both
def test_every_pod_is_locked_down(folder: str) -> None:
    for name, pod in pods(kustomize(folder)):
        spec, this = pod["spec"], container(pod)
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["serviceAccountName"] == name
        assert this["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name


@both
def test_no_pod_is_told_of_services_by_variables(folder: str) -> None:
    """A Service named ``vllm`` would become VLLM_PORT=tcp://…, which vLLM takes for its port."""
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in pods(kustomize(folder)))


@both
def test_every_pod_says_what_it_needs_and_how_it_is(folder: str) -> None:
    for name, pod in pods(kustomize(folder)):
        this = container(pod)
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(this["resources"][kind]), name
        if name != "models":
            assert "readinessProbe" in this, name


def test_the_apis_are_asked_on_their_open_paths() -> None:
    for service in SERVICES:
        this = container(template(kustomize(BASE), service))
        assert this["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert this["readinessProbe"]["httpGet"]["path"] == "/readyz"


@both
def test_images_are_pinned(folder: str) -> None:
    for name, pod in pods(kustomize(folder)):
        image = container(pod)["image"]
        assert re.search(r":v?\d+\.\d+\.\d+", image), f"{name}: {image}"


def test_gpus_are_asked_for_in_the_overlay_only() -> None:
    def asking(folder: str) -> set[str]:
        return {
            name
            for name, pod in pods(kustomize(folder))
            if "nvidia.com/gpu" in container(pod)["resources"]["limits"]
        }

    assert asking(BASE) == set()
    assert asking(GPU) == {"vllm", "trainer-worker"}


def test_the_overlay_runs_the_cuda_image_without_the_settings_of_the_cpu_one() -> None:
    for folder, image, is_cpu in (
        (BASE, "vllm/vllm-openai-cpu", True),
        (GPU, "vllm/vllm-openai", False),
    ):
        pod = template(kustomize(folder), "vllm")
        assert container(pod)["image"].split(":")[0] == image
        seen = container_environment(kustomize(folder), pod)
        assert any(name.startswith("VLLM_CPU_") for name in seen) is is_cpu


@both
def test_nothing_is_allowed_that_no_policy_allows(folder: str) -> None:
    deny = named(kustomize(folder), "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@both
def test_vllm_is_reachable_by_the_generator_only(folder: str) -> None:
    objects = kustomize(folder)
    assert reachable(objects, "vllm") == {"generator"}
    sources = [
        p for r in policies(objects, "ingress", template(objects, "vllm")) for p in r["from"]
    ]
    assert all(set(source) == {"podSelector"} for source in sources)


@both
@pytest.mark.parametrize("database", ["postgres", "redis"])
def test_databases_are_reachable_by_services_and_workers_only(folder: str, database: str) -> None:
    assert reachable(kustomize(folder), database) == {*SERVICES, *WORKERS}


def test_only_the_job_that_fetches_models_has_a_way_out() -> None:
    objects = kustomize(BASE)
    free = {
        name
        for name, pod in pods(objects)
        if any("to" not in rule for rule in policies(objects, "egress", pod))
    }
    assert free == {"models"}


def test_the_trainer_s_worker_alone_reaches_the_internet_when_asked_to() -> None:
    before, after = kustomize(BASE), kustomize(WITH_OUTGOING)
    for thing in after:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    for name, pod in pods(after):
        told = policies(after, "egress", pod)
        new = [rule for rule in told if rule not in policies(before, "egress", pod)]
        if name != "trainer-worker":
            assert new == [], name
            continue
        ((rule),) = new
        assert rule["ports"] == [{"port": 443}]
        inside = rule["to"][0]["ipBlock"]["except"]
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(inside)


@pytest.mark.parametrize("process", ["trainer", "trainer-worker"])
def test_the_trainer_is_told_whom_to_tell(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = kustomize(WITH_OUTGOING)
    environment = container_environment(objects, template(objects, process))
    assert OUTGOING.items() <= environment.items()
    load_settings("trainer", environment, monkeypatch)


def test_the_example_of_what_goes_out_names_it_all() -> None:
    named_in_it = re.findall(r"^#(\w+)=", OUTGOING_EXAMPLE.read_text(), re.MULTILINE)
    assert named_in_it == list(OUTGOING)


@both
@pytest.mark.parametrize("process", [*SERVICES, *WORKERS])
def test_each_process_starts_from_its_environment(
    process: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = kustomize(folder)
    environment = container_environment(objects, template(objects, process))
    assert not any("$(" in value for value in environment.values())
    settings = load_settings(process.removesuffix("-worker"), environment, monkeypatch)
    assert settings.mode == "production"
    for peer, url in peers(settings).items():
        assert url == f"http://{peer}:8000"


@both
def test_vllm_serves_the_model_rank_and_number_of_adapters_the_generator_asks_for(
    folder: str,
) -> None:
    objects = kustomize(folder)
    vllm, generator = template(objects, "vllm"), template(objects, "generator")
    seen = container_environment(objects, vllm)
    arguments = [expand(text, seen) for text in container(vllm)["args"]]
    told = container_environment(objects, generator)
    assert arguments[0] == told["FINEPROOF_GENERATOR_BASE_MODEL_PATH"]
    assert f"--served-model-name={told['FINEPROOF_GENERATOR_BASE_MODEL']}" in arguments
    assert f"--max-lora-rank={told['FINEPROOF_GENERATOR_MAX_LORA_RANK']}" in arguments
    assert f"--max-cpu-loras={told['FINEPROOF_GENERATOR_MAX_CPU_LORAS']}" in arguments
    assert {"--enable-auto-tool-choice", "--tool-call-parser=hermes"} <= set(arguments)
    assert not any("$(" in argument for argument in arguments)
    assert seen["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    mounts = {mount["name"]: mount for mount in container(vllm)["volumeMounts"]}
    assert mounts["adapters"]["mountPath"] == told["FINEPROOF_GENERATOR_ADAPTER_CACHE"]
    assert mounts["adapters"]["readOnly"] is True


@both
def test_the_generator_finds_each_replica_of_vllm_behind_one_name(folder: str) -> None:
    objects = kustomize(folder)
    service = named(objects, "Service", "vllm")
    assert service["spec"]["clusterIP"] == "None"
    (port,) = service["spec"]["ports"]
    told = container_environment(objects, template(objects, "generator"))
    names = json.loads(told["FINEPROOF_GENERATOR_VLLM_NAMES"])
    assert names == [f"http://{service['metadata']['name']}:{port['port']}"]


@both
def test_every_mounted_volume_exists(folder: str) -> None:
    objects = kustomize(folder)
    claims = {o["metadata"]["name"] for o in objects if o["kind"] == "PersistentVolumeClaim"}
    for name, pod in pods(objects):
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        own = {"data"} if name == "postgres" else set()
        mounted = {mount["name"] for mount in container(pod)["volumeMounts"]}
        assert mounted == set(volumes) | own, name
        used = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        }
        assert used <= claims, name


def test_secrets_are_referred_to_never_rendered_and_the_example_names_them_all() -> None:
    objects = kustomize(BASE)
    assert not [o for o in objects if o["kind"] == "Secret"]
    keys = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for _, pod in pods(objects)
        for entry in container(pod).get("env", [])
        if "secretKeyRef" in entry.get("valueFrom", {})
    }
    assert keys == set(env_file(ROOT / "k8s" / "secrets.env.example"))


def test_keda_watches_the_queue_of_each_worker() -> None:
    """KEDA's own schema is not at hand: names and targets are checked against the base."""
    objects = kustomize(BASE)
    scaling = kustomize("tests/deploy/with-keda")
    scaled = {o["metadata"]["name"]: o["spec"] for o in scaling if o["kind"] == "ScaledObject"}
    assert set(scaled) == set(WORKERS)
    redis = named(objects, "Service", "redis")
    for worker, spec in scaled.items():
        assert named(objects, "Deployment", spec["scaleTargetRef"]["name"])
        assert spec["minReplicaCount"] == 1  # the sweeper
        (trigger,) = spec["triggers"]
        if trigger["type"] == "postgresql":
            continue
        assert trigger["metadata"]["listName"] == worker.removesuffix("-worker")
        host = f"redis.{redis['metadata']['namespace']}.svc:{redis['spec']['ports'][0]['port']}"
        assert trigger["metadata"]["address"] == host


def test_keda_counts_the_trainer_s_jobs_where_the_trainer_keeps_them() -> None:
    """A message to it is a wake-up, whatever the number of jobs: they wait in a table."""
    scaling = kustomize("tests/deploy/with-keda")
    (trigger,) = named(scaling, "ScaledObject", "trainer-worker")["spec"]["triggers"]
    told = trigger["metadata"]
    url = make_url(env_file(ROOT / "k8s" / "secrets.env.example")["DATABASE_URL"])
    postgres = named(kustomize(BASE), "Service", "postgres")
    assert told["host"] == f"{url.host}.{postgres['metadata']['namespace']}.svc"
    assert (told["userName"], told["dbName"]) == (url.username, url.database)
    assert told["query"].split(" where ")[0] == f"select count(*) from {Job.__table__.fullname}"
    assert all(f"'{status}'" in told["query"] for status in UNFINISHED)
