"""The rules for items that failed: each fault is told with its rule, and the first one that fits decides."""

import json

import pytest

from shared.letter_rules import LetterRule, read_rules, rule_for
from shared.settings import SettingsError, load_settings
from tests.unit.test_settings import secrets_dir

__all__ = ["secrets_dir"]

EXAMPLE = '{"station-not-found": "drop", "station-*": "retry after 90m at most 3", "s3-full": "park"}'


@pytest.mark.parametrize(
    ("code", "then"),
    [
        ("station-not-found", "drop"),
        ("station-unavailable", "retry"),
        ("station", "park"),
        ("s3-full", "park"),
        ("s3-full-up", "park"),
        ("bad-item", "park"),
    ],
)
def test_the_first_rule_that_fits_decides_and_what_none_fits_is_parked(code: str, then: str) -> None:
    assert rule_for(read_rules(EXAMPLE), code).then == then


def test_an_asterisk_alone_fits_every_code() -> None:
    assert rule_for(read_rules('{"*": "drop"}'), "bad-item").then == "drop"


def test_a_retry_says_when_and_how_often() -> None:
    rule = rule_for(read_rules(EXAMPLE), "station-unavailable")
    assert (rule.after.total_seconds(), rule.at_most) == (5400, 3)


def test_no_rules_are_no_mistake() -> None:
    assert read_rules("{}") == []


@pytest.mark.parametrize("text", ["", "park", "7", "[]", '[["bad-item", "park"]]', "[" * 100_000, "{"])
def test_what_is_no_json_object_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no JSON object such as "):
        read_rules(text)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('{"Bad-Item": "park"}', "has 'Bad-Item', which is no code"),
        ('{"": "park"}', "has '', which is no code"),
        ('{"bad-*-item": "park"}', "has 'bad-*-item', which is no code"),
        (json.dumps({"a" * 65: "park"}), "which is no code"),
        (
            '{"bad-item": "keep"}',
            "says for 'bad-item' neither 'park' nor 'drop' nor such as 'retry after 1h at most 3'",
        ),
        ('{"bad-item": {"then": "park"}}', "says for 'bad-item' neither"),
        ('{"bad-item": "retry after 1h"}', "says for 'bad-item' neither"),
        ('{"bad-item": "retry after 1h at most 0"}', "says for 'bad-item' neither"),
        ('{"bad-item": "retry after soon at most 1"}', "has for 'bad-item' 'soon', which is no duration such as 90s"),
        ('{"bad-item": "retry after 0s at most 1"}', "has for 'bad-item' '0s', which is no time to wait"),
        ('{"bad-item": "retry after -1h at most 1"}', "which is no time to wait"),
        ('{"bad-item": "park", "bad-item": "drop"}', "never comes to 'bad-item': 'bad-item' stands before it"),
        ('{"bad-*": "park", "bad-item": "drop"}', "never comes to 'bad-item': 'bad-*' stands before it"),
        ('{"*": "park", "bad-*": "drop"}', "never comes to 'bad-*': '*' stands before it"),
        (json.dumps({f"code-{number}": "park" for number in range(101)}), "has more than 100 rules"),
    ],
)
def test_a_wrong_rule_is_told_with_what_is_wrong(rules: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_DEAD_LETTER_RULES", rules)
    with pytest.raises(SettingsError) as raised:
        load_settings()

    assert raised.value.reason.startswith("AUXIP_DEAD_LETTER_RULES ")
    assert said in raised.value.reason
    assert "\n" not in raised.value.reason


def test_the_settings_have_the_rules_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXIP_DEAD_LETTER_RULES", EXAMPLE)
    patterns = [rule.pattern for rule in load_settings().dead_letter_rules]
    assert patterns == ["station-not-found", "station-*", "s3-full"]


def test_a_rule_that_ends_in_an_asterisk_fits_what_begins_like_it() -> None:
    rule = LetterRule(pattern="archive-*", then="park")
    assert [code for code in ("archive-unsafe", "archive-", "archive", "unsupported-archive") if rule.fits(code)] == [
        "archive-unsafe",
        "archive-",
    ]
