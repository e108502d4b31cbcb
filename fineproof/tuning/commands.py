"""``fineproof tune``."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fineproof.errors import UserError, refused
from fineproof.exits import answering

ROUNDS, ITEMS, MAX_TOKENS = 4, 120, 128
METRICS = ("contains_answer", "token_f1")
SEARCH = "With --until-it-helps"


class RecipeName(StrEnum):
    qa = "qa"
    rag = "rag"
    raft = "raft"


class ConditionName(StrEnum):
    closed_book = "closed_book"
    retrieved = "retrieved"
    oracle = "oracle"
    distractors = "distractors"


@answering
def tune(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with train.jsonl; with corpus.jsonl for recipes that show passages; for a "
            "search with test.jsonl, too."
        ),
    ],
    until_it_helps: Annotated[
        bool,
        typer.Option(
            "--until-it-helps",
            help="Search recipes, epochs and ranks until one helps, and confirm it on questions "
            "that had no say in the search.",
        ),
    ] = False,
    recipe: Annotated[
        RecipeName,
        typer.Option(
            help="What training prompts show: bare questions, the passages retrieved for them, or "
            "gold among distractors. A search begins with it."
        ),
    ] = RecipeName.qa,
    pairs: Annotated[
        int | None,
        typer.Option(min=10, help="From the front of train.jsonl.  \\[default: all]"),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, max=50)] = 2,
    batch_size: Annotated[int, typer.Option(min=1, max=256)] = 8,
    learning_rate: Annotated[float, typer.Option(min=1e-6, max=1e-2)] = 2e-4,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of the LoRA; alpha is twice it.")] = 16,
    passages: Annotated[
        int, typer.Option(min=1, max=20, help="Retrieved for a prompt (max_num_results).")
    ] = 3,
    within_document: Annotated[
        bool, typer.Option(help="Retrieve only within a question's own doc_id.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Of the training, and of a search's halves.")
    ] = 0,
    suffix: Annotated[
        str | None,
        typer.Option(help="Stands in the adapter's name.  \\[default: the recipe]"),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1, max=20, rich_help_panel=SEARCH, help=f"At most.  \\[default: {ROUNDS}]"
        ),
    ] = None,
    items: Annotated[
        int | None,
        typer.Option(
            min=2,
            rich_help_panel=SEARCH,
            help="Questions from the front of test.jsonl, for both halves together.  "
            f"\\[default: {ITEMS}]",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=SEARCH,
            help=f"What decides; more than once for several.  \\[default: {', '.join(METRICS)}]",
        ),
    ] = None,
    condition: Annotated[
        ConditionName | None,
        typer.Option(
            rich_help_panel=SEARCH, help="What it must help under.  \\[default: retrieved]"
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            rich_help_panel=SEARCH,
            help=f"Of each answer; recipe raft reasons first.  \\[default: {MAX_TOKENS}]",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the memory of the run and what it finds.")
    ] = Path("runs/tune"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, and nothing else, to stdout.")
    ] = False,
    keep_up: Annotated[
        bool, typer.Option("--keep-up", help="Leave the stack running if this command started it.")
    ] = False,
) -> int:
    """Tune an adapter on a folder of data, have it loaded and proven; or search for one that helps.

    Starts the local stack when none answers, and stops it again. Interrupted, the same command goes
    on where it stopped.

    With `--until-it-helps` the documents of test.jsonl are dealt out in two halves. Each round is
    an experiment of the base model against one candidate on the first: what hurts is remedied as
    its report says, else a ladder goes on, from recipe qa to rag to raft, to half the epochs, to
    half the rank. The best is measured once on the second half, and that is the answer.
    Exit code: **0** it helps there, **1** it hurts, **2** undecided or no difference, **3** no
    answer.

    `fineproof tune --data my-data --recipe rag --pairs 200`

    `fineproof tune --data my-data --until-it-helps --rounds 4 --out runs/mine && ./deploy.sh`
    """
    from pydantic import ValidationError

    from fineproof.tuning.candidates import Candidate
    from fineproof.tuning.running import Asked, search, tune_one
    from services.common.errors import FineproofError

    of_a_search = {
        "rounds": rounds,
        "items": items,
        "metric": metric,
        "condition": condition,
        "max-tokens": max_tokens,
    }
    _keep_apart({"suffix": suffix} if until_it_helps else of_a_search, until_it_helps)
    asked = Asked(
        data=data,
        candidate=Candidate(
            recipe=recipe.value,
            n_epochs=epochs,
            rank=rank,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
        ),
        pairs=pairs,
        passages=passages,
        within_document=within_document,
        out=out,
        as_json=as_json,
        keep_up=keep_up,
    )
    try:
        if not until_it_helps:
            return tune_one(asked, suffix)
        return search(
            asked,
            rounds=rounds or ROUNDS,
            items=items or ITEMS,
            metrics=tuple(dict.fromkeys(metric or METRICS)),
            condition=(condition or ConditionName.retrieved).value,
            max_tokens=max_tokens or MAX_TOKENS,
        )
    except ValidationError as error:
        raise refused(error) from error
    except FineproofError as error:
        raise UserError(error.message) from error


def _keep_apart(strange: Mapping[str, object], until_it_helps: bool) -> None:
    """Refuse an option that would do nothing."""
    for name, value in strange.items():
        if value is not None:
            hint = "leave it out of" if until_it_helps else "it is for a search: add"
            raise typer.BadParameter(f"--{name}: {hint} --until-it-helps.")
