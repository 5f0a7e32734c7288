"""The checkpoints that ship: network, data, licence, metrics, size."""

from __future__ import annotations

from typing import NamedTuple

from rich.markup import escape

from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.zoo import zoo_names, zoo_path
from pixelmill.workers.recipes.registry import recipe_type


class Shipped(NamedTuple):
    """A checkpoint that ships, with the bytes of its weights."""

    name: str
    size_bytes: int
    card: Card

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "bytes": self.size_bytes,
            **self.card.model_dump(mode="json", exclude={"trained_on", "selected_on", "marks_sha256"}),
        }


def shipped_checkpoints() -> list[Shipped]:
    places = [(name, zoo_path(name)) for name in zoo_names()]
    return [Shipped(name, path.stat().st_size, read_card(path)) for name, path in places if path is not None]


def print_zoo(listed: list[Shipped]) -> None:
    """Print the zoo for a person: one line per checkpoint with its metric, and its training data below."""
    console = PrintableConsole(highlight=False, soft_wrap=True)
    wide = max(len(each.name) for each in listed)
    for each in listed:
        card, goal = each.card, recipe_type(each.card.recipe).GOAL[0]
        judged = card.test_metrics or card.metrics
        metric = f"{goal} {judged[goal]:.4g}" if goal in judged else ""
        metric += " on its test part" if card.test_metrics else ", where its step was selected"
        console.print(f"[bold]{each.name:<{wide}}[/bold]  {card.network:<12}{each.size_bytes / 1e6:5.1f} MB  {metric}")
        for label, text in (("data", card.data), ("licence", card.data_licence)):
            console.print(f"{'':<{wide}}  {label}: {escape(text)}", style="dim")
