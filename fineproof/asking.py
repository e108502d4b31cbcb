"""``fineproof ask``: one question to a running stack, answered as it is said, with its sources."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from fineproof.errors import UserError, refused

if TYPE_CHECKING:
    from rich.console import Console

    from fineproof.experiment.session import Address
    from services.common.contracts.generator import RagAnswer, RagAsk


def ask(
    question: Annotated[str, typer.Argument(help="What to ask, in quotes.")],
    model: Annotated[
        str | None,
        typer.Option(help="A base model, an adapter, an alias.  \\[default: the base model]"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="The id of a vector store to answer from.  \\[default: none; closed book]"
        ),
    ] = None,
    top_k: Annotated[
        int, typer.Option(min=1, max=50, help="Passages to answer from, with a store.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Ask a model of a running stack, and show which words of the answer come from where.

    Example: fineproof ask "How long are logs kept?" --store vs_1 --model ft:my-model:rag:ftjob_1
    """
    from pydantic import ValidationError
    from rich.console import Console

    from fineproof.experiment.session import running_stack
    from services.common.contracts.generator import RagAsk
    from services.common.errors import FineproofError

    try:
        asked = RagAsk(
            question=question,
            model=model,
            vector_store_id=store,
            condition="closed_book" if store is None else "retrieved",
            top_k=top_k,
        )
    except ValidationError as error:
        raise refused(error) from error
    stack = running_stack()
    try:
        if as_json:
            typer.echo(asyncio.run(_whole(stack, asked)).model_dump_json(indent=2))
        else:
            console = Console()
            _show_sources(asyncio.run(_as_said(stack, asked, console)), console)
    except FineproofError as error:
        raise UserError(error.message) from error


async def _whole(stack: "Address", asked: "RagAsk") -> "RagAnswer":
    from services.common.clients.generator import GeneratorClient

    async with GeneratorClient.connect(stack.url, stack.key) as generator:
        return await generator.rag(asked)


async def _as_said(stack: "Address", asked: "RagAsk", console: "Console") -> "RagAnswer":
    """The answer, once all of it has been printed; reasoning stands dim above it."""
    from rich.text import Text

    from services.common.clients.generator import GeneratorClient
    from services.common.contracts.generator import RagAnswer
    from services.common.contracts.rag_events import RagDelta

    saying = answer = None
    async with GeneratorClient.connect(stack.url, stack.key) as generator:
        async for event in generator.rag_events(asked):
            if isinstance(event, RagAnswer):
                answer = event
            elif isinstance(event, RagDelta) and event.object == "rag.reset":
                console.print(Text("\n(So far it was reasoning.)", "dim"))
                saying = None
            elif isinstance(event, RagDelta):
                if saying not in (None, event.object):
                    console.print()
                saying = event.object
                style = "dim" if saying == "rag.reasoning.delta" else ""
                console.print(Text(_harmless(event.delta), style), end="", soft_wrap=True)
    console.print()
    if answer is None:
        raise UserError("The answer ended before it was whole.")
    return answer


def _show_sources(answer: "RagAnswer", console: "Console") -> None:
    from rich.text import Text

    quotes: dict[int, list[str]] = {}
    for citation in answer.citations:
        quotes.setdefault(citation.index, []).append(f"“{_line(citation.quote)}”")
    console.print()
    for passage in answer.passages:
        if passage.index in quotes:
            heading = f"[{passage.index}] {_line(passage.title or passage.id)}: "
            told = "; ".join(dict.fromkeys(quotes[passage.index]))
            console.print(Text.assemble((heading, "cyan"), told), soft_wrap=True)
    cited = f"{len(quotes)} of {len(answer.passages)} passages cited"
    cut = ", cut off at max_tokens" if answer.finish_reason == "length" else ""
    given = cited if answer.passages else "closed book"
    seconds = answer.timings.total_ms / 1000
    console.print(Text(f"{answer.model}, {given}{cut}, {seconds:.1f} s", "dim"), soft_wrap=True)


def _harmless(text: str) -> str:
    """Somebody's text without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def _line(text: str) -> str:
    return " ".join(_harmless(text).split())
