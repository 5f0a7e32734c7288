"""`argo`: a flow for those who run Argo Workflows."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelmill.jobs import surroundings


def argo(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Flow file (YAML).")],
    image: Annotated[str, typer.Option(help="Image that holds Pixelmill.")],
    name: Annotated[str, typer.Option(help="Of the Workflow.")] = "pixelmill",
    secret: Annotated[
        str | None, typer.Option(help="Secret whose keys become the environment of each step: credentials.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for `run`.")] = None,
) -> None:
    """Print a flow as an Argo Workflow: a task for each step, with the needs between them."""
    from pixelmill.jobs.documents.parsing import read_file, to_yaml
    from pixelmill.jobs.flows.argo import config_map_of, workflow_of
    from pixelmill.jobs.flows.spec import read_flow

    environment = surroundings.of_process(quiet=True).environment
    flow = read_flow(read_file(file), name=file, overrides=overrides or [], environment=environment)
    workflow = workflow_of(flow, name=name, image=image, secret=secret, file_name=file)
    files = config_map_of(flow, name=name)
    typer.echo("---\n".join(to_yaml(made) for made in (files, workflow) if made is not None), nl=False)
