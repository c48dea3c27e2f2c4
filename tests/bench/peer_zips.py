"""Peer of the bench: opens the zips of a folder with Python's zipfile and hashes what is in them. Prints how many as JSON."""
import hashlib
import os
import sys
import zipfile

count = 0
for name in sorted(os.listdir(sys.argv[1])):
    with zipfile.ZipFile(os.path.join(sys.argv[1], name)) as archive:
        for entry in archive.infolist():
            data = archive.read(entry, b"infected")
            count += data[:2] == b"MZ" and len(hashlib.sha256(data).digest()) == 32
print(count)
