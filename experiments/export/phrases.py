"""Windows and sizes in words."""

from __future__ import annotations

from .plan import Timer, Window

SINCE: dict[Timer, str] = {
    "oldest": "since the oldest arrival",
    "pick": "since a server took the first",
    "window": "of collecting, over and over",
    "sealed": "since its first request, closed whether or not a server is idle",
}


def phrase(found: Window) -> str:
    """A window in words."""
    if found.timer == "sealed" and not (found.waits and not found.endless):
        return f"closed batches of {found.max_batch_size if found.endless else 1}"
    if found.preferred and not found.waits:
        return f"the largest of {runs(found.preferred)} that waits"
    if not found.waits:
        return f"greedy with at most {found.max_batch_size}"
    if found.endless:
        return f"batches of {found.max_batch_size}, however long that takes"
    wait = f"{found.max_wait_ns / 1e6:g} ms {SINCE[found.timer]}"
    return f"a batch of {found.max_batch_size} or {wait}"


def runs(sizes: tuple[int, ...]) -> str:
    """Increasing numbers in words: ``4, 6 to 8``."""
    found: list[list[int]] = []
    for size in sizes:
        if found and found[-1][-1] == size - 1:
            found[-1].append(size)
        else:
            found.append([size])
    return ", ".join(
        f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found
    )
