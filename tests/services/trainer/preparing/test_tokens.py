"""Counts without transformers, held against those of the training process with it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from services.common.errors import InvalidRequest
from services.common.prompts import render_messages
from services.trainer.preparing.rendering import ContextPassage
from services.trainer.preparing.tokens import TemplateRefuses, token_counter
from services.trainer.training.data import prompt_ids, tokenize

EXAMPLES = [
    (render_messages("Who {wrote} it?"), "Ada."),
    (render_messages("Wer war's?", [ContextPassage("Ada, née Byron 🎓", "Über")]), " Ada "),
    ([{"role": "user", "content": "A"}], "B\n"),
]
ODD = (
    "{% for m in messages %}<{{ m.role }}>{% generation %}{{ m.content | tojson }}"
    "{% endgeneration %}{% endfor %}{% if add_generation_prompt %}<think>{% endif %}"
)


@pytest.mark.parametrize("template", [None, ODD])
def test_counts_are_those_of_the_training_process(
    tiny_model: Path, tmp_path: Path, template: str | None
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    if template:
        (model / "chat_template.jinja").write_text(template)
    tokenizer = AutoTokenizer.from_pretrained(model)
    stops = {tokenizer.eos_token_id}
    counter = token_counter(str(model))
    assert counter.prompts([prompt for prompt, _ in EXAMPLES]) == [
        len(prompt_ids(tokenizer, prompt)) for prompt, _ in EXAMPLES
    ]
    assert counter.examples(EXAMPLES) == [
        (example.answer_start, len(example.token_ids) - example.answer_start)
        for prompt, answer in EXAMPLES
        for example in [tokenize(tokenizer, prompt, answer, stops)]
    ]


def test_a_template_may_stand_in_the_tokenizer_s_configuration(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "chat_template.jinja").unlink()
    config = json.loads((model / "tokenizer_config.json").read_text())
    config["chat_template"] = [
        {"name": "tool_use", "template": ""},
        {"name": "default", "template": "{{ bos_token }}{{ messages[0].content }}"},
    ]
    config["bos_token"] = {"content": "<|im_start|>"}
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    assert token_counter(str(model)).prompts([[{"role": "user", "content": "a"}]]) == [2]


def test_a_template_that_refuses_is_quoted(tiny_model: Path, tmp_path: Path) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "chat_template.jinja").write_text("{{ raise_exception('No system role!') }}")
    with pytest.raises(TemplateRefuses, match="No system role!"):
        token_counter(str(model)).prompts([[{"role": "user", "content": "a"}]])


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"needs a tokenizer\.json"):
        token_counter(str(tmp_path))


def test_counting_needs_neither_torch_nor_transformers() -> None:
    program = "import sys, services.trainer.main; print({'torch', 'transformers'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.stdout.strip() == "set()", said.stderr
