"""The retriever against PostgreSQL used by hand, and against its own embedding model.

PostgreSQL, Redis, the retriever and its worker are those of the local stack. At each size of a
store, in turns that meet the same tables and the same index: searches through HTTP and the same
query by psycopg; ready vectors through HTTP and by psycopg's COPY; texts embedded by the worker and
by the model alone. Recall is against all similarities, computed here. Memory is the most that the
processes held while they took in as many passages as the store has.
"""

import asyncio
import json
import tempfile
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import torch
from rich.console import Console

from bench import memory
from bench.by_hand import Passages, Searches, Tables, halves, searches
from bench.generator import quantile
from bench.harness import Figure, conclude, parser
from bench.load import Client, timed
from bench.material import Material, invented, of_folder
from bench.stack import running
from fineproof.local import postgres
from fineproof.local.plan import embedder as embedder_folder
from fineproof.local.plan import programs
from fineproof.models.catalog import Model
from fineproof.settings import Settings
from services.retriever.embedding import Embedder
from services.retriever.settings import RetrieverSettings

EF_SEARCH = RetrieverSettings.model_fields["ef_search"].default
K = 10
STORES = "/v1/vector_stores"


@dataclass
class Bench:
    asked: Namespace
    material: Material
    client: Client
    by_hand: Searches
    tables: Tables
    embedder: Embedder
    say: Callable[[str], None]
    store: str = ""
    other: str = ""
    """Whose passages come by psycopg."""
    held: int = 0
    given: int = 0
    """How many passages each of them has been given."""
    texts: int = 10**9
    """The number of the next text that nobody has embedded."""
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    async def prepare(self) -> None:
        self.store, self.other = [await self._new_store() for _ in range(2)]
        # A process that has taken in passages before has some 100 MB more than a new one.
        await self._take_in(self.asked.embedded, self.asked.embedded)

    async def _new_store(self) -> str:
        return str((await self.client.ask(STORES, {}))["id"])

    async def measure(self, size: int) -> None:
        rows = min(self.asked.rows, size // 2)
        await asyncio.to_thread(self.fill, size, size - rows)
        await self.ready(size, rows)
        self.tables.settle(self.store, size)
        await self.recall(size)
        for width in self.asked.widths:
            await self.search(size, width)
        await self.with_words(size)
        await self.memory_and_pace(size)

    def fill(self, size: int, until: int) -> None:
        """Bring the store near its size, as one does who has many vectors: the index last."""
        began = time.perf_counter()
        statement = self.tables.drop_index()
        while self.held < until:
            self.tables.copy(self.store, self._passages(self.held, min(until, self.held + 5_000)))
            self.held = min(until, self.held + 5_000)
        copied = time.perf_counter()
        self.tables.make_index(statement)
        self.tables.settle(self.store, self.held)
        self._note("fill_seconds", size, [copied - began, time.perf_counter() - copied])
        self.say(f"{self.held} passages are there, and their index")

    def _passages(self, start: int, stop: int) -> Passages:
        texts = [self.material.text(number) for number in range(start, stop)]
        return Passages(start, texts, self.material.vectors[start:stop])

    async def ready(self, size: int, rows: int) -> None:
        """Passages with vectors, through HTTP and by COPY, into the same index."""
        ours = by_hand = 0.0
        step = max(1, rows // self.asked.rounds)
        for start in range(self.held, size, step):
            stop = min(size, start + step)
            first = self.asked.largest + self.given
            theirs = self._passages(first, first + stop - start)
            body = b"".join(map(self._line, range(start, stop)))
            self.given += stop - start
            for name in ("ours", "by hand")[:: 1 if (start // step) % 2 else -1]:
                began = time.perf_counter()
                if name == "ours":
                    await self.client.send(f"{STORES}/{self.store}/passages", body)
                    ours += time.perf_counter() - began
                else:
                    await asyncio.to_thread(self.tables.copy, self.other, theirs)
                    by_hand += time.perf_counter() - began
        self.held = size
        self._figure("ready vectors", size, "passages/s", rows / ours, rows / by_hand, ">=0.7")

    def _line(self, number: int) -> bytes:
        passage = {
            "id": str(number),
            "text": self.material.text(number),
            "embedding": self.material.vectors[number].tolist(),
        }
        return json.dumps(passage).encode() + b"\n"

    def _ask(self, **ask: Any) -> Callable[[], Any]:
        body = json.dumps({**ask, "mode": "vector", "max_num_results": K}).encode()
        return partial(self.client.send, f"{STORES}/{self.store}/search", body)

    async def recall(self, size: int) -> None:
        found = []
        for vector in self.material.queries:
            page = json.loads(await self._ask(vector=vector.tolist())())
            found.append([int(hit["passage_id"]) for hit in page["data"]])
        self._figure(f"recall@{K}", size, "", self.material.recall(found, size, K), 1.0, ">=0.99")

    async def search(self, size: int, width: int) -> None:
        ours = [self._ask(vector=vector.tolist()) for vector in self.material.queries]
        by_hand = [
            partial(self.by_hand.nearest, self.store, vector, K)
            for vector in halves(self.material.queries)
        ]
        goal = ">=0.7" if width == self.asked.widest else None
        await self._in_turns(f"searches, {width} at once", size, width, ours, by_hand, goal)

    async def with_words(self, size: int) -> None:
        """Questions in words; by hand, the same model and then the same statement."""
        questions = cycle(self.material.questions)
        words = [f"{next(questions)} {n}" for n in range(self.asked.searches)]

        async def by_hand(question: str) -> None:
            vector = await asyncio.to_thread(self.embedder.embed, [question])
            await self.by_hand.nearest(self.store, halves(vector)[0], K)

        await self._in_turns(
            f"searches in words, {self.asked.widest} at once",
            size,
            self.asked.widest,
            [self._ask(query=question) for question in words],
            [partial(by_hand, question) for question in words],
            ">=0.8",
        )

    async def _in_turns(
        self,
        name: str,
        size: int,
        width: int,
        ours: Sequence[Callable[[], Any]],
        by_hand: Sequence[Callable[[], Any]],
        goal: str | None,
    ) -> None:
        sides = {"ours": ours, "by hand": by_hand}
        taken = dict.fromkeys(sides, 0.0)
        each: dict[str, list[float]] = {side: [] for side in sides}
        for calls in sides.values():  # connections, plans and the pages of the index
            await timed(islice(cycle(calls), 2 * width), width)
        for n in range(self.asked.rounds):
            for side in list(sides)[:: 1 if n % 2 else -1]:
                some = islice(cycle(sides[side]), self.asked.searches)
                seconds, taken_each = await timed(some, width)
                taken[side] += seconds
                each[side] += taken_each
        total = self.asked.rounds * self.asked.searches
        self._figure(name, size, "/s", total / taken["ours"], total / taken["by hand"], goal)
        for place, at in (("p50", 0.5), ("p99", 0.99)):
            mine, theirs = (1_000 * quantile(each[side], at) for side in ("ours", "by hand"))
            self._figure(f"{name}, {place}", size, "ms", mine, theirs, None)

    async def memory_and_pace(self, size: int) -> None:
        """As many texts as the store has, some of which the worker gets to embed."""
        few = min(self.asked.embedded, size)
        texts = [self.material.text(self.texts + n) for n in range(few)]
        torch.set_num_threads(psutil.cpu_count() or 1)
        began = time.perf_counter()
        await asyncio.to_thread(self.embedder.embed, texts)
        alone = few / (time.perf_counter() - began)
        torch.set_num_threads(1)

        pace, peaks = await self._take_in(size, few)
        self._figure("texts embedded", size, "/s", pace, alone, ">=0.9")
        self._note("peak_mb", size, peaks)

    async def _take_in(self, size: int, few: int) -> tuple[float, list[float]]:
        """Send texts and have so many embedded; the worker's texts a second, and the most memory
        of the API and of the worker meanwhile."""
        api = memory.named("services.retriever.main:app")
        worker = memory.named("services.retriever.worker")
        memory.forget(api + worker)
        path = f"{STORES}/{await self._new_store()}"
        sent = json.loads(await self.client.send(f"{path}/passages", self._texts(size)))
        while sent["status"] == "in_progress" and sent["embedded"] < few:
            await asyncio.sleep(0.2)
            sent = await self.client.get(f"{path}/ingestions/{sent['id']}")
        peaks = [memory.peak(api), memory.peak(worker)]
        self.texts += size
        if sent["status"] == "in_progress":
            await self.client.ask(f"{path}/ingestions/{sent['id']}/cancel", {})
        await self.client.delete(path)
        return sent["passages_per_second"], peaks

    async def _texts(self, size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 500):
            numbers = range(self.texts + start, self.texts + min(size, start + 500))
            lines = (json.dumps({"id": str(n), "text": self.material.text(n)}) for n in numbers)
            yield "".join(f"{line}\n" for line in lines).encode()

    def growth(self, smallest: int, largest: int) -> None:
        """What the largest store costs against the smallest."""
        figures = {figure.name: figure for figure in self.figures}
        for name in (f"searches, {width} at once, p50" for width in self.asked.widths):
            one, other = (figures[_of(name, size)].value for size in (largest, smallest))
            self.figures.append(
                Figure(f"{name}, {largest:,} against {smallest:,}", "ms", one, other, None)
            )
        peaks = self.details["peak_mb"]
        for place, who in enumerate(("API", "worker")):
            self.figures.append(
                Figure(
                    f"most memory of the {who}, {largest:,} against {smallest:,}",
                    "MB",
                    peaks[largest][place],
                    peaks[smallest][place],
                    "<=1.1",
                )
            )

    def _figure(
        self, name: str, size: int, unit: str, ours: float, reference: float, goal: str | None
    ) -> None:
        figure = Figure(_of(name, size), unit, ours, reference, goal)
        self.figures.append(figure)
        self.say(f"{figure.name}: {ours:.4g} {unit}, {reference:.4g}, {figure.ratio:.3f}")

    def _note(self, name: str, size: int, numbers: list[float]) -> None:
        self.details.setdefault(name, {})[size] = [round(number, 2) for number in numbers]


def _of(name: str, size: int) -> str:
    return f"{name}, of {size:,}"


async def measure(
    asked: Namespace,
    settings: Settings,
    material: Material,
    embedder: Embedder,
    say: Callable[[str], None],
) -> Bench:
    conninfo = postgres.url(settings.home / "pg").replace("+psycopg", "")
    tables = Tables(conninfo)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        searches(conninfo, asked.widest, ef_search=EF_SEARCH) as by_hand,
    ):
        client = Client(session, settings.url_of("retriever"))
        bench = Bench(asked, material, client, by_hand, tables, embedder, say)
        await bench.prepare()
        for size in asked.sizes:
            await bench.measure(size)
    tables.close()
    if len(asked.sizes) > 1:
        bench.growth(asked.sizes[0], asked.sizes[-1])
    return bench


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000, 200_000], help="passages of the store"
    )
    arguments.add_argument("--widths", type=int, nargs="+", default=[1, 16], help="at once")
    arguments.add_argument("--queries", type=int, default=200, help="different ones")
    arguments.add_argument("--searches", type=int, default=400, help="a turn of either side")
    arguments.add_argument("--rounds", type=int, default=4, help="turns of each side")
    arguments.add_argument("--rows", type=int, default=2_000, help="with vectors, of each side")
    arguments.add_argument("--embedded", type=int, default=1_536, help="texts, of each side")
    arguments.add_argument("--data", type=Path, help="a folder whose passages to store instead")
    arguments.add_argument("--port", type=int, default=8740, help="the first of seven")
    arguments.add_argument("--seed", type=int, default=2406, help="of what is invented")
    asked = arguments.parse_args()
    asked.sizes, asked.widest = sorted(asked.sizes), max(asked.widths)
    asked.largest = asked.sizes[-1]
    passages = asked.largest + len(asked.sizes) * asked.rows
    console = Console()
    load = psutil.getloadavg()[0]
    alone = RetrieverSettings(
        mode="local", database_url="postgresql://", embedding_model=str(embedder_folder())
    )
    embedder = Embedder.from_settings(alone, threads=1)
    embedder.load()
    if asked.data is None:
        material = invented(passages, asked.queries, asked.seed)
    else:
        material = of_folder(asked.data, passages, asked.queries, embedder.embed)
    with tempfile.TemporaryDirectory(prefix="fineproof-bench-") as scratch, ExitStack() as stack:
        # Nobody generates: the stack's plan wants a model's name and what it can read.
        model = Model("none", Path(scratch))
        (model.folder / "config.json").write_text("{}")
        settings = Settings(home=Path(scratch), port=asked.port, model=model.name)
        planned = {program.name: program for program in programs(settings, model)}
        for name in ("postgres", "redis", "retriever", "retriever-worker"):
            console.print(f"starting {name}")
            stack.enter_context(running(planned[name], settings.home))
        bench = asyncio.run(measure(asked, settings, material, embedder, console.print))
    bench.details |= {
        "data": asked.data.name if asked.data else "invented",
        "searches": asked.searches,
        "rounds": asked.rounds,
        "rows": asked.rows,
        "embedded": asked.embedded,
        "load_before": load,
        "load_after": psutil.getloadavg()[0],
    }
    packages = ["fastapi", "uvicorn", "sqlalchemy", "psycopg", "pgvector", "torch", "aiohttp"]
    conclude("retriever", bench.figures, packages=packages, details=bench.details, console=console)


if __name__ == "__main__":
    main()
