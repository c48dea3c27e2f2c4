"""Generator of VirusTotal file objects for harmless samples: engine rows with each vendor's label grammar; it asks nobody anything.

    spec = Spec(sha256=..., sha1=..., md5=..., size=..., cls="Worm", family="zelphira", groups=20)
    file_object(spec)  ->  the value of "data" in GET /files/HASH

cls is one of CLASSES or None for a clean file; groups is the number of independent detecting engine groups (0 clean, 1..4 doubtful,
>= 5 malicious). Of the detecting groups at least half, and never fewer than 4 when there are that many, name the class itself; the rest say
"trojan" or something generic, and at most one names a wrong class. Engines that share an engine (GROUPS) give copies of one label.
The family names are invented. Everything is a function of the spec: the same spec gives the same bytes.
"""
import random

CLASSES = ("Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")

# Engine name -> (style, group). Engines of one group share their detection; group "" stands alone.
ENGINES = {
    "BitDefender": ("bd", "bd"), "ALYac": ("bd", "bd"), "Arcabit": ("bd", "bd"), "Emsisoft": ("bd_b", "bd"), "GData": ("bd", "bd"),
    "MicroWorld-eScan": ("bd", "bd"), "VIPRE": ("bd", "bd"), "FireEye": ("bd", "bd"), "Ad-Aware": ("bd", "bd"),
    "Avira": ("avira", "avira"), "F-Secure": ("fsecure", "avira"), "Avast": ("avast", "avast"), "AVG": ("avast", "avast"),
    "K7AntiVirus": ("k7", "k7"), "K7GW": ("k7", "k7"), "Kaspersky": ("kav", "kav"), "ZoneAlarm": ("kav", "kav"),
    "McAfee": ("mcafee", "mcafee"), "Skyhigh": ("skyhigh", "mcafee"), "TrendMicro": ("trend", "trend"),
    "TrendMicro-HouseCall": ("trend", "trend"), "Cyren": ("cyren", "cyren"), "Varist": ("cyren", "cyren"),
    "Microsoft": ("ms", ""), "ESET-NOD32": ("eset", ""), "DrWeb": ("drweb", ""), "Fortinet": ("fortinet", ""), "Ikarus": ("kav_like", ""),
    "Sophos": ("sophos", ""), "Symantec": ("symantec", ""), "ClamAV": ("clam", ""), "Jiangmin": ("jiangmin", ""), "Rising": ("rising", ""),
    "Zillya": ("zillya", ""), "VBA32": ("vba", ""), "NANO-Antivirus": ("nano", ""), "AhnLab-V3": ("ahnlab", ""), "ViRobot": ("virobot", ""),
    "Yandex": ("yandex", ""), "Antiy-AVL": ("antiy", ""), "TACHYON": ("tachyon", ""), "Baidu": ("baidu", ""), "Tencent": ("tencent", ""),
    "CAT-QuickHeal": ("quickheal", ""), "Xcitium": ("comodo", ""), "Panda": ("panda", ""), "huorong": ("huorong", ""), "Lionic": ("lionic", ""),
    "Alibaba": ("alibaba", ""), "Kingsoft": ("kingsoft", ""), "SUPERAntiSpyware": ("generic", ""), "Malwarebytes": ("malwarebytes", ""),
    "VirIT": ("virit", ""), "Gridinsoft": ("gridinsoft", ""), "Zoner": ("generic", ""), "CMC": ("generic", ""), "TotalDefense": ("cyren", ""),
    "Bkav": ("ml:W32.AIDetectMalware", ""), "CrowdStrike": ("ml:win/malicious_confidence_90% (W)", ""), "Elastic": ("ml:malicious (high confidence)", ""),
    "Cylance": ("ml:Unsafe", ""), "APEX": ("ml:Malicious", ""), "Paloalto": ("ml:generic.ml", ""), "SentinelOne": ("ml:Static AI - Malicious PE", ""),
    "Trapmine": ("ml:malicious.high.ml.score", ""), "DeepInstinct": ("ml:MALICIOUS", ""), "Cynet": ("ml:Malicious (score: 99)", ""),
    "Acronis": ("ml:suspicious", ""), "MaxSecure": ("ml:Trojan.Malware.300983.susgen", ""), "SecureAge": ("ml:Malicious", ""),
    "Sangfor": ("ml:Suspicious.Win32.Save.a", ""), "Webroot": ("ml:W32.Malware.Gen", ""), "Google": ("ml:Detected", ""),
    "tehtris": ("ml:Generic.Malware", ""),
}
UNSUPPORTED = ("Avast-Mobile", "SymantecMobileInsight", "BitDefenderFalx", "Trustlook")

# Per style: a template, and how that vendor spells each class (in the order of CLASSES). {F} family, {f} lower case, {U} upper case,
# {l} short letters, {L} the same in capitals, {n} number, {h} hash-like.
_STYLES = {
    "bd": ("{c}.{F}.{n}", ("Adware", "Backdoor", "Trojan.Downloader", "Trojan.Dropper", "Spyware", "Trojan", "Win32.Virus", "Win32.Worm")),
    "avira": ("{c}{F}.{l}", ("ADWARE/", "BDS/", "TR/Dldr.", "TR/Drop.", "TR/Spy.", "TR/", "W32/Virus.", "WORM/")),
    "avast": ("Win32:{c}", ("{F}-{L} [Adw]", "{F}-{L} [Bdoor]", "{F}-{L} [Dldr]", "{F}-{L} [Drp]", "{F}-{L} [Spy]", "{F}-{L} [Trj]",
                            "{F}-{L} [Virus]", "{F}-{L} [Wrm]")),
    "k7": ("{c} ( 0055{h}1 )", ("Adware", "Backdoor", "Trojan-Downloader", "Trojan-Dropper", "Spyware", "Trojan", "Virus", "EmailWorm")),
    "kav": ("{c}.Win32.{F}.{l}", ("not-a-virus:AdWare", "Backdoor", "Trojan-Downloader", "Trojan-Dropper", "Trojan-Spy", "Trojan", "Virus", "Net-Worm")),
    "kav_like": ("{c}.Win32.{F}", ("AdWare", "Backdoor", "Trojan-Downloader", "Trojan-Dropper", "Trojan-Spy", "Trojan", "Virus", "Worm")),
    "mcafee": ("{c}-{F}!{h}", ("Adware", "BackDoor", "Downloader", "Dropper", "PWS", "Trojan", "W32/Virus", "W32/Worm")),
    "skyhigh": ("BehavesLike.Win32.{c}.{l}", ("Adware", "Backdoor", "Downloader", "Dropper", "PWS", "Trojan", "Virus", "Worm")),
    "trend": ("{c}_{U}.{L}", ("ADW", "BKDR", "TROJ_DLOADER", "TROJ_DROPPER", "TSPY", "TROJ", "PE", "WORM")),
    "cyren": ("W32/{c}", ("Adware.{F}.{L}", "Backdoor.{F}.{L}", "Downloader.{F}.{L}", "Dropper.{F}.{L}", "Spyware.{F}.{L}", "Trojan.{F}.{L}",
                          "Virus.{F}.{L}", "Worm.{F}.{L}")),
    "ms": ("{c}:Win32/{F}.{L}", ("Adware", "Backdoor", "TrojanDownloader", "TrojanDropper", "TrojanSpy", "Trojan", "Virus", "Worm")),
    "eset": ("a variant of Win32/{c}.{L}", ("Adware.{F}", "Backdoor.{F}", "TrojanDownloader.{F}", "TrojanDropper.{F}", "Spy.{F}", "{F}",
                                            "Virus.{F}", "Worm.{F}")),
    "drweb": ("{c}{n}", ("Adware.{F}.", "BackDoor.{F}.", "Trojan.DownLoader", "Trojan.MulDrop", "Trojan.PWS.{F}.", "Trojan.{F}.", "Win32.Virus.",
                         "Win32.Worm.{F}.")),
    "fortinet": ("{c}", ("Adware/{F}", "W32/{F}.{L}!tr.bdr", "W32/{F}.{L}!tr.dldr", "W32/Dropper.{F}!tr", "W32/{F}.{L}!tr.spy", "W32/{F}.{L}!tr",
                         "W32/{F}.{L}!virus", "W32/{F}.{L}!worm")),
    "sophos": ("{c}", ("Adware {F} (PUA)", "Troj/Bckdr-{L}", "Troj/DwnLdr-{L}", "Troj/Drop-{L}", "Troj/Spy-{L}", "Troj/{F}-{L}", "W32/{F}-{L}", "W32/{F}-Worm-{L}")),
    "symantec": ("{c}", ("Adware.{F}", "Backdoor.{F}", "Downloader", "Trojan.Dropper", "Infostealer", "Trojan.Gen.2", "W32.{F}", "W32.{F}.Worm")),
    "clam": ("Win.{c}.{F}-{n}", ("Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "jiangmin": ("{c}.{F}.{l}", ("AdWare", "Backdoor", "TrojanDownloader", "TrojanDropper", "TrojanSpy", "Trojan", "Win32/Virus", "Worm")),
    "rising": ("{c}.{F}!8.{h}", ("Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "zillya": ("{c}.{F}.Win32.{n}", ("Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "vba": ("{c}.{F}", ("AdWare", "Backdoor", "TrojanDownloader", "TrojanDropper", "TrojanSpy", "Trojan", "Virus", "Worm")),
    "nano": ("{c}.Win32.{F}.{l}", ("Riskware.Adware", "Backdoor", "Trojan.Downloader", "Trojan.Dropper", "Trojan.Spy", "Trojan", "Virus", "Worm")),
    "ahnlab": ("{c}/Win32.{F}.R{n}", ("Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "virobot": ("{c}.Win32.{F}.{n}", ("Adware", "Backdoor", "Trojan.Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "yandex": ("{c}.{F}!{h}", ("Adware", "Backdoor", "Trojan.DL", "Trojan.DR", "TrojanSpy", "Trojan", "Virus", "Worm")),
    "antiy": ("{c}/Win32.{F}.{l}", ("GrayWare[AdWare]", "Trojan[Backdoor]", "Trojan[Downloader]", "Trojan[Dropper]", "Trojan[Spy]", "Trojan", "Virus", "Worm")),
    "tachyon": ("{c}/W32.{F}.{n}", ("Adware", "Backdoor", "Trojan-Downloader", "Trojan-Dropper", "Trojan-Spy", "Trojan", "Virus", "Worm")),
    "baidu": ("Win32.{c}.{F}.{l}", ("Adware", "Backdoor", "Trojan-Downloader", "Trojan-Dropper", "Trojan-Spy", "Trojan", "Virus", "Worm")),
    "tencent": ("Win32.{c}.{F}.{L}", ("AdWare", "Backdoor", "Trojan-Downloader", "Trojan-Dropper", "Trojan-Spy", "Trojan", "Virus", "Worm")),
    "quickheal": ("{c}.{F}.S{n}", ("Adware", "Backdoor", "TrojanDownloader", "TrojanDropper", "TrojanSpy", "Trojan", "W32.Virus", "Worm")),
    "comodo": ("{c}.Win32.{F}.{L}@{h}", ("ApplicUnwnt.Adware", "Backdoor", "TrojWare.TrojanDownloader", "TrojWare.TrojanDropper", "TrojWare.Spy", "TrojWare",
                                         "Virus", "Worm")),
    "panda": ("{c}", ("Adware/{F}", "Bck/{F}.{L}", "Trj/Downloader.{L}", "Trj/Dropper.{L}", "Trj/Spy.{L}", "Trj/Genetic.gen", "W32/Virus.{F}.{L}", "W32/{F}.{L}.worm")),
    "huorong": ("{c}/{F}.{l}", ("Adware", "Backdoor", "TrojanDownloader", "TrojanDropper", "TrojanSpy", "Trojan", "Virus", "Worm")),
    "lionic": ("{c}.Win32.{F}.{l}!c", ("Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "alibaba": ("{c}:Win32/{F}.{h}", ("AdWare", "Backdoor", "TrojanDownloader", "TrojanDropper", "TrojanSpy", "Trojan", "Virus", "Worm")),
    "kingsoft": ("Win32.{c}.{F}.{l}", ("Adware", "Backdoor", "TrojDownloader", "TrojDropper", "Spyware", "Troj", "Virus", "Worm")),
    "malwarebytes": ("{c}.{F}", ("Adware", "Backdoor", "Trojan.Downloader", "Trojan.Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "virit": ("{c}.Win32.{F}.{L}", ("Adware", "Backdoor", "Trojan.Downloader", "Trojan.Dropper", "Spyware", "Trojan", "Virus", "Worm")),
    "gridinsoft": ("{c}.Win32.{F}.{l}!s1", ("Adware", "Backdoor", "Downloader", "Dropper", "Spy", "Trojan", "Virus", "Worm")),
    "generic": ("{c}.{F}/Variant", ("Adware", "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm")),
}
_STYLES["bd_b"] = _STYLES["fsecure"] = None
_VT_CATEGORY = {"Adware": "adware", "Backdoor": "trojan", "Downloader": "downloader", "Dropper": "dropper", "Spyware": "spyware", "Trojan": "trojan",
                "Virus": "virus", "Worm": "worm"}
YEAR = 365 * 86400


class Spec:
    """What one sample's answer is made of. Times are Unix seconds, UTC; trusted marks a known good file."""

    def __init__(self, sha256, sha1=None, md5=None, size=4096, cls=None, family=None, groups=0, first_seen=1640000000,
                 analysed=1700000000, trusted=False, names=(), seed=0):
        self.sha256, self.sha1, self.md5, self.size = sha256, sha1, md5, size
        self.cls, self.family, self.groups = cls, family, groups
        self.first_seen, self.analysed, self.trusted, self.names, self.seed = first_seen, analysed, trusted, list(names), seed


def label(style, cls, family, rng):
    """One vendor's label; "ml:TEXT" is a fixed text that names no class."""
    if style.startswith("ml:"):
        return style[3:]
    letters = "".join(rng.choice("bcdfghjklmnpqrstvwxz") for _ in range(rng.choice((2, 3))))
    words = {"F": family.capitalize(), "f": family, "U": family.upper(), "l": letters, "L": letters.upper(),
             "n": rng.randint(11, 98765), "h": "%05x" % rng.randrange(1 << 20)}
    template, spelling = _STYLES[style]
    return template.replace("{c}", spelling[CLASSES.index(cls)]).format(**words)


def group_of(engine):
    return ENGINES[engine][1] or engine


def _choose_classes(spec, named, rng):
    """Class each detecting group names: mostly the true one, some "Trojan", at most one wrong."""
    order = list(named)
    rng.shuffle(order)
    if spec.cls == "Trojan":
        return dict.fromkeys(order, "Trojan")
    sure = max(min(4, len(order)), (len(order) * 7 + 9) // 10)
    says = {group: spec.cls if index < sure else "Trojan" for index, group in enumerate(order)}
    if len(order) > sure + 1:
        says[order[-1]] = rng.choice([cls for cls in CLASSES if cls not in (spec.cls, "Trojan")])
    return says


def detections(spec, rng):
    """{engine: label} for the detecting engines."""
    naming, silent = [], []
    for group in dict.fromkeys(group_of(engine) for engine in ENGINES):
        (silent if ENGINES.get(group, ("", ""))[0].startswith("ml:") else naming).append(group)
    ml_share = min(len(silent), spec.groups // 4)
    named = rng.sample(naming, min(len(naming), spec.groups - ml_share))
    says = _choose_classes(spec, named, rng) if spec.cls else dict.fromkeys(named, "Trojan")
    found, shared = {}, {}
    for engine, (style, _) in ENGINES.items():
        group = group_of(engine)
        if group not in says or (group != engine and group in shared and rng.random() < 0.15):
            continue
        base = {"bd_b": "bd", "fsecure": "avira"}.get(style, style)
        text = shared.get((group, base))
        if text is None:
            text = shared[(group, base)] = label(base, says[group], spec.family or "heur", rng)
            shared[group] = True
        found[engine] = text + " (B)" if style == "bd_b" else "Trojan." + text if style == "fsecure" else text
    for engine in rng.sample(silent, ml_share):
        found[engine] = ENGINES[engine][0][3:]
    return found


def file_object(spec):
    """The "data" object of GET /files/HASH for this spec."""
    rng = random.Random("%s/%s" % (spec.seed, spec.sha256))
    found = detections(spec, rng) if spec.groups else {}
    results, stats = {}, dict.fromkeys(("malicious", "suspicious", "undetected", "harmless", "timeout", "confirmed-timeout", "failure",
                                        "type-unsupported"), 0)
    update = "2024%02d%02d" % (rng.randint(1, 12), rng.randint(1, 28))
    for engine in list(ENGINES) + list(UNSUPPORTED):
        if engine in found:
            category = "malicious"
        elif engine in UNSUPPORTED:
            category = "type-unsupported"
        else:
            roll = rng.random()
            category = "timeout" if roll < 0.01 else "failure" if roll < 0.015 else "undetected"
        stats[category] += 1
        results[engine] = {"method": "blacklist", "engine_name": engine, "engine_version": "%d.%d.%d" % (rng.randint(1, 22), rng.randint(0, 9), rng.randint(0, 999)),
                           "engine_update": update, "category": category, "result": found.get(engine)}
    attributes = {
        "sha256": spec.sha256, "sha1": spec.sha1, "md5": spec.md5, "size": spec.size, "type_tag": "peexe", "type_description": "Win32 EXE",
        "type_tags": ["executable", "windows", "win32", "pe", "peexe"], "type_extension": "exe",
        "magic": "PE32 executable (GUI) Intel 80386, for MS Windows", "tags": ["peexe"], "names": spec.names, "reputation": -10 if found else 0,
        "total_votes": {"harmless": 0, "malicious": 1 if found else 0}, "times_submitted": rng.randint(1, 40), "unique_sources": rng.randint(1, 20),
        "creation_date": spec.first_seen - rng.randint(86400, YEAR), "first_submission_date": spec.first_seen,
        "last_submission_date": spec.analysed - rng.randint(0, 86400), "last_analysis_date": spec.analysed,
        "last_modification_date": spec.analysed + 3600, "last_analysis_stats": stats, "last_analysis_results": results,
    }
    if spec.names:
        attributes["meaningful_name"] = spec.names[0]
    if spec.trusted:
        attributes["trusted_verdict"] = {"organization": "Demo Software Works", "verdict": "goodware"}
        attributes["tags"] += ["trusted", "nsrl"]
    if spec.cls and spec.groups >= 5:
        category, count = _VT_CATEGORY[spec.cls], max(2, len(found) // 2)
        threat = {"suggested_threat_label": "%s.%s" % (category, spec.family), "popular_threat_category": [{"value": category, "count": count}],
                  "popular_threat_name": [{"value": spec.family, "count": max(2, len(found) // 3)}]}
        if category != "trojan":
            threat["popular_threat_category"].append({"value": "trojan", "count": max(1, count // 3)})
        attributes["popular_threat_classification"] = threat
    return {"id": spec.sha256, "type": "file", "attributes": attributes}
