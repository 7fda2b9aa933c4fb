"""What `millrace` can be told to do: one file per command, found by its name; `pipeline/cli.py` runs them."""
