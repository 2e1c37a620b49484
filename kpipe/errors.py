"""What goes wrong, told in one line."""


class UserError(Exception):
    """A mistake that its maker can mend: what was given, what was expected, what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """

    exit_code = 2


class RunError(Exception):
    """A run that did not end well, such as a NaN loss or an export that is not proven.

    The command line prints it without a traceback and ends with exit code 1.
    """

    exit_code = 1
