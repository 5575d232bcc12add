"""READ and VALIDATE: parse files to the values of `amlexec.values`; every violation has its place."""
