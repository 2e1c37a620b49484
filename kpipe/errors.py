"""Errors that are reported in one line, without a traceback."""


class UserError(Exception):
    """A mistake that the user can fix; states what was given, what was expected and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """

    exit_code = 2


class RunError(Exception):
    """A run that failed, for example because of a NaN loss or an export that is not verified.

    The command line prints it without a traceback and ends with exit code 1.
    """

    exit_code = 1
