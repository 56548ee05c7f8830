"""A user's mistake goes in as one sentence; the command line turns it into exit code 2."""


class InputError(Exception):
    """The user's input cannot be used: what was expected, what came, in which file, and the remedy, in one sentence."""


class StageError(Exception):
    """A stage failed for a reason that is not the user's input (exit code 1): what happened and how to go on."""
