"""What goes wrong at the command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """Something the person can mend; the message says what and how. Shown without a traceback."""


def refused(error: "ValidationError") -> UserError:
    """The first thing that a contract says against what the person gave, in a sentence."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return UserError(f"{where}: {first['msg']}." if where else f"{first['msg']}.")
