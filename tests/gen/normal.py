"""The normalisation of traces again, plainly, from its description in store/trace/normalise.h: slow, over lists, for tests.

    normalise(processes, fold="case", collapse=1, …)    names, and how many calls there were before the cut
"""
import re


def fold_name(name, words):
    out = name
    if "suffix" in words:
        found = re.fullmatch(r"(.*[a-z0-9])(ExA|ExW|_A|_W|Ex|A|W)", out)
        # The suffixes are tried longest first; a character before must be there.
        for suffix in ("ExA", "ExW", "_A", "_W", "Ex", "A", "W"):
            if found and out.endswith(suffix) and len(out) > len(suffix) and re.match(r"[a-z0-9]", out[-len(suffix) - 1]):
                out = out[:-len(suffix)]
                break
    if "case" in words:
        out = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in out)
    if "native" in words and (re.match(r"Zw[A-Z]", name) or re.match(r"zw[a-z]", name)):
        out = ("N" if out[0] == "Z" else "n") + "t" + out[2:]
    return out


def _entries(processes, order):
    """(number of the process, entry) in order; a process: {first_seen, track, calls: [{api, time, repeated}]}."""
    kept = [(p["first_seen"] is None, p["first_seen"] or 0, number, p) for number, p in enumerate(processes) if p["track"]]
    kept = [p for _, _, _, p in sorted(kept, key=lambda row: row[:3])]
    if order == "process":
        return [(number, call) for number, p in enumerate(kept) for call in p["calls"]]
    rows = []
    for number, p in enumerate(kept):
        latest = float("-inf")
        for index, call in enumerate(p["calls"]):
            latest = latest if call["time"] is None else max(latest, call["time"])
            rows.append((latest, number, index, call))
    return [(row[1], row[3]) for row in sorted(rows, key=lambda row: row[:3])]


def _drop_loops(runs, loops):
    out = []
    for run in runs:
        out.append(run)
        for period in range(2, loops + 1):
            if len(out) >= 2 * period and out[-period:] == out[-2 * period:-period]:
                del out[-period:]
                break
    return out


def normalise(processes, order="process", fold="none", pseudo="drop", repeated="expand", collapse=0, loops=0, once="no", cut="head", max_calls=0):
    words = fold.split("+")
    runs, stretches = [], []        # a run: (name, length)
    owner = None
    for number, call in _entries(processes, order):
        if not call["api"] or (pseudo == "drop" and call["api"].startswith("__")):
            continue
        if number != owner:
            owner, runs = number, []
            stretches.append(runs)
        name = fold_name(call["api"], words)
        times = 1 + call["repeated"] if repeated == "expand" else 1
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + times)
        else:
            runs.append((name, times))
    names = []
    for runs in stretches:
        kept = [(name, min(times, collapse) if collapse else times) for name, times in runs]
        for name, times in _drop_loops(kept, loops):
            names += [name] * times
    if once == "yes":
        names = list(dict.fromkeys(names))
    length = len(names)
    if max_calls and length > max_calls:
        tail = {"head": 0, "tail": max_calls, "middle": max_calls // 2}[cut]
        names = names[:max_calls - tail] + names[length - tail:]
    return names, length
