"""Settings written as the files of serving stacks, and read back."""
