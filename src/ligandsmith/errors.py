"""The error that a user can mend. Apart from `types`, so that what never needs torch need not import it."""


class LigandsmithError(Exception):
    """A failure that the user can mend. Its text is one line: what is wrong, where, what to do."""


def one_line(error: object) -> str:
    """The text of an error, or of anything else, without line breaks."""
    return " ".join(str(error).split())
