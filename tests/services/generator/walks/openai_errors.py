"""What goes wrong becomes the client's own exceptions, with the ``openai`` this process imports.

    python openai_errors.py MODEL GUARDED BROKEN AWAY CUT

URLs of generators: one that wants keys, and one each whose vLLM fails, is away, breaks off.
"""

import sys

import openai
import pytest


def main(model: str, guarded: str, broken: str, away: str, cut: str) -> None:
    for url, kind, status, code in (
        (guarded, openai.AuthenticationError, 401, "invalid_api_key"),
        (broken, openai.InternalServerError, 502, "model_server_failed"),
        (away, openai.InternalServerError, 503, "model_server_unavailable"),
    ):
        with pytest.raises(kind) as caught:
            ask(url, model)
        assert (caught.value.status_code, caught.value.code) == (status, code)
    with pytest.raises(openai.APIError) as broke:
        ask(cut, model, stream=True)
    assert broke.value.code == "model_server_broke_off"
    print(openai.__version__)


def ask(url: str, model: str, *, stream: bool = False) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hi"}], stream=stream
    )
    if isinstance(answer, openai.Stream):
        list(answer)


main(*sys.argv[1:])
