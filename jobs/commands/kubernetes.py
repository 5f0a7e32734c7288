"""`kubernetes`: a job file as a manifest for Kubernetes, and the operator's rules applied to one."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import set_option


def kubernetes(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Job, recipe or flow file; with --check also a manifest.")
    ],
    cluster: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What the cluster is to be: image, groups of nodes, Secret, queue."),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(metavar="CRON", help="Run it again and again, as '0 2 * * *': a CronJob that waits.")
    ] = None,
    ray_cron_job: Annotated[
        bool, typer.Option("--ray-cron-job", help="With --schedule, a RayCronJob (alpha in KubeRay 1.6).")
    ] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Write the reason for each part as a comment.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Apply the rules of KubeRay's operator; print the verdict and no manifest.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        set_option("image=REGISTRY/pixelmill:0.1.0, namespace=vision, groups.0.max=8, queue.kueue=NAME"),
    ] = None,
) -> None:
    """Print the manifest that runs a job on Kubernetes with KubeRay: `pixelmill kubernetes job.yaml > manifest.yaml`."""
    from pixelmill.jobs.documents.parsing import read_file
    from pixelmill.jobs.kubernetes import comments, verdicts
    from pixelmill.jobs.kubernetes.making import Asked, make
    from pixelmill.workers.errors import JobError

    if ray_cron_job and schedule is None:
        raise JobError("--ray-cron-job: needs --schedule, as '0 2 * * *'")
    if check and verdicts.is_manifest(read_file(file)):
        typer.echo(verdicts.verdict(read_file(file), file))
        return
    asked = Asked(file, cluster, schedule, overrides or [], ray_cron_job)
    objects = make(asked, surroundings.of_process(quiet=True).environment)
    text = (comments.explained if explain else comments.plain)(objects)
    verdict = verdicts.verdict(text, file)
    typer.echo(verdict if check else text, nl=check)
    for note in verdicts.notes(objects):
        typer.echo(note, err=True)
