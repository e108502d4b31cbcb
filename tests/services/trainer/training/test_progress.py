from pathlib import Path

from services.trainer.training.progress import Lines, Message, Reporter


def test_a_line_that_was_cut_off_hides_no_later_one(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    report, lines = Reporter(path), Lines(path)
    report.write(Message(message="before"))
    with path.open("a") as file:
        file.write('{"kind": "metr')
    report.write(Message(message="lost with it"))
    report.write(Message(message="after"))
    assert [line.message for line in lines.read() if isinstance(line, Message)] == [
        "before",
        "after",
    ]
    assert lines.read() == []
