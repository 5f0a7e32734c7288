"""obstore is given the endpoint, the region, the profile and the credentials that botocore finds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.stores import obstore_clients
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.obstore_clients import s3_store
from tests.conftest import Reach

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
ELSEWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "eu-north-1"}


def test_another_endpoint_is_reached_by_path_and_in_its_region(reach: Reach) -> None:
    reach(KEYS | ELSEWHERE)
    store = s3_store("photos", Access(timeout_s=3.0))
    config, client = store.config, store.client_options or {}
    assert (config["endpoint"], config["region"]) == ("http://127.0.0.1:9", "eu-north-1")
    assert str(config["virtual_hosted_style_request"]).lower() == "false"
    assert str(client["allow_http"]).lower() == "true"
    assert (client["timeout"], client["connect_timeout"]) == ("3s", "3s")


def test_credentials_are_asked_of_botocore_each_time_and_expire_soon(reach: Reach) -> None:
    reach(KEYS | ELSEWHERE)
    provide: Any = s3_store("photos", Access()).credential_provider
    found = provide()
    assert (found["access_key_id"], found["secret_access_key"], found["token"]) == ("key", "secret", None)
    assert 0 < (found["expires_at"] - datetime.now(UTC)).total_seconds() <= 20 * 60


def test_a_named_profile_has_its_own_credentials_and_anonymous_access_has_none(reach: Reach, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = mine\naws_secret_access_key = hidden\n")
    reach(ELSEWHERE | {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")})
    provide: Any = s3_store("photos", Access(profile="lab")).credential_provider
    assert provide()["access_key_id"] == "mine"
    anonymous = s3_store("photos", Access(profile="lab", anon=True))
    assert anonymous.credential_provider is None
    assert str(anonymous.config["skip_signature"]).lower() == "true"


def test_a_bucket_of_aws_is_reached_in_the_region_where_it_lies(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    class Aws:
        def call_s3(self, method: str, **options: Any) -> dict[str, Any]:
            assert (method, options) == ("head_bucket", {"Bucket": "photos"})
            return {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "ap-south-1"}}}

    reach(KEYS)
    monkeypatch.setattr(obstore_clients, "filesystem", lambda scheme, access: Aws())
    store = s3_store("photos", Access())
    assert store.config["region"] == "ap-south-1"
    assert "endpoint" not in store.config


def test_a_client_is_used_again_until_it_is_old_or_the_environment_is_another(
    reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(KEYS | ELSEWHERE)
    first = s3_store("photos", Access())
    assert s3_store("photos", Access()) is first
    assert s3_store("scans", Access()) is not first
    assert s3_store("photos", Access(timeout_s=3.0)) is not first
    reach(KEYS | ELSEWHERE | {"AWS_SECRET_ACCESS_KEY": "rotated"})
    other: Any = s3_store("photos", Access())
    assert other.credential_provider()["secret_access_key"] == "rotated"
    later_s = obstore_clients.time.monotonic() + obstore_clients.KEPT_S + 1
    monkeypatch.setattr(obstore_clients.time, "monotonic", lambda: later_s)
    assert s3_store("photos", Access()) is not other
    assert len(obstore_clients._kept) == 1, "clients that are old are not kept"
