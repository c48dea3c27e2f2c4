"""Peer of the bench: reads Mal-API-2019's text out of its zip, splits the lines and counts. Prints [samples, calls] as JSON."""
import json
import sys
import zipfile

samples = calls = 0
with zipfile.ZipFile(sys.argv[1]) as archive, archive.open("all_analysis_data.txt") as file:
    for line in file:
        samples += 1
        calls += len(line.split())
print(json.dumps([samples, calls]))
