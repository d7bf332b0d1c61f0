"""One value from one file of /sys: a driver may lack it, refuse it or answer nonsense."""

from pathlib import Path


def read_word(file: Path) -> str | None:
    """Return a file's text without blanks around it, None where it cannot be read."""
    try:
        # A driver may answer EINVAL, ENODATA or EAGAIN: a sensor that sleeps is no sensor now.
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def read_number(file: Path) -> int | None:
    """Return the integer in a file, None where there is none."""
    word = read_word(file)
    try:
        return None if word is None else int(word)
    except ValueError:
        return None
