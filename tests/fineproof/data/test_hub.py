"""Public data sets by their ids, as ``datasets`` itself reads them from a hub.

The hub is a stand-in (see ``hub``). Its folders, configurations and features are those of the data
sets' cards and of the hub's own copies in Parquet; the rows are made up.
"""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fineproof.data import hub, samples
from tests.fineproof.data.hub import Repositories

FINEPROOF = Path(sys.executable).with_name("fineproof")
COPIES = 16
"""Records of other documents each, enough for the least sample: ten pairs and two questions."""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue()


def card(*configurations: tuple[str, str, tuple[str, ...]]) -> bytes:
    """A README that names each configuration, the folder of its files, and its splits."""
    lines = ["---", "configs:"]
    for name, folder, splits in configurations:
        lines += [f"- config_name: {name}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {folder}/{split}-*"]
    return "\n".join([*lines, "---", ""]).encode()


def bioasq() -> Repositories:
    questions = [
        {
            "question": f"Which gene is mutated in syndrome {n}?",
            "answer": f"Gene {n}.",
            "id": n,
            "relevant_passage_ids": [n],
        }
        for n in range(COPIES)
    ]
    passages = [{"passage": f"Gene {n} was mutated in all.", "id": n} for n in range(COPIES)]
    asked, texts = "question-answer-passages", "text-corpus"
    return {
        ("enelpol/rag-mini-bioasq", "main"): {
            "README.md": card((asked, asked, ("train", "test")), (texts, texts, ("test",))),
            f"{asked}/train-00000-of-00001.parquet": parquet(questions[:10]),
            f"{asked}/test-00000-of-00001.parquet": parquet(questions[10:]),
            f"{texts}/test-00000-of-00001.parquet": parquet(passages),
        }
    }


def natural_questions() -> Repositories:
    def record(n: int) -> dict[str, Any]:
        row = samples.nq_on_the_hub()
        page = {"title": f"Cold War {n}", "url": row["document"]["url"].replace("836", str(n))}
        asked = row["question"] | {"text": f"when did cold war {n} begin"}
        return row | {"id": str(n), "document": row["document"] | page, "question": asked}

    rows = [record(n) for n in range(COPIES)]
    return {
        ("google-research-datasets/natural_questions", "main"): {
            "README.md": card(
                ("default", "default", ("train", "validation")), ("dev", "dev", ("validation",))
            ),
            "default/train-00000-of-00002.parquet": parquet(rows[:6]),
            "default/train-00001-of-00002.parquet": parquet(rows[6:12]),
            "default/validation-00000-of-00001.parquet": parquet(rows[12:]),
            "dev/validation-00000-of-00001.parquet": parquet(rows[:1]),
        }
    }


def qasper() -> Repositories:
    def record(n: int) -> dict[str, Any]:
        (paper,) = samples.qasper_on_the_hub()
        for name in ("question_id", "question"):
            paper["qas"][name] = [f"{n} {said}" for said in paper["qas"][name]]
        return paper | {"id": f"1909.{n:04}", "title": f"Letters {n}"}

    rows = [record(n) for n in range(COPIES)]
    name = "allenai/qasper"
    return {
        # Since version 4 no version of ``datasets`` runs it.
        (name, "main"): {"README.md": b"---\nlicense: cc-by-4.0\n---\n", "qasper.py": b"raise"},
        (name, "refs/convert/parquet"): {
            "qasper/train/0000.parquet": parquet(rows[:10]),
            "qasper/validation/0000.parquet": parquet(rows[10:]),
            "qasper/test/0000.parquet": parquet(rows[:1]),
        },
    }


@pytest.mark.parametrize(
    ("public_id", "repositories"),
    [
        ("enelpol/rag-mini-bioasq", bioasq()),
        ("google-research-datasets/natural_questions", natural_questions()),
        ("allenai/qasper", qasper()),
    ],
)
def test_a_public_data_set_becomes_a_folder_by_its_id(
    tmp_path: Path, public_id: str, repositories: Repositories
) -> None:
    out = tmp_path / "out"
    sample = ["--pairs", "10", "--items", "2", "--json"]
    with hub.serving(repositories) as url:
        here = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
        told = subprocess.run(
            [FINEPROOF, "data", "prepare", public_id, out, *sample],
            env=os.environ | here,
            capture_output=True,
            text=True,
            check=False,
        )
    assert told.returncode == 0, told.stderr
    manifest = json.loads(told.stdout)
    assert (manifest["counts"]["pairs"], manifest["counts"]["items"]) == (10, 2)
    assert manifest["source"] == f"hub {public_id}"
