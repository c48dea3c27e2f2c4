"""Peer of the bench: takes the members of a zip with Python's zipfile, hashes each, writes those that are programs to a folder under their
digests, and syncs the disk once at the end. Prints how many as JSON."""
import hashlib
import os
import sys
import zipfile

count = 0
os.makedirs(sys.argv[2])
with zipfile.ZipFile(sys.argv[1]) as archive:
    for entry in archive.infolist():
        data = archive.read(entry)
        if data[:2] != b"MZ":
            continue
        with open(os.path.join(sys.argv[2], hashlib.sha256(data).hexdigest()), "wb") as file:
            file.write(data)
        count += 1
os.sync()
print(count)
