"""How a fine-tuning is asked for, under ``method`` of ``POST /v1/fine_tuning/jobs``.

OpenAI's three fields come first; the others bear the names that PEFT, TRL and ``transformers`` give
them, and none is required.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.common.contracts.base import Ask, Id

Recipe = Literal["qa", "rag", "raft"]
Quantization = Literal["none", "4bit", "8bit"]

Epochs = Annotated[int, Field(ge=1, le=50)] | Literal["auto"]
BatchSize = Annotated[int, Field(ge=1, le=256)] | Literal["auto"]
Multiplier = Annotated[float, Field(gt=0, le=100)] | Literal["auto"]


class LoraHyperparameters(Ask):
    """PEFT's ``LoraConfig`` fields, by its names."""

    r: Annotated[int, Field(ge=1, le=512)] = 16
    lora_alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: (
        Literal["all-linear"]
        | Annotated[
            list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]],
            Field(min_length=1, max_length=64),
        ]
    ) = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False


class Retrieval(Ask):
    """Where recipes ``rag`` and ``raft`` find the passages of each training prompt.

    For ``rag``, the gold passages (``evidence_ids`` of a row) are put among what the retriever
    returns when ``include_gold``: a prompt that lacks its answer would teach the model to guess.
    How many passages ``raft`` shows, and whether gold is among them, ``Raft`` says.
    ``within_document`` searches only the row's own ``doc_id``, as experiments do under that name.
    """

    vector_store_id: Id
    max_num_results: Annotated[int, Field(ge=1, le=20)] = 3
    include_gold: bool = True
    within_document: bool = False


class Raft(Ask):
    """RAFT's own two parameters (Zhang et al. 2024, arXiv 2403.10131).

    ``p`` is the share of training prompts that keep their gold passages, P in the paper; the others
    show distractors only. ``distractors`` is how many passages that are not gold a prompt shows.
    """

    p: Annotated[float, Field(ge=0, le=1)] = 0.8
    distractors: Annotated[int, Field(ge=1, le=20)] = 4


class EarlyStopping(Ask):
    """The fields of ``transformers.EarlyStoppingCallback``: end when the validation loss has not
    fallen by ``early_stopping_threshold`` (nats) in ``early_stopping_patience`` evaluations, one at
    each step that ``save_strategy`` saves. The adapter is that of the lowest loss."""

    early_stopping_patience: Annotated[int, Field(ge=1, le=100)] = 3
    early_stopping_threshold: Annotated[float, Field(ge=0)] = 0.0


class Hyperparameters(Ask):
    """What every method has. ``max_length`` counts tokens; ``save_*`` say which checkpoints become
    candidates in the registry beside the last step, ``save_total_limit`` the newest of them."""

    n_epochs: Epochs = "auto"
    batch_size: BatchSize = "auto"
    learning_rate_multiplier: Multiplier = "auto"
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    max_length: Annotated[int, Field(ge=16, le=131_072)] = 1024
    lora: LoraHyperparameters = Field(default_factory=LoraHyperparameters)
    quantization: Quantization = "none"
    early_stopping: EarlyStopping | None = None
    save_strategy: Literal["epoch", "steps"] = "epoch"
    save_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    save_total_limit: Annotated[int, Field(ge=0, le=20)] = 3


class SupervisedHyperparameters(Hyperparameters):
    """With ``packing`` a row of a batch holds whole examples up to ``max_length`` tokens, none of
    which sees another; ``batch_size`` counts rows. ``torch_compile`` compiles the model's layers;
    ``auto`` does so on a CPU where the run is long enough for it."""

    packing: bool = False
    torch_compile: bool | Literal["auto"] = "auto"
    recipe: Recipe = "qa"
    retrieval: Retrieval | None = None
    raft: Raft | None = None


class DpoHyperparameters(Hyperparameters):
    """``beta`` is DPO's own (Rafailov et al. 2023, arXiv 2305.18290)."""

    beta: Annotated[float, Field(gt=0, le=10)] | Literal["auto"] = "auto"


class Supervised(Ask):
    hyperparameters: SupervisedHyperparameters = Field(default_factory=SupervisedHyperparameters)


class Dpo(Ask):
    hyperparameters: DpoHyperparameters = Field(default_factory=DpoHyperparameters)


class Method(Ask):
    """One way of training: ``type`` names it, and only its own field may be given."""

    type: Literal["supervised", "dpo"] = "supervised"
    supervised: Supervised | None = None
    dpo: Dpo | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.type == "dpo":
            if self.supervised is not None:
                raise ValueError("'supervised' does not go with type 'dpo'; send 'dpo'")
            self.dpo = self.dpo or Dpo()
        else:
            if self.dpo is not None:
                raise ValueError("'dpo' does not go with type 'supervised'; send type 'dpo'")
            self.supervised = self.supervised or Supervised()
        return self

    @property
    def hyperparameters(self) -> SupervisedHyperparameters | DpoHyperparameters:
        """Those of the method that ``type`` names."""
        chosen = self.dpo if self.type == "dpo" else self.supervised
        assert chosen is not None  # the validator has seen to it
        return chosen.hyperparameters

    @classmethod
    def of(cls, hyperparameters: SupervisedHyperparameters | DpoHyperparameters) -> Self:
        """The method whose hyperparameters these are."""
        if isinstance(hyperparameters, DpoHyperparameters):
            return cls(type="dpo", dpo=Dpo(hyperparameters=hyperparameters))
        return cls(supervised=Supervised(hyperparameters=hyperparameters))


class OpenAIHyperparameters(Ask):
    """OpenAI's deprecated top-level ``hyperparameters``."""

    n_epochs: Epochs = "auto"
    batch_size: BatchSize = "auto"
    learning_rate_multiplier: Multiplier = "auto"
