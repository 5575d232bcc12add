"""The input of spark-submit: arguments, Maven packages, and the user's network settings for Java."""
