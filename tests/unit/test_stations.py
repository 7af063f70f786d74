"""The file of stations: what is wrong is named with its line, and no secret is in it or shown."""

import os
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from redis import Redis

from shared.settings import SettingsError
from shared.stations.config import (
    ApiKeyAuth,
    BasicAuth,
    CookieAuth,
    NoAuth,
    OAuth2,
    OAuth2ClientCredentials,
    OAuth2Password,
    ODataConfig,
    S3ListConfig,
    SarMpcConfig,
    StacConfig,
    StationConfig,
    load_stations,
)
from shared.stations.credentials import StationCredentials
from shared.stations.presets import PRESETS
from shared.stations.tokens import SharedToken
from tests.unit.making import settings_of

ROOT = Path(__file__).parents[2]
ONE = '[station.one]\nurl = "https://one.example/auxip"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets with one in it, another in the environment."""
    made = tmp_path / "secrets"
    made.mkdir()
    (made / "one_key").write_text("hush-file\n", "utf-8")
    monkeypatch.setenv("AUXIP_SECRETS_DIR", str(made))
    monkeypatch.setenv("ONE_KEY", "hush-env")
    return made


def load(text: str, tmp_path: Path) -> Mapping[str, StationConfig]:
    file = tmp_path / "stations.toml"
    file.write_text(text, "utf-8")
    return load_stations(settings_of(stations_file=file))


def refusal(text: str, tmp_path: Path) -> str:
    """What is said of a file, without its name."""
    with pytest.raises(SettingsError) as raised:
        load(text, tmp_path)
    start, _, said = raised.value.reason.partition(": ")
    assert start == f"AUXIP_STATIONS_FILE {tmp_path / 'stations.toml'}"
    assert "\n" not in said
    return said


def auth(*lines: str) -> str:
    return "\n".join([ONE, "[station.one.auth]", *lines])


def test_stations_keep_the_order_of_the_file(tmp_path: Path) -> None:
    assert [*load('[station.z]\nurl = "http://z"\n[station.a]\nurl = "http://a"', tmp_path)] == ["z", "a"]


def test_a_url_is_enough(tmp_path: Path) -> None:
    one = load(ONE, tmp_path)["one"]
    assert (one.url, one.auth, one.page_size, one.timeout) == ("https://one.example/auxip", NoAuth(), 1000, 30)
    assert (one.requests_per_minute, one.connections, one.allow_private) == (None, None, False)


def test_the_example_shows_every_field(tmp_path: Path, folder: Path) -> None:
    (folder / "station_secret").write_text("hush")
    text = (ROOT / "deploy-example-stations.toml").read_text()
    assert isinstance(load(text, tmp_path)["adgs"].auth, ApiKeyAuth)
    for model in (
        StationConfig,
        StacConfig,
        ODataConfig,
        ApiKeyAuth,
        CookieAuth,
        BasicAuth,
        OAuth2Password,
        OAuth2ClientCredentials,
    ):
        assert [name for name in model.model_fields if name not in text] == []


@pytest.mark.parametrize(
    ("reference", "value"), [('{ env = "ONE_KEY" }', "hush-env"), ('{ file = "one_key" }', "hush-file")]
)
def test_a_secret_is_read_from_where_it_is(tmp_path: Path, reference: str, value: str) -> None:
    found = load(auth('kind = "api-key"', f"api_key = {reference}"), tmp_path)["one"].auth
    assert isinstance(found, ApiKeyAuth)
    assert found.api_key.get_secret_value() == value


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (['kind = "none"'], NoAuth),
        (['kind = "cookie"', 'cookie = { env = "ONE_KEY" }'], CookieAuth),
        (['kind = "basic"', 'username = "me"', 'password = { env = "ONE_KEY" }'], BasicAuth),
        (
            [
                'kind = "oauth2-password"',
                'token_url = "https://a.example/t"',
                'client_id = "c"',
                'username = "me"',
                'password = { env = "ONE_KEY" }',
            ],
            OAuth2Password,
        ),
        (
            [
                'kind = "oauth2-client-credentials"',
                'token_url = "https://a.example/t"',
                'client_id = "c"',
                'client_secret = { env = "ONE_KEY" }',
            ],
            OAuth2ClientCredentials,
        ),
    ],
)
def test_every_kind_of_credentials_is_known(tmp_path: Path, lines: list[str], kind: type) -> None:
    assert isinstance(load(auth(*lines), tmp_path)["one"].auth, kind)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "station is missing"),
        ("[station]", "station Dictionary should have at least 1 item"),
        (ONE + "[stations.two]", "stations is no field"),
        (ONE + "page_sise = 5", "station.one.page_sise is no field"),
        (ONE + "page_size = 0", "station.one.page_size Input should be greater than or equal to 1"),
        ("[station.one]\ntimeout = 5", "station.one.url is missing"),
        ('[station.one]\nurl = "one.example"', "station.one.url is no http:// or https:// URL"),
        ('[station.one]\nurl = "https://a:hush-x@b"', "station.one.url holds credentials"),
        ('[station."../x"]\nurl = "http://x"', "String should match pattern"),
        (ONE + 'trusted_domains = ["https://x"]', "station.one.trusted_domains.0 String should match pattern"),
        (ONE + "connections = x", "Invalid value (at line 3, column 15)"),
        (auth('kind = "ticket"'), "station.one.auth Input tag 'ticket'"),
        (auth('kind = "api-key"', "", "api_key = 5"), "station.one.auth.api_key is no reference"),
        (auth('kind = "api-key"'), "station.one.auth.api_key is missing"),
        (auth('kind = "none"', "token = 1"), "station.one.auth.token is no field"),
        (auth('kind = "api-key"', 'api_key = { env = "TWO" }'), "is empty or missing: the variable TWO"),
        (auth('kind = "api-key"', 'api_key = { file = "two" }'), "is empty or missing: the file two"),
        (auth('kind = "api-key"', 'api_key = { file = "../one_key" }'), "is no name of a file"),
        (auth('kind = "api-key"', 'api_key = { env = "A", file = "b" }'), "is no reference"),
        (
            ONE + 'kind = "wfs"',
            "station.one Input tag 'wfs' found using 'kind' does not match any of the expected tags",
        ),
        (ONE + 'dialect = "cdse"', "station.one.dialect is no field"),
        (ONE + 'kind = "odata"\ndialect = "lta"', "station.one.dialect Input should be 'auxip' or 'cdse'"),
        (ONE + 'kind = "odata"\ncollections = ["A"]', "station.one has collections, which the dialect auxip does not"),
        (ONE + 'kind = "odata"\nproduct_types = { A = 1 }', "station.one.product_types.A Input should be a valid str"),
        (ONE + 'preset = "adsg"', "station.one.preset is no preset; there are adgs, cdse, rrpp"),
        (ONE + "preset = 5", "station.one.preset Input should be a valid string"),
        ("station = 5", "station Input should be a valid dictionary"),
        ("station.one = 5", "station.one Input should be"),
        (
            '[station.one]\npreset = "adgs"',
            "station.one.auth.username is missing; station.one.auth.password is missing",
        ),
        (
            '[station.one]\npreset = "cdse"\n[station.one.download_auth]\nusername = "me"\npasword = 1',
            "station.one.download_auth.password is missing; station.one.download_auth.pasword is no field",
        ),
        (
            ONE + 'kind = "odata"\n[station.one.download_auth]\nkind = "none"',
            "station.one has a download_auth, but no download_url on another host than its url",
        ),
        (
            ONE
            + 'kind = "odata"\ndownload_url = "https://two.example"\n[station.one.download_auth]\n'
            + 'kind = "oauth2-client-credentials"\ntoken_url = "http://a.example/t"\nclient_id = "c"\n'
            + 'client_secret = { env = "ONE_KEY" }',
            "station.one has a token_url without https",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(text, tmp_path)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    said = refusal(ONE + 'timeout = 0\n[station.two]\nurl = "x"', tmp_path)
    assert "station.one.timeout" in said
    assert "station.two.url" in said


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_stations(settings_of(stations_file=tmp_path / "none.toml"))


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    said = refusal(auth('kind = "api-key"', 'api_key = "hush-plain"'), tmp_path)
    assert "a secret does not stand in this file" in said
    assert "hush" not in said


def test_a_secret_that_no_header_can_carry_is_refused_and_not_repeated(tmp_path: Path, folder: Path) -> None:
    (folder / "one_key").write_text("hush\x00hush", "utf-8")
    said = refusal(auth('kind = "api-key"', 'api_key = { file = "one_key" }'), tmp_path)
    assert "station.one.auth.api_key holds a character that a header cannot carry" in said
    assert "hush" not in said


def test_credentials_are_not_sent_to_a_token_endpoint_in_the_clear(tmp_path: Path) -> None:
    lines = ['kind = "oauth2-client-credentials"', 'token_url = "http://a.example/t"', 'client_id = "c"']
    said = refusal(auth(*lines, 'client_secret = { env = "ONE_KEY" }'), tmp_path)
    assert "has a token_url without https" in said


def test_without_a_folder_of_secrets_a_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUXIP_SECRETS_DIR")
    monkeypatch.setattr("shared.settings._SECRETS_DEFAULT", str(tmp_path / "none"))
    assert "there is no folder of secrets" in refusal(
        auth('kind = "api-key"', 'api_key = { file = "one_key" }'), tmp_path
    )


def test_no_secret_is_shown(tmp_path: Path) -> None:
    one = load(auth('kind = "basic"', 'username = "me"', 'password = { file = "one_key" }'), tmp_path)["one"]
    assert os.environ["ONE_KEY"] == "hush-env"
    assert not [shown for shown in (repr(one), str(one), one.model_dump_json()) if "hush" in shown]


def test_a_preset_fills_in_what_the_file_does_not_name(tmp_path: Path) -> None:
    one = load(
        """
        [station.one]
        preset = "cdse"
        connections = 2
        product_types = { MINE = "THEIRS" }
        [station.one.download_auth]
        username = "me"
        password = { env = "ONE_KEY" }
        """,
        tmp_path,
    )["one"]
    assert isinstance(one, ODataConfig)
    assert (one.dialect, one.url) == ("cdse", "https://catalogue.dataspace.copernicus.eu/odata/v1")
    assert one.download_url == "https://download.dataspace.copernicus.eu/odata/v1"
    assert (one.connections, one.product_types) == (2, {"MINE": "THEIRS"})
    assert one.auth == NoAuth()
    assert isinstance(one.download_auth, OAuth2Password)
    assert (one.download_auth.client_id, one.download_auth.username) == ("cdse-public", "me")


@pytest.mark.parametrize(
    ("preset", "kind", "url", "page_size"),
    [
        ("s1-orbits", S3ListConfig, "https://s1-orbits.s3.us-west-2.amazonaws.com", 1000),
        ("sar-mpc", SarMpcConfig, "https://sar-mpc.eu/api/v1", 100),
    ],
)
def test_a_preset_without_an_account_needs_nothing_else_and_its_fields_give_way(
    tmp_path: Path, preset: str, kind: type[StationConfig], url: str, page_size: int
) -> None:
    one = load(f'[station.one]\npreset = "{preset}"', tmp_path)["one"]
    assert (type(one), one.url, one.page_size, one.auth) == (kind, url, page_size, NoAuth())
    own = load(f'[station.one]\npreset = "{preset}"\nurl = "http://mirror.example"\npage_size = 7', tmp_path)["one"]
    assert (type(own), own.url, own.page_size) == (kind, "http://mirror.example", 7)


def test_credentials_of_another_kind_than_the_presets_replace_them(tmp_path: Path) -> None:
    lines = ['[station.one]\npreset = "adgs"\n[station.one.auth]\nkind = "basic"\nusername = "me"']
    one = load("\n".join([*lines, 'password = { env = "ONE_KEY" }']), tmp_path)["one"]
    assert (one.url, type(one.auth)) == ("https://adgs.copernicus.eu/odata/v1", BasicAuth)


def test_every_preset_needs_nothing_but_a_name_and_a_password(tmp_path: Path) -> None:
    for name, preset in PRESETS.items():
        needed = [table for table in ("auth", "download_auth") if table in preset]
        me = 'username = "me"\npassword = { env = "ONE_KEY" }'
        tables = "".join(f"\n[station.one.{table}]\n{me}" for table in needed)
        assert load(f'[station.one]\npreset = "{name}"{tables}', tmp_path)["one"].preset == name


def test_the_pages_have_a_file_that_works_for_every_preset(tmp_path: Path, folder: Path) -> None:
    pages = "".join(page.read_text("utf-8") for page in sorted((ROOT / "docs").rglob("*.md")))
    shown = [block for block in re.findall(r"```toml\n(.*?)```", pages, re.DOTALL) if "[station." in block]
    for name in re.findall(r'file = "(\w+)"', "".join(shown)):
        (folder / name).write_text("hush", "utf-8")
    assert {station.preset for block in shown for station in load(block, tmp_path).values()} == PRESETS.keys() | {None}


@pytest.mark.parametrize(("username", "tokens"), [("me", 1), ("you", 2)])
def test_search_and_download_share_a_token_if_their_credentials_are_the_same(
    tmp_path: Path, username: str, tokens: int
) -> None:
    one = load(
        f"""
        [station.one]
        preset = "cdse"
        [station.one.auth]
        kind = "oauth2-password"
        token_url = "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token"
        client_id = "cdse-public"
        username = "{username}"
        password = {{ env = "ONE_KEY" }}
        [station.one.download_auth]
        username = "me"
        password = {{ env = "ONE_KEY" }}
        """,
        tmp_path,
    )["one"]
    asked: list[OAuth2] = []
    with closing(Redis()) as redis:  # nothing is asked of it

        def token_of(auth: OAuth2) -> SharedToken:
            asked.append(auth)
            return SharedToken(redis, "one", (auth.token_url,))

        StationCredentials(one, token_of).close()
    assert len(asked) == tokens
