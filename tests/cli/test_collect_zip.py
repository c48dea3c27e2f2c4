"""collect over encrypted zip files whose members were changed. What opens under which method and cipher is test_collect_table.py's business."""
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

from gen import pe

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class ZipCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-zip-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input = self.root / "in"
        self.input.mkdir()

    def run_tool(self, *command):
        result = subprocess.run(command, cwd=self.root, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def member(self, name, seed):
        data = pe.pe(seed, body_bytes=3000)
        (self.root / name).write_bytes(data + b"filler " * 300)
        return data + b"filler " * 300

    def sevenzip(self, archive_name, member_names, method, cipher, password):
        names = [member_names] if isinstance(member_names, str) else member_names
        self.run_tool("7zz", "a", "-tzip", "-mm=" + method, "-mem=" + cipher, "-p" + password, str(self.input / archive_name), *names)

    def collect(self, passwords=(), expect=0):
        """({(path, chain): line}, {path: line}) of samples and of what failed; each call into a corpus of its own."""
        words = self.root / "words"
        words.write_text("".join(word + "\n" for word in passwords))
        corpus = tempfile.mkdtemp(prefix="corpus-", dir=self.root)
        command = [os.path.join(BIN, "collect"), "--dir", str(self.input), "--json", "--corpus", corpus, "--password-list", str(words)]
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=250, check=False)
        self.assertEqual(result.returncode, expect, result.stderr.decode("utf-8", "replace"))
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return ({(line["path"], line["chain"]): line for line in lines if line["type"] == "sample"},
                {line["path"]: line for line in lines if line["type"] != "sample"})


@unittest.skipUnless(shutil.which("7zz"), "7zz is not installed: no zip files with other methods to read")
class SevenZip(ZipCase):
    def test_changed_members(self):
        """A changed byte in the data is found by the authentication code, or by the checksum; the neighbour stays."""
        data = self.member("keep.exe", "kept")
        for cipher in ("AES256", "ZipCrypto"):
            for method in ("BZip2", "LZMA"):
                self.member("lost.exe", "lost")
                name = "%s-%s.zip" % (method, cipher)
                self.sevenzip(name, ["lost.exe", "keep.exe"], method, cipher, "infected")
                raw = bytearray((self.input / name).read_bytes())
                at = raw.index(b"PK\1\2")
                while raw[at + 46:at + 54] != b"lost.exe":
                    at = raw.index(b"PK\1\2", at + 4)
                local = struct.unpack_from("<I", raw, at + 42)[0]
                raw[local + 30 + sum(struct.unpack_from("<HH", raw, local + 26)) + 200] ^= 4
                (self.input / name).write_bytes(raw)
        samples, failed = self.collect(expect=1)
        self.assertEqual({chain for _, chain in samples}, {"keep.exe"})
        self.assertEqual({line["sha256"] for line in samples.values()}, {sha256(data)})
        self.assertEqual({path: line["outcome"] for path, line in failed.items()},
                         {"BZip2-AES256.zip": "corrupt", "LZMA-AES256.zip": "corrupt", "BZip2-ZipCrypto.zip": "need_password",
                          "LZMA-ZipCrypto.zip": "need_password"})


if __name__ == "__main__":
    unittest.main()
