"""collect over one of each kind of archive that lies in several files or behind a program, with right and no passwords. The README's second table
is what came out: test_collect_sets.py --readme prints it."""
import pathlib
import shutil
import sys
import unittest

from cli.test_collect_volumes import VolumeCase, program, sha256
from gen import archive, cab, pe, rar
from gen.rar import Member

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
MARKS = ("<!-- what collect joins, by tests/cli/test_collect_sets.py --readme -->\n", "<!-- end of what collect joins -->\n")
PIECES, ZIP, RAR, SFX = "`NAME.001 .002 …`", "`NAME.z01 … .zip`", "`NAME.part1.rar …`; `NAME.rar .r00 …`", "behind a program, `--recurse-sfx`"
WORD = "rightword"
TOOLS = ("7zz", "zip")


class Sets(VolumeCase):
    def sevenzip(self, name, *options):
        self.make("7zz", "a", *options, name, "x.exe")
        return (self.work / name).read_bytes()

    def rows(self):
        """(where, format, encryption, {path: bytes})."""
        data = program("table", 9000)
        (self.work / "x.exe").write_bytes(data)
        forms = [("7z", "none", self.sevenzip("a.7z")), ("7z", "AES-256", self.sevenzip("b.7z", "-p" + WORD)),
                 ("7z", "AES-256, headers too", self.sevenzip("c.7z", "-p" + WORD, "-mhe=on")), ("zip", "none", self.sevenzip("a.zip", "-mm=LZMA")),
                 ("zip", "ZipCrypto", self.sevenzip("b.zip", "-p" + WORD)), ("zip", "AES-256", self.sevenzip("c.zip", "-mm=LZMA", "-mem=AES256", "-p" + WORD))]
        kinds = (("none", {}), ("AES", {"password": WORD}), ("AES, headers too", {"password": WORD, "hide_names": True}))
        rars = [(name, cipher, make, cut, options) for name, make, cut in (("RAR 5", rar.rar5, rar.volumes5), ("RAR 3, RAR 4", rar.rar4, rar.volumes4))
                for cipher, options in kinds]
        whole = forms + [(name, cipher, make({"x.exe": data}, **options)) for name, cipher, make, _, options in rars]
        tars = [("compressed tar", "none", archive.tarred({"x.exe": data}, form)) for form in ("gz", "bz2", "xz")]
        for name, cipher, packed in whole + [("tar", "none", archive.tarred({"x.exe": data}, ""))] + tars:
            yield PIECES, name, cipher, {"p.%03d" % (i + 1): packed[i * 3000:(i + 1) * 3000] for i in range(len(packed) // 3000 + 1)}
        for cipher, options in (("none", ()), ("ZipCrypto", ("-P", WORD))):
            (self.work / "y.exe").write_bytes(program("filler", 70000))
            name = "s%d" % len(options)
            self.make("zip", "-q", "-s", "64k", *options, name + ".zip", "x.exe", "y.exe")
            yield ZIP, "zip", cipher, {path.name: path.read_bytes() for path in self.work.glob(name + ".z*")}
        for (name, cipher, _, cut, options), method in ((row, method) for row in rars for method in ("store", "literal")):
            parts = cut([("x.exe", Member(data, method=method))], 2000, **options)
            yield RAR, name, cipher, {"v.part%d.rar" % (i + 1): part for i, part in enumerate(parts)}
            yield RAR, name, cipher, {"v.r%02d" % (i - 1) if i else "v.rar": part for i, part in enumerate(parts)}
        for name, cipher, packed in whole + [("cab", "none", cab.packed({"x.exe": data}, "none"))]:
            yield SFX, name, cipher, {"setup.exe": pe.pe(name + cipher) + packed}

    def table(self):
        """The lines of the README, and what came out with no password."""
        cells, closed = {}, {}
        for number, (where, name, cipher, files) in enumerate(self.rows()):
            folder = self.input / str(number)
            folder.mkdir()
            for path, data in files.items():
                (folder / path).write_bytes(data)
            cells.setdefault(where, {}).setdefault(name, {}).setdefault(cipher, []).append("%d/" % number)
        wanted = sha256(program("table", 9000))
        self.words.write_text("")
        self.collect("--recurse-sfx", expect=1, corpus="closed")
        for path, line in self.failed.items():
            closed[path.split("/")[0] + "/"] = line["outcome"]
        self.words.write_text(WORD + "\n")
        self.collect("--recurse-sfx")
        self.assertEqual(self.failed, {})
        opened = {path.split("/")[0] + "/" for (path, chain), line in self.samples.items() if chain == "x.exe" and line["sha256"] == wanted}
        lines = ["| where | format | encryption | `collect` |", "|---|---|---|---|"]
        for where, names in cells.items():
            for name, ciphers in names.items():
                for cipher, prefixes in ciphers.items():
                    for prefix in prefixes:
                        self.assertIn(prefix, opened, (where, name, cipher))
                        self.assertEqual(closed.get(prefix, "ok"), "ok" if cipher == "none" else "need_password", (where, name, cipher))
                lines.append("| %s | %s | %s | opened |" % (where, name, "; ".join(ciphers)))
        return "\n".join(lines) + "\n"

    @unittest.skipUnless(all(map(shutil.which, TOOLS)), "7zz or zip is not installed")
    def test_each_kind(self):
        text = README.read_text(encoding="utf-8")
        told = text[text.index(MARKS[0]) + len(MARKS[0]):text.index(MARKS[1])]
        self.assertEqual(self.table(), told, "README.md: put there what test_collect_sets.py --readme prints")


if __name__ == "__main__":
    if sys.argv[1:] == ["--readme"]:
        case = Sets("test_each_kind")
        case.setUp()
        try:
            sys.stdout.write(case.table())
        finally:
            case.doCleanups()
    else:
        unittest.main()
