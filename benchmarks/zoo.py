"""Print how each checkpoint of the zoo was made, and the commands that reproduce it.

python -m benchmarks.zoo
"""

from __future__ import annotations

from pathlib import Path

import yaml
from rich.console import Console
from rich.markup import escape

from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import read_card
from pixelmill.workers.recipes.registry import recipe_type

RECIPES = Path(__file__).parent.parent / "jobs/recipes"


def main() -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print("with PIXELMILL_DATA set to the folder of the data sets:\n")
    for name in zoo.zoo_names():
        path = zoo.zoo_path(name)
        assert path is not None
        card = read_card(path)
        file = RECIPES / f"{name}.yaml"
        text = file.read_text()
        recipe = yaml.safe_load(text)
        data = [recipe["data"]] if isinstance(recipe["data"], str) else recipe["data"]
        judged = recipe["test"] if isinstance(recipe.get("test"), str) else data
        sources = [judged] if isinstance(judged, str) else judged
        given = [f"{each}={recipe['settings'][each]}" for each in recipe_type(card.recipe).JUDGED_WITH]
        options = "".join([*(f" --data {uri}" for uri in sources), *(f" --set {each}" for each in given)])
        goal, judged_by = recipe_type(card.recipe).GOAL[0], card.test_metrics or card.metrics
        console.print(f"[bold]{name}[/bold]  {escape(text.splitlines()[0].removeprefix('# '))}")
        on = (
            "on samples that selected nothing"
            if card.test_metrics
            else "on the samples that selected its step: slightly too good"
        )
        console.print(f"  {goal} {judged_by[goal]:.4g} {on}")
        console.print(
            f"  after {card.metrics['step']:,.0f} steps, {card.metrics['trained_s']:,.0f} s on one core; {escape(card.split)}"
        )
        for command in (
            f"pixelmill train jobs/recipes/{file.name}",
            f"python -m benchmarks.export_zoo runs/{name} {name}",
            f"pixelmill eval {card.network} --checkpoint {name}{options}",
        ):
            console.print(f"  {escape(command)}", style="dim")


if __name__ == "__main__":
    main()
