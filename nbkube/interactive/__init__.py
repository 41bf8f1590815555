"""State both ways between runs and a person's kernel: steps opened, results pulled, runs begun from live variables."""
