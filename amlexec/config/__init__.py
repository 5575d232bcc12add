"""READ and VALIDATE: parse files to the values of `amlexec.model`; every violation has its place."""
