"""collect over zip files made by 7zz and zip: every method under every encryption, with right, wrong, several and no passwords, nested;
wrong passwords that ZipCrypto's check byte accepts; members that were changed. Through the confined worker, as always."""
# ctest: full also-release timeout=300
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

from gen import archive, pe

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
METHODS = ("Copy", "Deflate", "BZip2", "LZMA", "PPMd", "xz")
CIPHERS = ("ZipCrypto", "AES128", "AES192", "AES256")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class ZipCase(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-zip-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.input = self.root / "in"
        self.input.mkdir()

    def run_tool(self, *command):
        result = subprocess.run(command, cwd=self.root, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False)
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
        result = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=200, check=False)
        self.assertEqual(result.returncode, expect, result.stderr.decode("utf-8", "replace"))
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return ({(line["path"], line["chain"]): line for line in lines if line["type"] == "sample"},
                {line["path"]: line for line in lines if line["type"] != "sample"})


@unittest.skipUnless(shutil.which("7zz"), "7zz is not installed: no zip files with other methods to read")
class SevenZip(ZipCase):
    def test_every_method_under_every_cipher(self):
        data = self.member("x.exe", "table")
        for method in METHODS + ("Deflate64",):
            for cipher in CIPHERS:
                self.sevenzip("%s-%s.zip" % (method, cipher), "x.exe", method, cipher, "the right one")
        samples, failed = self.collect(["wrong", "the right one"], expect=1)
        self.assertEqual({path for path, _ in samples}, {"%s-%s.zip" % (method, cipher) for method in METHODS for cipher in CIPHERS})
        for line in samples.values():
            self.assertEqual((line["sha256"], line["chain"], line["password"]), (sha256(data), "x.exe", "the right one"))
        self.assertEqual({path: line["outcome"] for path, line in failed.items()}, {"Deflate64-%s.zip" % cipher: "unsupported" for cipher in CIPHERS})
        for line in failed.values():
            self.assertIn("deflate64", line["reason"].lower())
        for passwords in ([], ["wrong", "the right on", "the right ones"]):
            samples, failed = self.collect(passwords, expect=1)
            self.assertEqual(samples, {})
            self.assertEqual({line["outcome"] for path, line in failed.items() if "Deflate64" not in path}, {"need_password"})
            self.assertEqual(len(failed), len(METHODS + ("Deflate64",)) * len(CIPHERS))

    def test_several_passwords_in_one_file(self):
        data = {name: self.member(name, name) for name in ("a.exe", "b.exe", "c.exe", "plain.exe")}
        self.run_tool("7zz", "a", "-tzip", str(self.input / "many.zip"), "plain.exe")
        self.sevenzip("many.zip", "a.exe", "LZMA", "AES256", "first")
        self.sevenzip("many.zip", "b.exe", "BZip2", "ZipCrypto", "second")
        self.sevenzip("many.zip", "c.exe", "Deflate", "AES128", "third")
        samples, failed = self.collect(["third", "first", "second"])
        self.assertEqual(failed, {})
        self.assertEqual({chain: (line["sha256"], line["password"]) for (_, chain), line in samples.items()},
                         {"plain.exe": (sha256(data["plain.exe"]), None), "a.exe": (sha256(data["a.exe"]), "first"),
                          "b.exe": (sha256(data["b.exe"]), "second"), "c.exe": (sha256(data["c.exe"]), "third")})
        samples, failed = self.collect(["second"], expect=1)
        self.assertEqual({chain for _, chain in samples}, {"plain.exe", "b.exe"})
        self.assertEqual(failed["many.zip"]["outcome"], "need_password")

    def test_nested(self):
        data = self.member("x.exe", "nested")
        self.sevenzip("../inner.zip", "x.exe", "PPMd", "AES256", "inside")
        self.sevenzip("../middle.zip", "inner.zip", "xz", "ZipCrypto", "infected")
        self.sevenzip("outer.bin", "middle.zip", "BZip2", "AES192", "outside")
        samples, failed = self.collect(["inside", "outside"])
        self.assertEqual(failed, {})
        line = samples["outer.bin", "middle.zip!inner.zip!x.exe"]
        self.assertEqual((line["sha256"], line["password"]), (sha256(data), "inside"))

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

    def test_accepted_wrong_passwords(self):
        """They give no sample, whatever the method; behind them the right one still does."""
        data = self.member("x.exe", "accepted")
        wrong = {}
        for method in METHODS:
            self.sevenzip(method + ".zip", "x.exe", method, "ZipCrypto", "the right one")
            wrong[method] = archive.wrong_but_accepted((self.input / (method + ".zip")).read_bytes(), 5, method)
            self.assertEqual(len(wrong[method]), 5)
        words = [word for method in METHODS for word in wrong[method]]
        samples, failed = self.collect(words, expect=1)
        self.assertEqual(samples, {})
        self.assertEqual({line["outcome"] for line in failed.values()}, {"need_password"})
        self.assertEqual(len(failed), len(METHODS))
        samples, failed = self.collect(words + ["the right one"])
        self.assertEqual(failed, {})
        self.assertEqual({line["sha256"] for line in samples.values()}, {sha256(data)})
        self.assertEqual(len(samples), len(METHODS))


@unittest.skipUnless(shutil.which("zip"), "zip is not installed: its encrypted files are not read")
class InfoZip(ZipCase):
    def test_methods(self):
        data = self.member("x.exe", "zip")
        for method in ("store", "deflate", "bzip2"):
            self.run_tool("zip", "-q", "-Z", method, "-P", "the right one", str(self.input / (method + ".zip")), "x.exe")
        wrong = archive.wrong_but_accepted((self.input / "bzip2.zip").read_bytes(), 3)
        samples, failed = self.collect(wrong + ["the right one"])
        self.assertEqual(failed, {})
        self.assertEqual({path: (line["sha256"], line["password"]) for (path, _), line in samples.items()},
                         {method + ".zip": (sha256(data), "the right one") for method in ("store", "deflate", "bzip2")})


if __name__ == "__main__":
    unittest.main()
