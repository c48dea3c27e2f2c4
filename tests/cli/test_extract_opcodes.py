"""extract opcodes: the samples of the vault as sequences of opcodes. The programs are generated: headers, and a few bytes of nop, mov, ret, jumps and
int3 as data of files that no loader takes; nothing of them is ever run."""
import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import unittest

from gen import pe, schema

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
NOP, MOV, RET, INT3, PUSH, POP = b"\x90", b"\x8b\xc0", b"\xc3", b"\xcc", b"\x55", b"\x5d"
CODE = PUSH + MOV * 3 + NOP * 2 + POP + RET


def patched(program, at, pattern, *values):
    head = struct.unpack_from("<I", program, 0x3C)[0]
    made = bytearray(program)
    struct.pack_into(pattern, made, head + at, *values)
    return bytes(made)


def section_at(program, index):
    """Where row `index` of the section table lies, behind the PE signature."""
    head = struct.unpack_from("<I", program, 0x3C)[0]
    return 24 + struct.unpack_from("<H", program, head + 20)[0] + 40 * index


class Opcodes(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="malseq-opcodes-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.corpus = self.root / "corpus"

    def tool(self, name, *args, expect=0, env=None):
        result = subprocess.run([os.path.join(BIN, name), *map(str, args), "--corpus", str(self.corpus)], capture_output=True,
                                stdin=subprocess.DEVNULL, timeout=250, check=False, env={**os.environ, **(env or {})})
        self.talk = result.stderr.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk + result.stdout.decode("utf-8", "replace"))
        return result.stdout.decode()

    def collect(self, programs):
        """The corpus with these programs; {name: sha256}."""
        folder = self.root / "in"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, data in programs.items():
            (folder / name).write_bytes(data)
        self.tool("collect", "--dir", folder)
        shutil.rmtree(folder)
        return {name: hashlib.sha256(data).hexdigest() for name, data in programs.items()}

    def opcodes(self, *args, expect=0):
        lines = [json.loads(line) for line in self.tool("extract", "opcodes", "--json", *args, expect=expect).splitlines()]
        for line in lines:
            schema.Schema("extract.schema.json").check(line, "opcodes")
        return {line["sample"]: line for line in lines}

    def calls(self):
        """{sha256: the opcodes of its analysis}"""
        sql = "SELECT lower(hex(s.sha256)) AS sha256, group_concat(api, ' ') AS names FROM (SELECT sample, api FROM calls ORDER BY process, seq) c JOIN sample s ON s.id = c.sample GROUP BY 1"
        return {line["sha256"]: line["names"].split() for line in map(json.loads, self.tool("malseq", "query", "--json", sql).splitlines())}

    def rows(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % (self.corpus / "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def test_what_code_is_and_what_is_none(self):
        cases = {
            "x86": (pe.pe("a", code=CODE), "ok", ["push", "mov", "mov", "mov", "nop", "nop", "pop", "ret"]),
            # 48 8b c0: a prefix of 64 bits alone
            "x64": (pe.pe("b", bits=64, code=b"\x48" + MOV + RET), "ok", ["mov", "ret"]),
            "as-32": (pe.pe("c", code=b"\x48" + MOV + RET), "ok", ["dec", "mov", "ret"]),
            # Machine was zeroed: the magic tells
            "disarmed": (pe.pe("d", bits=64, disarmed=True, code=b"\x48" + MOV + RET), "ok", ["mov", "ret"]),
            # the jump goes over two bytes that would begin an instruction of five
            "flow": (pe.pe("e", code=b"\xeb\x02\xe8\xe8" + NOP + RET), "ok", ["jmp", "nop", "ret"]),
            # the entry lies behind what the sweep finds
            "sweep": (pe.pe("f", code=PUSH + RET + INT3 * 6 + b"\0" * 20 + NOP + RET, entry=28), "ok", ["push", "ret", "nop", "ret"]),
            "no-entry": (pe.pe("g", kind="dll", code=NOP + RET, entry=None), "ok", ["nop", "ret"]),
            # a byte that begins no instruction: the next one is tried
            "bad-byte": (pe.pe("h", bits=64, code=b"\x06" + NOP + RET), "ok", ["nop", "ret"]),
            "padding": (pe.pe("i", code=b"\0" * 64), "no_code", []),
            "no-section": (pe.pe("j"), "no_code", []),
            "dotnet": (pe.pe("k", kind="dotnet"), "unsupported", []),
            "arm": (pe.pe("l", machine=0xAA64, code=CODE), "unsupported", []),
        }
        hashes = self.collect({name: case[0] for name, case in cases.items()})
        told = self.opcodes()
        self.assertEqual(set(told), set(hashes.values()))
        calls = self.calls()
        for name, (_, state, expected) in cases.items():
            with self.subTest(name):
                line = told[hashes[name]]
                self.assertEqual((line["state"], line["opcodes"]), (state, len(expected)))
                self.assertEqual(calls.get(hashes[name], []), expected)
                self.assertEqual(line["reason"] is None, state == "ok")
        self.assertEqual(told[hashes["flow"]]["unread_bytes"], 2)
        self.assertEqual(told[hashes["sweep"]]["followed"], 2)
        self.assertEqual(self.rows("SELECT DISTINCT space FROM api"), [(2,)])
        self.assertEqual(self.rows("SELECT DISTINCT sandbox, opcodes FROM analysis"), [("opcodes", 1)])
        self.tool("malseq", "fsck")

    def test_hostile_programs_cost_themselves(self):
        good = pe.pe("good", code=CODE)
        first = section_at(good, 0)
        twice = pe.pe("twice", code=CODE)
        second = section_at(twice, 1)
        rva, raw = struct.unpack_from("<I", twice, struct.unpack_from("<I", twice, 0x3C)[0] + first + 12)[0], struct.unpack_from(
            "<I", twice, struct.unpack_from("<I", twice, 0x3C)[0] + first + 20)[0]
        # both sections have the same bytes of the file, and of memory
        twice = patched(twice, second + 8, "<IIII", len(CODE), rva, 512, raw)
        twice = patched(twice, second + 36, "<I", 0x60000020)
        programs = {
            "good": good,
            "far-entry": patched(pe.pe("far", code=CODE), 24 + 16, "<I", 0xFFFFFFF0),
            "entry-in-header": patched(pe.pe("head", code=CODE), 24 + 16, "<I", 4),
            "twice": twice,
            "huge-section": patched(pe.pe("huge", code=CODE), first + 8, "<IIII", 0xFFFFFFFF, 0x1000, 0xFFFFFFFF, 0x400),
            "outside": patched(pe.pe("out", code=CODE), first + 20, "<I", 0x7FFFFFFF),
            "many-sections": patched(pe.pe("many", code=CODE), 6, "<H", 0xFFFF),
            "one-byte": pe.pe("one", code=RET),
            "loop": pe.pe("loop", code=b"\xeb\xfe"),
            "jumps-everywhere": pe.pe("jumps", code=b"\xe8\xfb\xff\xff\xff" * 2000 + b"\x74\xfd" * 2000),
            "inside-itself": pe.pe("self", code=b"\xeb\xff\xc0" + RET),
            "cut-prefixes": pe.pe("prefix", code=b"\x66" * 4000),
            "noise": pe.pe("noise", code=__import__("random").Random(7).randbytes(200000)),
        }
        hashes = self.collect(programs)
        told = self.opcodes()
        state = {name: told[digest]["state"] for name, digest in hashes.items()}
        self.assertEqual(state, {**dict.fromkeys(programs, "ok"), "outside": "no_code", "cut-prefixes": "no_code"})
        for name in ("good", "far-entry", "entry-in-header", "twice"):
            self.assertEqual(told[hashes[name]]["opcodes"], 8, name)
        self.assertEqual([told[hashes[name]]["followed"] for name in ("good", "far-entry", "entry-in-header")], [8, 0, 0])
        self.assertEqual(told[hashes["one-byte"]]["opcodes"], 1)
        self.assertEqual(self.calls()[hashes["loop"]], ["jmp"])
        self.assertTrue(told[hashes["noise"]]["packed"])
        self.assertFalse(told[hashes["jumps-everywhere"]]["packed"])
        self.tool("malseq", "fsck")

    def test_each_once_until_the_disassembler_changes(self):
        hashes = self.collect({"a": pe.pe("a", code=CODE), "b": pe.pe("b", code=NOP + RET)})
        self.assertEqual(json.loads(self.tool("extract", "opcodes", "--dry-run", "--json")), {"would_disassemble": 2})
        first = self.opcodes()
        self.assertEqual(self.opcodes(), {})
        self.assertEqual(self.opcodes(hashes["a"])[hashes["a"]]["analysis"], first[hashes["a"]]["analysis"])
        hashes.update(self.collect({"c": pe.pe("c", code=RET)}))
        self.assertEqual(set(self.opcodes()), {hashes["c"]})
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            db.execute("UPDATE analysis SET settings = 'capstone 3', settings_digest = zeroblob(32)")
        again = self.opcodes()
        self.assertEqual({line: again[line]["analysis"] for line in first}, {line: first[line]["analysis"] for line in first})
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT sample), sum(settings LIKE 'capstone %.%.% flow+sweep %') FROM analysis"), [(3, 3, 3)])
        self.assertEqual(self.rows("SELECT count(*) FROM process"), [(3,)])
        self.tool("extract", "opcodes", "0" * 64, expect=3)
        self.assertIn("in the vault", self.talk)

    def test_a_kill_and_a_damaged_object_cost_themselves(self):
        hashes = self.collect({name: pe.pe(name, code=CODE + NOP * ord(name)) for name in "abcd"})
        self.tool("extract", "opcodes", expect=-9, env={"MALSEQ_TEST_KILL": "extract.opcodes.sample:2"})
        self.assertEqual(self.rows("SELECT count(*) FROM analysis"), [(2,)])
        self.tool("extract", "opcodes", expect=-9, env={"MALSEQ_TEST_KILL": "extract.opcodes.analysis:1"})
        self.assertEqual(self.rows("SELECT count(*) FROM analysis"), [(2,)])
        self.tool("malseq", "fsck")
        left = [row[0] for row in self.rows("SELECT hex(sha256) FROM sample WHERE id NOT IN (SELECT sample FROM analysis)")]
        path = self.corpus / "samples" / left[0].lower()[:2] / left[0].lower()[2:4] / left[0].lower()
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-3])
        self.assertEqual(set(self.opcodes(expect=1)), {left[1].lower()})
        self.assertIn(left[0].lower(), self.talk)
        self.assertEqual(len(hashes), 4)

    def test_jobs_change_nothing(self):
        self.collect({"%d" % n: pe.pe(n, code=CODE * (n + 1), bits=32 + n % 2 * 32) for n in range(11)})
        shutil.copytree(self.corpus, self.root / "other")
        several = self.tool("extract", "opcodes", "--json", "--jobs", "3")
        digest, self.corpus = self.tool("malseq", "fsck", "--digest"), self.root / "other"
        self.assertEqual(self.tool("extract", "opcodes", "--json", "--jobs", "1"), several)
        self.assertEqual(self.tool("malseq", "fsck", "--digest"), digest)
        self.assertEqual(len(several.splitlines()), 11)

    def test_plain_bytes_stay_in_memory(self):
        mark = bytes(range(0x40, 0x60)) * 8 + RET     # inc, dec, push, pop: what is stored of them is their names
        self.collect({"a": pe.pe("a", code=mark)})
        self.tool("extract", "opcodes", env={"TMPDIR": str(self.root)})
        for path in self.root.rglob("*"):
            if path.is_file():
                self.assertNotIn(mark[:32], path.read_bytes(), path)

    def test_they_are_no_traces_of_runs(self):
        self.collect({"a": pe.pe("a", code=CODE)})
        self.opcodes()
        self.assertEqual(json.loads(self.tool("extract", "retry", "--state", "no_calls", "--json"))["queued"], 0)
        audit = self.tool("malseq", "audit", "--json", expect=3)
        self.assertEqual(audit, "")


if __name__ == "__main__":
    unittest.main()
