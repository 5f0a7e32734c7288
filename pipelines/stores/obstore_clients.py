"""Reach S3 with obstore as botocore would: its endpoint, region, profile and credentials."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pixelmill.pipelines.stores.access import Access, filesystem

if TYPE_CHECKING:
    from obstore.store import S3Store


KEPT_S = 20 * 60.0
"""How long a client is used: botocore reads the files with credentials once, and a new client reads them again."""

_Key = tuple[str, Access, frozenset[tuple[str, str]]]
_kept: dict[_Key, tuple[float, S3Store]] = {}
_lock = threading.Lock()


def s3_store(bucket: str, access: Access) -> S3Store:
    """obstore's view of a bucket with the endpoint, region and credentials that botocore would use.

    Making one takes longer than reading and decoding a window of a training, most of it in botocore. So all of a process use the
    same for KEPT_S, unless the environment that it follows from changes.
    """
    of_environment = frozenset((name, value) for name, value in os.environ.items() if _is_followed(name))
    key, now_s = (bucket, access, of_environment), time.monotonic()
    with _lock:
        for each in [each for each, (made_s, _) in _kept.items() if now_s - made_s > KEPT_S]:
            del _kept[each]
        if key not in _kept:
            _kept[key] = now_s, _made(bucket, access)
        return _kept[key][1]


def _is_followed(name: str) -> bool:
    return name.startswith("AWS_") or name.upper().endswith("_PROXY")


def _made(bucket: str, access: Access) -> S3Store:
    from botocore.session import Session  # pyright: ignore[reportMissingTypeStubs]
    from obstore.store import S3Store

    session: Any = Session(profile=access.profile)
    client = session.create_client("s3", region_name=session.get_config_variable("region") or "us-east-1")
    endpoint = client.meta.endpoint_url
    at_aws = endpoint.endswith(".amazonaws.com")
    region = _bucket_region(bucket, access) if at_aws else client.meta.region_name
    options: dict[str, Any] = {"region": region, "client_options": _client_options(access, endpoint)}
    if not at_aws:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    credentials = None if access.anon else session.get_credentials()
    if credentials is None:
        options["skip_signature"] = True
    else:

        def provide() -> Any:
            frozen = credentials.get_frozen_credentials()
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                # botocore refreshes credentials by itself; asking again now and then picks up the new ones.
                "expires_at": datetime.now(UTC) + timedelta(minutes=20),
            }

        options["credential_provider"] = provide
    return S3Store(bucket, retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=5)}, **options)


def _client_options(access: Access, endpoint: str) -> dict[str, Any]:
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": f"{access.timeout_s:g}s",
        "connect_timeout": f"{min(5.0, access.timeout_s):g}s",
    }


def _bucket_region(bucket: str, access: Access) -> str:
    answer = filesystem("s3", access).call_s3("head_bucket", Bucket=bucket)
    return answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "us-east-1")
