"""What runs inside a step process or a container: the shell, its observation, its commit."""
