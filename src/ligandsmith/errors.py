"""The error that a user can mend. Apart from `types`, so that what never needs torch need not import it."""


class LigandsmithError(Exception):
    """A failure that the user can mend. Its text is one line: what is wrong, where, what to do."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # what other programs and files say may have several lines


def shortened(text: object, length: int = 60) -> str:
    """The beginning of a text that may be long, for a message."""
    whole = str(text)
    return whole if len(whole) <= length else f"{whole[:length]}..."


def one_line(error: object) -> str:
    """The text of an error, or of anything else, without line breaks."""
    return " ".join(str(error).split())
