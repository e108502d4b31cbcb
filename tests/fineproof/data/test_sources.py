"""The public data sets, each in its original form and in the hub's."""

import gzip
import json
from pathlib import Path

import pytest

from fineproof.data.example import Example
from fineproof.data.finding import find
from fineproof.data.sources.bioasq import MiniBioAsq
from fineproof.data.sources.natural_questions import NaturalQuestions
from fineproof.data.sources.qasper import Qasper, from_hub
from fineproof.errors import UserError
from tests.fineproof.data import samples


def file_of(tmp_path: Path, name: str, content: object) -> str:
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return str(path)


def test_bioasq_questions_come_with_their_snippets_and_all_their_answers(tmp_path: Path) -> None:
    source = find(file_of(tmp_path, "training11b.json", samples.bioasq()))
    gene, rare = source.examples()
    assert source.origin.startswith("training11b.json sha256 ")
    assert gene.row() == {
        "id": "bioasq-5e1",
        "question": "Which gene is mutated in the invented syndrome?",
        "answer": "The gene ABC1 is mutated.",
        "evidence_ids": [passage.id for passage in gene.gold],
        "doc_id": "pmid:101",
        "answer_type": "factoid",
        "alt_answers": ["Mutations of ABC1 cause it."],
        "exact_answer": ["ABC1", "abc-1", "5"],
    }
    assert [passage.text for passage in gene.gold] == ["ABC1 was mutated in all.", "We found ABC1."]
    assert gene.documents == ("pmid:101", "pmid:102")
    assert rare.answer == "Yes, it is rare."
    assert rare.more["exact_answer"] == ["yes"]
    assert rare.documents == ("pmid:102",)


@pytest.mark.parametrize("ids", [[101, 102, 999], "[101, 102, 999]"])
def test_bioasq_on_the_hub_has_passages_by_number(ids: object) -> None:
    source = MiniBioAsq(
        [
            {"id": 7, "question": "Which?", "answer": "ABC1", "relevant_passage_ids": ids},
            {"id": 8, "question": "None?", "answer": "x", "relevant_passage_ids": [999]},
        ],
        [{"id": n, "passage": f"Passage {n}"} for n in (101, 102, 103)]
        + [{"id": 104, "passage": "nan"}],
        "hub",
    )
    (example,) = source.examples()
    assert example.row()["evidence_ids"] == ["pmid:101", "pmid:102"]
    assert {passage.id for passage in source.corpus()} == {"pmid:101", "pmid:102", "pmid:103"}


def check_qasper(examples: list[Example]) -> None:
    counted, linear = examples
    assert counted.id == "qasper-q1"
    assert counted.answer == "200, letters"
    assert counted.more == {"answer_type": "extractive", "alt_answers": ["Two hundred"]}
    assert [passage.text for passage in counted.gold] == ["We train on 200 letters."]
    assert len(counted.others) == 3  # the abstract and two paragraphs
    assert (linear.answer, linear.more["answer_type"]) == ("Yes", "boolean")
    assert {each.documents for each in examples} == {("1909.0001",)}


def test_qasper_keeps_what_is_answered_by_paragraphs(tmp_path: Path) -> None:
    source = find(file_of(tmp_path, "qasper-train-v0.3.json", samples.qasper()))
    check_qasper(list(source.examples()))


def test_qasper_on_the_hub_is_the_same() -> None:
    check_qasper(list(Qasper(from_hub(samples.qasper_on_the_hub()), "hub").examples()))


@pytest.mark.parametrize(
    "record", [samples.simplified_nq(), samples.original_nq(), samples.nq_on_the_hub()]
)
def test_all_three_forms_of_natural_questions_are_one(record: dict[str, object]) -> None:
    (example,) = NaturalQuestions([record], "x").examples()
    assert example.id == "nq-77"
    assert example.answer == "1947"
    assert example.documents == ("Cold War",)
    (gold,) = example.gold
    assert gold.text == "The Cold War began in 1947, and it ended in 1991 (by most accounts)."
    assert [other.text[:18] for other in example.others] == ["A second paragraph"]
    assert example.more["aliases"] == ["1947"]


def test_yes_or_no_is_an_answer_where_no_span_is() -> None:
    (example,) = NaturalQuestions([samples.nq_on_the_hub(yes=True)], "x").examples()
    assert example.answer == "Yes"


def test_a_question_without_a_paragraph_is_left_out() -> None:
    record = samples.simplified_nq()
    for annotation in record["annotations"]:
        annotation["long_answer"] = {"start_token": -1, "end_token": -1, "candidate_index": -1}
    assert list(NaturalQuestions([record], "x").examples()) == []


def test_compressed_files_of_natural_questions_are_read_in_order(tmp_path: Path) -> None:
    for number in (1, 0):
        with gzip.open(tmp_path / f"v1.0_sample_nq-train-0{number}.jsonl.gz", "wt") as target:
            target.write(json.dumps(samples.original_nq() | {"example_id": number}) + "\n")
    source = find(str(tmp_path))
    assert [example.id for example in source.examples()] == ["nq-0", "nq-1"]


@pytest.mark.parametrize("content", ["not json", "[]", "{}", '{"questions": 3}'])
def test_a_file_of_no_known_form_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match="none of the forms known"):
        find(str(tmp_path / "x.json"))


def test_a_name_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a data set"):
        find(str(tmp_path / "nothing"))
    with pytest.raises(UserError, match=r"neither corpus\.jsonl nor files"):
        find(str(tmp_path))


def test_qasper_is_read_from_the_hub_s_copy_in_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set itself is a script, which ``datasets`` refuses to run."""
    import datasets

    def load(name: str, config: str | None, **how: object) -> object:
        if how["revision"] != "refs/convert/parquet":
            raise RuntimeError("Dataset scripts are no longer supported, but found qasper.py")
        assert (name, config, how["streaming"]) == ("allenai/qasper", None, True)
        return samples.qasper_on_the_hub() if how["split"] == "train" else []

    monkeypatch.setattr(datasets, "load_dataset", load)
    check_qasper(list(find("qasper").examples()))


@pytest.mark.parametrize("error", [ConnectionError("no route"), RuntimeError("a script")])
def test_a_hub_that_is_out_of_reach_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    import datasets

    def away(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", away)
    with pytest.raises(UserError, match="cannot be read from the hub"):
        next(find("qasper").examples())


def test_what_the_datasets_library_reads_back_is_understood(tmp_path: Path) -> None:
    """Qasper's features as its card declares them, written and streamed by ``datasets`` itself."""
    from datasets import Dataset, Features, Sequence, Value, load_dataset

    text, texts = Value("string"), Sequence(Value("string"))
    answer = {
        "unanswerable": Value("bool"),
        "extractive_spans": texts,
        "yes_no": Value("bool"),
        "free_form_answer": text,
        "evidence": texts,
        "highlighted_evidence": texts,
    }
    features = Features(
        {
            "id": text,
            "title": text,
            "abstract": text,
            "full_text": Sequence({"section_name": text, "paragraphs": [text]}),
            "qas": Sequence(
                {
                    "question": text,
                    "question_id": text,
                    "answers": Sequence(
                        {"answer": answer, "annotation_id": text, "worker_id": text}
                    ),
                }
            ),
        }
    )
    path = tmp_path / "train.parquet"
    Dataset.from_list(samples.qasper_on_the_hub(), features=features).to_parquet(str(path))
    rows = load_dataset(
        "parquet", data_files=str(path), split="train", streaming=True, features=features
    )
    check_qasper(list(Qasper(from_hub(rows), "hub").examples()))
