"""The errors that a user can cause and can mend.

Every message shows the value, the limit and what to do. The command line prints them as one line; anything that is not
a `HypnographError` (or an `OSError`) is a defect of ours.
"""


def one_line(error: BaseException) -> str:
    """Return what an error says in one line; its kind, if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class HypnographError(ValueError):
    """A user's mistake or an unusable input, said in one clear sentence or two."""


class UnreadableFileError(HypnographError):
    """A file that is damaged, or of a format that is not known."""


class UnknownStageError(HypnographError):
    """A stage name that is not in the closed vocabulary."""


class MissingChannelError(HypnographError):
    """The recording lacks a signal that is needed; the message names those present."""


class UnusableSignalError(HypnographError):
    """The signals hold no information to stage: all flat, all missing, or too short."""


class AlignmentError(HypnographError):
    """Recording and scoring, or two scorings, do not lie on the same stretch of time."""
