"""What goes wrong at the command line."""


class UserError(Exception):
    """Something the person can mend; the message says what and how. Shown without a traceback."""
