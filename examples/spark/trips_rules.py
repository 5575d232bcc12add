"""The price of a trip: a module of the project that the executors need, too."""


def fare_cents(meters: int) -> int:
    """The fare in cents: 250, plus 50 for every fifth of a mile."""
    return 250 + 50 * -(-meters * 5 // 1609)
