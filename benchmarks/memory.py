"""How much memory the tensors of a call take at one time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from itertools import accumulate
from operator import itemgetter
from pathlib import Path

from torch.profiler import ProfilerActivity, profile, record_function


def peak_bytes(calls: Mapping[str, Callable[[], object]]) -> dict[str, int]:
    """Return the most memory that each call's tensors took at one time, beyond what was there before."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            for name, call in calls.items():
                with record_function(name):
                    call()
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    changes.sort(key=itemgetter(0))  # of two at one time the first stays first
    spans = {event["name"]: (event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] in calls}
    return {
        name: max(accumulate(size for time, size in changes if spans[name][0] <= time <= spans[name][1]))
        for name in calls
    }
