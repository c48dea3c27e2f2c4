"""Files of digests beside samples: what they say is recorded with each sighting and told when it fits nothing; no sample is dropped for it,
and none is downloaded twice for it. The programs are generated headers without code; nothing leaves the machine."""
import hashlib
import json
import os
import pathlib
import subprocess
import unittest

from gen import archive, pe
from services.github_case import BIN, GitHubCase


def digest(name, data):
    return hashlib.new(name, data).hexdigest()


def world():
    programs = {name: pe.pe(name) for name in ("archive", "sample", "neither", "bare", "list", "other", "wide", "two", "plain")}
    zips = {name: archive.zipped({name + ".exe": data}, "infected") for name, data in programs.items()}
    zips["two"] = archive.zipped({"one.exe": programs["two"], "two.exe": pe.pe("second")})
    files = {
        "a/archive.zip": zips["archive"], "a/archive.zip.md5": digest("md5", zips["archive"]).encode(),
        "b/sample.zip": zips["sample"], "b/sample.sha256": (digest("sha256", programs["sample"]).upper() + " *sample.exe\r\n").encode(),
        "c/neither.zip": zips["neither"], "c/neither.md5": b"0" * 32 + b"  neither.zip\n",
        "d/bare.exe": programs["bare"], "d/bare.exe.sha1": ("SHA1 (bare.exe) = " + digest("sha1", programs["bare"])).encode(),
        # A list that speaks of others says nothing of this one.
        "e/list.zip": zips["list"], "e/list.md5": b"1" * 32 + b"  else.zip\n",
        "f/other.zip": zips["other"], "f/other.md5": b"no digest\n",
        "g/wide.zip": zips["wide"], "g/wide.md5": digest("md5", programs["wide"]).encode("utf-16"),
        "h/two.zip": zips["two"], "h/two.shasum": digest("sha1", programs["two"]).encode(),
        "i/plain.zip": zips["plain"], "j/plain.md5": b"2" * 32,
    }
    said = {"archive.exe": "archive", "sample.exe": "sample", "neither.exe": "neither", "": "sample", "list.exe": None, "other.exe": None,
            "wide.exe": "sample", "one.exe": "sample", "two.exe": None, "plain.exe": None}
    return files, said


class Sides(GitHubCase):
    def check(self, said):
        rows = self.rows("SELECT CAST(chain AS TEXT), side_file FROM sighting")
        self.assertEqual(dict(rows), said)
        self.assertEqual(len(rows), len(said))

    def test_repository(self):
        files, said = world()
        self.hub.add("o/zoo", files)
        self.write_list("o/zoo")
        for jobs in ("1", "2"):
            corpus = self.root / jobs
            before = self.downloads()
            samples, rest = self.collect("--jobs", jobs, corpus=corpus)
            self.assertEqual(rest, [])
            self.assertEqual({sample["chain"]: sample["side_file"] for sample in samples}, said)
            self.assertLessEqual(self.downloads() - before, len(files))      # nothing twice
            self.corpus = corpus
            self.check(said)
            self.assertEqual(self.talk.count("warning"), 1, self.talk)
            self.assertIn("o/zoo/c/neither.zip: the digest in 'neither.md5' beside it is neither its own nor that of a program in it", self.talk)
        # Nothing changed: what was said stays said.
        self.collect(corpus=corpus)
        self.check(said)

    def test_folder_and_export(self):
        files, said = world()
        folder = self.root / "in"
        for name, data in files.items():
            path = pathlib.Path(folder / name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        tool = lambda name, *args: subprocess.run([os.path.join(BIN, name), *args, "--corpus", str(self.corpus)], capture_output=True,  # noqa: E731
                                                  timeout=250, check=True).stdout
        dry = [json.loads(line) for line in tool("collect", "--dir", str(folder), "--json", "--dry-run").splitlines()]
        self.assertEqual({sample["chain"]: sample["side_file"] for sample in dry}, said)
        tool("collect", "--dir", str(folder))
        self.check(said)
        rows = [json.loads(line) for line in tool("malseq", "export", "--sightings").splitlines()]
        self.assertEqual({place["chain"]: place["side_file"] for row in rows for place in row["sightings"]}, said)
        # Other bytes at the same place: what was said of the old ones is no longer said.
        (folder / "a" / "archive.zip").write_bytes((folder / "b" / "sample.zip").read_bytes())
        tool("collect", "--dir", str(folder))
        self.assertEqual(self.rows("SELECT side_file FROM sighting WHERE path = CAST('a/archive.zip' AS BLOB) AND gone_ms IS NULL"), [(None,)])


if __name__ == "__main__":
    unittest.main()
