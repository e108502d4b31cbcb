"""Models at other hosts: asked as ours are, and neither their keys nor our network come out."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from services.generator.servers.hosted import GuardedResolver
from services.generator.servers.hosting import LOOPBACK, is_open, split_hosts
from services.generator.servers.transport import AiohttpTransport
from services.generator.settings import GeneratorSettings
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.upstream import Upstream

SECRET = "sk-never-to-be-seen-7391"
PASSAGES = [{"id": f"p{n}", "text": f"Logs are kept for {n} days. " * 10} for n in range(1, 5)]


class Host(Upstream):
    """Another host, whose model is called ``big-1``; it may refuse."""

    refusal: Response | None = None

    async def _complete(self, request: Request) -> Response:
        if self.refusal is None:
            return await super()._complete(request)
        self.headers.append(request.headers)
        return self.refusal


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host("big-1")
    with serving(host.app) as host.url:
        yield host


def model(host: Host, **more: Any) -> dict[str, Any]:
    described = {"name": "big", "url": f"{host.url}/v1", "model": "big-1", "max_model_len": 2048}
    return {**described, "api_key": SECRET, **more}


def chat(url: str, **more: Any) -> httpx.Response:
    body = {"model": "big", "messages": [{"role": "user", "content": "Hi"}], **more}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": "mine"})


def test_every_route_asks_it_by_its_own_name_and_key(
    start_generator: StartGenerator, upstream: Upstream, host: Host
) -> None:
    url = start_generator(upstream.url, upstreams=[model(host)])
    asking: tuple[tuple[str, dict[str, Any]], ...] = (
        ("chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "top_k": 1}),
        ("completions", {"prompt": "Hi", "echo": True, "logprobs": 1}),
        ("rag/query", {"question": "For how long?", "passages": PASSAGES}),
        ("responses", {"input": "Hi"}),
    )
    for route, body in asking:
        for stream in (True, False):
            sent = {"model": "big", **body, "stream": stream}
            answer = httpx.post(f"{url}/v1/{route}", json=sent)
            assert answer.status_code == 200, (route, answer.text)
            assert "Hello" in answer.text
            assert json.loads(host.bodies[-1])["model"] == "big-1"
            assert host.headers[-1]["authorization"] == f"Bearer {SECRET}"
    assert len(host.bodies) == 2 * len(asking)
    assert upstream.bodies == []
    exact = b'{"messages" : [],  "model":"big", "x": 1.50}'
    answered = httpx.post(f"{url}/v1/chat/completions", content=exact)
    assert answered.headers["x-fineproof-model"] == "big"
    assert host.bodies[-1] == exact.replace(b'"big"', b'"big-1"')


def test_it_is_listed_with_its_host_and_window(
    start_generator: StartGenerator, upstream: Upstream, host: Host
) -> None:
    url = start_generator(upstream.url, upstreams=[model(host)])
    cards = httpx.get(f"{url}/v1/models").json()["data"]
    assert [card["id"] for card in cards] == [BASE, "big"]
    assert cards[1] == httpx.get(f"{url}/v1/models/big").json()
    assert (cards[1]["owned_by"], cards[1]["max_model_len"]) == ("127.0.0.1", 2048)


def test_it_is_not_deleted_as_a_model(
    start_generator: StartGenerator, upstream: Upstream, host: Host
) -> None:
    url = start_generator(upstream.url, upstreams=[model(host)])
    deleted = httpx.delete(f"{url}/v1/models/big")
    assert (deleted.status_code, deleted.json()["error"]["code"]) == (400, "model_not_deletable")


def test_a_rag_prompt_keeps_to_its_window(
    start_generator: StartGenerator, upstream: Upstream, host: Host
) -> None:
    url = start_generator(upstream.url, upstreams=[model(host, max_model_len=1500)])
    ask = {"model": "big", "question": "For how long?", "passages": PASSAGES}
    answer = httpx.post(f"{url}/v1/rag/query", json=ask).json()
    assert answer["left_out"] != []
    assert len(answer["passages"]) + len(answer["left_out"]) == len(PASSAGES)


def test_what_it_refuses_is_told_apart_and_never_looks_like_the_callers_own_mistake(
    start_generator: StartGenerator, upstream: Upstream, host: Host
) -> None:
    url = start_generator(upstream.url, upstreams=[model(host)])
    echoing = {"error": {"message": f"Incorrect API key {SECRET}.", "code": "bad", "param": "n"}}
    for given, status, code in (
        (401, 502, "upstream_unauthorized"),
        (403, 502, "upstream_unauthorized"),
        (404, 502, "upstream_failed"),
        (429, 429, "upstream_rate_limited"),
        (500, 502, "upstream_failed"),
        (400, 400, "bad"),
        (503, 503, "upstream_unavailable"),
    ):
        host.refusal = JSONResponse(echoing, given, headers={"Retry-After": "17"})
        refused = chat(url)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
        assert SECRET not in refused.text
        if given == 429:
            assert refused.headers["retry-after"] == "17"
    asked = len(host.headers)
    host.refusal = RedirectResponse(f"{host.url}/v1/chat/completions", 307)
    assert chat(url).json()["error"]["code"] == "upstream_redirected"
    assert len(host.headers) == asked + 1  # it was not followed


def test_its_key_is_in_no_log_metric_error_or_repr(
    start_generator: StartGenerator,
    upstream: Upstream,
    host: Host,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    url = start_generator(upstream.url, upstreams=[model(host)], log_level="DEBUG")
    for refusal in (None, Response(SECRET, 401), Response(SECRET, 500), Response(SECRET, 400)):
        host.refusal = refusal
        for stream in (True, False):
            assert SECRET not in chat(url, stream=stream).text
    host.refusal, host.fault = None, "cut"
    assert SECRET not in chat(url, stream=True).text
    assert SECRET not in httpx.get(f"{url}/metrics").text + httpx.get(f"{url}/v1/models").text
    given = {**DESCRIBED, "upstreams": [model(host)]}
    assert SECRET not in repr(GeneratorSettings(**given))
    for wrong in ({"name": "ft:x"}, {"max_model_len": SECRET}, {"url": f"https://{SECRET}@a.b/v1"}):
        with pytest.raises(ValidationError) as refused:
            GeneratorSettings(**{**given, "upstreams": [{**model(host), **wrong}]})
        assert SECRET not in str(refused.value)
    seen = capfd.readouterr()
    assert "hosted_model_refused" in seen.err  # it did log
    assert SECRET not in seen.out + seen.err + caplog.text


def test_a_setting_that_is_no_json_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINEPROOF_GENERATOR_UPSTREAMS", f'[{{"api_key": "{SECRET}"')
    with pytest.raises(SettingsError) as refused:
        GeneratorSettings(**DESCRIBED)
    assert SECRET not in "".join(traceback.format_exception(refused.value))


DESCRIBED: dict[str, Any] = {
    "mode": "local",
    "database_url": "postgresql+psycopg://x/y",
    "storage_url": "file:///tmp/x",
    "vllm_urls": ["http://127.0.0.1:9"],
    "base_model": BASE,
    "base_model_path": "/tmp/x",
    "adapter_cache": "/tmp/x",
}
KEYS = [{"name": "me", "sha256": "0" * 64, "scopes": ["read"]}]


def allowed(mode: str, hosts: list[str], **described: Any) -> bool:
    upstream = {"name": "big", "max_model_len": 2048, **described}
    try:
        GeneratorSettings(
            **{
                **DESCRIBED,
                "mode": mode,
                "api_keys": KEYS,
                "upstreams": [upstream],
                "upstream_allowed_hosts": hosts,
            }
        )
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("mode", "url", "hosts", "expected"),
    [
        ("production", "https://api.example.com/v1", ["api.example.com"], True),
        ("production", "https://API.example.com/v1", ["api.EXAMPLE.com"], True),
        ("production", "https://api.example.com/v1", [], False),
        ("production", "https://api.example.com.evil.org/v1", ["api.example.com"], False),
        ("production", "http://api.example.com/v1", ["api.example.com"], False),
        ("production", "http://127.0.0.1:8000/v1", ["127.0.0.1"], False),
        ("production", "https://127.0.0.1:8000/v1", [], False),
        ("production", "https://10.1.2.3/v1", ["10.1.0.0/16"], True),
        ("production", "https://[fd00::1]/v1", ["fd00::/8"], True),
        ("production", "https://169.254.169.254/v1", ["10.0.0.0/8"], False),
        ("local", "http://127.0.0.1:8000/v1", [], True),
        ("local", "http://localhost:8000/v1", [], True),
        ("local", "http://10.1.2.3/v1", ["10.1.2.3"], False),
        ("local", "https://api.example.com/v1", [], False),
        ("local", "https://me:pass@localhost/v1", [], False),
    ],
)
def test_urls_are_held_to_the_list_at_start(
    mode: str, url: str, hosts: list[str], expected: bool
) -> None:
    assert allowed(mode, hosts, url=url) is expected


def test_keys_may_lie_elsewhere_and_must_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, url = tmp_path / "key", "http://127.0.0.1/v1"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("SOME_KEY", SECRET)
    assert allowed("local", [], url=url, api_key_file=str(file))
    assert allowed("local", [], url=url, api_key_env="SOME_KEY")
    assert not allowed("local", [], url=url, api_key_env="NO_SUCH_KEY")
    assert not allowed("local", [], url=url, api_key_file=str(tmp_path / "none"))
    assert not allowed("local", [], url=url, api_key_file=str(file), api_key_env="SOME_KEY")
    assert not allowed("local", [], url=url, api_key="two\nlines")
    assert not allowed("local", [], url=url, name=BASE)
    assert not allowed("local", [], url=url, name="ft:a:b:c")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.1.2.3", False),
        ("2002:0a01:0203::1", False),
    ],
)
def test_addresses_inside_are_closed_unless_their_network_is_listed(
    address: str, expected: bool
) -> None:
    _, listed = split_hosts(["10.1.0.0/16", "some.host"])
    assert is_open(address, ()) is expected
    assert is_open(address, listed) is (expected or "10.1.2.3" in address or "0a01" in address)


async def test_a_name_that_points_inside_is_not_connected_to(host: Host) -> None:
    port = host.url.rpartition(":")[2]
    for networks, reached in (((), False), (LOOPBACK, True)):
        transport = AiohttpTransport(connections=1, idle=1, resolver=GuardedResolver(networks))
        async with httpx.AsyncClient(transport=transport) as http:
            asked = http.get(f"http://localhost:{port}/v1/models")
            if reached:
                assert (await asked).status_code == 200
            else:
                with pytest.raises(httpx.ConnectError):
                    await asked
    assert host.looks == 1
