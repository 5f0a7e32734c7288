"""A job file becomes a RayJob that survives the night, and what a cluster could not run is refused before it is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelmill.jobs.cli import app
from pixelmill.jobs.job import read_job
from pixelmill.jobs.kubernetes.comments import explained
from pixelmill.jobs.kubernetes.making import Asked, make
from pixelmill.jobs.planning import make_plan
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.training.job import read_recipe_file
from pixelmill.jobs.training.plan import scale_of
from pixelmill.pipelines.placement import Node
from pixelmill.workers.errors import JobError
from tests.jobs.kubernetes.manifests import JOB, made, one, written

TRAINING = "recipe: ct-autoencoder\ndata: s3://archive/slices\nout: s3://archive/trained\n"
FLOW = """\
version: 1
out: s3://archive/flow
steps:
  embed: {run: [run, embed.yaml, --set, "out=${out}"]}
  export: {run: [export, "${embed.out}", "${out}"]}
"""


def spec(folder: Path, *overrides: str, **asked: Any) -> dict[str, Any]:
    return one(made(folder, overrides=list(overrides), **asked), "RayJob")["spec"]


def pods(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    cluster = job["rayClusterSpec"]
    groups = {group["groupName"]: group["template"]["spec"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"]["spec"], **groups}


def test_the_head_computes_nothing_and_never_lies_on_a_node_that_may_be_taken_away(tmp_path: Path) -> None:
    job = spec(tmp_path, "groups.0.spot=true")
    assert job["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    terms = pods(job)["head"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    refused = {(each["key"], *each["values"]) for each in terms["nodeSelectorTerms"][0]["matchExpressions"]}
    assert {("eks.amazonaws.com/capacityType", "SPOT"), ("cloud.google.com/gke-spot", "true")} <= refused
    assert all(each["operator"] == "NotIn" for each in terms["nodeSelectorTerms"][0]["matchExpressions"])
    assert "preferredDuringSchedulingIgnoredDuringExecution" in pods(job)["workers"]["affinity"]["nodeAffinity"]
    assert (
        "requiredDuringSchedulingIgnoredDuringExecution" in pods(spec(tmp_path))["workers"]["affinity"]["nodeAffinity"]
    )


def test_every_pod_has_time_to_drain_and_to_save(tmp_path: Path) -> None:
    assert {pod["terminationGracePeriodSeconds"] for pod in pods(spec(tmp_path)).values()} == {120}
    with pytest.raises(JobError, match="grace_s: should be greater than or equal to 60"):
        spec(tmp_path, "grace_s=30")


@pytest.mark.parametrize("job", [JOB, TRAINING, FLOW])
def test_the_command_goes_through_a_shell_unchanged_and_is_one_of_ours(job: str, tmp_path: Path) -> None:
    (tmp_path / "embed.yaml").write_text(JOB)
    command = spec(tmp_path, job=job, name="work.yaml")["entrypoint"]
    words = command.split(" ")
    assert words[:2] == ["pixelmill", "supervise"]
    assert words[1] in {each.name or each.callback.__name__ for each in app.registered_commands if each.callback}
    assert "--stopped ok" in command
    assert ("run.failures=ok" in command) is (job == JOB)
    assert not set(command) & set("$`\"'\\;&|<>(){}*?~#!\n")


def test_a_lost_cluster_is_replaced_once_and_the_job_in_the_environment_may_take_a_minute_to_stop(
    tmp_path: Path,
) -> None:
    job = spec(tmp_path)
    assert (job["backoffLimit"], job["entrypointNumCpus"]) == (1, 1)
    assert yaml.safe_load(job["runtimeEnvYAML"]) == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}
    assert (job["shutdownAfterJobFinishes"], job["ttlSecondsAfterFinished"]) == (True, 600)


def test_newer_fields_stand_in_it_only_where_they_are_asked_for(tmp_path: Path) -> None:
    assert "preRunningDeadlineSeconds" not in written(made(tmp_path))
    assert "activeDeadlineSeconds" not in written(made(tmp_path))
    job = spec(tmp_path, "starts_within_s=900", "deadline_s=7200")
    assert (job["preRunningDeadlineSeconds"], job["activeDeadlineSeconds"]) == (900, 7200)


def test_gpus_are_limits_with_the_toleration_that_their_nodes_ask_for(tmp_path: Path) -> None:
    gpu = pods(spec(tmp_path, "groups=[{name: cpu}, {name: gpu, gpus: 2, gpu_resource: amd.com/gpu}]"))["gpu"]
    assert gpu["containers"][0]["resources"]["limits"]["amd.com/gpu"] == "2"
    assert gpu["tolerations"] == [{"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_credentials_come_from_a_secret_or_an_account_and_no_value_is_written(tmp_path: Path) -> None:
    job = spec(tmp_path, "secret=store-keys", "service_account=vision")
    for pod in pods(job).values():
        assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "store-keys"}}]
        assert pod["serviceAccountName"] == "vision"
    text = JOB.replace("s3://archive/photos", "${BUCKET}/photos")
    path = tmp_path / "embed.yaml"
    path.write_text(text)
    objects = make(Asked(str(path)), {"BUCKET": "s3://very-secret-bucket"})
    assert "very-secret-bucket" not in written(objects)
    assert "${BUCKET}/photos" in one(objects, "ConfigMap")["data"]["job.yaml"]


def test_no_process_of_a_pod_is_root_or_may_become_it(tmp_path: Path) -> None:
    for pod in pods(spec(tmp_path)).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_queues_have_their_labels_and_kueue_a_cluster_of_fixed_size(tmp_path: Path) -> None:
    def labels(*overrides: str) -> dict[str, str]:
        return one(made(tmp_path, overrides=list(overrides)), "RayJob")["metadata"]["labels"]

    assert labels("queue.kueue=vision")["kueue.x-k8s.io/queue-name"] == "vision"
    volcano = labels("queue.volcano=vision", "queue.priority_class=low")
    assert (volcano["ray.io/scheduler-name"], volcano["volcano.sh/queue-name"]) == ("volcano", "vision")
    assert volcano["ray.io/priority-class-name"] == "low"
    yunikorn = labels("queue.yunikorn=root.vision")
    assert (yunikorn["yunikorn.apache.org/queue"], yunikorn["yunikorn.apache.org/app-id"]) == (
        "root.vision",
        "default-embed",
    )
    assert yunikorn["ray.io/gang-scheduling-enabled"] == "true"
    job = spec(tmp_path, "queue.kueue=vision", "groups.0.max=3")
    assert job["suspend"] is True
    assert job["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    group = job["rayClusterSpec"]["workerGroupSpecs"][0]
    assert (group["minReplicas"], group["replicas"], group["maxReplicas"]) == (3, 3, 3)
    with pytest.raises(JobError, match="queue: name one queue of kueue, volcano or yunikorn; kueue, volcano is given"):
        spec(tmp_path, "queue.kueue=a", "queue.volcano=b")


def test_the_job_in_the_cluster_plans_for_nodes_that_are_not_up_yet_and_leaves_the_driver_its_cpu(
    tmp_path: Path,
) -> None:
    objects = made(tmp_path, overrides=["groups=[{name: gpu, gpus: 1, cpus: 8, max: 2, memory_gb: 40}]"])
    text = one(objects, "ConfigMap")["data"]["job.yaml"]
    job = read_job(text, name="job.yaml", overrides=[], environment={})
    alone = Node({"CPU": 8.0, "GPU": 1.0}, taken_cpus=1)  # brought up for the driver, which holds a CPU
    plan = make_plan(job.spec.run, Machine(2, 0, 1 << 34), "head:6379", [Node({}), alone])
    assert (plan.pool.actors, plan.pool.gpus, plan.pool.cpus) == (2, 1, 7)
    assert plan.memory_bytes < 40 << 30
    fixed = one(made(tmp_path, overrides=["groups.0.min=2", "groups.0.max=2"]), "ConfigMap")["data"]["job.yaml"]
    assert "node_groups" not in fixed


def test_a_training_is_a_rayjob_too(tmp_path: Path) -> None:
    objects = made(tmp_path, job=TRAINING, name="pretrain.yaml")
    assert one(objects, "RayJob")["kind"] == "RayJob"
    text = one(objects, "ConfigMap")["data"]["job.yaml"]
    recipe = read_recipe_file(text, name="job.yaml", overrides=["run.workers=3"], environment={})
    alone = Node({"CPU": 8.0}, taken_cpus=1)
    assert scale_of(recipe.spec.run, Machine(2, 0, 1 << 34), [Node({}), alone], is_cluster=True).workers == 3
    fixed = made(tmp_path, job=TRAINING, name="pretrain.yaml", overrides=["groups.0.min=2", "groups.0.max=2"])
    assert one(fixed, "ConfigMap")["data"]["job.yaml"] == TRAINING


def test_a_flow_brings_the_files_that_its_steps_name(tmp_path: Path) -> None:
    (tmp_path / "embed.yaml").write_text(JOB)
    data = one(made(tmp_path, job=FLOW, name="nightly.yaml"), "ConfigMap")["data"]
    assert set(data) == {"job.yaml", "embed.yaml"}
    assert data["embed.yaml"] == JOB
    assert yaml.safe_load(data["job.yaml"]) == yaml.safe_load(FLOW)


def test_a_flow_with_a_cycle_makes_no_manifest(tmp_path: Path) -> None:
    cycle = FLOW.replace("[run, embed.yaml,", '[run, embed.yaml, --set, "source=${export.out}",')
    with pytest.raises(JobError, match="embed"):
        made(tmp_path, job=cycle, name="nightly.yaml")


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["name=Embed"], "name: 'Embed' is refused: a name has lower-case letters"),
        (["name=" + "a" * 48], "has 48 characters, and at most 47 are taken; choose another"),
        (["name=7up"], "begins with a letter"),
        (["groups.0.min=5"], "min 5 is more than max 4"),
        (["groups=[{name: a}, {name: a}]"], "two groups are called a"),
        (["imagee=x"], "imagee"),
        (["image=a b"], "image"),
        (["groups.0.gpus=-1"], "gpus"),
        (["secret=A_B"], "secret: 'A_B' is refused"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_first(overrides: list[str], why: str, tmp_path: Path) -> None:
    with pytest.raises(JobError) as refused:
        made(tmp_path, overrides=overrides)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("old", "text"),
    [
        ("s3://archive/photos", "few"),
        ("s3://archive/photos", "{uri: few}"),
        ("s3://archive/photos", "[s3://b/c, few]"),
        ("s3://archive/embeddings", "few"),
    ],
)
def test_a_bare_name_is_a_folder_of_this_machine_too(old: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="few is a place on this machine, which the pods do not see"):
        made(tmp_path, job=JOB.replace(old, text))


@pytest.mark.parametrize("source", ["/home/me/photos", "./photos", "../photos", "~/photos"])
def test_a_place_on_this_machine_is_refused_unless_a_volume_brings_it(source: str, tmp_path: Path) -> None:
    job = JOB.replace("s3://archive/photos", source)
    with pytest.raises(JobError, match=r"is a place on this machine, which the pods do not see; put it on a store"):
        made(tmp_path, job=job)
    there = JOB.replace("s3://archive/photos", "/data/photos").replace("s3://archive/embeddings", "/data/out")
    job = spec(tmp_path, "volumes=[{claim: scans, path: /data}]", job=there)
    mounts = pods(job)["workers"]["containers"][0]["volumeMounts"]
    assert {"name": "scans", "mountPath": "/data"} in mounts


def test_a_cron_job_waits_for_one_rayjob_of_a_name_that_never_changes(tmp_path: Path) -> None:
    objects = made(tmp_path, schedule="0 2 * * *", overrides=["time_zone=Europe/Berlin", "name=nightly"])
    cron = one(objects, "CronJob")
    assert (cron["spec"]["schedule"], cron["spec"]["timeZone"]) == ("0 2 * * *", "Europe/Berlin")
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"][:3] == ["python", "-m", "pixelmill.jobs.kubernetes.apply"]
    applied = json.loads(one(objects, "ConfigMap")["data"]["rayjob.json"])
    assert (applied["kind"], applied["metadata"]["name"]) == ("RayJob", "nightly")
    verbs = {verb for rule in one(objects, "Role")["rules"] for verb in rule["verbs"]}
    assert verbs == {"create", "get", "delete"}
    assert {each["kind"] for each in objects} == {"ConfigMap", "ServiceAccount", "Role", "RoleBinding", "CronJob"}


def test_a_ray_cron_job_holds_the_same_job(tmp_path: Path) -> None:
    objects = made(tmp_path, schedule="0 2 * * *", is_ray_cron_job=True)
    assert one(objects, "RayCronJob")["spec"]["jobTemplate"] == spec(tmp_path)
    with pytest.raises(JobError, match="at most 36 are taken"):
        made(tmp_path, schedule="0 2 * * *", is_ray_cron_job=True, overrides=["name=" + "a" * 37])


@pytest.mark.parametrize("is_ray_cron_job", [False, True])
def test_a_line_that_never_fires_makes_no_manifest(is_ray_cron_job: bool, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="never fires"):
        made(tmp_path, schedule="0 0 30 2 *", is_ray_cron_job=is_ray_cron_job)


def test_an_explained_manifest_is_the_same_with_reasons(tmp_path: Path) -> None:
    objects = made(tmp_path, schedule="0 2 * * *", overrides=["service_account=vision"])
    text = explained(objects)
    assert list(yaml.safe_load_all(text)) == list(yaml.safe_load_all(written(objects)))
    assert "  # The pod waits for the RayJob" in text
    once = explained(made(tmp_path))
    assert once.count("# The head schedules and computes nothing") == 1
    assert text.endswith("\n")
