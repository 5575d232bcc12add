"""Hand runs to other systems."""
