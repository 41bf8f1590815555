"""Names that cells read, write and change; pure, never runs or imports user code."""
