"""What tests of adapters begin with."""

from pathlib import Path

import pytest

from tests.services.generator.conftest import BASE
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_adapter


@pytest.fixture
def adapters(registry: Registry, tmp_path: Path) -> list[str]:
    """Names of three sound adapters."""
    names = [f"ft:{BASE}:demo:ftjob-{number}" for number in range(3)]
    for number, name in enumerate(names):
        folder = tiny_adapter(tmp_path / str(number), base_model=BASE, seed=number)
        registry.add(name, folder, base_model=BASE)
    return names
