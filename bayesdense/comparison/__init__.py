"""Rival trends compared: evidence, leave-one-out, leave-future-out, and a verdict."""
