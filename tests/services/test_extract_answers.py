"""One table a sandbox: what each kind of request costs when each kind of answer comes. Rows are answers, columns are requests; a cell is

    STATE COUNT TASKS

the state the sample ends in ("-": it stays where it is, and the next run takes it up), how often the request was sent for this sample, and how
many tasks the server made of it. The columns are the submission (create), the same where the server made the task before it answered so (done), a
look at the task, and its report; each is a sample of its own, and the answer comes to its first request of the kind: all others are answered as they
should be. Where a sample stays, the next run, which finds everything well, makes it ok without another task. (A server that made a task and then
answers 401 or 429 is not to be had: it looks at the token and at the throttle before it takes the file.)"""
# ctest: full release
import collections
import concurrent.futures
import hashlib
import re
import shutil
import unittest

from services.cape import Cape
from services.cuckoo import Cuckoo
from services.drakvuf import Drakvuf
from services.extract_case import ExtractCase
from services.httpd import Fault

CUCKOO = """
            create       done         look         report
200         ok 1 1       ok 1 1       ok 3 1       ok 1 1
302 other   ok 2 1       ok 1 1       ok 4 1       ok 2 1
400         refused 1 0  refused 1 1  ok 4 1       ok 2 1
401         - 1 0                     - 1 1        - 1 1
404         ok 2 1       ok 1 1       ok 4 1       ok 2 1
413         refused 1 0  refused 1 1  ok 4 1       ok 2 1
422         ok 2 1       ok 1 1       ok 4 1       ok 2 1
429         ok 2 1                    ok 4 1       ok 2 1
500         ok 2 1       ok 1 1       ok 4 1       ok 2 1
html        ok 2 1       ok 1 1       ok 4 1       ok 2 1
garbage     ok 2 1       ok 1 1       ok 4 1       ok 2 1
nothing     ok 2 1       ok 1 1       ok 4 1       ok 2 1
text        ok 1 1       ok 1 1       ok 3 1       ok 1 1
cut         ok 1 1       ok 1 1       ok 3 1       ok 2 1
short       ok 1 1       ok 1 1       ok 3 1       ok 2 1
reset       ok 2 1       ok 1 1       ok 4 1       ok 2 1
hang        ok 2 1       ok 1 1       ok 4 1       ok 2 1
large       ok 2 1       ok 1 1       ok 4 1       ok 2 1
"""
CAPE = """
            create       done         look         report
200         ok 1 1       ok 1 1       ok 3 1       ok 1 1
302 other   ok 2 1       ok 1 1       ok 4 1       ok 2 1
400         ok 2 1       ok 1 1       ok 4 1       ok 2 1
401         - 1 0                     - 1 1        - 1 1
404         ok 2 1       ok 1 1       ok 4 1       ok 2 1
413         refused 1 0  refused 1 1  ok 4 1       ok 2 1
422         ok 2 1       ok 1 1       ok 4 1       ok 2 1
429         ok 2 1                    ok 4 1       ok 2 1
500         ok 2 1       ok 1 1       ok 4 1       ok 2 1
html        ok 2 1       ok 1 1       ok 4 1       ok 2 1
garbage     ok 2 1       ok 1 1       ok 4 1       ok 2 1
nothing     ok 2 1       ok 1 1       ok 4 1       ok 2 1
text        ok 1 1       ok 1 1       ok 3 1       ok 1 1
cut         ok 1 1       ok 1 1       ok 3 1       ok 2 1
short       ok 1 1       ok 1 1       ok 3 1       ok 2 1
reset       ok 2 1       ok 1 1       ok 4 1       ok 2 1
hang        ok 2 1       ok 1 1       ok 4 1       ok 2 1
large       ok 2 1       ok 1 1       ok 4 1       ok 2 1
"""
DRAKVUF = """
            create       done         look         report
200         ok 1 1       ok 1 1       ok 3 1       ok 1 1
302 other   ok 2 1       ok 1 1       ok 4 1       ok 2 1
400         refused 1 0  refused 1 1  ok 4 1       ok 2 1
401         - 1 0                     - 1 1        - 1 1
404         ok 2 1       ok 1 1       ok 4 1       ok 2 1
413         refused 1 0  refused 1 1  ok 4 1       ok 2 1
422         refused 1 0  refused 1 1  ok 4 1       ok 2 1
429         ok 2 1                    ok 4 1       ok 2 1
500         ok 2 1       ok 1 1       ok 4 1       ok 2 1
html        ok 2 1       ok 1 1       ok 4 1       ok 2 1
garbage     ok 2 1       ok 1 1       ok 4 1       ok 2 1
nothing     ok 2 1       ok 1 1       ok 4 1       ok 2 1
text        ok 1 1       ok 1 1       ok 3 1       ok 1 1
cut         ok 1 1       ok 1 1       ok 3 1       ok 2 1
short       ok 1 1       ok 1 1       ok 3 1       ok 1 1
reset       ok 2 1       ok 1 1       ok 4 1       ok 2 1
hang        ok 2 1       ok 1 1       ok 4 1       ok 2 1
large       ok 2 1       ok 1 1       ok 4 1       ok 2 1
"""
COLUMNS = ("create", "done", "look", "report")
APART = ("401",)        # what ends the run: a run for each cell


def fault_of(answer, after, elsewhere):
    """The answer of a row as the service knows it; None: its own."""
    words = answer.split()
    if answer == "200":
        return None
    if words[0].isdigit() and words[0].startswith("3"):
        return Fault("redirect", status=int(words[0]), location=elsewhere + "/x", after=after)
    if words[0] == "429":
        return Fault("status", status=429, retry_after=2, after=after)
    if words[0].isdigit():
        return Fault("status", status=int(words[0]), after=after)
    more = {"hang": {"seconds": 20}, "large": {"total_bytes": 80 << 20}, "text": {"value": "text/plain"}}.get(answer, {})
    return Fault({"short": "truncated", "nothing": "empty", "large": "oversize", "text": "content_type"}.get(answer, answer), after=after, **more)


def answering(base):
    class Server(base):
        def prepare(self, plan, answer, elsewhere):
            self.plan, self.answer, self.elsewhere, self.seen = plan, answer, elsewhere, collections.Counter()

        def about(self, request):
            """(column, digest) of a request for a sample."""
            if request.method == "POST":
                start = request.body.index(b"\r\n\r\n", request.body.index(b"filename=")) + 4
                return "create", hashlib.sha256(request.body[start:request.body.index(b"\r\n--", start)]).hexdigest()
            found = re.search(r"/(view|status|report|logs)/([0-9a-f-]+)", request.path)
            if not found or "/files/" in request.path:
                return None, None
            task = self.uids.get(found[2]) if hasattr(self, "uids") else self.table.tasks.get(int(found[2])) if found[2].isdigit() else None
            return ("report" if found[1] in ("report", "logs") else "look"), task.sample.sha256 if task else None

        def take_fault(self, request):
            what, digest = self.about(request)
            column = self.plan.get(digest)
            self.seen[what, digest] += 1
            if column is None or what != {"done": "create"}.get(column, column) or self.seen[what, digest] > 1:
                return None
            return fault_of(self.answer, column == "done", self.elsewhere)
    return Server


def rows(table):
    header, *lines = table.strip("\n").split("\n")
    starts = [match.start() for match in re.finditer(r"\S+", header)]
    for line in lines:
        yield line[:starts[0]].strip(), [line[start:end].split() for start, end in zip(starts, starts[1:] + [None])]


class Answers(ExtractCase):
    maxDiff = None

    def setUp(self):
        super().setUp()
        self.other = self.serve(Cuckoo)      # nobody said that it may be asked
        digests = [row[0] for row in self.sql("SELECT lower(hex(sha256)) FROM sample ORDER BY id")]
        self.column = dict(zip(COLUMNS, digests))

    def run_row(self, kind, answer, columns):
        """{column: [state, count, tasks]} after a run over a copy of the corpus, and what is wrong after the next."""
        corpus = self.root / ("%s-%s-%s" % (kind.__name__, answer.replace(" ", "-"), columns[0]))
        shutil.copytree(self.corpus, corpus)
        server = self.serve(answering(kind), by_polls=1)     # each look moves the task on: so many looks, whatever the time
        server.prepare({self.column[column]: column for column in columns}, answer, self.other.url)
        more = ["--in-flight", "2", "--request-timeout", "0.3", *(["--route", "default"] if kind is Drakvuf else [])]
        case = type(self)("test_cuckoo")
        case.corpus = corpus
        case.extract(None, server, *more, speed=100)
        got, wrong = {}, []
        for column in columns:
            digest = self.column[column]
            state = case.sql("SELECT state FROM analysis a JOIN sample s ON s.id = a.sample WHERE lower(hex(s.sha256)) = '%s'" % digest)[0][0]
            sample = server.table.samples.get(digest)
            asked = server.seen[{"done": "create"}.get(column, column), digest]
            state = "-" if state in ("queued", "submitting", "pending", "running", "completed", "reported") else state
            got[column] = [state, str(asked), str(len(sample.tasks) if sample else 0)]
        left = [column for column in columns if got[column][0] == "-"]
        server.plan = {}
        if left:
            case.extract(None, server, *more, speed=100)
        for column in left:
            sample = server.table.samples.get(self.column[column])
            state = case.sql("SELECT state FROM analysis a JOIN sample s ON s.id = a.sample WHERE lower(hex(s.sha256)) = '%s'" % self.column[column])[0][0]
            if state != "ok" or len(sample.tasks) != 1:
                wrong.append("%s %s %s: after the next run %s, %d tasks" % (kind.__name__, answer, column, state, len(sample.tasks) if sample else 0))
        return got, wrong

    def check(self, kind, table):
        jobs = []
        for answer, cells in rows(table):
            asked = [column for column, cell in zip(COLUMNS, cells) if cell]
            groups = [[column] for column in asked] if answer in APART else [asked]
            jobs += [(answer, dict(zip(COLUMNS, cells)), group) for group in groups]
        wrong = []
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            for (answer, cells, group), (got, later) in zip(jobs, pool.map(lambda job: self.run_row(kind, job[0], job[2]), jobs)):
                wrong += later
                wrong += ["%s %s: %s, not %s" % (answer, column, " ".join(got[column]), " ".join(cells[column])) for column in group if got[column] != cells[column]]
        self.assertEqual(wrong, [])
        self.assertEqual(self.other.count(), 0, "somebody asked where a redirect led")

    def test_cuckoo(self):
        self.check(Cuckoo, CUCKOO)

    def test_cape(self):
        self.check(Cape, CAPE)

    def test_drakvuf(self):
        self.check(Drakvuf, DRAKVUF)


if __name__ == "__main__":
    unittest.main()
