"""How good searches are: hybrid, vector and text through the API, BM25, exact vector search.

Takes folders of ``corpus.jsonl`` and ``test.jsonl``; by itself the project's own handbook. Starts a
retriever and its worker as the local stack does, ingests in bulk, asks in batches, and holds hybrid
against the best of the others, question by question. Results of a folder stay in
``retrieval_quality.json`` until one of that name is measured again.
"""

import asyncio
import json
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench import harness
from bench.harness import Figure, conclude, parser
from bench.questions import Questions, read
from bench.rankers import Found, bm25, exact
from bench.scoring import DEPTH, MEASURES, OURS, Quality, score
from bench.stack import Stack
from fineproof.demo.corpus import generate, write
from fineproof.errors import UserError
from fineproof.experiment.dataset import passage_lines
from fineproof.local.plan import embedder, programs
from fineproof.models.catalog import resolve
from fineproof.settings import Settings
from services.common.clients.retriever import BATCH, RetrieverClient
from services.common.contracts.retriever import (
    BatchQuery,
    ComparisonFilter,
    SearchMode,
    VectorStoreCreate,
)

NAME = "retrieval_quality"
PROGRAMS = ("postgres", "redis", "retriever", "retriever-worker")
MODES: tuple[SearchMode, ...] = ("hybrid", "vector", "text")


async def ingested(retriever: RetrieverClient, data: Questions, progress: Progress) -> str:
    bar = progress.add_task(f"{data.name}: ingesting", total=len(data.passages))
    store = await retriever.create_store(VectorStoreCreate(name=data.name))
    ingestion = await retriever.ingest(store.id, passage_lines(data.corpus))
    while ingestion.status == "in_progress":
        await asyncio.sleep(0.5)
        ingestion = await retriever.ingestion(store.id, ingestion.id)
        progress.update(bar, completed=ingestion.embedded)
    if ingestion.status != "completed":
        raise UserError(f"{data.name}: ingestion {ingestion.status}: {ingestion.error}")
    progress.update(bar, completed=len(data.passages))
    return store.id


async def searched(
    retriever: RetrieverClient, store: str, data: Questions, mode: SearchMode, progress: Progress
) -> Found:
    bar = progress.add_task(f"{data.name}: {mode}", total=len(data.asked))
    found: Found = []
    for start in range(0, len(data.asked), BATCH):
        queries = [
            BatchQuery(
                query=question.text,
                filters=ComparisonFilter(key="doc_id", type="eq", value=question.doc_id or "")
                if data.within
                else None,
            )
            for question in data.asked[start : start + BATCH]
        ]
        hits = await retriever.search_batch(store, queries, max_num_results=DEPTH, mode=mode)
        found += [[hit.passage_id for hit in each] for each in hits]
        progress.advance(bar, len(queries))
    return found


async def measured(retriever: RetrieverClient, data: Questions, progress: Progress) -> Quality:
    store = await ingested(retriever, data, progress)
    found = {mode: await searched(retriever, store, data, mode, progress) for mode in MODES}
    texts = len(data.passages) + len(data.asked)
    bar = progress.add_task(f"{data.name}: exact vectors", total=texts)
    peers = {
        "BM25": bm25(data, DEPTH),
        "exact": exact(data, embedder(), DEPTH, lambda done: progress.advance(bar, done)),
    }
    return Quality(data, {name: score(data, each) for name, each in (found | peers).items()})


async def measure(url: str, sets: Sequence[Questions], progress: Progress) -> list[Quality]:
    async with RetrieverClient.connect(url) as retriever:
        return [await measured(retriever, data, progress) for data in sets]


def table(quality: Quality) -> Table:
    data = quality.data
    scope = "its document" if data.within else "the corpus"
    title = f"{data.name}: {len(data.asked)} questions, each asked of {scope}"
    told = Table(title=title, title_justify="left")
    told.add_column("")
    for measure in MEASURES:
        told.add_column(measure, justify="right")
    for ranker in quality.scores:
        told.add_row(ranker, *(f"{quality.mean(ranker, measure):.3f}" for measure in MEASURES))
    told.add_section()
    leads = list(quality.leads.values())
    told.add_row(f"{OURS} against", *(lead.against for lead in leads))
    told.add_row("difference", *(f"{lead.contrast.estimate:+.3f}" for lead in leads))
    told.add_row("95 % interval", *("{:+.3f} to {:+.3f}".format(*lead.interval) for lead in leads))
    told.add_row("so it is", *(lead.verdict for lead in leads))
    return told


def details(quality: Quality, asked: Namespace) -> dict[str, Any]:
    return {
        "split": asked.split,
        "within_document": quality.data.within,
        "passages": len(quality.data.passages),
        "questions": len(quality.data.asked),
        "without_gold": quality.data.without_gold,
        "means": {
            ranker: {measure: round(quality.mean(ranker, measure), 4) for measure in MEASURES}
            for ranker in quality.scores
        },
        "differences": {
            measure: {
                "against": lead.against,
                "estimate": round(lead.contrast.estimate, 4),
                "interval": [round(limit, 4) for limit in lead.interval],
                "verdict": lead.verdict,
            }
            for measure, lead in quality.leads.items()
        },
    }


def earlier(folder: Path, names: set[str]) -> tuple[list[Figure], dict[str, Any]]:
    """Figures and details of the sets that were measured before and are not among ``names``."""
    path = folder / f"{NAME}.json"
    if not path.is_file():
        return [], {}
    content = json.loads(path.read_text())
    fields = ("name", "unit", "value", "reference", "goal")
    figures = [Figure(**{field: each[field] for field in fields}) for each in content["figures"]]
    kept = {name: each for name, each in content["details"].items() if name not in names}
    mine = tuple(f"{name}: " for name in kept)
    return [each for each in figures if each.name.startswith(mine)], kept


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, nargs="+", help="folders; else the demo's corpus")
    arguments.add_argument("--split", default="test", help="the file of questions, without .jsonl")
    arguments.add_argument("--items", type=int, help="the first questions only")
    arguments.add_argument(
        "--scope",
        choices=("auto", "corpus", "document"),
        default="auto",
        help="what a question is asked of: auto is its document where every question names one "
        "that holds all of its gold",
    )
    arguments.add_argument("--port", type=int, default=8740, help="the first of seven")
    arguments.add_argument("--seed", type=int, default=2406, help="of the demo's corpus")
    arguments.add_argument("--folder", type=Path, default=harness.RESULTS, help="for the results")
    asked = arguments.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="fineproof-bench-") as scratch:
        folders, scope = asked.data, asked.scope
        if folders is None:
            folders, scope = [Path(scratch) / "demo"], "corpus"
            write(folders[0], generate(asked.seed))
        sets = [read(each, asked.split, limit=asked.items, scope=scope) for each in folders]
        # None of these processes serves a model, but a plan names one that is there.
        settings = Settings(home=Path(scratch), port=asked.port, model=str(embedder()))
        model = resolve(settings.model, settings.home)
        planned = {program.name: program for program in programs(settings, model)}
        stack = Stack([planned[name] for name in PROGRAMS], settings.home)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
            coming = progress.add_task("starting", total=len(PROGRAMS))
            try:
                for name in PROGRAMS:
                    stack.start(name)
                    progress.advance(coming)
                found = asyncio.run(measure(settings.url_of("retriever"), sets, progress))
            finally:
                stack.stop_all()
    figures, told = earlier(asked.folder, {quality.data.name for quality in found})
    for quality in found:
        console.print(table(quality))
        figures += quality.figures()
        told[quality.data.name] = details(quality, asked)
    packages = ["bm25s", "sentence-transformers", "torch", "ir-measures"]
    conclude(NAME, figures, packages=packages, details=told, console=console, folder=asked.folder)


if __name__ == "__main__":
    main()
