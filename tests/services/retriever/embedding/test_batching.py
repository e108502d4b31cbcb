"""Threads that ask one model at the same time."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from services.common.errors import Unavailable
from services.retriever.embedding import Embedder
from services.retriever.embedding.batching import Batching
from tests.services.retriever.conftest import Retriever


class Model:
    """Gives a text its length and its first letter; its first pass ends when it is let go."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.busy, self.let_go = threading.Event(), threading.Event()

    def __call__(self, texts: Sequence[str]) -> Any:
        self.passes.append(list(texts))
        self.busy.set()
        assert self.let_go.wait(60)
        if "bad" in texts:
            raise OSError("no memory")
        return np.array([[len(text), ord(text[0])] for text in texts], np.float32)


@contextmanager
def asked_while_busy(
    model: Model, batching: Batching, asks: Sequence[Sequence[str]]
) -> Iterator[list["Future[Any]"]]:
    """The model has ``["first"]``; the asks wait in their order, until this is left."""
    with ThreadPoolExecutor(len(asks) + 1) as pool:
        first = pool.submit(batching.embed, ["first"])
        assert model.busy.wait(60)
        answers = []
        for number, texts in enumerate(asks, start=1):
            answers.append(pool.submit(batching.embed, texts))
            until(lambda number=number: len(batching._waiting) == number)
        yield answers
        model.let_go.set()
        assert first.result().tolist() == [[5, ord("f")]]


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_is_asked_while_the_model_is_busy_goes_through_it_together() -> None:
    model = Model()
    batching = Batching(model, size=8)
    asks = [["a"], ["bb", "ccc"], ["dddd"]]
    with asked_while_busy(model, batching, asks) as answers:
        pass
    assert model.passes == [["first"], ["a", "bb", "ccc", "dddd"]]
    assert [answer.result().tolist() for answer in answers] == [
        [[len(text), ord(text[0])] for text in texts] for texts in asks
    ]


def test_a_pass_has_no_more_texts_than_fit_and_turns_are_kept() -> None:
    model = Model()
    batching = Batching(model, size=3)
    with asked_while_busy(model, batching, [["a", "b"], ["c", "d"], ["e"], ["f"]]):
        pass
    assert model.passes[1:] == [["a", "b"], ["c", "d", "e"], ["f"]]


def test_between_the_parts_of_a_large_ask_others_have_their_turn() -> None:
    model = Model()
    batching = Batching(model, size=2)
    with asked_while_busy(model, batching, [list("abcdef"), ["z"]]) as answers:
        pass
    assert model.passes[1:3] == [["a", "b"], ["z"]]
    assert answers[0].result()[:, 1].tolist() == [ord(letter) for letter in "abcdef"]


def test_an_error_is_everybodys_whose_texts_it_had_and_nobody_elses() -> None:
    model = Model()
    batching = Batching(model, size=2)
    with asked_while_busy(model, batching, [["a"], ["bad"], ["c"]]) as answers:
        pass
    for answer in answers[:2]:
        with pytest.raises(OSError, match="no memory"):
            answer.result()
    assert answers[2].result().tolist() == [[1, ord("c")]]


def test_a_closed_one_answers_who_waits_and_nobody_after() -> None:
    model = Model()
    batching = Batching(model, size=1)
    with asked_while_busy(model, batching, [["a"], ["b"]]) as answers:
        batching.close()
    assert [answer.result()[0, 1] for answer in answers] == [ord("a"), ord("b")]
    with pytest.raises(Unavailable):
        batching.embed(["c"])


def test_a_text_has_the_same_vector_whoever_shares_its_pass(retriever: Retriever) -> None:
    shared = Embedder.from_settings(retriever.settings, threads=1, shared=True)
    shared.load()
    texts = [f"Crate {n} is {'very ' * n}heavy." for n in range(60)]
    with ThreadPoolExecutor(20) as pool:
        together = np.concatenate(list(pool.map(lambda text: shared.embed([text]), texts)))
    shared.close()
    alone = np.concatenate([retriever.embedder.embed([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-5)
