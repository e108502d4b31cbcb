"""One adapter of a folder of data: tuned, loaded and proven.

Each step is remembered, so that the same command goes on where it was stopped.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from fineproof.data.reading import CORPUS, PAIR, TRAIN, rows, sha256_of
from fineproof.errors import UserError
from fineproof.experiment.dataset import take
from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Board
from fineproof.experiment.session import Address
from fineproof.experiment.stack import Stack, connected, ingested, served_base, uploaded
from fineproof.tuning.candidates import Candidate
from fineproof.tuning.jobs import make
from services.common.contracts.generator import AdapterProof
from services.common.contracts.hyperparameters import Method, Retrieval, Supervised
from services.common.contracts.trainer import FineTuningJobCreate


@dataclass(frozen=True)
class Pairs:
    """What is learnt: ``count`` pairs, in ``train``, of the data set ``name``; ``corpus`` is there
    where the recipe shows passages. ``question`` is the first, to try the adapter by."""

    name: str
    train: Path
    count: int
    corpus: Path | None
    question: str


class Tuned(BaseModel):
    """``adapter`` is a name to ask for; ``ask`` a command that does. ``vector_store`` holds the
    passages it was tuned with."""

    adapter: str
    base_model: str
    job_id: str
    candidate: Candidate
    pairs: int
    vector_store: str | None
    proof: AdapterProof
    ask: str


def pairs_of(folder: Path, candidate: Candidate, limit: int | None, *, into: Path) -> Pairs:
    """Check what ``folder`` holds for ``candidate``, and write the pairs to ``into``."""
    shows_passages = candidate.recipe != "qa"
    if not (folder / TRAIN).is_file():
        raise UserError(f"{folder} has no {TRAIN}.")
    if shows_passages and not (folder / CORPUS).is_file():
        raise UserError(
            f"{folder} has no {CORPUS}: recipe '{candidate.recipe}' trains on its passages."
        )
    into.mkdir(parents=True, exist_ok=True)
    train = into / TRAIN
    return Pairs(
        name=folder.resolve().name,
        count=take(folder / TRAIN, train, limit),
        train=train,
        corpus=folder / CORPUS if shows_passages else None,
        question=next(rows(train, PAIR))["question"],
    )


async def tune(
    address: Address,
    pairs: Pairs,
    candidate: Candidate,
    *,
    suffix: str | None,
    max_num_results: int,
    within_document: bool,
    out: Path,
    board: Board,
) -> Tuned:
    """``out`` exists. Raises :class:`UserError` when the job does not succeed."""
    memory = Memory(out)
    async with connected(address.url, address.key) as stack:
        base = await served_base(stack.generator)
        retrieval = await _retrieval(
            stack, pairs, max_num_results, within_document, memory=memory, board=board
        )
        hyperparameters = candidate.hyperparameters(retrieval)
        ask = FineTuningJobCreate(
            model=base,
            training_file=await uploaded(stack.trainer, pairs.train, "fine-tune", memory),
            suffix=suffix or candidate.recipe,
            seed=candidate.seed,
            method=Method(supervised=Supervised(hyperparameters=hyperparameters)),
        )
        made = await make(stack, ask, memory=memory, board=board, what="the adapter")
    name, proof = made.adapter.id, made.adapter.proof
    if proof is None:
        raise UserError(f"Adapter {name} is {made.adapter.status} without a proof.")
    return Tuned(
        adapter=name,
        base_model=base,
        job_id=made.job.id,
        candidate=candidate,
        pairs=pairs.count,
        vector_store=retrieval.vector_store_id if retrieval else None,
        proof=proof,
        ask=_ask(pairs.question, name, retrieval),
    )


async def _retrieval(
    stack: Stack,
    pairs: Pairs,
    max_num_results: int,
    within_document: bool,
    *,
    memory: Memory,
    board: Board,
) -> Retrieval | None:
    if pairs.corpus is None:
        return None
    store = await ingested(
        stack.retriever,
        pairs.corpus,
        sha256=sha256_of(pairs.corpus),
        name=pairs.name,
        memory=memory,
        board=board,
    )
    return Retrieval(
        vector_store_id=store, max_num_results=max_num_results, within_document=within_document
    )


def _ask(question: str, adapter: str, retrieval: Retrieval | None) -> str:
    words = ["fineproof", "ask", question, "--model", adapter]
    if retrieval is not None:
        words += ["--store", retrieval.vector_store_id]
        words += ["--top-k", str(retrieval.max_num_results)]
    return shlex.join(words)
