"""What a trip costs: a module of the project, which the executors need too."""


def fare_cents(meters: int) -> int:
    """The fare in cents: 2.50 to begin with, and 50 for every fifth of a mile."""
    return 250 + 50 * -(-meters * 5 // 1609)
