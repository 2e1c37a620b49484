"""Errors that are reported in one line, without a traceback."""


class UserError(Exception):
    """A mistake that the user can fix: what was given, what was expected, what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """

    exit_code = 2


class RunError(Exception):
    """A run that failed, such as by a NaN loss or an export that is not proven.

    The command line prints it without a traceback and ends with exit code 1.
    """

    exit_code = 1
