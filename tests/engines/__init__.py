"""The real parts that the tests need, and how each is made ready.

`tasks.py` is what `doit engines` does, `fixtures.py` is what the tests take.
"""
