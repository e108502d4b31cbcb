"""The demo corpus: what an experiment on it takes for granted."""

import json
import re
import string
from collections import Counter
from pathlib import Path

import pytest

from fineproof.demo import Corpus, Passage, Question, generate, write

STOPWORDS = {
    "a", "an", "and", "any", "are", "at", "by", "do", "does", "for", "from", "has", "have", "how",
    "if", "in", "is", "it", "its", "may", "must", "of", "on", "one", "or", "the", "there", "to",
    "up", "was", "what", "when", "where", "which", "who", "whose", "why", "with",
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generate()


@pytest.fixture(scope="module", params=[1, 7, 2406])
def any_corpus(request: pytest.FixtureRequest) -> Corpus:
    return generate(request.param)


def words(text: str) -> set[str]:
    stripped = (word.strip(string.punctuation) for word in text.lower().split())
    return {word for word in stripped if word and word not in STOPWORDS}


def ways(question: Question) -> set[str]:
    return {way.lower() for way in (question.answer, *question.aliases)}


def passages_by_id(corpus: Corpus) -> dict[str, Passage]:
    return {passage.id: passage for passage in corpus.passages}


def evidence(corpus: Corpus, question: Question) -> Passage:
    return passages_by_id(corpus)[question.evidence_ids[0]]


def test_a_seed_gives_the_same_bytes_each_time_and_another_seed_another_company(
    tmp_path: Path,
) -> None:
    for name, seed in (("one", 2406), ("two", 2406), ("other", 2407)):
        write(tmp_path / name, generate(seed))
    for file in ("corpus.jsonl", "train.jsonl", "test.jsonl"):
        one, two, other = (
            (tmp_path / name / file).read_bytes() for name in ("one", "two", "other")
        )
        assert one == two
        assert one != other


def test_there_is_enough_of_everything(any_corpus: Corpus) -> None:
    assert len(any_corpus.passages) >= 300
    assert len(any_corpus.train) == 200
    assert len(any_corpus.test) == 60
    assert len({question.doc_id for question in any_corpus.train}) >= 60
    clusters = Counter(question.doc_id for question in any_corpus.test)
    assert len(clusters) >= 20
    assert set(clusters.values()) == {3}


def test_answers_range_from_a_word_to_several_sentences(any_corpus: Corpus) -> None:
    for questions in (any_corpus.train, any_corpus.test):
        share = Counter(question.answer_type for question in questions)
        assert set(share) == {"short", "number", "list", "sentence"}
        assert min(share.values()) >= 0.1 * len(questions)
    answers = [question.answer for question in any_corpus.train]
    assert min(len(answer.split()) for answer in answers) == 1
    assert max(answer.count(". ") + 1 for answer in answers) >= 2


def test_ids_and_questions_are_unique(any_corpus: Corpus) -> None:
    questions = [*any_corpus.train, *any_corpus.test]
    for values in (
        [passage.id for passage in any_corpus.passages],
        [passage.title for passage in any_corpus.passages],
        [passage.text for passage in any_corpus.passages],
        [question.id for question in questions],
        [question.question.lower() for question in questions],
    ):
        assert len(values) == len(set(values))


def test_training_and_test_share_no_document_no_evidence_and_no_answer(
    any_corpus: Corpus,
) -> None:
    train, test = any_corpus.train, any_corpus.test
    assert not {q.doc_id for q in train} & {q.doc_id for q in test}
    assert not {i for q in train for i in q.evidence_ids} & {
        i for q in test for i in q.evidence_ids
    }
    assert not {way for q in train for way in ways(q)} & {way for q in test for way in ways(q)}


def test_no_training_text_states_a_test_fact(any_corpus: Corpus) -> None:
    """A fact is an answer said of its subject, and the subject is what the title begins with.

    A training passage may name a test subject (neighbours mention each other), and may hold the
    same small number by accident, but never both.
    """
    by_id = passages_by_id(any_corpus)
    shown = [(question, by_id[question.evidence_ids[0]]) for question in any_corpus.train]
    seen = [f"{q.question} {q.answer} {passage.title} {passage.text}" for q, passage in shown]
    for question in any_corpus.test:
        subject = words(evidence(any_corpus, question).title.split(":")[0])
        said = re.compile(rf"(?<!\w){re.escape(question.answer)}(?!\w)", re.IGNORECASE)
        assert not [text for text in seen if subject <= words(text) and said.search(text)], question


def test_every_answer_stands_in_its_evidence_word_for_word(any_corpus: Corpus) -> None:
    for question in [*any_corpus.train, *any_corpus.test]:
        assert question.answer in evidence(any_corpus, question).text
        assert question.answer not in question.question


def test_evidence_belongs_to_the_cluster_of_its_question(any_corpus: Corpus) -> None:
    for question in [*any_corpus.train, *any_corpus.test]:
        assert evidence(any_corpus, question).doc_id == question.doc_id


def test_aliases_are_other_spellings_and_not_the_answer_again(any_corpus: Corpus) -> None:
    for question in [*any_corpus.train, *any_corpus.test]:
        assert len(ways(question)) == 1 + len(question.aliases)
    assert all(question.aliases for question in any_corpus.test if question.answer_type == "number")


def test_every_test_question_has_a_near_miss_that_does_not_answer_it(any_corpus: Corpus) -> None:
    """A document of the same kind holds most of what makes the gold passage look right."""
    for question in any_corpus.test:
        asked = words(question.question)
        gold = evidence(any_corpus, question)
        overlap = len(asked & words(f"{gold.title} {gold.text}"))
        neighbours = [
            passage
            for passage in any_corpus.passages
            if passage.doc_id != question.doc_id
            and passage.doc_id.split("-")[0] == question.doc_id.split("-")[0]
            and question.answer not in passage.text
            and len(asked & words(f"{passage.title} {passage.text}")) >= 0.6 * overlap
        ]
        assert neighbours, question.question


def test_questions_do_not_copy_the_sentence_that_answers_them(corpus: Corpus) -> None:
    for question in corpus.test:
        assert question.question.rstrip("?").lower() not in evidence(corpus, question).text.lower()


def test_passages_are_compact_enough_for_three_in_a_small_prompt(any_corpus: Corpus) -> None:
    lengths = [len(passage.text.split()) for passage in any_corpus.passages]
    assert min(lengths) >= 35
    assert max(lengths) <= 65


def test_no_two_passages_of_a_kind_read_the_same(corpus: Corpus) -> None:
    """With names and numbers blanked, no wording recurs more often than chance allows."""
    blanked = Counter(re.sub(r"[A-Z]\w+|[\d,:]+", "_", p.text) for p in corpus.passages)
    assert max(blanked.values()) <= 4


@pytest.mark.parametrize(
    "mistake",
    [
        r"\b[Aa] (?!one)(?:[AaEeIiOo]|u[pr]|un(?!i))",
        r"\b[Aa]n (?!hour)[^AaEeIiOoUu]",
        r"  ",
        r"[{}<>]",
        r"\s[.,;:?]",
        r"[.,;:?]{2}",
        r"\b(\w+) \1\b",
        r"\b1 \w+s\b",
        r"\bNone\b(?! of)|\bTrue\b|_",
        r"[.?] [a-z]",
        r"^[a-z]",
    ],
)
def test_the_prose_has_no_slip_of_a_template(any_corpus: Corpus, mistake: str) -> None:
    texts = [passage.text for passage in any_corpus.passages]
    texts += [passage.title for passage in any_corpus.passages]
    texts += [question.question for question in [*any_corpus.train, *any_corpus.test]]
    assert not [text for text in texts if re.search(mistake, text)]


def test_every_passage_ends_a_sentence_and_every_question_ends_with_its_mark(
    any_corpus: Corpus,
) -> None:
    assert all(passage.text.endswith(".") for passage in any_corpus.passages)
    questions = [*any_corpus.train, *any_corpus.test]
    assert all(question.question.endswith("?") for question in questions)


def test_files_hold_the_rows_a_data_folder_is_read_by(corpus: Corpus, tmp_path: Path) -> None:
    write(tmp_path, corpus)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "corpus.jsonl",
        "test.jsonl",
        "train.jsonl",
    ]
    rows = [json.loads(line) for line in (tmp_path / "corpus.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {"id", "title", "text", "doc_id"}
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert set(rows[0]) == {
        "id", "question", "answer", "evidence_ids", "answer_type", "aliases", "doc_id",
    }  # fmt: skip
    assert len(rows) == len(corpus.test)


def test_writing_again_replaces_the_files_and_leaves_no_drafts(tmp_path: Path) -> None:
    write(tmp_path, generate(1))
    write(tmp_path, generate(2))
    first = json.loads((tmp_path / "corpus.jsonl").read_text().splitlines()[0])
    assert first["id"] == generate(2).passages[0].id
    assert len(list(tmp_path.iterdir())) == 3
