"""The peer of malseq export and audit: what one would write over Mal-API-2019's text.

    peer_traces.py ZIP npz | jsonl | copies     the last with totals of distinct traces: as they are, runs collapsed, as sets
"""
import array
import itertools
import json
import sys
import zipfile


def npz(lines):
    """The arrays of numpy.savez, without numpy, which is not everywhere: one id a name, in the order they come."""
    ids, calls, offsets = {}, array.array("h"), array.array("q", [0])
    for line in lines:
        calls.extend(ids.setdefault(name, len(ids) + 1) for name in line.split())
        offsets.append(len(calls))
    with zipfile.ZipFile("peer.npz", "w") as out:
        out.writestr("calls.npy", calls.tobytes())
        out.writestr("offsets.npy", offsets.tobytes())
        out.writestr("vocabulary.npy", "\n".join(ids).encode())
    return [len(offsets) - 1, len(calls)]


def jsonl(lines):
    rows = total = 0
    with open("peer.jsonl", "w", encoding="utf-8") as out:
        for line in lines:
            calls = line.split()
            rows, total = rows + 1, total + len(calls)
            out.write(json.dumps({"calls": calls}) + "\n")
    return [rows, total]


def copies(lines):
    raw, collapsed, sets = set(), set(), set()
    for line in lines:
        calls = line.split()
        raw.add(hash(tuple(calls)))
        collapsed.add(hash(tuple(name for name, _ in itertools.groupby(calls))))
        sets.add(frozenset(calls))
    return [len(raw), len(collapsed), len(sets)]


def main(path, what):
    with zipfile.ZipFile(path) as archive, archive.open("all_analysis_data.txt") as file:
        print(json.dumps({"npz": npz, "jsonl": jsonl, "copies": copies}[what](line.decode() for line in file)))


main(*sys.argv[1:])
