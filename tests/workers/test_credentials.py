"""No secret is left in a text, and no URI with one is taken for a plain one, however it is spelt; plain ones stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.credentials import HARMLESS, carries_credentials, scrub

SECRET = "Zx9Canary7Q"
NAMES = [
    "access_token", "api_key", "apikey", "key", "auth_token", "client_secret", "private_token", "jwt", "Policy", "sig",
    "Signature", "token", "password", "pwd", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token",
    "X-Goog-Signature", "X-Goog-Credential", "Key-Pair-Id", "AWSAccessKeyId", "GoogleAccessId", "%73ig", "%2573ig",
    "to%6ben", "SIG", "hdnts", "subscription-key", "session_id", "nobody-knows-this-one", "__token__", "oh", "s",
]  # fmt: skip
SIGNED = [
    f"https://b.s3.amazonaws.com/a.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SECRET}%2F20260101&X-Amz-Signature={SECRET}",
    f"https://b.s3.amazonaws.com/a.jpg?AWSAccessKeyId={SECRET}&Expires=1700000000&Signature={SECRET}",
    f"https://storage.googleapis.com/b/a.jpg?X-Goog-Algorithm=GOOG4&X-Goog-Credential={SECRET}&X-Goog-Signature={SECRET}",
    f"https://storage.googleapis.com/b/a.jpg?GoogleAccessId={SECRET}&Expires=1700000000&Signature={SECRET}",
    f"https://a.blob.core.windows.net/c/a.jpg?sv=2022-11-02&se=2026-01-01&sr=b&sp=r&sig={SECRET}",
    f"https://d111.cloudfront.net/a.jpg?Policy={SECRET}&Signature={SECRET}&Key-Pair-Id={SECRET}",
    f"az://container/a.jpg?sv=2022-11-02&sr=b&sig={SECRET}",
    f"abfs://c/a.jpg?w=3&%73ig={SECRET}",
    f"s3://bucket/a.jpg?X-Amz-Signature={SECRET}",
]
SPELT = [
    f"https://user:{SECRET}@host/a.jpg",
    f"https://{SECRET}@host/a.jpg",
    f"s3://key:{SECRET}@bucket/a.jpg",
    f"https://user:p@ss@{SECRET}@host/a.jpg",
    f"https://user:a{SECRET}/b{SECRET}@host/a.jpg",
    f"https://user:a{SECRET}?b{SECRET}#c@host/a.jpg",
    f"https://user:a {SECRET}@host/a.jpg",
    f"https://user:it's{SECRET}@host/a.jpg",
    f"https://host/a.jpg?w=3&amp;sig={SECRET}",
    f"https://host/a.jpg?w=3;sig={SECRET}",
    f"https://host/a.jpg?{SECRET}",
    f"https://host/a.jpg#access_token={SECRET}",
    f"https://host/a.jpg;token={SECRET}?w=3",
    f"https://host/a.jpg?url=https%3A%2F%2Fu%3A{SECRET}%40host%2Fa.jpg",
    f"https://host/a.jpg?path=/b%3Fsig%3D{SECRET}",
    f"https://host/a.jpg?w=3&sig={SECRET}&h=4",
    f"HTTPS://HOST/a.jpg?SIG={SECRET}",
    f"ftp://host/a.jpg?x1={SECRET}",
    f"//user:{SECRET}@host/a.jpg",
    f"https://host/a.jpg?w=3&name=eyJhbGciOiJIUzI1NiJ9.{SECRET}.{SECRET}",
]
AROUND = ["{}", "GET {}: 403", "URL('{}')", '{{"uri": "{}"}}', "<{}>", "({})", "{}, {}", "see {}.", "[{}]\n{}"]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("uri", [*(f"https://host/a.jpg?w=3&{name}={SECRET}" for name in NAMES), *SIGNED, *SPELT])
def test_a_secret_of_a_uri_is_found_and_taken_out_of_any_text_around_it(uri: str, around: str) -> None:
    assert carries_credentials(uri)
    text = scrub(around.format(*[uri] * around.count("{}")))
    assert SECRET not in text
    assert scrub(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET} token={SECRET}, secret={SECRET}",
        f"AWS_SECRET_ACCESS_KEY={SECRET}",
        f"{{'Authorization': 'Bearer {SECRET}', 'Host': 'h'}}",
        f"<CIMultiDictProxy('Host': 'h', 'Authorization': 'Basic {SECRET}', 'Cookie': 'a={SECRET}')>",
        f"(b'X-Amz-Security-Token', b'{SECRET}')",
        f"Authorization: Bearer {SECRET}",
        f"cookie: session={SECRET}; b={SECRET}\nnext line",
        f'{{"client_secret": "{SECRET}", "api_key":"{SECRET}"}}',
        f"AccountName=a;AccountKey={SECRET}==;EndpointSuffix=core.windows.net",
        f"GET /a.jpg?w=3&key={SECRET} HTTP/1.1",
        f"<Error><AWSAccessKeyId>{SECRET}</AWSAccessKeyId><StringToSign>{SECRET}\n{SECRET}</StringToSign></Error>",
        f"<AWSAccessKeyId>{SECRET}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_outside_of_a_uri_is_taken_out(text: str) -> None:
    scrubbed = scrub(text)
    assert SECRET not in scrubbed
    assert scrub(scrubbed) == scrubbed


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/user@host/photo.jpg",
        "s3://bucket/design=3/token=4/a.jpg",
        "s3://bucket/plus+and&?#.jpg",
        "s3://bucket/what?.jpg",
        "https://host/a@b.jpg?size=3",
        "https://host:8080/a@b.jpg",
        "https://[::1]:8080/a@b.jpg",
        "https://host/a.jpg?w=3&h=4&fit=crop&q=80&v=2",
        "https://host/a.jpg?1700000000",
        "https://host/a.jpg?imageWidth=3&pageSize=10",
        "https://host/a.jpg?url=https%3A%2F%2Fother%2Fb.jpg",
        "https://host/a.jpg#page=2",
        "https://host/per%20cent%40.jpg",
        "/data/a@b/photo.jpg",
        "/data/photo[1].jpg?size=big",
        "http://[broken/a.jpg",
        "torchvision:resnet50/IMAGENET1K_V2",
        "C:\\photos\\a.jpg",
    ],
)
def test_a_plain_uri_stays_as_it_is(uri: str) -> None:
    assert not carries_credentials(uri)
    assert scrub(uri) == uri
    for text in (f"{uri}: 3 of 5 failed at 12:30, see README", f"could not read {uri}"):
        assert scrub(text) == text


def test_plain_texts_stay_as_they_are() -> None:
    plain = (
        "s3://bucket/a@b/photo #1.jpg: 3 of 5 failed at 12:30, see https://host/a.jpg?size=3; user@host.org; "
        "set RAY_AUTH_TOKEN, batch=8, sort key: name, what? nothing"
    )
    assert scrub(plain) == plain
    assert scrub("the key AKIAABCDEFGHIJKLMNOP is wrong") == "the key *** is wrong"


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_a_harmless_parameter_may_not_hide_another_address_with_a_secret(name: str) -> None:
    assert not carries_credentials(f"https://host/a.jpg?{name}=3")
    assert carries_credentials(f"https://host/a.jpg?{name}=https%3A%2F%2Fh%2F%3Fsig%3D{SECRET}")


WORDS = st.text("abcXYZ019+%._-~!*'()[]@:/?#&;= \"<>", min_size=0, max_size=24)


@settings(deadline=None)
@given(WORDS, WORDS, st.sampled_from(["https", "s3", "az", "file"]))
def test_a_password_is_removed_from_its_uri_in_any_text(user: str, rest: str, scheme: str) -> None:
    user = user.translate({ord(c): None for c in ":/?#@[] "})
    uri = f"{scheme}://{user}:{SECRET}@host/{rest}"
    assert carries_credentials(uri)
    assert SECRET not in scrub(uri)


@settings(deadline=None)
@given(st.text(max_size=60), WORDS)
def test_scrubbing_again_changes_nothing(any_text: str, words: str) -> None:
    for text in (any_text, words, f"https://host/{words}", f"see https://{any_text}?{words}"):
        once = scrub(text)
        assert scrub(once) == once


SECRET_TEXTS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+%._-", min_size=6, max_size=30)


@settings(deadline=None)
@given(SECRET_TEXTS, SECRET_TEXTS)
def test_no_secret_is_left_in_a_text(user: str, secret: str) -> None:
    secret = f"S3cr3t{secret}"
    texts = [
        f"https://{user}:{secret}@host/a.jpg and s3://{secret}@bucket/key",
        f"GET https://host/a.jpg?X-Amz-Credential=AKIA&X-Amz-Signature={secret}&x=1: 403",
        f"https://host/a?sv=1&sig={secret}",
        f"https://storage/a?X-Goog-Signature={secret} and X-Amz-Security-Token={secret}",
        f"password={secret} token={secret}, secret={secret}",
        f"<Error><AWSAccessKeyId>{secret}</AWSAccessKeyId></Error>",
    ]
    for text in texts:
        assert secret not in scrub(text)
        assert scrub(scrub(text)) == scrub(text)


def test_key_ids_are_scrubbed_and_plain_texts_are_not() -> None:
    assert scrub("the key AKIAABCDEFGHIJKLMNOP is wrong") == "the key *** is wrong"
    plain = "s3://bucket/a@b/photo #1.jpg: 3 of 5 failed at 12:30, see https://host/a.jpg?size=3; user@host.org"
    assert scrub(plain) == plain


@pytest.mark.parametrize(
    ("uri", "carries"),
    [
        ("s3://key:secret@bucket/photos", True),
        ("https://token@host/a.jpg", True),
        ("https://host/a.jpg?X-Amz-Signature=abc", True),
        ("https://host/a.jpg?x=1&sig=abc", True),
        ("https://host/a.jpg?SIG=abc", True),
        ("https://user:secret@[broken", True),
        ("s3://bucket/user@host/photo.jpg", False),
        ("https://host/a@b.jpg?size=3", False),
        ("/data/a@b/photo.jpg", False),
        ("http://[broken/a.jpg", False),
        ("s3://bucket/design=3/a.jpg", False),
    ],
)
def test_uris_with_credentials_are_distinguished_from_those_without(uri: str, carries: bool) -> None:
    assert carries_credentials(uri) is carries
