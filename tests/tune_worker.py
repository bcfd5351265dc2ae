"""One machine of several that tune together: run as a process, prints what it found as JSON.

Arguments: scenario file, address, study, seconds that every setting takes longer, seconds after
which a machine that is not heard of has left.
"""

from __future__ import annotations

import json
import sys
import time

from experiments.tune import database, search, store
from experiments.tune.tuning import tune

if __name__ == "__main__":
    file, address, study, slower_s, left_after_s = sys.argv[1:]
    database.HEARTBEAT_S, database.LEFT_AFTER_S = 1, int(left_after_s)
    search.LOOK_AGAIN_S = 0.2
    told = []
    real_score, real_tell = search.Search._score, store.Shelf.tell

    def score(self, job):
        time.sleep(float(slower_s))
        return real_score(self, job)

    def tell(self, job, found):
        told.append(job)
        real_tell(self, job, found)

    search.Search._score, store.Shelf.tell = score, tell
    found = tune(file, storage=address, study=study, load_curve=False).to_dict()
    tried = [[one["policy"], one["place"], one["table"], one["values"]] for one in found["tried"]]
    winner = next(one for one in found["judged"] if one["name"] == found["winner"])
    about = {"winner": winner, "tried": tried, "told": len(told), "verdict": found["verdict"]}
    sys.stdout.write(json.dumps(about))
