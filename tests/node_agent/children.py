"""The worker processes of this test run; other tests' brokers are children of it too."""

import psutil


def children() -> list[int]:
    """Return the pids of workers that were started here, also of those nobody has reaped yet."""
    return [child.pid for child in psutil.Process().children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "node_agent.worker_main" in process.cmdline()
    except psutil.ZombieProcess:
        return True
    except psutil.NoSuchProcess:
        return False


def every_child() -> set[int]:
    """Return the pids of all children of this test run."""
    return {child.pid for child in psutil.Process().children()}
