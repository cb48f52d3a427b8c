"""The error of a slow tool. Apart from `tools`, which imports what the tools judge by."""


class ToolFailure(Exception):
    """A tool cannot answer for one molecule. The text is the reason, one line."""
