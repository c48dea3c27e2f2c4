"""Writer of the fuzz targets' seeds that no other program makes: archives before they are sealed (tests/fuzz/sealed.h), records of zip members,
archives in several files, published datasets, programs and zip files of them, histories (tests/fuzz/history.h), what git servers say, and PE files with more of everything than is kept.

    python3 tests/gen/fuzz_seeds.py FOLDER      into the corpora below FOLDER (tests/fuzz/corpus)
"""
import bz2
import lzma
import pathlib
import random
import struct
import sys
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen import archive, datasets, pe, rar, report, sevenzip  # noqa: E402

TEXT = rar.TEXT
STORE, DEFLATE, DEFLATE64, BZIP2, LZMA, ZSTD, XZ, PPMD = range(8)        # of seal_zip
PLAIN, CRYPTO, AES128, AES192, AES256, ZIP64, DIFFERS, WRONG, AE2, COMPRESS = 0, 1, 2, 3, 4, 8, 0x10, 0x20, 0x40, 0x80


def padded(data, _key, _start):
    return data + b"\0" * (-len(data) % 16)


# ---- archives ---------------------------------------------------------------------------------------

def unsealed_rars():
    """RAR archives whose encrypted members are in the clear yet."""
    rar.aes_cbc_encrypt, kept = padded, rar.aes_cbc_encrypt
    try:
        coded, blocks, stored = (rar.Member(TEXT, method=method) for method in ("literal", "literals", "store"))
        after = rar.Member(TEXT, method="literal", solid=True)
        split, hashed = rar.Member(TEXT, split_after=True), rar.Member(TEXT, blake=bytes(32))
        five = {"password": "infected", "lg": 0}
        made = {
            "5-stored": rar.rar5({"d/": b"", "d/a": stored}, comment=b"a comment", **five),
            "5-blocks": rar.rar5({"a": blocks, "b": coded}, **five),
            "5-crc": rar.rar5({"a": stored, "b": blocks}, tweaked=False, **five),
            "5-no-check": rar.rar5({"a": coded, "b": stored}, tweaked=False, check=False, **five),
            "5-solid": rar.rar5({"a": coded, "b": after}, solid=True, **five),
            "5-volume": rar.rar5({"a": stored, "b": split}, volume=True, **five),
            "5-hash": rar.rar5({"a": hashed, "p": rar.Member(TEXT, password=None)}, **five),
            "4-stored": rar.rar4({"d/": b"", "d/a": stored}, comment=b"a comment", password="infected"),
            "4-coded": rar.rar4({"a": coded, "b": after}, password="infected"),
            "4-large": rar.rar4({"a": stored}, large=True, password="infected"),
            "4-volume": rar.rar4({"a": stored, "b": split}, volume=True, password="infected"),
        }
    finally:
        rar.aes_cbc_encrypt = kept
    seeds = {}
    for name, data in made.items():
        for mode, word in (("E", "data"), ("e", "all")) if name[0] == "5" else (("R", "data"), ("r", "all")):
            seeds["sealed-%s-%s" % (name, word)] = mode.encode() + data
    return seeds


def sevenzips():
    """7z files whose header is to be hidden."""
    entries = [("dir/text", TEXT), ("empty", b""), ("more", TEXT[:20])]
    seeds = {"sealed-7z-%s%s" % (method, "-aes" if password else ""): b"h" + sevenzip.packed(entries, method, password, cycles=0)
             for method in ("copy", "lzma") for password in (None, "infected")}
    seeds["7z-streams"], seeds["7z-streams-more"] = sevenzip_streams(16), sevenzip_streams(18)
    return seeds


def sevenzip_streams(more):
    """Two coders, of 16 and more streams, the last one fed by the first; a folder may have 32 streams."""
    packs = 15 + more
    coders = b"\x02\x11\x7f\x10\x01" + b"\x34\x06\xf1\x07\x01" + bytes([more]) + b"\x01\x01\x3f" + bytes([packs, 0, *range(packs)])
    header = b"\x01\x04\x06\x00" + bytes([packs]) + b"\x09" + bytes(packs) + b"\x00\x07\x0b\x01\x00" + coders + b"\x0c\x00\x00\x00\x00"
    header += b"\x05\x01\x11\x05\x00a\x00\x00\x00\x00\x00"
    start = struct.pack("<QQI", 0, len(header), zlib.crc32(header))
    return b"77z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + header


def member(control, method, data, name=b"a", flags=0, extra=b""):
    return bytes([control, method, flags, len(name), len(extra)]) + struct.pack("<H", len(data)) + name + extra + data


def raw_deflate(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zips():
    lzma_settings = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 12}]
    packed = {BZIP2: bz2.compress(TEXT), XZ: lzma.compress(TEXT, lzma.FORMAT_XZ), DEFLATE: raw_deflate(TEXT),
              LZMA: b"\x09\x14\x05\x00\x5d\x00\x10\x00\x00" + lzma.compress(TEXT, lzma.FORMAT_RAW, filters=lzma_settings)}
    unicode_path = b"\x01" + struct.pack("<I", zlib.crc32(b"a")) + "\u3042".encode()
    path = struct.pack("<HH", 0x7075, len(unicode_path)) + unicode_path
    seeds = {
        "zip-ciphers": b"".join(member(cipher, BZIP2, packed[BZIP2], b"a%d" % cipher, extra=path) for cipher in (CRYPTO, AES128, AES192 | AE2, AES256)),
        "zip-methods": b"".join(member(CRYPTO, method, data, b"m%d" % method) for method, data in packed.items()),
        "zip-written": member(COMPRESS | AES256 | AE2, BZIP2, TEXT) + member(COMPRESS | CRYPTO, DEFLATE, TEXT, flags=8),
        "zip-late": member(CRYPTO, XZ, packed[XZ], flags=8) + member(AES128 | ZIP64, XZ, packed[XZ], flags=8, name=b"dir/"),
        "zip-mixed": member(PLAIN, STORE, TEXT, b"p") + member(AES256, STORE, TEXT) + member(CRYPTO, PPMD, TEXT) + member(CRYPTO | DIFFERS, BZIP2, TEXT)
                     + member(AES128 | WRONG, BZIP2, TEXT) + member(CRYPTO, 99, TEXT),
        "zip-strong": member(CRYPTO, BZIP2, TEXT, flags=0x40) + member(CRYPTO, BZIP2, TEXT, extra=struct.pack("<HHI", 0x17, 4, 0)),
        "zip-aes-fields": b"".join(member(CRYPTO, 99, bytes(60), extra=struct.pack("<HHH2sBH", 0x9901, 7, 2, b"AE", strength, 12)) for strength in (0, 3, 4, 255))
                          + member(CRYPTO, 99, bytes(60), extra=struct.pack("<HHH2s", 0x9901, 4, 2, b"AE")),
        "zip-folder": member(AES128, BZIP2, b"", b"dir/") + member(PLAIN, DEFLATE64, TEXT, b"x"),
    }
    return {name: b"m" + data for name, data in seeds.items()}


def zip64_end(whole):
    """The same archive with its end told by ZIP64 records alone."""
    end = whole.rindex(b"PK\5\6")
    count, size, at = struct.unpack("<HII", whole[end + 10:end + 20])
    record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, at)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    return whole[:end] + record + locator + b"PK\5\6\0\0\0\0" + b"\xff" * 12 + b"\0\0"


# ---- archives in several files ----------------------------------------------------------------------

def pieces(cuts, data, named=True, mended=False):
    """One file cut at these offsets, or several one behind the other."""
    sizes = [end - start for start, end in zip([0] + cuts, cuts)]
    head = bytes([len(cuts) | (0x40 if named else 0) | (0x80 if mended else 0)])
    return head + b"".join(struct.pack("<H", size) for size in sizes) + data


def set_of(parts, mended=False):
    cuts, at = [], 0
    for part in parts[:-1]:
        at += len(part)
        cuts.append(at)
    return pieces(cuts, b"".join(parts), mended=mended)


def split_zip(data, cut, zip64=False):
    """A zip file on two disks, the second with the directory."""
    out, end = bytearray(data), data.rindex(b"PK\5\6")
    count, size, at = struct.unpack("<HII", data[end + 10:end + 20])
    entry = at
    for _ in range(count):
        place = struct.unpack_from("<I", data, entry + 42)[0]
        disk = 1 if place >= cut else 0
        struct.pack_into("<H", out, entry + 34, disk)
        struct.pack_into("<I", out, entry + 42, place - cut * disk)
        name, extra, comment = struct.unpack_from("<HHH", data, entry + 28)
        entry += 46 + name + extra + comment
    struct.pack_into("<HHHHII", out, end + 4, 1, 1, count, count, size, at - cut)
    if zip64:
        record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 1, 1, count, count, size, at - cut)
        locator = b"PK\6\7" + struct.pack("<IQI", 1, end - cut, 2)
        out[end:] = record + locator + b"PK\5\6" + struct.pack("<HHHHII", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) + b"\0\0"
    return pieces([cut], bytes(out))


def volumes():
    plain = archive.zipped({"a.txt": TEXT, "b/c.txt": TEXT * 3, "d": b""}, method="store")
    locked = archive.zipped({"a.txt": TEXT}, password="infected")
    tar, seven = archive.tarred({"a": TEXT}, "gz"), sevenzip.packed({"a": TEXT}, "lzma", "infected", hide_names=True, cycles=0)
    first, last = (rar.Member(TEXT[:30], method="store", split_after=True), rar.Member(TEXT[30:], method="store", split_before=True))
    seeds = {"zip-pieces": pieces([60, 150], plain), "zip-locked": pieces([40], locked), "tar-pieces": pieces([30, 60, 90], tar), "7z-pieces": pieces([40], seven),
             "7z-short": pieces([40], seven[:-20]), "zip-split": split_zip(plain, 120), "zip-split64": split_zip(plain, 120, True),
             "zip-whole": set_of([plain, plain]), "one-piece": pieces([], plain[:100])}
    program = b"MZ" + bytes(14)
    behind = {"zip": plain, "7z": seven, "rar5": rar.rar5({"a": TEXT}), "rar4": rar.rar4({"a": TEXT})}
    seeds.update({"behind-" + name: b"\xa0" + program + data for name, data in behind.items()})
    for password in (None, "infected"):
        for hidden in (False, True) if password else (False,):
            word = "-hidden" if hidden else "-locked" if password else ""
            more = {"password": password, "hide_names": hidden, "volume": True}
            seeds["rar5-set" + word] = set_of([rar.rar5({"a": first}, lg=0, **more), rar.rar5({"a": last, "b": TEXT}, lg=0, **more)], mended=not hidden)
            seeds["rar4-set" + word] = set_of([rar.rar4({"a": first}, **more), rar.rar4({"a": last, "b": TEXT}, **more)], mended=not hidden)
    return seeds


def tarballs():
    files = {"r-1/a.txt": TEXT, "r-1/empty": b"", "r-1/" + "long/" * 30 + "b": TEXT * 12, "r-1/same": TEXT}
    ustar = archive.tarred(files, "").rstrip(b"\0") + bytes(1536)
    words = b"19 comment=" + b"0" * 7 + b"\n" + b"11 size=59\n"
    header = bytearray(ustar[:512])
    header[124:136] = b"%011o\0" % len(words)
    header[156:157] = b"x"
    base256 = bytearray(ustar[:512])
    base256[124:136] = b"\x80" + bytes(10) + bytes([len(TEXT)])
    padded_text, padded_words = TEXT.ljust(512, b"\0"), words.ljust(512, b"\0")
    return {"gz": b"\0" + archive.tarred(files, "gz"), "clear": b"\1" + ustar,
            "pax": b"\1" + bytes(header) + padded_words + ustar[:512] + padded_text + bytes(1024),
            "base256": b"\1" + bytes(base256) + padded_text + bytes(1024)}


# ---- git --------------------------------------------------------------------------------------------

def record(kind, data, base=0):
    return bytes([kind, base]) + struct.pack("<H", len(data)) + data


def tree(*entries):
    """(mode, object, name) each; modes 0 file, 1 folder, 2 program, 3 link, 4 submodule."""
    return record(0, b"".join(bytes([mode, number, len(name)]) + name for mode, number, name in entries))


def delta(base_bytes, result_bytes, steps):
    return bytes([base_bytes, result_bytes]) + steps


def packs():
    blob = record(3, b"harmless text")
    deep = blob + tree((0, 0, b"f")) + b"".join(tree((1, number, b"d")) for number in range(1, 20)) + record(5, b"\x14")
    seeds = {
        "history": blob + record(3, b"other") + tree((0, 0, b"a.txt"), (0, 1, b"b")) + tree((1, 2, b"dir"), (2, 1, b"run"), (3, 0, b"link"), (4, 9, b"sub"))
                   + record(5, b"\x02") + record(5, b"\x03\x04") + record(5, b"\x03\x05\x04") + record(4, b"object x\ntype commit\n"),
        "history-deltas": blob + record(6, delta(13, 18, b"\x90\x0d\x05again")) + record(7, delta(13, 4, b"\x91\x02\x04"), 1)
                          + tree((0, 0, b"a")) + record(5, b"\x03"),
        "history-deep": deep,
        "history-many": blob + tree(*((0, 200, b"%d" % number) for number in range(1100))) + record(5, b"\x01"),
        "history-lacks": tree((1, 9, b"gone"), (0, 9, b"f")) + record(5, b"\x00\x09") + record(5, b"\x09"),
        "history-twice": tree((0, 77, b"f")) + tree((1, 0, b"x"), (1, 0, b"y")) + record(5, b"\x01") + record(5, b"\x01\x02"),
    }
    seeds = {name: b"a" + data for name, data in seeds.items()}
    ids = [b"%040x" % (number * 0x1234567) for number in range(4)]
    seeds["empty-packet"] = b"\x00" + bytes(20) + b"000dpackfile\n0004"
    seeds["server"] = b"F# service=git-upload-pack\n\nversion 2\nagent=git/2.39\nls-refs=unborn\nfetch=shallow wait-for-done filter\nobject-format=sha1\n\n"
    seeds["server-sha256"] = b"Fversion 2\nfetch=filter\nobject-format=sha256\n\n"
    seeds["server-old"] = b"F# service=git-upload-pack\n\n" + ids[0] + b" HEAD\x00multi_ack\n\n"
    seeds["refs"] = (b"R" + ids[0] + b" HEAD symref-target:refs/heads/main\n" + ids[0] + b" refs/heads/main\n" + ids[1] + b" refs/tags/v1 peeled:" + ids[2]
                     + b"\n" + ids[3] + b" main\n\n")
    seeds["refs-unborn"] = b"Runborn HEAD symref-target:refs/heads/main\n.\n\n"
    seeds["commit-text"] = b"ctree " + ids[0] + b"\nparent " + ids[1] + b"\nparent " + ids[2] + b"\nauthor a <a> 0 +0000\n\ntext\n"
    return seeds


def quick():
    """Programs and zip files of them, for collect's quick reading: a byte for the kind, one for the limits (fuzz_quick.c says which)."""
    a, b = (pe.pe(name, body_bytes=0, imports={}, sections=1, fill="zeros") for name in "ab")
    plain = archive.zipped({"a.exe": a, "b.exe": b})
    stored = archive.zipped([("d/", b""), ("d/a.exe", a), ("read me", TEXT)], method="store", comment=b"hello")
    files = {"program": a, "look-alike": pe.mz_not_pe("c"), "zip": plain, "zip-stored": stored, "zip-locked": archive.zipped({"a.exe": a, "read me": TEXT}, "infected"),
             "zip-nested": archive.zipped({"a.zip": plain})}
    seeds = {name: b"f\0" + data for name, data in files.items()}
    seeds.update({"limit-entries": b"f\1" + stored, "limit-total": b"f\2" + plain, "limit-entry": b"f\4" + plain, "named-zip": b"f\x08" + plain, "small-answer": b"f\x10" + plain})
    seeds["records"] = b"m\0" + member(PLAIN, STORE, a, b"a.exe") + member(PLAIN | COMPRESS, DEFLATE, b, b"b.exe") + member(PLAIN, STORE, TEXT, b"t")
    seeds["records-locked"] = b"m\0" + member(CRYPTO, STORE, a, b"a.exe") + member(CRYPTO | COMPRESS, DEFLATE, TEXT, b"t", flags=8)
    return seeds


# ---- PE files: base/limits.h keeps 96 sections, 64 libraries, 8,192 entries of import tables -----------

def pe_with_table(table):
    """A small PE file whose import directory is this table, which begins at address 0x1000."""
    image = bytearray(pe.pe("limits", body_bytes=len(table) + 16, imports={}, sections=1, fill="zeros"))
    headers = struct.unpack_from("<I", image, 0x3C)[0]
    start = struct.unpack_from("<I", image, headers + 24 + 224 + 20)[0]
    struct.pack_into("<II", image, headers + 24 + 96 + 8, 0x1000, len(table))
    image[start:start + len(table)] = table
    return bytes(image)


def many_libraries(count, functions, name=b"k.dll"):
    """All descriptors share one table of ordinals and one name."""
    base, descriptors = 0x1000, 20 * (count + 1)
    thunks = b"".join(struct.pack("<I", 0x80000001 + number) for number in range(functions)) + b"\0" * 4
    row = struct.pack("<IIIII", base + descriptors, 0, 0, base + descriptors + len(thunks), base + descriptors)
    return pe_with_table(row * count + b"\0" * 20 + thunks + name + b"\0")


def programs():
    sections = bytearray(pe.pe("limits", body_bytes=0, imports={}, sections=104, fill="zeros"))
    return {"many-sections": bytes(sections)[:6144], "many-libraries": many_libraries(70, 2), "many-imports": many_libraries(70, 130),
            "long-library": many_libraries(2, 1, b"l" * 300 + b".dll")}


def codes():
    """Files with a few harmless bytes as code (tests/gen/pe.py), small; and the frames that are told of them."""
    straight, flow = b"\x55\x8b\xc0\x90\x5d\xc3", b"\xeb\x02\xe8\xe8\x90\xe8\xf6\xff\xff\xff\x0f\x84\x02\x00\x00\x00\xff\x25\x00\xcc\xcc" + b"\0" * 9 + b"\x90\xc3"
    small = {"imports": {}, "sections": 1, "lfanew": 0x40}
    seeds = {"x86": pe.pe("a", code=straight, **small), "x64": pe.pe("b", bits=64, code=b"\x48" + straight, **small), "flow": pe.pe("c", code=flow, **small),
             "disarmed": pe.pe("d", bits=64, disarmed=True, code=flow, **small), "arm": pe.pe("e", machine=0xAA64, code=flow, **small),
             "dotnet": pe.pe("f", kind="dotnet", imports={}, sections=1, body_bytes=1), "two": pe.pe("g", code=flow, imports={}, sections=2, body_bytes=2, lfanew=0x40)}
    return {**{name: data.rstrip(b"\0") for name, data in seeds.items()}, "frame": b"\0\0\x08\x0c\1\2\xe8\x07", "frame-why": b"\1\0\0\0\0\0\0no section"}


def published():
    """Datasets in their published forms and odd ones; the first byte chooses the job, in the order of the target's table."""
    rng = random.Random(1)
    text, words = b"ntclose ldrloaddll  ntclose\r\n\nregopenkeyexw\t" + b"x" * 300, b'Virus\r\n"Worms"\nclass'
    behav = ("sha256,labels,0,1\n%s,1,a,,b\r\n\"%s\",0,\"c\"\"d\"\n%s,1,\"open\n,,\n" % tuple(datasets.sha256(n) for n in range(3))).encode()
    oliveira = datasets.csv_text(datasets.oliveira(rng, 2) + [["x", 307]], datasets.OLIVEIRA_HEAD).encode()
    avast = datasets.csv_text(datasets.avast_labels(4) + [[datasets.sha256(0), "Zeus", "banker", "2019-02-30"]], datasets.AVAST_HEAD).encode()
    big = b'\xef\xbb\xbf"Id","Class"\na,1\na,2\nb,9\nb,9\nc,0\n'
    listing, dump = datasets.listing(rng, 12)[0], datasets.dump(rng, 70)
    full = report.cape([report.Process("a.exe", ["NtClose", "NtClose", "__anomaly__"])], sha256="0" * 62 + "ab")
    reports = [("public_labels.csv", avast), (f"r/{datasets.sha256(0)}.json", datasets.reduced_report(0)), (f"r/{'0' * 62}ab.json", full[:-9])]
    nested = archive.zipped([("public_labels.csv", avast), ("inner.zip", archive.zipped(reports[1:])), ("._x.json", b"")], method="store")
    members = archive.zipped([("t/a.asm", listing), ("t/a.bytes", dump), ("t/b.bytes", b"0040 5"), ("readme", b"")])
    seeds = [text, archive.zipped([("all_analysis_data.txt", text)]), words, behav, oliveira, avast, big, full, listing, dump, archive.zipped(reports), members, nested, listing]
    out = {f"{number:02d}": bytes([number]) + seed for number, seed in enumerate(seeds)}
    return {**out, "07-reduced": b"\x07" + datasets.reduced_report(1), "10-nested": b"\x0a" + nested, "10-cut": b"\x0a" + archive.zipped([("cut/" + reports[2][0], full[:full.rindex(b"__anomaly__")])] + [(f"s/{'0' * 62}ab.json", full)]), "11-7z": b"\x0b" + sevenzip.packed([("a.asm", listing), ("a.bytes", dump)], method="copy"),
            "13-table": b"\x0d" + behav, "13-ends": b"\x0da,b\rc\n\"d\re\n\nf", "13-dump": b"\x0d" + dump}


# ---- reports ----------------------------------------------------------------------------------------

def reports():
    """The layouts that a shape of their own tells; small, so that every byte is changed in time."""
    processes = [report.Process("a.exe", ["NtClose", "__x__", "send"]), report.Process("b.exe", [("recv", True, 1)])]
    made = {"speakeasy-%d.json" % version: report.speakeasy(processes, version=version) for version in range(3)}
    made.update(("drakvuf-%s.log" % plugin, report.drakvuf(processes, plugin)) for plugin in ("apimon", "syscall"))
    made.update({"cuckoo1.json": report.cuckoo1(processes), "modified.json": report.modified(processes)})
    made["drakvuf-odd.log"] = made["drakvuf-syscall.log"] + b"text\n{}\r\n[]\n" + made["drakvuf-apimon.log"] + b'{"Plugin": "apimon", "Method": 5}\n{"Pl'
    return made


def answers():
    """Frames of the reading worker (tests/fuzz/fuzz_answer.c): two reports of an archive, and one without calls."""
    def frame(letter, data):
        return letter + struct.pack("<H", len(data)) + data
    names, calls = frame(b"n", b"\1a\1b\4open"), frame(b"c", bytes([0, 1, 0, 2]))
    runs = frame(b"l", bytes([1, 2, 0xac, 2, 5])) + frame(b"k", bytes([2, 1])) + frame(b"k", bytes([2, 1]))
    places = frame(b"p", b"\7\5a.exe\x80\x01\0") + frame(b"o", bytes([0, 0, 0, 3, 1, 0, 1, 1]))
    grams = frame(b"g", bytes([1, 0, 1, 1, 2, 0, 1, 3, 0, 1, 0])) + frame(b"g", bytes([2, 0, 2, 0]))
    whole = names + calls + runs + places + grams + frame(b"r", bytes([0, 0, 9]))
    return {"one": whole, "archive": frame(b"m", b"x.json") + whole + frame(b"m", b"y.json") + names + frame(b"r", b"\1\0\0no calls"),
            "nothing": frame(b"r", b"\3\1\0no report")}


def main(folder):
    target = pathlib.Path(folder)
    crypto = (target / "fuzz_decrypt/zip_bzip2_crypto").read_bytes()
    decrypt = {**unsealed_rars(), **sevenzips(), **zips(), "zip-zip64-end": b"z" + zip64_end(crypto[1:])}
    for name, seeds in (("fuzz_decrypt", decrypt), ("fuzz_pack", packs()), ("fuzz_pe", programs()), ("fuzz_opcodes", codes()), ("fuzz_volumes", volumes()), ("fuzz_tarball", tarballs()),
                        ("fuzz_dataset", published()), ("fuzz_report", reports()), ("fuzz_quick", quick()), ("fuzz_answer", answers())):
        (target / name).mkdir(exist_ok=True)
        for label, data in seeds.items():
            (target / name / label).write_bytes(data)


if __name__ == "__main__":
    main(*sys.argv[1:])
