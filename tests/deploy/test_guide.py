"""The commands of docs/guides/deploy.md that can run without an engine do what they promise."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.rendered import ROOT, env_file, load_settings, program, run_compose

GUIDE = (ROOT / "docs" / "guides" / "deploy.md").read_text()
MARK = "<!-- tests/deploy/test_guide.py runs this block -->\n```bash\n"


@pytest.fixture(scope="module")
def pasted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which both blocks were pasted, and what they printed."""
    program("openssl")
    folder = tmp_path_factory.mktemp("guide")
    for name in ("docker/.env.example", "k8s/secrets.env.example"):
        (folder / name).parent.mkdir()
        shutil.copy(ROOT / name, folder / name)
    keys, secret = (block.split("```")[0] for block in GUIDE.split(MARK)[1:])
    shell = ["bash", "-euc", keys + secret]
    finished = subprocess.run(shell, cwd=folder, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return folder, finished.stdout


def test_the_pasted_environment_is_enough_for_compose(pasted: tuple[Path, str]) -> None:
    finished = run_compose(pasted[0] / "docker" / ".env")
    assert finished.returncode == 0, finished.stderr


def test_the_printed_key_and_the_services_own_are_accepted(
    pasted: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, printed = pasted
    secrets = env_file(folder / "k8s" / "secrets.env")
    keys = {
        f"FINEPROOF_RETRIEVER_{name}": secrets[name]
        for name in ("DATABASE_URL", "REDIS_URL", "API_KEYS", "SERVICE_KEY")
    }
    keys["FINEPROOF_RETRIEVER_EMBEDDING_MODEL"] = "/models/any"
    settings = load_settings("retriever", keys, monkeypatch)
    scopes = {key.sha256: key.scopes for key in settings.api_keys}
    (mine,) = re.findall(r"^OPENAI_API_KEY=(\S+)$", printed, re.MULTILINE)
    assert settings.service_key is not None
    for key in (mine, settings.service_key.get_secret_value()):
        assert scopes[hashlib.sha256(key.encode()).hexdigest()] == {"read", "write"}


def test_the_secret_has_the_keys_of_its_example(pasted: tuple[Path, str]) -> None:
    written = env_file(pasted[0] / "k8s" / "secrets.env")
    assert set(written) == set(env_file(ROOT / "k8s" / "secrets.env.example"))
    assert all(written[name] for name in written if name != "HF_TOKEN")


def test_secrets_are_readable_by_their_owner_only_and_ignored_by_git(
    pasted: tuple[Path, str],
) -> None:
    for name in ("docker/.env", "k8s/secrets.env"):
        assert (pasted[0] / name).stat().st_mode & 0o077 == 0
    for name in ("docker/.env", "docker/outgoing.env", "k8s/secrets.env"):
        ignored = subprocess.run(["git", "check-ignore", "--quiet", name], cwd=ROOT)
        assert ignored.returncode == 0, name


def test_paths_the_guide_names_exist() -> None:
    paths = re.findall(r"(?<![\w/.-])((?:docker|k8s|tests)/[\w./-]*\w)", GUIDE)
    made = {"docker/.env", "docker/outgoing.env", "k8s/secrets.env"}
    assert [path for path in paths if path not in made and not (ROOT / path).exists()] == []
