"""The demo world: samples, repositories, VirusTotal answers and sandbox reports that belong together; synthetic in every part.

    world = build(samples=400, seed=1, shuffle_labels=False)
    world.repositories   {"owner/name": {path: bytes}}       archives with passwords, bare files, nested and damaged ones
    world.claims         {"owner/name": "malware" | "benign" | "unknown"}
    world.specs          [gen.antivirus.Spec] for VirusTotal   (samples without one are unknown there)
    world.samples        [Sample] with sha256, data, cls (true behaviour; None = benign), family, label ("malicious", "benign",
                         "not_found", "doubtful", "immature"), told (class VirusTotal's engines name, None if clean or unknown)
    world.report(task, data)   a provider for services.cuckoo.Cuckoo; world.cape_report for services.cape.Cape
    world.fresh          [(file name, class or None, report bytes)] of samples that are in no repository
    world.counts()       what a run over the world must find
Every file is a PE header with data and no code; the family names are invented. With shuffle_labels the VirusTotal answers are dealt out
at random among the samples, so that labels and behaviour have nothing to do with each other. The same arguments give the same world.
"""
import hashlib
import random

from gen import archive, pe, report, sevenzip
from gen.antivirus import CLASSES, Spec
from gen.grammar import Grammar

PASSWORD, OTHER_PASSWORD = "infected", "mistral-blau-7"
ZOO, SHELF, COLLECTION, TOOLS = "garden-lab/zoo", "shelf-lab/bare-samples", "other-lab/collection", "tools-lab/clean-tools"
FAMILIES = {"Adware": ("glimbar", "popnista", "klikora"), "Backdoor": ("hintertor", "quenrat", "dorvane"), "Downloader": ("fetchilo", "zuglade", "lodrino"),
            "Dropper": ("kapselix", "drobana", "sturzo"), "Spyware": ("lauscha", "keyvola", "spionka"), "Trojan": ("zelphira", "maskenar", "trugbild"),
            "Virus": ("anhangor", "parasilo", "wirtella"), "Worm": ("kriechla", "netzwurma", "vermisto")}
DAY = 86400
ANALYSED = 1735689600       # 2025-01-01, around which VirusTotal's dates lie
BENIGN_SHARE, NOT_FOUND_SHARE, DOUBTFUL_SHARE, IMMATURE_SHARE, SIBLING_SHARE = 0.30, 0.02, 0.02, 0.01, 0.06
README = "# %s\n\nFiles of the synthetic demo world. They are PE headers with random data and hold no code.\n\n%s\n"


class Sample:
    """One file of the world; see the module text."""

    def __init__(self, index, cls, family, trace_key, data):
        self.index, self.cls, self.family, self.trace_key, self.data = index, cls, family, trace_key, data
        self.sha256, self.sha1, self.md5 = (hashlib.new(name, data).hexdigest() for name in ("sha256", "sha1", "md5"))
        self.label, self.told, self.trouble = None, None, None


class World:
    """See the module text."""

    def __init__(self, samples, seed, shuffle_labels):
        if samples < 40:
            raise ValueError("a world needs at least 40 samples")
        self.seed, self.shuffled, self.grammar = seed, shuffle_labels, Grammar(seed)
        self.rng, self.last_key = random.Random("world/%s" % seed), {}
        self.samples = [self.make_sample(index, cls) for index, cls in enumerate(self.deal_classes(samples))]
        self.by_sha256 = {sample.sha256: sample for sample in self.samples}
        self.specs = self.make_answers()
        self.claims = {ZOO: "malware", SHELF: "malware", COLLECTION: "malware", TOOLS: "benign"}
        self.rejects = {}
        self.repositories = self.make_repositories()
        for sample, trouble in zip(self.rng.sample(self.samples, 2), ("no_report", "no_behavior")):
            sample.trouble = trouble

    def deal_classes(self, samples):
        benign = int(samples * BENIGN_SHARE)
        classes = [None] * benign + [CLASSES[index % len(CLASSES)] for index in range(samples - benign)]
        self.rng.shuffle(classes)
        return classes

    def make_sample(self, index, cls):
        rng = self.rng
        family = rng.choice(FAMILIES[cls]) if cls else None
        key = "sample/%d" % index
        if cls and rng.random() < SIBLING_SHARE:
            # A re-packed copy: other bytes, the behaviour of an earlier sample of the family, where there is one.
            key = self.last_key.get((cls, family), key)
        self.last_key[(cls, family)] = key
        kind = rng.choices(("exe", "dll", "dotnet", "driver"), (80, 12, 6, 2))[0]
        data = pe.pe("%s/sample/%d" % (self.seed, index), kind, rng.choice((32, 32, 64)), rng.randint(300, 900), sections=rng.randint(2, 5))
        return Sample(index, cls, family, key, data)

    # VirusTotal.
    def make_answers(self):
        rng, drafts = self.rng, []
        for sample in self.samples:
            roll = rng.random()
            label = "malicious" if sample.cls else "benign"
            if roll < NOT_FOUND_SHARE:
                label = "not_found"
            elif roll < NOT_FOUND_SHARE + DOUBTFUL_SHARE:
                label = "doubtful"
            elif roll < NOT_FOUND_SHARE + DOUBTFUL_SHARE + IMMATURE_SHARE and not sample.cls:
                label = "immature"
            drafts.append((label, sample.cls, sample.family))
        if self.shuffled:
            random.Random("shuffle/%s" % self.seed).shuffle(drafts)
        return [spec for sample, draft in zip(self.samples, drafts) if (spec := self.make_spec(sample, *draft))]

    def make_spec(self, sample, label, cls, family):
        rng = self.rng
        sample.label, sample.told = label, cls if label == "malicious" else None
        if label == "not_found":
            return None
        analysed = ANALYSED + rng.randint(0, 300) * DAY + rng.randint(0, DAY)
        age = rng.randint(5, 40) if label == "immature" else rng.randint(120, 900)
        groups = rng.randint(9, 34) if label == "malicious" else rng.randint(1, 4) if label == "doubtful" else 0
        return Spec(sample.sha256, sample.sha1, sample.md5, len(sample.data), cls if groups else None, family if cls else "genheur", groups,
                    analysed - age * DAY, analysed, trusted=label == "benign" and rng.random() < 0.3, names=["%s.exe" % sample.md5[:8]],
                    seed=self.seed)

    # Repositories.
    def make_repositories(self):
        rng = self.rng
        bad = [sample for sample in self.samples if sample.cls]
        good = [sample for sample in self.samples if not sample.cls]
        first, second, third = len(bad) * 45 // 100, len(bad) * 62 // 100, len(good) * 3 // 4
        repositories = {ZOO: self.zoo(bad[:first] + good[third:]), SHELF: self.shelf(bad[first:second]),
                        COLLECTION: self.collection(bad[second:]), TOOLS: self.tools(good[:third])}
        # The same file in two places, once in another container: one sample, two sightings.
        twice = rng.sample(bad[:first], max(2, len(bad) // 40))
        for sample in twice:
            repositories[SHELF]["again/%s.bin" % sample.sha256] = sample.data
        self.seen_twice = len(twice)
        return repositories

    @staticmethod
    def file_name(sample, rng):
        return "%s.%s" % (sample.md5[:rng.choice((8, 12, 32))], rng.choice(("exe", "bin", "exe_", "vir")))

    def zoo(self, samples):
        rng, files, index = self.rng, {"README.md": (README % ("zoo", "All archives have the password `infected`.")).encode()}, 0
        samples = sorted(samples, key=lambda sample: (sample.cls or "", sample.family or "", sample.index))
        while index < len(samples):
            batch = samples[index:index + rng.randint(1, 4)]
            index += len(batch)
            name = "%s.%s.%d" % ((batch[0].cls or "Tool"), (batch[0].family or "utility").capitalize(), index)
            data = archive.zipped([(self.file_name(sample, rng), sample.data) for sample in batch], PASSWORD, rng.choice(("deflate", "deflate", "store")))
            files["malwares/%s/%s.zip" % (name, name)] = data
            if index % 8 == 0:
                files["malwares/%s/%s.sha256" % (name, name)] = (hashlib.sha256(data).hexdigest() + "\n").encode()
                files["malwares/%s/%s.pass" % (name, name)] = b"infected \n"
        files["damaged/cut.zip"] = data[:len(data) * 2 // 3]
        files["damaged/locked.zip"] = archive.zipped({"locked.exe": pe.pe("locked/%s" % self.seed)}, "nobody-wrote-this-down-%s" % self.seed)
        self.rejects.update({"damaged/cut.zip": "corrupt", "damaged/locked.zip": "need_password"})
        return files

    def shelf(self, samples):
        rng, files = self.rng, {"README.md": (README % ("bare-samples", "The files are not packed.")).encode(), "docs/notes.txt": b"nothing to see here\n" * 20,
                                "old/dos.com": b"\xb4\x09" + b"\0" * 60, "old/nimbus.exe": pe.mz_not_pe(self.seed)}
        for sample in samples:
            name = rng.choice((sample.sha256, sample.md5 + ".bin", "%s.exe (1)" % sample.md5[:10], "stage-2/%s.exe" % sample.sha1))
            files["%s/%s" % ((sample.cls or "misc").lower(), name)] = sample.data
        return files

    def collection(self, samples):
        rng = self.rng
        text = "Every archive here is locked. The password is **%s** (not the usual one)." % OTHER_PASSWORD
        files, index = {"README.md": (README % ("collection", text)).encode()}, 0
        while index < len(samples):
            batch = samples[index:index + rng.randint(4, 10)]
            index += len(batch)
            inner = [("%s/%s" % (sample.cls, self.file_name(sample, rng)), sample.data) for sample in batch]
            data = archive.zipped(inner, OTHER_PASSWORD)
            if index % 3 == 0:
                data = archive.zipped({"part-%d.zip" % index: data})
            files["batch-%03d.zip" % index] = data
        return files

    def tools(self, samples):
        rng, files, index = self.rng, {"README.md": (README % ("clean-tools", "Small utilities.")).encode()}, 0
        while index < len(samples):
            batch = samples[index:index + rng.randint(3, 9)]
            index += len(batch)
            inner = [("tool-%d/%s.exe" % (sample.index, sample.md5[:8]), sample.data) for sample in batch]
            form = rng.choice(("tar.gz", "tar.bz2", "tar.xz", "zip", "zip.zip", "7z"))
            if form == "7z":
                files["tools-%d.7z" % index] = sevenzip.packed(inner, rng.choice(("lzma", "lzma2")))
            elif form.startswith("tar"):
                files["tools-%d.%s" % (index, form)] = archive.tarred(inner, form[4:])
            else:
                data = archive.zipped(inner)
                files["tools-%d.zip" % index] = archive.zipped({"inner.zip": data, "readme.txt": b"unpack me\n"}) if form == "zip.zip" else data
        return files

    # Sandbox.
    def processes(self, sample):
        return [report.Process(name if position else sample.sha256[:12] + ".exe", calls)
                for position, (name, calls) in enumerate(self.grammar.trace(sample.cls, sample.family, sample.trace_key))]

    def report(self, task, data):
        """Cuckoo's report for a submitted file, None for one the world does not know (the task then ends without a report)."""
        sample = self.by_sha256.get(hashlib.sha256(data).hexdigest())
        if sample is None or sample.trouble == "no_report":
            return None
        if sample.trouble == "no_behavior":
            return report.cuckoo([], task=task.id, sample=data, behavior=False, errors=["The analysis hit the critical timeout"])
        return report.cuckoo(self.processes(sample), task=task.id, sample=data, custom=task.fields.get("custom", ""))

    def cape_report(self, task, data):
        sample = self.by_sha256.get(hashlib.sha256(data).hexdigest())
        if sample is None or sample.trouble == "no_report":
            return None
        return report.cape([] if sample.trouble else self.processes(sample), task=task.id, sample=data)

    @property
    def fresh(self):
        """Reports of samples the pipeline has not seen: (file name, true class or None, bytes)."""
        made = []
        for index, cls in enumerate((None,) * 5 + CLASSES):
            sample = self.make_fresh(index, cls)
            made.append(("fresh-%02d.json" % index, cls, report.cuckoo(self.processes(sample), task=9000 + index, sample=sample.data)))
        return made

    def make_fresh(self, index, cls):
        rng = random.Random("fresh/%s/%d" % (self.seed, index))
        return Sample(index, cls, rng.choice(FAMILIES[cls]) if cls else None, "fresh/%d" % index, pe.pe("%s/fresh/%d" % (self.seed, index)))

    def counts(self):
        told, labels, behaviour = {}, {}, {}
        for sample in self.samples:
            labels[sample.label] = labels.get(sample.label, 0) + 1
            behaviour[sample.cls or "benign"] = behaviour.get(sample.cls or "benign", 0) + 1
            name = sample.told or ("benign" if sample.label == "benign" else None)
            if name:
                told[name] = told.get(name, 0) + 1
        return {"samples": len(self.samples), "labels": labels, "classes_by_label": told, "classes_by_behaviour": behaviour,
                "seen_twice": self.seen_twice, "rejected_blobs": self.rejects, "without_report": 1, "without_behaviour": 1,
                "files": {name: len(files) for name, files in self.repositories.items()}}

    def repository_list(self):
        """The text of repos.txt."""
        lines = ["# the synthetic demo world", *("%s claim=%s" % (name, self.claims[name]) for name in (ZOO, SHELF, COLLECTION)),
                 "https://github.com/%s claim=%s" % (TOOLS, self.claims[TOOLS])]
        return "\n".join(lines) + "\n"


def build(samples=400, seed=1, shuffle_labels=False):
    return World(samples, seed, shuffle_labels)
