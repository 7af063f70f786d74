"""The address of Redis: one spelling, whatever the libraries want; what cannot work is refused in one line."""

from pathlib import Path

import pytest

from shared.redis_address import parse_redis_url


def test_an_address_without_tls_is_left_as_it_is() -> None:
    address = parse_redis_url("redis://:password@host:6379/0")
    assert (address.url, address.tls) == ("redis://:password@host:6379/0", None)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", "required"),
        ("?ssl_cert_reqs=required", "required"),
        ("?ssl_cert_reqs=CERT_REQUIRED", "required"),
        ("?ssl_cert_reqs=CERT_OPTIONAL", "optional"),
        ("?ssl_cert_reqs=none", "none"),
        ("?ssl_cert_reqs=CERT_NONE", "none"),
    ],
)
def test_tls_is_checked_unless_the_address_says_otherwise_in_any_spelling(given: str, meant: str) -> None:
    address = parse_redis_url(f"rediss://user:password@host:6379/0{given}")
    assert (address.url, address.tls) == ("rediss://user:password@host:6379/0", {"ssl_cert_reqs": meant})


def test_a_certificate_of_the_authority_may_be_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    assert (parse_redis_url(f"rediss://host/0?ssl_ca_certs={file}").tls or {})["ssl_ca_certs"] == str(file)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://host/0", "is no redis://"),
        ("redis://:secret@host:port/0", "is no redis://"),
        ("redis://:secret@host/0?ssl_cert_reqs=none", "only a rediss:// URL"),
        ("rediss://:secret@host/0?ssl_cert_reqs=sometimes", "none of: required, optional, none"),
        ("rediss://:secret@host/0?ssl_ca_cert=/ca.pem", "'ssl_ca_cert'"),
        ("rediss://:secret@host/0?ssl_ca_certs=/no/such/file", "not there"),
        ("sentinel://:secret@host:26379/0", "not supported"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason_that_holds_no_secret(address: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_redis_url(address)
    assert "secret" not in str(caught.value)
