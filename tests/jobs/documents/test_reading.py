"""A document is checked as a whole, and no error of it shows a value of the environment."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from pixelmill.jobs.documents.faults import KnownKeys
from pixelmill.jobs.documents.parsing import Document, Parsed
from pixelmill.jobs.documents.reading import checked, read_document
from pixelmill.workers.errors import JobError


class Soup(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    bowls: int = 1


KEYS = KnownKeys(lambda _: list(Soup.model_fields))


def soup_of(document: Document, **environment: str) -> Soup:
    with checked(Parsed(document), Soup, KEYS, name="soup.yaml", kind="soup", environment=environment) as soup:
        return soup


def test_overrides_come_before_the_check_and_references_are_replaced_in_the_model_alone() -> None:
    parsed = read_document("name: ${WHO}\n", name="soup.yaml", what="a soup", overrides=["bowls=3"])
    assert soup_of(parsed.document, WHO="leek") == Soup(name="leek", bowls=3)
    assert parsed.document == {"name": "${WHO}", "bowls": 3}


def test_every_fault_has_its_line() -> None:
    parsed = read_document("nam: leek\nbowls: many\n", name="soup.yaml", what="a soup", overrides=[])
    with (
        pytest.raises(JobError, match=r"soup.yaml: this soup can't be run") as raised,
        checked(parsed, Soup, KEYS, name="soup.yaml", kind="soup", environment={}),
    ):
        pass
    for fault in ("name: is missing", "bowls (line 2): should be", "nam (line 1): unknown key; did you mean name?"):
        assert fault in str(raised.value)


def test_what_is_no_mapping_is_refused_with_what_it_should_be() -> None:
    with pytest.raises(JobError, match=r"soup.yaml: a soup is a mapping"):
        read_document("- leek\n", name="soup.yaml", what="a soup is a mapping", overrides=[])


def test_credentials_are_refused_and_not_shown() -> None:
    with pytest.raises(JobError, match="carries credentials") as raised:
        soup_of({"name": "https://user:hunter2@leeks.example/a"})
    assert "hunter2" not in str(raised.value)


def test_an_error_of_the_block_shows_the_reference_and_not_its_value() -> None:
    with (
        pytest.raises(JobError, match=r"no \$\{WHO\} today"),
        checked(
            Parsed({"name": "${WHO}"}), Soup, KEYS, name="s", kind="soup", environment={"WHO": "secret-leek"}
        ) as soup,
    ):
        raise JobError(f"s: no {soup.name} today")
