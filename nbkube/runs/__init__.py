"""What happened: runs, step runs, events."""
