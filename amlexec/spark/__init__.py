"""What spark-submit is given: its arguments, Maven packages, and the user's network settings for Java."""
