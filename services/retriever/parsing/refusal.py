"""Why a file cannot be read."""

from typing import Literal

Code = Literal["unsupported_file", "invalid_file"]


class Unreadable(Exception):
    """``code`` and the sentence are the file's ``last_error``."""

    def __init__(self, message: str, *, code: Code = "invalid_file") -> None:
        super().__init__(message)
        self.code: Code = code
