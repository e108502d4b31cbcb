"""``SFTTrainer`` with less work for the same loss.

Prompt tokens carry no loss, so their logits are never needed; over a vocabulary of 49,152 they are
most of the arithmetic of a small model's step. On a GPU TRL 1.16 skips them in a Triton kernel; on
a CPU it projects every position, and computes an entropy besides. Nor is the last layer's MLP
needed there: no attention comes after it. What prompts have in common is computed once (see
``sharing``), and products by the library that is the faster here (see ``products``).
"""

import functools
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad
from transformers import PreTrainedModel
from trl import SFTTrainer

from services.trainer.training import products
from services.trainer.training.data import IGNORED
from services.trainer.training.sharing import Sharing


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer; the loss is the same, the way to it shorter."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        base = self.model.get_base_model()
        on_cpu = self.accelerator.device.type == "cpu"
        if on_cpu and self.accelerator.num_processes == 1 and products.is_faster_here():
            products.by_onednn(self.model)
        self.projects_answers_only = on_cpu and head_is_plain(base)
        self.sharing = None
        if self.projects_answers_only:
            self.sharing = Sharing.of(self.model)
            project_answers_only(base)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        if return_outputs or not self.projects_answers_only:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        outputs = model(**self.laid_out(inputs), answers_only=True)
        # As in Trainer.compute_loss: the labels of all accumulated micro-batches, on every rank.
        items = outputs["labelled"] if num_items_in_batch is None else num_items_in_batch
        loss = outputs["loss_sum"] / max(int(items), 1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        mode = "train" if self.model.training else "eval"
        accuracy = (outputs["correct"] / max(int(outputs["labelled"]), 1)).item()
        self._metrics[mode]["mean_token_accuracy"].append(accuracy)
        return loss

    def laid_out(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A micro-batch as the model sees it."""
        if self.sharing is None or "attention_mask" not in inputs:  # packed rows have none
            return inputs
        return self.sharing.lay_out(inputs)

    def rehearse(self, inputs: dict[str, Any]) -> None:
        """One micro-batch forward and backward, of which nothing stays: no gradient, no measure, no
        random number drawn."""
        self.model.train()
        try:
            with torch.random.fork_rng():
                self.compute_loss(self.model, self._prepare_inputs(inputs)).backward()
        finally:
            self.model.zero_grad()
            self._metrics["train"].clear()

    def floating_point_ops(self, _inputs: dict[str, Any]) -> int:
        """None are counted: the Trainer's way to is a walk over all modules at every step, 3 % of
        that of a small model, and the count is all that would come of it."""
        return 0


def head_is_plain(model: PreTrainedModel) -> bool:
    """Whether the logits are the output embedding of the decoder's hidden states, nothing more.

    Tried, not looked up: soft-capped, scaled or otherwise finished logits differ at once.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    if head is None or decoder is model or getattr(model.config, "output_router_logits", False):
        return False
    token_ids = torch.arange(1, 9, device=model.device)[None] % head.weight.shape[0]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        expected = model(input_ids=token_ids, use_cache=False).logits
        found = head(decoder(input_ids=token_ids, use_cache=False).last_hidden_state)
    model.train(was_training)
    return bool(torch.allclose(expected.float(), found.float(), rtol=1e-4, atol=1e-4))


def project_answers_only(model: PreTrainedModel) -> None:
    """Let ``model(..., labels=labels, answers_only=True)`` give sums over the labelled positions.

    The result holds ``loss_sum`` (nats), ``labelled`` and ``correct`` (counts). It goes through
    ``forward``, so that PEFT's and DistributedDataParallel's wrappers see it.
    """
    original, last = model.forward, last_mlp(model)

    @functools.wraps(type(model).forward)
    def forward(
        self: PreTrainedModel,
        *args: Any,
        answers_only: bool = False,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if not answers_only or labels is None:
            return original(*args, labels=labels, **kwargs)
        for unused in ("output_attentions", "output_hidden_states", "return_dict", "inputs_embeds"):
            if kwargs.get(unused) is None:
                kwargs.pop(unused, None)
        targets = labels[:, 1:]  # position t predicts token t + 1
        labelled = targets != IGNORED
        with last.at(pad(labelled, (0, 1))) if last else nullcontext():
            hidden = self.get_decoder()(*args, **(kwargs | {"use_cache": False})).last_hidden_state
        targets = targets[labelled]
        logits = self.get_output_embeddings()(hidden[:, :-1][labelled]).float()
        return {
            "loss_sum": cross_entropy(logits, targets, reduction="sum"),
            "labelled": labelled.sum(),
            "correct": (logits.detach().argmax(-1) == targets).sum(),
        }

    model.forward = types.MethodType(forward, model)


class LastMlp:
    """The MLP of a decoder's last layer, computed at some places of a micro-batch only: within
    ``at``, it gives zeros elsewhere, which nothing reads."""

    def __init__(self, mlp: torch.nn.Module) -> None:
        self._whole = mlp.forward
        self._places: torch.Tensor | None = None
        mlp.forward = self._forward

    @contextmanager
    def at(self, places: torch.Tensor) -> Iterator[None]:
        """``places`` is a mask over the tokens of all rows."""
        self._places = places.flatten().nonzero()[:, 0]
        try:
            yield
        finally:
            self._places = None

    def _forward(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._places is None:
            return self._whole(hidden)
        tokens = hidden.flatten(0, 1)
        some = self._whole(tokens.index_select(0, self._places)[None]).squeeze(0)
        return torch.zeros_like(tokens).index_copy(0, self._places, some).view_as(hidden)


def last_mlp(model: PreTrainedModel) -> LastMlp | None:
    """None where the last layer has none, or not one that looks at each token alone: tried."""
    decoder = model.get_decoder()
    mlp = getattr(next(iter(reversed(getattr(decoder, "layers", []))), None), "mlp", None)
    if mlp is None:
        return None
    vocabulary = model.get_input_embeddings().weight.shape[0]
    token_ids = torch.arange(1, 9, device=model.device).view(2, 4) % vocabulary
    some = token_ids % 3 == 0
    usual, was_training = mlp.forward, model.training
    model.eval()
    last = LastMlp(mlp)
    try:
        with torch.no_grad():
            expected = decoder(input_ids=token_ids, use_cache=False).last_hidden_state[some]
            with last.at(some):
                found = decoder(input_ids=token_ids, use_cache=False).last_hidden_state[some]
        alike = torch.allclose(expected.float(), found.float(), rtol=1e-4, atol=1e-4)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        alike = False  # one that gives more than that
    finally:
        model.train(was_training)
    if not alike:
        mlp.forward = usual
        return None
    return last
