"""The table of containers that collect is tested on: a row a format, method and encryption, each with its maker and the state it must end in.
Makers are zip, 7zz, tar, cpio, xorriso, genisoimage, ar, the compressors, and the writers beside this file; knows nothing of collect.

    rows()                    all rows; every archive holds the programs of FILES under the row's names
    Box(folder).make(row)     the archive's bytes; None where a tool that it needs is not installed
"""
import dataclasses
import functools
import io
import os
import pathlib
import shutil
import struct
import subprocess
import typing
import zipfile
import zlib

from gen import archive, cab, lha, pe, rar

# Odd lengths: filters and block coders are tried at their ends too.
FILES = {"a.exe": pe.pe("table-a", body_bytes=3003) + b"odd", "b.dll": pe.pe("table-b", "dll", 64, body_bytes=20011, fill="zero") + b"x",
         "notes.txt": b"nothing to see\n" * 91}
PROGRAMS = tuple(name for name, data in FILES.items() if data.startswith(b"MZ"))
FIRST, SECOND = "the right one", "zweites Paßwort"
CLEAR = "none"


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    format: str
    method: str
    cipher: str
    make: typing.Callable                 # Box -> bytes
    tools: tuple = ()
    state: str = "ok"                     # with every password at hand
    locked: str = "need_password"         # state with none of them
    names: typing.Optional[dict] = None   # name inside -> name in FILES; None: the programs under their own names
    words: tuple = (FIRST,)               # passwords in it, when encrypted
    under: typing.Optional[dict] = None   # name in FILES -> its password; None: all under the first
    form: str = ""                        # told apart from another row of the same format, method and cipher
    told: bool = True                     # in the README
    kept: typing.Optional[tuple] = None   # names in FILES that come out; None: all where the state is ok, none elsewhere
    note: str = ""                        # said beside the state in the README

    @property
    def name(self):
        text = "-".join(part for part in (self.format, self.method, self.cipher, self.form) if part)
        return "".join(c if c.isalnum() else "-" for c in text).strip("-").lower()

    @property
    def encrypted(self):
        return self.cipher != CLEAR

    def members(self):
        return {name: name for name in PROGRAMS} if self.names is None else self.names

    def opened_by(self, words):
        """name inside -> (name in FILES, password) of what these passwords open."""
        kept = self.kept if self.kept is not None else FILES if self.state == "ok" else ()
        found = {inside: (name, self.password_of(name)) for inside, name in self.members().items() if name in kept}
        return {inside: (name, word) for inside, (name, word) in found.items() if word is None or word in words}

    def password_of(self, name):
        if not self.encrypted:
            return None
        return self.words[0] if self.under is None else self.under[name]


class Box:
    """Makes archives in a folder of its own, from files that lie there."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.source = self.folder / "source"
        self.source.mkdir(parents=True)
        for name, data in FILES.items():
            self.write(self.source / name, data)
            os.utime(self.source / name, (1704110400, 1704110400))

    @staticmethod
    def write(path, data):
        """With holes for its zeros, which some makers keep."""
        with open(path, "wb") as out:
            for at in range(0, len(data), 4096):
                block = data[at:at + 4096]
                if any(block):
                    out.write(block)
                else:
                    out.seek(len(block), os.SEEK_CUR)
            out.truncate(len(data))

    def run(self, *command, stdin=None, cwd=None):
        done = subprocess.run(command, cwd=cwd or self.source, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                              capture_output=True, timeout=250, check=False)
        if done.returncode:
            raise RuntimeError("%s: %s" % (" ".join(map(str, command)), (done.stdout + done.stderr).decode("utf-8", "replace")))
        return done.stdout

    def made(self, name, *command, **more):
        """The bytes of the file that a command leaves under a name ({} in the command)."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        self.run(*[part.replace("{}", str(path)) for part in command], **more)
        data = path.read_bytes()
        path.unlink()
        return data

    def remove(self):
        shutil.rmtree(self.folder)

    def make(self, row):
        return row.make(self, row) if all(shutil.which(tool) for tool in row.tools) else None


# ---- zip ------------------------------------------------------------------------------------------

def sevenzip(box, row, *switches, kind):
    name = row.name + "." + kind
    return box.made(name, "7zz", "a", "-bd", "-mmt=1", "-t" + kind, *switches, "{}", *FILES)


def zip_by_7zz(method, cipher):
    def make(box, row):
        secret = [] if cipher == CLEAR else ["-mem=" + cipher.replace("-", ""), "-p" + FIRST]
        return sevenzip(box, row, "-mm=" + method, *secret, kind="zip")
    return make


def zip_by_zip(method, cipher, *switches):
    def make(box, row):
        secret = [] if cipher == CLEAR else ["-P", FIRST]
        return box.made(row.name + ".zip", "zip", "-q", "-X", "-Z", method, *secret, *switches, "{}", *FILES)
    return make


def zip_streamed(cipher):
    """Sizes and checksums behind the data, as they are where a zip file was written to a pipe."""
    def make(box, _row):
        secret = [] if cipher == CLEAR else ["-P", FIRST]
        return box.run("zip", "-q", "-X", *secret, "-", *FILES)
    return make


def zip_of_two(box, row):
    """A member under each of two passwords, with two ciphers and methods; the text in the clear."""
    path = box.folder / (row.name + ".zip")
    box.run("7zz", "a", "-bd", "-tzip", "-mm=LZMA", "-mem=AES256", "-p" + FIRST, str(path), "a.exe")
    box.run("7zz", "a", "-bd", "-tzip", "-mm=Deflate", "-mem=ZipCrypto", "-p" + row.words[1], str(path), "b.dll")
    return box.made(path.name + ".copy", "cp", str(path), "{}")


def zip_zstd(cipher):
    """Method 93: the tools here read it and do not write it, so the zip around zstd's output is our own."""
    def make(box, _row):
        pieces, central, offset = [], b"", 0
        for name, data in FILES.items():
            packed, crc, raw, flags = box.run("zstd", "-q", "-c", stdin=data), zlib.crc32(data), name.encode(), 0
            if cipher != CLEAR:
                packed, flags = archive.zip_encrypt(packed, FIRST.encode(), crc >> 24), 1
            common = struct.pack("<HHHHHIIIHH", 63, flags, 93, archive.DOS_TIME, archive.DOS_DATE, crc, len(packed), len(data), len(raw), 0)
            pieces.append(b"PK\x03\x04" + common + raw + packed)
            central += b"PK\x01\x02" + struct.pack("<H", 63) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + raw
            offset += len(pieces[-1])
        return b"".join(pieces) + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(FILES), len(FILES), len(central), offset, 0)
    return make


def zip_by_python(_box, _row):
    """Bare permissions and no file type among the attributes."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in FILES.items():
            out.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return raw.getvalue()


def zip_rows():
    yield Row("zip", "Deflate", CLEAR, zip_by_python, form="python")
    shown = {"Copy": "Store", "xz": "XZ"}
    for method in ("Copy", "Deflate", "Deflate64", "BZip2", "LZMA", "PPMd", "xz"):
        for cipher in (CLEAR, "ZipCrypto", "AES-128", "AES-192", "AES-256"):
            more = {"state": "unsupported", "locked": "unsupported"} if method == "Deflate64" else {}
            yield Row("zip", shown.get(method, method), cipher, zip_by_7zz(method, cipher), ("7zz",), **more)
    for cipher in (CLEAR, "ZipCrypto"):
        yield Row("zip", "Zstandard", cipher, zip_zstd(cipher), ("zstd",))
        for method, name in (("store", "Store"), ("deflate", "Deflate"), ("bzip2", "BZip2")):
            yield Row("zip", name, cipher, zip_by_zip(method, cipher), ("zip",), form="info-zip")
        yield Row("zip", "Deflate", cipher, zip_streamed(cipher), ("zip",), form="streamed")
        yield Row("zip", "Deflate", cipher, zip_by_zip("deflate", cipher, "-fz"), ("zip",), form="zip64")
    yield Row("zip", "LZMA, Deflate", "two passwords", zip_of_two, ("7zz",), words=(FIRST, "second"), under={"a.exe": FIRST, "b.dll": "second"}, told=False)


# ---- 7z -------------------------------------------------------------------------------------------

SEVENZIP_CIPHERS = {CLEAR: [], "AES-256": ["-p" + FIRST, "-mhe=off"], "AES-256, headers too": ["-p" + FIRST, "-mhe=on"]}
SEVENZIP_METHODS = {
    "Copy": ["-m0=Copy"], "LZMA": ["-m0=LZMA"], "LZMA2": ["-m0=LZMA2"], "PPMd": ["-m0=PPMd"], "BZip2": ["-m0=BZip2"], "Deflate": ["-m0=Deflate"],
    "BCJ": ["-m0=BCJ", "-m1=LZMA2"], "BCJ2": ["-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1", "-mb0s1:2", "-mb0s2:3"],
    "Delta": ["-m0=Delta:4", "-m1=LZMA"], "Deflate64": ["-m0=Deflate64"],
    **{name: ["-m0=" + name, "-m1=LZMA2"] for name in ("ARM", "ARMT", "PPC", "IA64", "SPARC", "ARM64", "RISCV", "Swap2")},
    "ARM over LZMA": ["-m0=ARM", "-m1=LZMA"], "IA64 over LZMA": ["-m0=IA64", "-m1=LZMA"],
}
SEVENZIP_UNREAD = ("Deflate64", "ARM64", "RISCV", "Swap2")
# With LZMA, which has no mark for its end, libarchive 3.6.2 loses what these filters hold back.
SEVENZIP_CUT = ("ARM over LZMA", "IA64 over LZMA")


def sevenzip_maker(method, cipher, solid):
    def make(box, row):
        return sevenzip(box, row, *SEVENZIP_METHODS[method], *SEVENZIP_CIPHERS[cipher], "-ms=" + solid, kind="7z")
    return make


def sevenzip_of_two(box, row):
    path = box.folder / (row.name + ".7z")
    for name, word in zip(PROGRAMS, row.words):
        box.run("7zz", "a", "-bd", "-p" + word, str(path), name)
    return box.made(path.name + ".copy", "cp", str(path), "{}")


def sevenzip_rows():
    for method in SEVENZIP_METHODS:
        for cipher in SEVENZIP_CIPHERS:
            # Solid and not: where a folder of several files could go wrong.
            for solid in ("on", "off") if method in ("LZMA2", "PPMd") else ("on",):
                more = {}
                if method in SEVENZIP_UNREAD:     # told without a password, where the method can be seen
                    more = {"state": "unsupported", "locked": "need_password" if "headers" in cipher else "unsupported"}
                if method in SEVENZIP_CUT:
                    # Damage and a wrong password look the same until the headers were read.
                    more = {"state": "need_password" if cipher == "AES-256" else "corrupt", "kept": (), "note": "libarchive 3.6.2 loses the last bytes"}
                yield Row("7z", method, cipher, sevenzip_maker(method, cipher, solid), ("7zz",), form="solid" if solid == "on" else "", **more)
    yield Row("7z", "LZMA2", "two passwords", sevenzip_of_two, ("7zz",), words=(FIRST, SECOND), under=dict(zip(PROGRAMS, (FIRST, SECOND))), told=False)


# ---- RAR ------------------------------------------------------------------------------------------

def rar_maker(make, methods, solid=False, encrypted=True, **options):
    def maker(_box, _row):
        entries = [("empty/", b""), ("empty/file", b"")]
        for index, (name, data) in enumerate(FILES.items()):
            entries.append((name, rar.Member(data, method=methods[index % len(methods)], solid=solid and index > 0)))
        return make(entries, password=FIRST if encrypted else None, solid=solid, **options)
    return maker


def rar_of_two(make):
    def maker(_box, row):
        members = zip(FILES.items(), (*row.words, None))
        return make({name: rar.Member(data, password=word, method="literal") for (name, data), word in members})
    return maker


def rar_rows():
    coded, stored, mixed = ("literal", "literals"), ("store",), ("store", "literal", "literals")
    data, headers = "AES-256", "AES-256, headers too"
    yield Row("RAR 5", "stored", CLEAR, rar_maker(rar.rar5, stored, encrypted=False))
    yield Row("RAR 5", "compressed", CLEAR, rar_maker(rar.rar5, coded, encrypted=False))
    yield Row("RAR 5", "solid", CLEAR, rar_maker(rar.rar5, coded, solid=True, encrypted=False))
    yield Row("RAR 5", "stored", data, rar_maker(rar.rar5, stored))
    yield Row("RAR 5", "compressed", data, rar_maker(rar.rar5, coded, lg=15))
    yield Row("RAR 5", "compressed", data, rar_maker(rar.rar5, mixed, comment=b"a comment"), form="comment")
    yield Row("RAR 5", "compressed", data, rar_maker(rar.rar5, mixed, check=False, tweaked=False), form="no check")
    yield Row("RAR 5", "compressed", data, rar_maker(rar.rar5, mixed, check=False), form="tweaked, no check")
    yield Row("RAR 5", "solid", data, rar_maker(rar.rar5, coded, solid=True))
    yield Row("RAR 5", "stored", headers, rar_maker(rar.rar5, stored, hide_names=True, tweaked=False))
    yield Row("RAR 5", "compressed", headers, rar_maker(rar.rar5, mixed, hide_names=True))
    yield Row("RAR 5", "compressed", headers, rar_maker(rar.rar5, mixed, hide_names=True, check=False, tweaked=False), form="no check")
    yield Row("RAR 5", "solid", headers, rar_maker(rar.rar5, coded, solid=True, hide_names=True))
    yield Row("RAR 5", "compressed", "two passwords", rar_of_two(rar.rar5), words=(FIRST, SECOND), under=dict(zip(PROGRAMS, (FIRST, SECOND))), told=False)
    data, headers, mixed = "AES-128", "AES-128, headers too", ("store", "literal")
    yield Row("RAR 3, RAR 4", "stored", CLEAR, rar_maker(rar.rar4, stored, encrypted=False))
    yield Row("RAR 3, RAR 4", "compressed", CLEAR, rar_maker(rar.rar4, ("literal",), encrypted=False))
    yield Row("RAR 3, RAR 4", "stored", data, rar_maker(rar.rar4, stored))
    yield Row("RAR 3, RAR 4", "compressed", data, rar_maker(rar.rar4, ("literal",)))
    yield Row("RAR 3, RAR 4", "compressed", data, rar_maker(rar.rar4, mixed, comment=b"a comment"), form="comment")
    yield Row("RAR 3, RAR 4", "compressed", data, rar_maker(rar.rar4, mixed, large=True), form="large")
    yield Row("RAR 3, RAR 4", "stored", data, rar_maker(rar.rar4, stored, salt=b""), form="no salt")
    yield Row("RAR 3, RAR 4", "stored", headers, rar_maker(rar.rar4, stored, hide_names=True))
    yield Row("RAR 3, RAR 4", "compressed", headers, rar_maker(rar.rar4, mixed, hide_names=True))
    for cipher, more in ((CLEAR, {"encrypted": False}), (data, {}), (headers, {"hide_names": True})):
        yield Row("RAR 3, RAR 4", "solid", cipher, rar_maker(rar.rar4, ("literal",), solid=True, **more), state="unsupported", kept=("a.exe",),
                  note="but for the first member")
    yield Row("RAR 3, RAR 4", "compressed", "two passwords", rar_of_two(rar.rar4), words=(FIRST, SECOND), under=dict(zip(PROGRAMS, (FIRST, SECOND))), told=False)


# ---- no encryption --------------------------------------------------------------------------------

def plain(format_, method, make, *tools, **more):
    return Row(format_, method, CLEAR, make, tools, **more)


def command(*words):
    """A command that writes the archive to standard output."""
    return lambda box, row: box.run(*words)


def piped(*words):
    """A command that reads the names of files, a line each."""
    return lambda box, row: box.run(*words, stdin="".join(name + "\n" for name in FILES).encode())


def filed(*words):
    """A command that writes the archive to {}."""
    return lambda box, row: box.made(row.name, *words)


COMPRESSORS = {"gzip": ("gzip", "-nc"), "bzip2": ("bzip2", "-c"), "xz": ("xz", "-c"), "lzma": ("xz", "-c", "--format=lzma"), "Zstandard": ("zstd", "-qc"),
               "lz4": ("lz4", "-qc"), "lzip": ("lzip", "-c"), "compress": ("compress", "-c")}


def compressed_tar(words):
    return lambda box, row: box.run(*words, stdin=box.run("tar", "-cf", "-", *FILES))


def compressed_file(words, pieces=1):
    """One file, or one whose parts were compressed on their own and put one behind the other."""
    def make(box, _row):
        data = FILES["b.dll"]
        step = -(-len(data) // pieces)
        return b"".join(box.run(*words, stdin=data[at:at + step]) for at in range(0, len(data), step))
    return make


def iso_names(*switches):
    return filed("xorriso", "-report_about", "SORRY", "-as", "mkisofs", "-quiet", *switches, "-o", "{}", ".")


def tree_rows():
    for form in ("gnu", "oldgnu", "pax", "ustar", "v7"):
        yield plain("tar", form, command("tar", "-cf", "-", "--format=" + form, "--mtime=2024-01-02" if form == "oldgnu" else "--mode=644", *FILES), "tar")
    yield plain("tar", "gnu", command("tar", "-cSf", "-", *FILES), "tar", form="sparse")
    yield plain("tar", "pax", command("tar", "-cSf", "-", "--format=pax", *FILES), "tar", form="sparse")
    for form in ("bin", "odc", "newc", "crc"):
        yield plain("cpio", form, piped("cpio", "-o", "--quiet", "-H", form), "cpio")
    yield plain("ar", "GNU", filed("ar", "rcS", "{}", *FILES), "ar")
    upper = {name.upper(): name for name in PROGRAMS}
    iso = functools.partial(plain, "iso9660")
    yield iso("plain", iso_names("--norock", "-iso-level", "1"), "xorriso", names=upper)
    yield iso("Joliet", iso_names("--norock", "-J"), "xorriso")
    yield iso("Rock Ridge", iso_names("-R"), "xorriso")
    yield iso("Joliet and Rock Ridge", iso_names("-R", "-J"), "xorriso")
    yield iso("UDF beside it", filed("genisoimage", "-quiet", "-udf", "-J", "-R", "-o", "{}", "."), "genisoimage")
    yield iso("zisofs", filed("xorriso", "-report_about", "SORRY", "-outdev", "stdio:{}", "-zisofs", "level=9", "-map", ".", "/",
                              "-set_filter_r", "--zisofs", "/", "--", "-commit"), "xorriso")
    for method, name in (("none", "stored"), ("mszip", "MSZIP"), ("lzx", "LZX, uncompressed blocks")):
        yield plain("cab", name, lambda box, row, method=method: cab.packed(FILES, method))
    yield plain("cab", "MSZIP", filed("gcab", "-n", "-z", "-c", "{}", *FILES), "gcab", form="gcab")
    for level in (0, 1, 2):
        for method in ("lh0", "lh5"):
            yield plain("lha", method, lambda box, row, level=level, method=method: lha.packed(FILES, level, method), form="level %d" % level)
    yield plain("arj", "", lambda box, row: box.made(row.name + ".arj", "arj", "a", "-y", "{}", *FILES), "arj", state="no_pe")
    yield plain("wim", "", lambda box, row: sevenzip(box, row, kind="wim"), "7zz", state="no_pe")


def stream_rows():
    one = {"data": "b.dll"}
    for method, words in COMPRESSORS.items():
        yield plain("compressed tar", method, compressed_tar(words), words[0], "tar")
        yield plain("compressed file", method, compressed_file(words), words[0], names=one)
        if method not in ("lzma", "compress"):     # which end where their first stream does
            yield plain("compressed file", method, compressed_file(words, 3), words[0], names=one, form="in parts")


def rows():
    made = [*zip_rows(), *sevenzip_rows(), *rar_rows(), *tree_rows(), *stream_rows()]
    names = [row.name for row in made]
    assert len(set(names)) == len(names), sorted(name for name in set(names) if names.count(name) > 1)
    return made
