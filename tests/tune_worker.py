"""One machine of several that tune together: run as a process, prints what it found as JSON.

Arguments: scenario file, address, study, seconds after which a machine that is not heard of has
left, a folder, the machine's name, and what it does:

- ``works``;
- ``shares``: with two rounds told it asks for no more until the other has told a batch;
- ``hangs``: no setting that it tries comes to an end.

``NAME.told`` in the folder has a byte for each trial that was told.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from experiments.tune import database, search, store
from experiments.tune.tuning import tune

SHARE, LEAST = 16, 8
"""Who has told so many waits for the other to have told so many."""

if __name__ == "__main__":
    file, address, study, left_after_s, folder, name, does = sys.argv[1:]
    database.HEARTBEAT_S, database.LEFT_AFTER_S = 1, int(left_after_s)
    search.LOOK_AGAIN_S = 0.2
    told = []
    real_score, real_tell, real_next = search.Search._score, store.Shelf.tell, search.Search._next

    def score(self, job):
        while does == "hangs":
            time.sleep(1.0)
        return real_score(self, job)

    def tell(self, job, found):
        real_tell(self, job, found)
        told.append(job)
        with Path(folder, f"{name}.told").open("a") as file:
            file.write(".")

    def others():
        files = (each for each in Path(folder).glob("*.told") if each.stem != name)
        return sum(each.stat().st_size for each in files)

    def asked(self):
        while does == "shares" and len(told) >= SHARE and others() < LEAST:
            time.sleep(0.02)
        return real_next(self)

    search.Search._score, store.Shelf.tell, search.Search._next = score, tell, asked
    found = tune(file, storage=address, study=study, load_curve=False).to_dict()
    tried = [[one["policy"], one["place"], one["table"], one["values"]] for one in found["tried"]]
    winner = next(one for one in found["judged"] if one["name"] == found["winner"])
    about = {"winner": winner, "tried": tried, "told": len(told), "verdict": found["verdict"]}
    sys.stdout.write(json.dumps(about))
