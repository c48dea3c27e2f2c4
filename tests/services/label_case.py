"""What the tests of label share: a corpus of their own, a loopback VirusTotal, and a clock that runs faster than the world's, for the
tool and the service alike. Nothing leaves the machine."""
import calendar
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
import unittest

from gen.antivirus import Spec
from services.virustotal import VirusTotal

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
SPEED = int(os.environ.get("MALSEQ_TEST_HURRY", "200"))  # one second here is 200 for the tool and for the service
EPOCH = calendar.timegm((2026, 3, 10, 12, 0, 0)) * 1000   # noon, far from the ends of day and month


def digest(number, kind="sha256"):
    return hashlib.new(kind, b"sample %d" % number).hexdigest()


TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "integer": int, "null": type(None)}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../schemas/label.schema.json"), encoding="utf-8") as schema_file:
    SCHEMA = json.load(schema_file)


def check_schema(value, schema):
    """The words of JSON Schema that schemas/label.schema.json uses; AssertionError where value does not fit."""
    if "$ref" in schema:
        check_schema(value, SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]])
    if "enum" in schema:
        assert value in schema["enum"], (value, schema)
    if "const" in schema:
        assert value == schema["const"], (value, schema)
    names = schema.get("type", [])
    types = tuple(TYPES[name] for name in ([names] if isinstance(names, str) else names))
    if types:
        assert isinstance(value, types) and (bool in types or not isinstance(value, bool)), (value, schema)
    if "pattern" in schema and isinstance(value, str):
        assert re.search(schema["pattern"], value), (value, schema)
    if "minimum" in schema and isinstance(value, int):
        assert value >= schema["minimum"], (value, schema)
    if isinstance(value, list):
        for item in value:
            check_schema(item, schema.get("items", {}))
    if isinstance(value, dict) and schema.get("type") == "object":
        assert set(schema.get("required", [])) <= set(value), (value, schema)
        for name, item in value.items():
            rest = schema.get("additionalProperties", {})
            assert name in schema.get("properties", {}) or rest is not False, (name, value)
            check_schema(item, schema.get("properties", {}).get(name, rest))


def spec(number, cls="Worm", groups=12, **more):
    return Spec(digest(number), digest(number, "sha1"), digest(number, "md5"), cls=cls, family="zelphira", groups=groups, seed=number, **more)


class Clock:
    """The service's clock, as fast as the tool's."""

    def __init__(self, epoch_ms=EPOCH):
        self.start, self.real = epoch_ms / 1000, time.monotonic()

    def __call__(self):
        return self.start + (time.monotonic() - self.real) * SPEED

    def environment(self):
        """What makes a program's clock the same as this one, however long it takes to start."""
        return {"MALSEQ_TEST_ORIGIN_MS": str(int(time.time() * 1000)), "MALSEQ_TEST_EPOCH_MS": str(int(self() * 1000)), "MALSEQ_TEST_SPEED": str(SPEED)}


class LabelCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="malseq-label-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.corpus = os.path.join(self.folder, "corpus")

    def service(self, **quota):
        vt = VirusTotal(**dict({"minute": 1000, "hour": 100000}, **quota))
        vt.clock = Clock()
        vt.start()
        self.addCleanup(vt.stop)
        return vt

    def write_list(self, *hashes):
        path = os.path.join(self.folder, "hashes.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(hashes) + "\n")
        return path

    def label(self, vt, *args, key=None, epoch=None, env=(), expect=0, json_lines=True, tool_args=("--vt-key",)):
        """Run the tool; gives the list of JSON objects, and keeps stderr in self.talk."""
        clock = vt.clock.environment() if vt and not epoch else {"MALSEQ_TEST_EPOCH_MS": str(epoch or EPOCH), "MALSEQ_TEST_SPEED": str(SPEED)}
        environment = dict(os.environ, **clock,
                           **dict({"XDG_STATE_HOME": os.path.join(self.folder, "state")}, **dict(env)))
        environment.pop("VT_API_KEY", None)
        if vt:
            environment["VT_API_KEY"] = key or vt.key
            environment.setdefault("VT_USER", vt.user)
        command = [os.path.join(BIN, "label"), *args, "--corpus", self.corpus] + (["--json"] if json_lines else [])
        if vt and tool_args:
            command += [*tool_args, "--vt-url", vt.api]
        result = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.talk = result.stderr.decode("utf-8", "replace")
        self.out = result.stdout.decode("utf-8", "replace")
        self.assertEqual(result.returncode, expect, self.talk + self.out)
        if vt:
            for text in (self.talk, self.out):
                self.assertNotIn(vt.key, text)
        if not json_lines:
            return self.out
        rows = [json.loads(line) for line in self.out.splitlines()]
        for row in rows:
            check_schema(row, SCHEMA["$defs"]["submission" if "action" in row else "window" if "window" in row else "plan" if "plan" in row else "explanation" if "engines" in row else "hash"])
        return rows

    def rows(self, sql):
        with sqlite3.connect("file:%s?mode=ro" % os.path.join(self.corpus, "corpus.db"), uri=True) as db:
            return db.execute(sql).fetchall()

    def states(self):
        return dict(self.rows("SELECT lower(hex(coalesce(s.sha256, s.sha1, s.md5))), l.state FROM lookup l JOIN sample s ON s.id = l.sample"))
