"""The files of a study."""

from pathlib import Path

from fineproof.errors import UserError
from fineproof.study.rendering import render_html, render_markdown
from fineproof.study.result import Study


def write(study: Study, out: Path) -> None:
    """Write ``study.json``, ``.md`` and ``.html``. Raises :class:`UserError`."""
    forms = {
        "json": study.model_dump_json(indent=2) + "\n",
        "md": render_markdown(study),
        "html": render_html(study),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for form, text in forms.items():
            (out / f"study.{form}").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{error.filename or out} cannot be written: {error.strerror}.") from error
