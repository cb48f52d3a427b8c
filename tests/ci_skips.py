"""The tests that continuous integration may skip."""

ALLOWED_SKIPS = ("no GPU",)  # reasons of tests that continuous integration may skip


def unexpected_skips(reasons: list[str]) -> list[str]:
    """Reasons that are not allowed in continuous integration."""
    return [reason for reason in reasons if not any(allowed in reason for allowed in ALLOWED_SKIPS)]
