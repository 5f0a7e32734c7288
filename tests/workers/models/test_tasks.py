"""Every task has a verb that a sentence can use."""

from __future__ import annotations

from pixelmill.workers.models.tasks import TASKS, WITH_CLASSES, verb


def test_a_task_is_reported_as_a_verb() -> None:
    assert {task: verb(task) for task in TASKS if verb(task) != task} == {"depth": "estimate depth"}


def test_the_tasks_with_classes_are_tasks() -> None:
    assert set(TASKS) > WITH_CLASSES
