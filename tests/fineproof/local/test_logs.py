"""Reading logs while they are written."""

import threading
from itertools import islice
from pathlib import Path

import pytest

from fineproof.errors import UserError
from fineproof.local import logs
from fineproof.local.supervisor import last_lines


def test_the_end_of_each_log_comes_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("1\n2\n3\n")
    (tmp_path / "b.log").write_text("4\n")
    chosen = logs.choose(tmp_path, None)
    assert list(logs.tail(chosen, 2)) == [("a", "2"), ("a", "3"), ("b", "4")]
    assert list(logs.tail(chosen, 0)) == []


def test_a_name_without_a_log_is_told_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "vllm.log").write_text("")
    with pytest.raises(UserError, match="there is vllm"):
        logs.choose(tmp_path, "../vllm")
    with pytest.raises(UserError, match="fineproof up"):
        logs.choose(tmp_path / "none", None)


def test_following_gives_whole_lines_as_they_come(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\n")
    told: list[tuple[str, str]] = []
    following = logs.follow([log])

    def read() -> None:
        told.extend(islice(following, 3))

    with log.open("a") as file:
        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        file.write("ha")
        file.flush()
        file.write("lf\nnext\n")
        file.flush()
        while len(told) < 2 and reader.is_alive():
            file.write("last\n")
            file.flush()
            reader.join(0.1)
    reader.join(10)
    assert told == [("a", "half"), ("a", "next"), ("a", "last")]


def test_colours_of_a_terminal_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("\x1b[31mred\x1b[0m\n")
    assert last_lines(tmp_path / "a.log", 5) == "red"
    assert last_lines(tmp_path / "none.log", 5) == ""
