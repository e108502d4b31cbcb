"""``fineproof judge``: whether a model may grade answers, and how to make one that may."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from services.common.contracts.judge import JudgeMetric

judge_app = typer.Typer(
    no_args_is_help=True, help="Examine models that grade answers, and train one that passes."
)

Data = Annotated[Path, typer.Option(help="Folder with test.jsonl, and corpus.jsonl if there is.")]
Items = Annotated[int, typer.Option(min=2, help="Test questions to examine on, drawn by the seed.")]
Runs = Annotated[int, typer.Option(min=1, max=100, help="Times each answer is graded.")]
Seed = Annotated[int, typer.Option(min=0, help="Draws the questions and the judge's scores.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON in place of the table.")]
Keep = Annotated[
    bool, typer.Option("--keep-up", help="Leave the stack running if this command started it.")
]


@judge_app.command("exam")
def exam(
    model: Annotated[str, typer.Option(help="A base model, an adapter, an alias, a hosted model.")],
    data: Data,
    items: Items = 100,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="accuracy, completeness, relevance; more than once for several."),
    ] = None,
    plain: Annotated[
        bool, typer.Option(help="Judge by short ready-made steps, not by the judge's own.")
    ] = False,
    runs: Runs = 10,
    seed: Seed = 0,
    as_json: Json = False,
    keep_up: Keep = False,
) -> None:
    """Have a judge grade answers whose order is known, and say how well it did.

    Answers are made of the data set: right ones, cut short, wrong ones, and one that asks for the
    highest score. The same judge sits the same exam once; asked again, its figures are recalled.

    Example: fineproof judge exam --model smollm2-135m-instruct --data my-data --items 40
    """
    import tempfile

    from rich.console import Console

    from fineproof.data.documents import Corpus
    from fineproof.errors import UserError
    from fineproof.experiment.progress import Board
    from fineproof.experiment.session import stack_session
    from fineproof.judge.documents import questions, write_rows
    from fineproof.judge.examining import examine, upload
    from fineproof.judge.tables import show
    from services.common.clients.evaluator import EvaluatorClient
    from services.common.clients.trainer import TrainerClient
    from services.common.contracts.exam import Exam
    from services.common.errors import FineproofError

    chosen = _metrics(metric or ["accuracy", "completeness"])
    rows = questions(data, "test.jsonl", Corpus.read(data))
    console = Console(stderr=as_json)

    async def sit(url: str, key: str | None, board: Board) -> Exam:
        from services.common.contracts.exam import PLAIN_STEPS, ExamCreate

        async with (
            TrainerClient.connect(url, key) as trainer,
            EvaluatorClient.connect(url, key) as evaluator,
        ):
            with tempfile.TemporaryDirectory() as folder:
                file_id = await upload(trainer, write_rows(rows, Path(folder) / "test.jsonl"))
            ask = ExamCreate(
                model=model,
                file_id=file_id,
                metrics=chosen,
                steps={name: PLAIN_STEPS[name] for name in chosen} if plain else {},
                runs=runs,
                max_items=items,
                seed=seed,
            )
            return await examine(evaluator, ask, board, title=f"Examining {model}")

    with stack_session(keep_up=keep_up, aside=as_json) as address:
        board = Board(console)
        try:
            with board.live():
                sat = asyncio.run(sit(address.url, address.key, board))
        except FineproofError as error:
            raise UserError(error.message) from error
    if as_json:
        typer.echo(sat.model_dump_json(indent=2))
    else:
        show({model: sat}, console)


@judge_app.command("train")
def train(
    data: Annotated[Path, typer.Option(help="Folder with corpus.jsonl, train.jsonl, test.jsonl.")],
    out: Annotated[Path, typer.Option(help="Folder for judge.json and the memory.")] = Path(
        "runs/judge"
    ),
    metric: Annotated[str, typer.Option(help="The one criterion the judge is for.")] = "accuracy",
    pairs: Annotated[
        int, typer.Option(min=10, help="Training questions, each made into up to eight answers.")
    ] = 200,
    items: Items = 100,
    epochs: Annotated[int, typer.Option(min=1, max=50)] = 2,
    learning_rate: Annotated[float, typer.Option(min=1e-6, max=1e-2)] = 5e-4,
    rank: Annotated[int, typer.Option(min=1, max=256, help="Of the LoRA.")] = 16,
    runs: Runs = 10,
    seed: Seed = 0,
    fresh: Annotated[bool, typer.Option(help="Forget an earlier run in the folder.")] = False,
    as_json: Json = False,
    keep_up: Keep = False,
) -> None:
    """Train a judge on answers made of the training documents; examine it and the base on others.

    The examples stand in the prompt that judges are served, with the score as the completion; the
    base model learns them as a LoRA, which is loaded, proven and examined on documents it has never
    seen. Interrupted, the same command goes on where it stopped.

    Example: fineproof judge train --data my-data --pairs 200 --items 100
    """
    from rich.console import Console

    from fineproof.data.documents import Corpus
    from fineproof.errors import UserError
    from fineproof.experiment.progress import Board
    from fineproof.experiment.session import stack_session
    from fineproof.judge.documents import keep_apart, questions, write_rows
    from fineproof.judge.tables import show
    from fineproof.judge.training import Recipe, make_judge
    from services.common.errors import FineproofError

    chosen = _metrics([metric])[0]
    corpus = Corpus.read(data)
    learnt, asked = (questions(data, name, corpus) for name in ("train.jsonl", "test.jsonl"))
    keep_apart(learnt, asked, corpus)
    if fresh:
        (out / "state.json").unlink(missing_ok=True)
    recipe = Recipe(
        metric=chosen,
        pairs=pairs,
        items=items,
        runs=runs,
        n_epochs=epochs,
        learning_rate=learning_rate,
        rank=rank,
        seed=seed,
    )
    train_file = write_rows(learnt, out / "data" / "train.jsonl")
    test_file = write_rows(asked, out / "data" / "test.jsonl")
    console = Console(stderr=as_json)
    with stack_session(keep_up=keep_up, aside=as_json) as address:
        board = Board(console)
        try:
            with board.live():
                made = asyncio.run(
                    make_judge(
                        address, train=train_file, test=test_file, recipe=recipe, out=out,
                        board=board,
                    )
                )  # fmt: skip
        except FineproofError as error:
            raise UserError(error.message) from error
    (out / "judge.json").write_text(made.as_json() + "\n")
    if as_json:
        typer.echo(made.as_json())
    else:
        show({"base": made.base, "judge": made.judge}, console)
        console.print(f"\n{made.examples} examples; the figures: {out / 'judge.json'}")


def _metrics(names: "list[str]") -> "list[JudgeMetric]":
    from pydantic import TypeAdapter, ValidationError

    from fineproof.errors import UserError
    from services.common.contracts.judge import JudgeMetric

    try:
        return TypeAdapter(list[JudgeMetric]).validate_python(names)
    except ValidationError:
        raise UserError(
            f"{', '.join(names)}: a metric is accuracy, completeness, faithfulness or relevance."
        ) from None
