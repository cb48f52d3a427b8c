"""The tests that continuous integration may skip."""

import sys

ALLOWED_SKIPS = ("no GPU",)  # reasons of tests that continuous integration may skip
if sys.version_info >= (3, 13):  # for which Vina has no wheels
    ALLOWED_SKIPS += ("no vina",)


def unexpected_skips(reasons: list[str]) -> list[str]:
    """Reasons that are not allowed in continuous integration."""
    return [reason for reason in reasons if not any(allowed in reason for allowed in ALLOWED_SKIPS)]
