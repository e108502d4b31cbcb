"""Where a stack that is started for a command tells how far it is."""

import sys
from pathlib import Path

import pytest

from fineproof.experiment.session import stack_session


@pytest.mark.parametrize("aside", [True, False])
def test_a_start_is_told_on_the_error_stream_where_stdout_is_for_json(
    aside: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fineproof = tmp_path / "python"
    fineproof.write_text('#!/bin/sh\necho "told of $3"\n')
    fineproof.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fineproof))
    monkeypatch.delenv("FINEPROOF_URL", raising=False)
    monkeypatch.setenv("FINEPROOF_PORT", "18900")
    with stack_session(keep_up=False, aside=aside) as address:
        assert (address.url, address.key) == ("http://127.0.0.1:18900", None)
    out, err = capfd.readouterr()
    assert (err if aside else out) == "told of up\ntold of down\n"
    assert (out if aside else err) == ""
