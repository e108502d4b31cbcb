"""The model card beside every adapter."""

from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from services.common.contracts.hyperparameters import DpoHyperparameters
from services.trainer.training.config import Plan, RunConfig

TEMPLATE = """---
{data}
---

# LoRA on {base_model}

Trained by fineproof, job `{job}`, to step {step} of {steps}.

| | |
|---|---|
| base model | {base_model}, `{revision}` |
| recipe | {recipe} |
| training file | SHA-256 `{dataset}` |
| rendered prompts | {examples}, SHA-256 `{prompts}` |
| seed | {seed} |
| adapter | SHA-256 `{sha256}` |

## Metrics
{metrics}

## Hyperparameters
```json
{hyperparameters}
```
A step took {batch} examples: {micro} at once, {accumulation} times, in {processes} process(es), on
{device} in {dtype}.

## Versions
{versions}
"""


def model_card(
    config: RunConfig, plan: Plan, step: int, metrics: dict[str, float], sha256: str
) -> str:
    """Markdown with the front matter that the Hugging Face hub reads."""
    asked = config.hyperparameters
    recipe = "dpo" if isinstance(asked, DpoHyperparameters) else asked.recipe
    here = Path(config.base_model_path).is_dir()
    data = ModelCardData(
        base_model=config.base_model if here else config.base_model_path,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["lora", "fineproof", recipe],
    )
    text = TEMPLATE.format(
        data=data.to_yaml(),
        base_model=config.base_model,
        job=config.job_id,
        step=step,
        steps=plan.steps,
        revision=plan.base_model_revision,
        recipe=recipe,
        dataset=config.dataset_sha256,
        prompts=config.train_sha256,
        examples=plan.examples,
        seed=config.seed,
        sha256=sha256,
        metrics=listed({name: f"{value:.6g}" for name, value in metrics.items()}),
        hyperparameters=asked.model_dump_json(indent=2, exclude_none=True),
        batch=plan.batch_size,
        micro=plan.micro_batch,
        accumulation=plan.gradient_accumulation_steps,
        processes=plan.processes,
        device=plan.device,
        dtype=plan.dtype,
        versions=listed(config.versions),
    )
    return str(ModelCard(text))


def listed(values: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in values.items())
