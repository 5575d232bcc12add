"""How quick amlexec is, beside its peers and the bare command: `python -m benchmarks`, or `doit bench`."""
