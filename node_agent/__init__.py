"""The guest on somebody's device: decides when it may run, runs its variant, answers."""
