"""A policy from a YAML or JSON file."""

from pathlib import Path

from fineproof.errors import UserError
from services.common.contracts.gate import GatePolicy


def load_policy(path: Path | None) -> GatePolicy:
    """The policy in a file, the default one without. :class:`UserError` names what is wrong."""
    if path is None:
        return GatePolicy()
    import yaml
    from pydantic import ValidationError

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no policy: it must name settings, such as 'required:'.")
    try:
        return GatePolicy.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {where}: {first['msg']}.") from error
