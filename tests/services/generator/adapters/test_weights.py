from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from services.common.errors import Unavailable
from services.generator.adapters.refusal import AdapterCorrupt, AdapterIncompatible
from services.generator.adapters.weights import (
    LoraPair,
    base_shapes,
    check_rank,
    check_targets,
    count_matched,
    lora_pairs,
)

Q = "base_model.model.model.layers.0.self_attn.q_proj"
BASE = {"model.layers.0.self_attn.q_proj.weight": (12, 8), "model.norm.weight": (8,)}


def written(folder: Path, **shapes: tuple[int, ...]) -> Path:
    file = folder / "adapter_model.safetensors"
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, file)
    return file


def pair(rank: int = 4) -> dict[str, tuple[int, ...]]:
    return {f"{Q}.lora_A.weight": (rank, 8), f"{Q}.lora_B.weight": (12, rank)}


def test_a_pair_is_read_under_the_base_models_name(tmp_path: Path) -> None:
    pairs = lora_pairs(written(tmp_path, **pair()))
    assert pairs == {"model.layers.0.self_attn.q_proj": LoraPair((4, 8), (12, 4))}
    assert count_matched(pairs, BASE) == 1


@pytest.mark.parametrize(
    "base",
    [
        {"model.blocks.0.self_attn.q_proj.weight": (12, 8)},
        {"model.layers.0.self_attn.q_proj.weight": (8, 12)},
        {},
    ],
)
def test_a_pair_without_its_weight_in_the_base_model_is_refused(
    tmp_path: Path, base: dict[str, tuple[int, ...]]
) -> None:
    with pytest.raises(AdapterIncompatible, match=r"1 of 1 LoRA modules.*q_proj"):
        count_matched(lora_pairs(written(tmp_path, **pair())), base)


def test_one_stray_module_among_good_ones_is_refused(tmp_path: Path) -> None:
    stray = {key.replace("layers.0", "layers.99"): shape for key, shape in pair().items()}
    with pytest.raises(AdapterIncompatible, match=r"1 of 2 .*layers\.99"):
        count_matched(lora_pairs(written(tmp_path, **pair(), **stray)), BASE)


def test_a_rank_that_is_not_the_one_the_configuration_says_is_refused(tmp_path: Path) -> None:
    pairs = lora_pairs(written(tmp_path, **pair(rank=4)))
    check_rank(pairs, 16, said=4)
    with pytest.raises(AdapterCorrupt, match=r"says r=8.* rank 4"):
        check_rank(pairs, 16, said=8)


def test_modules_that_vllm_was_not_started_for_are_refused_with_what_to_change(
    tmp_path: Path,
) -> None:
    pairs = lora_pairs(written(tmp_path, **pair()))
    for allowed in (None, ("q_proj", "v_proj")):
        check_targets(pairs, allowed)
    with pytest.raises(AdapterIncompatible, match=r"q_proj.*--lora-target-modules"):
        check_targets(pairs, ("v_proj",))


def test_a_rank_over_the_engines_is_refused_with_what_to_change(tmp_path: Path) -> None:
    pairs = lora_pairs(written(tmp_path, **pair(rank=64)))
    with pytest.raises(AdapterIncompatible, match="--max-lora-rank 64"):
        check_rank(pairs, 16)
    check_rank(pairs, 64)


@pytest.mark.parametrize(
    ("shapes", "refusal"),
    [
        ({f"{Q}.lora_A.weight": (4, 8)}, AdapterCorrupt),
        ({f"{Q}.lora_A.weight": (4, 8), f"{Q}.lora_B.weight": (12, 5)}, AdapterCorrupt),
        ({}, AdapterCorrupt),
        (pair() | {f"{Q}.lora_magnitude_vector": (12,)}, AdapterIncompatible),
        (pair() | {"base_model.model.lm_head.weight": (12, 8)}, AdapterIncompatible),
        (pair() | {"base_model.model.model.embed_tokens.lora_embedding_A": (4, 9)},
         AdapterIncompatible),
    ],
)  # fmt: skip
def test_what_is_not_whole_lora_pairs_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        lora_pairs(written(tmp_path, **shapes))


@pytest.mark.parametrize("keep", [0, 4, 40, 400])
def test_a_file_cut_short_is_corrupt(tmp_path: Path, keep: int) -> None:
    file = written(tmp_path, **pair())
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(AdapterCorrupt, match="not a whole safetensors file"):
        lora_pairs(file)


def test_a_base_models_shards_are_read_together(tmp_path: Path) -> None:
    for number, name in enumerate(("a.weight", "b.weight")):
        save_file(
            {name: np.zeros((2, number + 1), np.float32)}, tmp_path / f"m-{number}.safetensors"
        )
    assert base_shapes(str(tmp_path)) == {"a.weight": (2, 1), "b.weight": (2, 2)}


def test_a_base_model_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="BASE_MODEL_PATH"):
        base_shapes(str(tmp_path))
