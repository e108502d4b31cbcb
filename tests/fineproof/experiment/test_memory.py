from pathlib import Path

from fineproof.experiment.memory import Memory
from services.common.errors import NotFound


class Maker:
    """Makes numbered ids, and forgets those it is told to."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.gone: set[str] = set()

    async def make(self) -> str:
        self.made.append(f"id_{len(self.made)}")
        return self.made[-1]

    async def look(self, made: str) -> None:
        if made in self.gone:
            raise NotFound("gone")


async def test_a_step_is_made_once_even_by_another_process(tmp_path: Path) -> None:
    maker = Maker()
    assert await Memory(tmp_path).once("store", "a", maker.make, maker.look) == "id_0"
    assert await Memory(tmp_path).once("store", "a", maker.make, maker.look) == "id_0"
    assert maker.made == ["id_0"]


async def test_changed_inputs_make_anew_and_keep_the_old(tmp_path: Path) -> None:
    maker, memory = Maker(), Memory(tmp_path)
    first = await memory.once("store", "a", maker.make, maker.look)
    assert await memory.once("store", "b", maker.make, maker.look) != first
    assert await memory.once("store", "a", maker.make, maker.look) == first


async def test_what_the_stack_has_forgotten_is_made_again(tmp_path: Path) -> None:
    maker = Maker()
    maker.gone.add(await Memory(tmp_path).once("store", "a", maker.make, maker.look))
    assert await Memory(tmp_path).once("store", "a", maker.make, maker.look) == "id_1"


async def test_a_failed_step_is_forgotten_for_good(tmp_path: Path) -> None:
    maker, memory = Maker(), Memory(tmp_path)
    await memory.once("job", "a", maker.make, maker.look)
    memory.forget("job", "a")
    assert await Memory(tmp_path).once("job", "a", maker.make, maker.look) == "id_1"
