"""Search spaces: the values of parameters, and the points of a grid or a random search. Values only."""
