"""collect over RAR 4 and RAR 5 volumes made by the tests' own writer: members that go over several volumes, stored and compressed, plain and
encrypted, names hidden or not, in both ways of naming; volumes that are missing, damaged, in the wrong order or of another set."""
# ctest: full cost=30
import itertools
import random
import unittest

from cli.test_collect_volumes import VolumeCase, program, sha256
from gen import rar
from gen.rar import Member


class RarCase(VolumeCase):
    def setUp(self):
        super().setUp()
        self.programs = {name: program(name, size) for name, size in (("a.exe", 4000), ("b.exe", 100), ("c.exe", 9000))}

    def entries(self, method="store", **options):
        return [(name, Member(data, method=method, **options)) for name, data in self.programs.items()]

    def put(self, name, parts, old=False):
        """Returns the paths; NAME.part1.rar or NAME.rar, NAME.r00 …"""
        names = [name + (".rar" if i == 0 else ".r%02d" % (i - 1)) if old else "%s.part%d.rar" % (name, i + 1) for i in range(len(parts))]
        for path, data in zip(names, parts):
            (self.input / path).write_bytes(data)
        return names

    def all_of(self, path):
        return {(path, name): sha256(data) for name, data in self.programs.items()}

    def check(self, expected, failed=(), corpus="corpus"):
        self.collect(expect=1 if failed else 0, corpus=corpus)
        self.assertEqual((self.found(), {path: (line["outcome"], line["reason"]) for path, line in self.failed.items()}), (expected, dict(failed)))


class Whole(RarCase):
    def test_every_form_in_both_ways_of_naming(self):
        expected = {}
        for version, make in ((5, rar.volumes5), (4, rar.volumes4)):
            for method, (kind, options) in itertools.product(("store", "literal"), (
                    ("plain", {}), ("secret", {"password": "rightword"}), ("hidden", {"password": "rightword", "hide_names": True}))):
                parts = make(self.entries(method), 1777, **options)
                self.assertGreater(len(parts), 8)
                name = "%d-%s-%s" % (version, method, kind)
                expected.update(self.all_of(self.put(name, parts)[0]))
                expected.update(self.all_of(self.put("old-" + name, parts, old=True)[0]))
        self.check(expected)
        # Two names for the same bytes in one style, and one for each style: the ids of the two styles differ.
        self.assertEqual(self.rows("SELECT count(*), min(outcome), max(outcome) FROM blob"), [(24, "ok", "ok")])
        self.check({})
        self.assertEqual(self.rows("SELECT count(*) FROM sighting WHERE gone_ms IS NULL"), [(72,)])

    def test_other_shapes(self):
        sets = {
            "untweaked": rar.volumes5(self.entries(), 1000, password="rightword", tweaked=False),
            "unchecked": rar.volumes5(self.entries("literal"), 1000, password="rightword", check=False),
            "hidden-unchecked": rar.volumes5(self.entries(), 1000, password="rightword", hide_names=True, check=False),
            "blocks": rar.volumes5(self.entries("literals"), 1000),
            "solid": rar.volumes5([(name, Member(data, method="literal", solid=bool(i))) for i, (name, data) in enumerate(self.programs.items())], 1000,
                                  solid=True, password="rightword"),
            "large": rar.volumes4(self.entries(), 1000, large=True),
            "endless": rar.volumes4(self.entries(), 1000, end=False),
            "unaligned": rar.volumes4(self.entries("literal"), 997, password="rightword"),
            "unsalted": rar.volumes4(self.entries("literal"), 997, password="rightword", salt=b""),
            "tiny": rar.volumes5(self.entries(), 101),
            "one-each": rar.volumes5(self.entries(), 100000),
        }
        expected = {}
        for name, parts in sets.items():
            expected.update(self.all_of(self.put(name, parts)[0]))
        del expected["one-each.part1.rar", "a.exe"], expected["one-each.part1.rar", "b.exe"], expected["one-each.part1.rar", "c.exe"]
        expected.update(self.all_of("one-each.part1.rar"))
        self.check(expected)

    def test_padded_numbers_beside_unpadded_ones(self):
        parts = rar.volumes5(self.entries(), 1500)
        other = rar.volumes5([("d.exe", Member(program("d", 8000)))], 1500)
        for number, part in enumerate(parts):
            (self.input / ("x.part%02d.RAR" % (number + 1))).write_bytes(part)
        (self.input / "x.part1.rar").write_bytes(other[0])
        self.collect(expect=1)
        # Of the two first parts the one in front names the set; the other is told by itself.
        self.assertEqual({path for path, _ in self.samples}, {"x.part01.RAR"})
        self.assertEqual({path: line["outcome"] for path, line in self.failed.items()}, {"x.part1.rar": "incomplete"})


class Broken(RarCase):
    def test_missing_volumes(self):
        for version, make, options in ((5, rar.volumes5, {}), (4, rar.volumes4, {}), (5, rar.volumes5, {"password": "rightword", "hide_names": True})):
            parts = make(self.entries(), 2500, **options)
            names = self.put("m%d%d" % (version, len(options)), parts)
            count = len(names)
            for missing in (1, 4, count - 1):
                with self.subTest(version=version, missing=missing, **options):
                    (self.input / names[missing]).unlink()
                    # What is whole in front of the gap is had, and what is behind it by no set is told as part of one.
                    corpus = "corpus-%d-%d-%d" % (version, missing, len(options))
                    self.collect(expect=1, corpus=corpus)
                    self.assertEqual(self.failed[names[0]]["outcome"], "incomplete")
                    self.assertEqual(self.failed[names[0]]["reason"], "'%s' is missing" % names[missing])
                    self.assertTrue(all(line["outcome"] == "incomplete" for line in self.failed.values()))
                    self.assertEqual(set(self.failed), {names[0]} | set(names[missing + 1:]))
                    expected = self.all_of(names[0])
                    del expected[names[0], "c.exe"]
                    expected = {} if missing == 1 else expected
                    self.assertEqual({key: value for key, value in self.found().items() if key[0] == names[0]}, expected)
                    self.collect(corpus=corpus)
                    self.assertEqual((self.samples, self.failed), ({}, {}))
                    (self.input / names[missing]).write_bytes(parts[missing])
                    self.check(self.all_of(names[0]), corpus=corpus)
            for name in names:
                (self.input / name).unlink()

    def test_no_password_fits(self):
        for version, make in ((5, rar.volumes5), (4, rar.volumes4)):
            for hidden in (False, True):
                self.put("s%d%d" % (version, hidden), make(self.entries("literal"), 2500, password="comeslater", hide_names=hidden))
        self.collect(expect=1)
        self.assertEqual(self.samples, {})
        self.assertEqual({path: line["outcome"] for path, line in self.failed.items()}, {"s%d%d.part1.rar" % (v, h): "need_password" for v in (4, 5) for h in (0, 1)})
        self.words.write_text("comeslater\n")
        self.check({key: value for v in (4, 5) for h in (0, 1) for key, value in self.all_of("s%d%d.part1.rar" % (v, h)).items()})

    def test_a_volume_in_another_ones_place(self):
        parts5, parts4 = rar.volumes5(self.entries(), 2500), rar.volumes4(self.entries(), 2500)
        foreign5 = rar.volumes5([("x.exe", Member(program("x", 20000)))], 2500)
        foreign4 = rar.volumes4([("x.exe", Member(program("x", 20000)))], 2500)
        for name, parts in (("swap5", parts5[:3] + [parts5[4], parts5[3]] + parts5[5:]), ("twice5", parts5[:3] + [parts5[2]] + parts5[4:]),
                            ("foreign5", parts5[:3] + [foreign5[3]] + parts5[4:]), ("foreign4", parts4[:3] + [foreign4[3]] + parts4[4:]),
                            ("mixed", parts5[:3] + [parts4[3]] + parts5[4:])):
            self.put(name, parts)
        self.collect(expect=1)
        for (path, name), line in self.samples.items():
            self.assertEqual(line["sha256"], sha256(self.programs[name]), path)
            self.assertNotEqual(name, "c.exe")
        self.assertEqual({path: line["outcome"] for path, line in self.failed.items()},
                         {name + ".part1.rar": "incomplete" for name in ("swap5", "twice5", "foreign5", "foreign4", "mixed")})

    def test_damage(self):
        rng = random.Random(3)
        for version, make in ((5, rar.volumes5), (4, rar.volumes4)):
            parts = make(self.entries(), 2500)
            for number in range(12):
                changed = [bytearray(part) for part in parts]
                for _ in range(rng.randrange(1, 4)):
                    part = rng.choice(changed)
                    part[rng.randrange(len(part))] ^= 1 << rng.randrange(8)
                self.put("d%d-%d" % (version, number), [bytes(part) for part in changed])
            self.put("cut%d" % version, parts[:-1] + [parts[-1][:-200]])
        self.collect(expect=1)
        good = {sha256(data) for data in self.programs.values()}
        self.assertLessEqual(set(self.found().values()), good)
        self.assertLessEqual({line["outcome"] for line in self.failed.values()}, {"corrupt", "incomplete", "unsupported", "need_password", "apart"})
        self.assertIn("cut5.part1.rar", self.failed)
        self.assertIn("cut4.part1.rar", self.failed)

    def test_archives_that_are_no_volumes(self):
        expected = {}
        for number, name in enumerate(("whole.part1.rar", "whole.part2.rar", "old.rar", "old.r00")):
            data = program(name, 700)
            (self.input / name).write_bytes(rar.rar5({"x.exe": data}) if number % 2 else rar.rar4({"x.exe": data}))
            expected[name, "x.exe"] = sha256(data)
        data = rar.rar5(self.entries(), password="rightword", hide_names=True)
        self.split(data, "pieces.rar", 1500)
        expected.update(self.all_of("pieces.rar.001"))
        self.check(expected)


if __name__ == "__main__":
    unittest.main()
