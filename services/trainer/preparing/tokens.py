"""Chat messages counted in tokens, as vLLM and the training process count them, without either.

The Rust tokenizer of the base model and its chat template, in the sandbox and with the names that
``transformers`` gives templates; a test holds the counts equal to those of ``transformers``.
"""

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from services.common.errors import InvalidRequest, Unavailable

Messages = Sequence[Mapping[str, str]]

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")


class TemplateRefuses(ValueError):
    """The chat template will not have these messages, in its own words."""


class TokenCounter:
    def __init__(
        self, tokenizer: Tokenizer, template: str, special: Mapping[str, str], stops: frozenset[int]
    ) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._template = _environment().from_string(template)
        self._special = dict(special)
        self._stops = stops

    def prompts(self, prompts: Sequence[Messages]) -> list[int]:
        """Tokens of each prompt, up to where its answer begins. Raises ``TemplateRefuses``."""
        return [len(ids) for ids in self._encode([self._rendered(each, True) for each in prompts])]

    def examples(self, examples: Sequence[tuple[Messages, str]]) -> list[tuple[int, int]]:
        """Tokens of each prompt, and of its answer with one stop token, as they are trained on."""
        asked = self._encode([self._rendered(prompt, True) for prompt, _ in examples])
        said = self._encode(
            [
                self._rendered([*prompt, {"role": "assistant", "content": answer}], False)
                for prompt, answer in examples
            ]
        )
        return [
            (len(prompt), self._answer(whole[len(prompt) :]))
            if whole[: len(prompt)] == prompt
            else (len(prompt), self._answer(self._encode([answer])[0]))
            for prompt, whole, (_, answer) in zip(asked, said, examples, strict=True)
        ]

    def _answer(self, ids: list[int]) -> int:
        last = max((at for at, token in enumerate(ids) if token in self._stops), default=None)
        return len(ids) + 1 if last is None else last + 1

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def _rendered(self, messages: Messages, asks: bool) -> str:
        try:
            return self._template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=asks,
                **self._special,
            )
        except jinja2.TemplateError as error:
            raise TemplateRefuses(str(error)) from error


@lru_cache(maxsize=8)
def token_counter(model: str) -> TokenCounter:
    """That of a base model, a folder or Hugging Face id.

    Raises ``Unavailable``, and ``InvalidRequest`` for a model that cannot be counted with.
    """
    folder = small_files(model)
    try:
        told = _json(folder / "tokenizer_config.json")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        special = _special_tokens(folder, told)
        template = _template(folder, told)
    # Of all that a broken file can bring about, tokenizers raises bare Exceptions.
    except Exception as error:
        raise InvalidRequest(
            f"The base model '{Path(model).name}' cannot be trained on: it needs a tokenizer.json "
            "and a chat template, as transformers' save_pretrained writes them.",
            code="tokenizer_unreadable",
            param="model",
        ) from error
    ids = _json(folder / "generation_config.json").get("eos_token_id")
    stops = {*(ids if isinstance(ids, list) else [ids])}
    stops.add(tokenizer.token_to_id(special.get("eos_token", "")))
    return TokenCounter(tokenizer, template, special, frozenset(stops - {None}))


@lru_cache(maxsize=8)
def small_files(model: str) -> Path:
    """The folder of a base model's configuration and tokenizer. Raises ``Unavailable``."""
    folder = Path(model)
    if folder.is_dir():
        return folder
    patterns = ["*.json", "*.jinja"]
    try:
        return Path(snapshot_download(model, allow_patterns=patterns))
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise _unreadable(model, type(error).__name__) from error


def _unreadable(model: str, reason: str) -> Unavailable:
    return Unavailable(
        f"The files of the base model '{Path(model).name}' cannot be read ({reason}); check "
        "FINEPROOF_TRAINER_BASE_MODELS.",
        code="base_model_unreadable",
    )


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def _special_tokens(folder: Path, told: Mapping[str, Any]) -> dict[str, str]:
    """Older models spell a token as an object, or in a file of its own."""
    named = _json(folder / "special_tokens_map.json") | dict(told)
    found = {name: named.get(name) for name in _SPECIAL}
    return {
        name: token["content"] if isinstance(token, dict) else str(token)
        for name, token in found.items()
        if token is not None
    }


def _template(folder: Path, told: Mapping[str, Any]) -> str:
    own = folder / "chat_template.jinja"
    if own.exists():
        return own.read_text()
    template = told.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = {each["name"]: each["template"] for each in template}["default"]
    if not isinstance(template, str):
        raise ValueError("no chat template")
    return template


class _Generation(Extension):
    """``{% generation %}`` marks the assistant's words for training; here it prints them."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson  # Jinja's own escapes HTML
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)
    return environment
