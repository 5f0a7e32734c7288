"""What is asked of a cluster's node, and its answer, as text."""

from __future__ import annotations

from pixelmill.jobs.submission.probe import Answer, Question


def test_a_question_arrives_as_it_was_asked() -> None:
    question = Question("flow", ("BUCKET", "KEY"), ("/data",), "abc")
    assert Question.from_json(question.to_json()) == question


def test_an_answer_is_found_among_what_else_was_printed() -> None:
    answer = Answer("3.11.7", "0.1.0", ("KEY",), ("/data",), 'a "fault"\nof two lines', True)
    log = f"INFO setting up\n{answer.to_line()}\nWARNING something\n"
    assert Answer.from_log(log) == answer
    assert Answer.from_log("INFO setting up\n") is None
