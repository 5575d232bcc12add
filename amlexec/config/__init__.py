"""READ and VALIDATE: from the text of a file to the values that travel, with every violation at its place."""
