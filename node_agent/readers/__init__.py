"""One reader for each signal that a device may offer; one that it lacks reads as None."""
