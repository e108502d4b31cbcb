"""The base model: with a fresh LoRA to train, and as it is served."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from services.common.contracts.hyperparameters import Quantization
from services.trainer.training.config import RunConfig
from services.trainer.training.plan import dtype, on_gpu


def load_for_training(config: RunConfig) -> PeftModel:
    """The LoRA's own weights are float32, whatever the base model's are.

    Quantized, only the base is: QLoRA (Dettmers et al. 2023, arXiv 2305.14314).
    """
    asked = config.hyperparameters
    quantization = quantized(asked.quantization)
    where = {"": torch.cuda.current_device() if on_gpu() else "cpu"}
    base = AutoModelForCausalLM.from_pretrained(
        config.base_model_path,
        dtype=dtype(),
        quantization_config=quantization,
        device_map=where if quantization else None,
    )
    if quantization is not None:
        # Norms become float32, and the frozen weights stay as they were packed.
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    return get_peft_model(
        base,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=asked.lora.r,
            lora_alpha=asked.lora.lora_alpha,
            lora_dropout=asked.lora.lora_dropout,
            target_modules=asked.lora.target_modules,
            use_rslora=asked.lora.use_rslora,
            use_dora=asked.lora.use_dora,
        ),
    )


def quantized(kind: Quantization) -> BitsAndBytesConfig | None:
    if kind == "4bit":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype(),
        )
    return BitsAndBytesConfig(load_in_8bit=True) if kind == "8bit" else None


def load_as_served(config: RunConfig) -> PreTrainedModel:
    """Whole weights in float32, however the adapter was trained: what serves it has no others."""
    base = AutoModelForCausalLM.from_pretrained(config.base_model_path, dtype=torch.float32)
    return base.to("cuda") if on_gpu() else base
