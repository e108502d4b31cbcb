"""Names that stand for others, and the bodies that carry them."""

import json

import pytest

from services.generator.routing import Names, Route, Served, addressed

ALIAS, ADAPTER = "ft:base:production", "ft:base:demo:ftjob-1"
ROUTE = Route(asked=ALIAS, model=ADAPTER)


def test_an_alias_stands_for_its_adapter_and_any_other_name_for_itself() -> None:
    names = Names("base")
    names.aliases = {ALIAS: ADAPTER}
    assert names.route(ALIAS) == ROUTE
    for name in ("base", ADAPTER, "gpt-4", ""):
        assert names.route(name) == Route(asked=name, model=name)


def test_a_body_that_names_no_alias_is_not_touched() -> None:
    body = b"anything at all"
    assert addressed(body, Route(asked="base", model="base")) is body


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"ft:base:production"}',
        ' {\n\t"n" : 1.50,  "model"\n:\r"ft:base:production" , "a": {"model": "x"}}\n',
        '{"a": [{"model": "ft:base:production", "é": "\\"model\\""}],"model":"ft:base:production"}',
        '{"mod\\u0065l": "ft:base:\\u0070roduction", "stop": "\\ud83d\\ude00 ☺ \\ud800"}',
        '{"model": "first", "n": NaN, "model": "ft:base:production"}',
        '{"a": 1e400, "b": -0.0, "c": 12345678901234567890, "model": "ft:base:production"}',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_only_the_model_changes_in_a_body(body: str, encoding: str) -> None:
    changed = addressed(body.encode(encoding), ROUTE).decode(encoding)
    before, after = json.loads(body), json.loads(changed)
    assert after["model"] == ADAPTER
    assert repr(after | {"model": 0}) == repr(before | {"model": 0})
    spellings = ('"ft:base:production"', '"ft:base:\\u0070roduction"', '"first"')
    own = f'"{ADAPTER}"'
    for spelling in spellings:
        body, changed = body.replace(spelling, own), changed.replace(spelling, own)
    assert changed == body, "some other byte changed"


def test_headers_hold_any_name() -> None:
    assert Served(ADAPTER, "ab").headers == {
        "X-Fineproof-Model": ADAPTER,
        "X-Fineproof-Adapter-Sha256": "ab",
    }
    assert Served("base", base_revision="sha256:cd").headers == {
        "X-Fineproof-Model": "base",
        "X-Fineproof-Base-Revision": "sha256:cd",
    }
    assert Served("Modèle 7\n").headers == {"X-Fineproof-Model": "Mod%C3%A8le%207%0A"}
