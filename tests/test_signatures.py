"""Providers' signatures: what the provider's own library makes is taken, and nothing else."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
import stripe
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from celery_external import OptionError, SignatureRefusedError
from celery_external.webhooks import HmacHeader, Scheme, StandardWebhooks, Stripe
from tests.processes import REPOSITORY

NOW = 1_800_000_000
OLD, NEW, OTHER = (f"whsec_{base64.b64encode(name.encode() * 8).decode()}" for name in "ono")
BODY = json.dumps({"object": "event", "id": "evt_1", "café": "\N{SNOWMAN}"}).encode()


def sign_stripe(
    body: bytes = BODY, secret: str = NEW, at: float = NOW, header: str = "Stripe-Signature"
) -> dict[str, str]:
    make: Any = stripe.WebhookSignature.generate_signature_header
    return {header: make(body.decode(), secret, int(at))}


def sign_standard(
    body: bytes = BODY, secret: str = NEW, at: float = NOW, name: str = "msg_1"
) -> dict[str, str]:
    moment = datetime.fromtimestamp(at, UTC)
    signature = standardwebhooks.Webhook(secret).sign(name, moment, body.decode())
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": signature,
    }


def sign_header(
    body: bytes = BODY, secret: str = NEW, at: float = NOW, header: str = "X-Signature"
) -> dict[str, str]:
    signed = f"{int(at)}.".encode() + body
    digest = hmac.digest(secret.encode(), signed, "sha256").hex()
    return {header: digest, "X-Timestamp": str(int(at))}


SCHEMES: dict[str, tuple[Any, Any]] = {
    "stripe": (Stripe, sign_stripe),
    "standard": (StandardWebhooks, sign_standard),
    "header": (lambda *secrets: HmacHeader(*secrets, timestamp_header="X-Timestamp"), sign_header),
}


@pytest.fixture(params=SCHEMES)
def made(request: pytest.FixtureRequest) -> Any:
    return SCHEMES[request.param]


def is_taken(scheme: Scheme, headers: Mapping[str, str], body: bytes = BODY) -> bool:
    try:
        scheme.verify(headers, body)
    except SignatureRefusedError:
        return False
    return True


# --- Of all of them -------------------------------------------------------------------------------


@time_machine.travel(NOW, tick=False)
def test_any_of_the_secrets_verifies(made: Any) -> None:
    make, sign = made
    assert is_taken(make(NEW), sign())
    assert is_taken(make(NEW, OLD), sign(secret=OLD))
    assert is_taken(make(OLD, NEW), sign())
    assert not is_taken(make(OLD, OTHER), sign())


@time_machine.travel(NOW, tick=False)
def test_each_byte_of_the_body_counts(made: Any) -> None:
    make, sign = made
    for body in (BODY[:-1], BODY + b" ", b"", BODY.replace(b"evt_1", b"evt_2")):
        assert not is_taken(make(NEW), sign(), body)
    assert is_taken(make(NEW), sign(b"not json"), b"not json")


@pytest.mark.parametrize(
    ("seconds", "taken"), [(0, True), (-299, True), (299, True), (-301, False), (301, False)]
)
@time_machine.travel(NOW, tick=False)
def test_a_call_can_be_repeated_for_five_minutes(made: Any, seconds: int, taken: bool) -> None:  # noqa: FBT001
    make, sign = made
    assert is_taken(make(NEW), sign(at=NOW + seconds)) is taken


@time_machine.travel(NOW, tick=False)
def test_headers_are_found_whatever_their_case(made: Any) -> None:
    make, sign = made
    signed = sign()
    assert is_taken(make(NEW), {name.upper(): value for name, value in signed.items()})
    for name in signed:
        twice = {**signed, name.swapcase(): signed[name]}
        assert not is_taken(make(NEW), twice)


@time_machine.travel(NOW, tick=False)
def test_a_header_that_is_missing_empty_or_strange_is_refused(made: Any) -> None:
    make, sign = made
    signed = sign()
    for name in signed:
        without = {key: value for key, value in signed.items() if key != name}
        assert not is_taken(make(NEW), without)
        for value in ("", " ", "café", "\ud800", "1", f"{signed[name]}é", signed[name][:-3]):
            assert not is_taken(make(NEW), {**signed, name: value}), (name, value)


def test_no_secret_is_shown(made: Any) -> None:
    scheme = made[0](NEW, OLD)
    assert NEW.removeprefix("whsec_") not in repr(scheme)
    assert "2 secrets" in repr(scheme)
    assert isinstance(scheme, Scheme)


@pytest.mark.parametrize("secrets", [(), ("",), (" ",), (None,), (7,), (NEW, "")])
def test_a_secret_that_is_none_is_refused_at_once(made: Any, secrets: Any) -> None:
    with pytest.raises(OptionError, match=r"^secrets: "):
        made[0](*secrets)


@given(
    values=st.lists(st.text(max_size=30), min_size=4, max_size=4),
    body=st.binary(max_size=50),
    name=st.sampled_from(["Stripe-Signature", "webhook-signature", "X-Signature"]),
)
def test_whatever_comes_is_refused_and_never_an_error(
    values: list[str], body: bytes, name: str
) -> None:
    headers = dict(zip(["webhook-id", "webhook-timestamp", "X-Timestamp"], values, strict=False))
    for make, _sign in SCHEMES.values():
        assert not is_taken(make(NEW), {**headers, name: values[-1]}, body)


@given(
    timestamp=st.one_of(st.text(max_size=20), st.integers().map(str), st.floats().map(str)),
    signature=st.one_of(st.text(max_size=20), st.binary(max_size=33).map(bytes.hex)),
    rest=st.text(max_size=9),
)
def test_what_looks_like_a_signature_is_never_an_error(
    timestamp: str, signature: str, rest: str
) -> None:
    headers = {
        "Stripe-Signature": f"t={timestamp},v1={signature}{rest}",
        "webhook-id": rest,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature} {rest}",
        "X-Timestamp": timestamp,
        "X-Signature": signature,
    }
    for make, _sign in SCHEMES.values():
        assert not is_taken(make(NEW, OLD), headers)


# --- Stripe ---------------------------------------------------------------------------------------


def theirs_takes(header: str, body: bytes = BODY) -> bool:
    """Whether Stripe's own library takes it."""
    construct: Any = stripe.Webhook.construct_event
    try:
        construct(body, header, NEW)
    except stripe.SignatureVerificationError:
        return False
    return True


GOOD = sign_stripe()["Stripe-Signature"]
_T, _V1 = GOOD.split(",")


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (GOOD, True),
        (f"{_T},v1={'0' * 64},{_V1}", True),
        (f"{_V1},{_T}", True),
        (f"{_T},{_V1},v0=abc", True),
        (f"{_T},v0={_V1.removeprefix('v1=')}", False),
        (f"{_T},v1={'0' * 64}", False),
        (_T, False),
        (_V1, False),
        ("", False),
        ("t=,v1=", False),
        (f"t=x,{_V1}", False),
        (f"t={NOW + 1},{_V1}", False),
        (sign_stripe(at=NOW - 301)["Stripe-Signature"], False),
        (sign_stripe(secret=OLD)["Stripe-Signature"], False),
        (sign_stripe(b"another body")["Stripe-Signature"], False),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_ours_and_stripes_agree(header: str, taken: bool) -> None:  # noqa: FBT001
    assert theirs_takes(header) is taken
    assert is_taken(Stripe(NEW), {"Stripe-Signature": header}) is taken


@time_machine.travel(NOW, tick=False)
def test_ours_is_the_stricter_one_where_a_header_means_two_things() -> None:
    for header in (f"{_T},t=1,{_V1}", f"{_T}, {_V1}", f"t=0{NOW},{_V1}"):
        assert not is_taken(Stripe(NEW), {"Stripe-Signature": header})


@time_machine.travel(NOW, tick=False)
def test_what_we_sign_as_it_says_is_taken_by_stripes() -> None:
    signed = f"{NOW}.".encode() + BODY
    header = f"t={NOW},v1={hmac.digest(NEW.encode(), signed, 'sha256').hex()}"
    assert theirs_takes(header)
    assert is_taken(Stripe(NEW), {"Stripe-Signature": header})


@time_machine.travel(NOW, tick=False)
def test_the_tolerance_can_be_set() -> None:
    assert is_taken(Stripe(NEW, tolerance=900), sign_stripe(at=NOW - 800))
    for tolerance in (0, -1, None, "5"):
        with pytest.raises(OptionError, match=r"^tolerance: "):
            Stripe(NEW, tolerance=tolerance)  # type: ignore[arg-type]


# --- Standard Webhooks ----------------------------------------------------------------------------


@time_machine.travel(NOW, tick=False)
def test_one_of_several_signatures_will_do() -> None:
    signed = sign_standard()
    old = sign_standard(secret=OLD)["webhook-signature"]
    both = {**signed, "webhook-signature": f"{old} v2,xxxx {signed['webhook-signature']}"}
    assert is_taken(StandardWebhooks(NEW), both)


@time_machine.travel(NOW, tick=False)
def test_the_messages_id_is_signed_too() -> None:
    assert not is_taken(StandardWebhooks(NEW), {**sign_standard(), "webhook-id": "msg_2"})


@pytest.mark.parametrize("secret", ["whsec_a", "whsec_", "é"])
def test_a_secret_that_is_not_base64_is_not_repeated(secret: str) -> None:
    with pytest.raises(OptionError) as caught:
        StandardWebhooks(NEW, secret)
    assert str(caught.value) == (
        "secrets: a secret must be Base64, with or without whsec_ in front"
    )
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_without_its_library_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["standardwebhooks"] = None
from celery_external.webhooks import StandardWebhooks
try:
    StandardWebhooks("whsec_YQ==")
except Exception as exc:
    print(exc)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert run.stdout == (
        'StandardWebhooks: needs standardwebhooks: pip install "celery-external[webhooks]"\n'
    )


# --- A plain header -------------------------------------------------------------------------------


def test_each_encoding_and_prefix() -> None:
    digest = hmac.digest(b"s", BODY, "sha1")
    hexed, based = digest.hex(), base64.b64encode(digest).decode()
    in_hex = HmacHeader(b"s", header="X-Hub-Signature", algorithm="sha1", prefix="sha1=")
    assert is_taken(in_hex, {"X-Hub-Signature": f"sha1={hexed}"})
    assert is_taken(in_hex, {"X-Hub-Signature": f"sha1={hexed.upper()}"})
    assert not is_taken(in_hex, {"X-Hub-Signature": hexed})
    assert not is_taken(in_hex, {"X-Hub-Signature": f"sha1={based}"})
    in_base64 = HmacHeader("s", algorithm="sha1", encoding="base64")
    assert is_taken(in_base64, {"X-Signature": based})
    assert not is_taken(in_base64, {"X-Signature": based.swapcase()})


def test_without_a_timestamp_header_only_the_body_is_signed() -> None:
    headers = {"X-Signature": hmac.digest(NEW.encode(), BODY, "sha256").hex()}
    assert is_taken(HmacHeader(NEW), headers)
    with_time = HmacHeader(NEW, timestamp_header="X-Timestamp")
    assert not is_taken(with_time, {**headers, "X-Timestamp": str(int(time.time()))})


@pytest.mark.parametrize("option", [{"algorithm": "md4711"}, {"encoding": "base32"}])
def test_what_cannot_be_computed_is_refused_at_once(option: Any) -> None:
    (name,) = option
    with pytest.raises(OptionError, match=f"^{name}: "):
        HmacHeader(NEW, **option)
