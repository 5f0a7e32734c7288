"""How a store is reached: by the scheme of a URI, with timeouts that hold, and without its secrets."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from pixelmill.pipelines.stores.access import Access, filesystem, join, open_store, scheme_of
from pixelmill.workers.errors import StoreError


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [
        ("/data/a.jpg", "file"),
        ("a.jpg", "file"),
        ("C:/a.jpg", "file"),
        ("s3://b/a", "s3"),
        ("https://h/s3://b", "https"),
    ],
)
def test_a_scheme_is_the_text_before_the_first_separator(uri: str, scheme: str) -> None:
    assert scheme_of(uri) == scheme


def test_names_are_joined_with_one_slash_each() -> None:
    assert join("s3://bucket/out/", "data", "a") == join("s3://bucket/out", "data", "a") == "s3://bucket/out/data/a"


def test_an_access_has_no_place_for_a_secret() -> None:
    assert asdict(Access()).keys() == {"profile", "anon", "timeout_s", "retry_for_s"}


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(StoreError, match=r"^nostore://: "):
        filesystem("nostore", Access())


def test_timeouts_and_profile_reach_botocore_and_no_listing_is_cached() -> None:
    store, path = open_store("s3://bucket/key", Access(profile="lab", anon=True, timeout_s=3.0))
    assert path == "bucket/key"
    assert (store.anon, store.config_kwargs["read_timeout"], store.config_kwargs["connect_timeout"]) == (True, 3.0, 3.0)
    assert store.storage_options["profile"] == "lab"
    assert store.storage_options["use_listings_cache"] is False
    slow, _ = open_store("s3://bucket/key", Access(anon=True, timeout_s=60.0))
    assert (slow.config_kwargs["read_timeout"], slow.config_kwargs["connect_timeout"]) == (60.0, 5.0)


def test_accesses_that_are_equal_share_a_file_system_and_others_do_not() -> None:
    assert filesystem("s3", Access(anon=True)) is filesystem("s3", Access(anon=True))
    assert filesystem("s3", Access(anon=True)) is not filesystem("s3", Access(anon=True, timeout_s=1.0))
