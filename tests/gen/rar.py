"""Writer of small RAR 4 and RAR 5 archives: stored, or coded as literals alone; encrypted data or headers. No matches, filters, PPMd or recovery records.

    rar5({"a.exe": data}, password="infected", hide_names=False, check=True, tweaked=True, lg=4, solid=False, volume=False, comment=b"") -> bytes
    rar4({"a.exe": data}, password="infected", hide_names=False, solid=False, volume=False, comment=b"") -> bytes
    volumes5(entries, room, …) and volumes4(entries, room, …) -> [bytes, …]: volumes with `room` bytes of packed data each, members split where they end
Entries: dict, or list of (name, data) or (name, Member); a name that ends in a slash is a folder. Member sets one file's password, method
("store", "literal" or "literals", which is several blocks), checksum, split flags. Dates and salts are fixed. The forms are those of the RAR 5.0
technical note and, for RAR 4, of its block structure (MARK, MAIN, FILE, NEWSUB, ENDARC).
"""
import dataclasses
import functools
import hashlib
import hmac
import struct
import typing
import zlib

from gen.sevenzip import aes_cbc_encrypt

SIGNATURE5, SIGNATURE4 = b"Rar!\x1a\x07\x01\x00", b"Rar!\x1a\x07\x00"
SALT5, SALT4 = bytes(range(0x30, 0x40)), bytes(range(0x50, 0x58))
MTIME, DOS_TIME = 1704110400, 0x58216000     # 2024-01-01 12:00


@dataclasses.dataclass
class Member:
    data: bytes
    password: typing.Optional[str] = ""   # "": the archive's
    method: str = "store"
    wrong_crc: bool = False
    split_before: bool = False
    split_after: bool = False
    solid: bool = False
    check: typing.Optional[bool] = None   # None: the archive's
    tweaked: typing.Optional[bool] = None
    no_crc: bool = False                  # RAR 5
    bad_data: bool = False                # RAR 5 and 4: a bit of the packed data is flipped before encryption
    version: int = 29                     # RAR 4: needed to unpack
    salt: bytes = b""                     # b"": the format's fixed one
    blake: bytes = b""                    # RAR 5: a BLAKE2sp record with these 32 bytes
    dictionary: int = 0                   # RAR 5: 128 KiB, doubled so many times


# ---- keys ---------------------------------------------------------------------------------------

@functools.lru_cache(None)
def keys5(password, salt, lg):
    """RAR 5: AES key, hash key, password check (8 bytes folded from 32)."""
    secret, rounds = password.encode(), 1 << lg
    key, mac, value = (hashlib.pbkdf2_hmac("sha256", secret, salt, rounds + more) for more in (0, 16, 32))
    folded = bytes(value[i] ^ value[i + 8] ^ value[i + 16] ^ value[i + 24] for i in range(8))
    return key, mac, folded + hashlib.sha256(folded).digest()[:4]


@functools.lru_cache(None)
def keys4(password, salt):
    """RAR 3 and 4: AES-128 key and start value."""
    unit, state, start = password.encode("utf-16-le") + salt, hashlib.sha1(), b""
    for step in range(16):
        first = step << 14
        state.update(unit + struct.pack("<I", first)[:3])
        start += state.digest()[19:]
        state.update(b"".join(unit + struct.pack("<I", i)[:3] for i in range(first + 1, first + (1 << 14))))
    return struct.pack("<4I", *struct.unpack(">4I", state.digest()[:16])), start


def tweak(crc, mac):
    """A CRC32 that says nothing without the password."""
    words = struct.unpack("<8I", hmac.new(mac, struct.pack("<I", crc), hashlib.sha256).digest())
    return functools.reduce(lambda a, b: a ^ b, words)


# ---- coding without matches -----------------------------------------------------------------------

def _bits(pieces):
    """(value, width) pairs, most significant bit first: bytes and the bits used of the last one."""
    text = "".join(format(value, "0%db" % width) for value, width in pieces)
    return bytes(int(text[i:i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8)), (len(text) - 1) % 8 + 1


def _lengths_code(used):
    """The 20 lengths of the code in which the tables' lengths are written."""
    return [(used.get(symbol, 0), 4) for symbol in range(20)]


def block5(data, table, last):
    """A RAR 5 block: every literal has the 8-bit code that is its value; nothing else has a code."""
    pieces = []
    if table:
        pieces = _lengths_code({8: 1, 17: 2, 19: 2})                 # codes: 8 = 0, 17 = 10, 19 = 11
        pieces += [(0, 1), (2, 2), (127, 7), (2, 2), (106, 7)]       # 8, and again 138 and 117 times
        pieces += [(3, 2), (127, 7), (3, 2), (25, 7)]                # 138 and 36 zeros
    body, bits = _bits(pieces + [(byte, 8) for byte in data])
    size = struct.pack("<I", len(body))[:1 + (len(body) > 0xFF) + (len(body) > 0xFFFF)]
    flags = (bits - 1) | (len(size) - 1) << 3 | last << 6 | table << 7
    check = functools.reduce(lambda a, b: a ^ b, size, 0x5A ^ flags)
    return bytes([flags, check]) + size + body


def coded5(data, blocks=1):
    step = -(-len(data) // blocks)
    cuts = [data[i:i + step] for i in range(0, len(data), step)]
    return b"".join(block5(part, i == 0, i == len(cuts) - 1) for i, part in enumerate(cuts))


def coded4(data):
    """RAR 4: literals below 255 have 8 bits, 255 and the end mark (256) nine."""
    pieces = [(0, 1), (0, 1)] + _lengths_code({8: 2, 9: 2, 17: 2, 19: 2})            # codes: 8 = 00, 9 = 01, 17 = 10, 19 = 11
    pieces += [(0, 2), (2, 2), (127, 7), (2, 2), (105, 7), (1, 2), (1, 2)]           # 8, again 138 and 116 times; 9, 9
    pieces += [(3, 2), (125, 7), (3, 2), (0, 7)]                                     # 136 and 11 zeros
    pieces += [(byte, 8) if byte < 255 else (510, 9) for byte in data]
    return _bits(pieces + [(511, 9), (0, 1), (0, 1)])[0]                             # a new file follows, with no new table


# ---- RAR 5 ----------------------------------------------------------------------------------------

def vint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def header5(kind, flags, fields, extra=b"", data_bytes=None):
    body = vint(kind) + vint(flags | (1 if extra else 0) | (0 if data_bytes is None else 2))
    body += vint(len(extra)) if extra else b""
    body += b"" if data_bytes is None else vint(data_bytes)
    body += fields + extra
    body = vint(len(body)) + body
    return struct.pack("<I", zlib.crc32(body)) + body


def record5(kind, body):
    body = vint(kind) + body
    return vint(len(body)) + body


class _Sealer5:
    """Headers as they are, or each behind its own start value and encrypted."""

    def __init__(self, key):
        self.key, self.count = key, 0

    def __call__(self, header):
        if self.key is None:
            return header
        self.count += 1
        start = hashlib.md5(b"header %d" % self.count).digest()
        return start + aes_cbc_encrypt(header, self.key, start)


def _prepare5(name, member, index, options, lg):
    """One file's packed data, its checksum, and what makes its header around (flags, checksum, bytes of data)."""
    folder = name.endswith("/")
    raw, data = name.rstrip("/").encode(), member.data
    method, version = (0, 0) if member.method == "store" else (3, 0)
    packed = data if method == 0 else coded5(data, 3 if member.method == "literals" else 1)
    if member.bad_data:
        packed = packed[:-2] + bytes([packed[-2] ^ 4]) + packed[-1:]
    crc, extra = zlib.crc32(data) ^ (0x1234 if member.wrong_crc else 0), b""
    if member.blake:
        extra += record5(2, vint(0) + member.blake)
    if member.password is not None and not folder:
        salt, start = member.salt or SALT5, hashlib.md5(b"file %d" % index).digest()
        key, mac, value = keys5(member.password, salt, lg)
        check = options["check"] if member.check is None else member.check
        tweaked = options["tweaked"] if member.tweaked is None else member.tweaked
        flags = (1 if check else 0) | (2 if tweaked else 0)
        said = lg if options["lg_said"] is None else options["lg_said"]
        extra += record5(1, vint(options["crypt_version"]) + vint(flags) + bytes([said]) + salt + start + (value if check else b""))
        packed = aes_cbc_encrypt(packed, key, start)
        crc = tweak(crc, mac) if tweaked else crc

    def header(flags, checksum, data_bytes):
        fields = vint(2 | (1 if folder else 0 if member.no_crc else 4)) + vint(len(data)) + vint(0o40755 if folder else 0o100644) + struct.pack("<I", MTIME)
        fields += b"" if folder or member.no_crc else struct.pack("<I", checksum)
        fields += vint(version | (0x40 if member.solid else 0) | method << 7 | member.dictionary << 10) + vint(1) + vint(len(raw)) + raw
        return header5(2, flags, fields, extra, data_bytes)

    return b"" if folder else packed, crc, header


def _file5(name, member, index, options, lg):
    """One file's header and data."""
    packed, crc, header = _prepare5(name, member, index, options, lg)
    return header((8 if member.split_before else 0) | (16 if member.split_after else 0), crc, len(packed)), packed


def _members(entries, password):
    """(name, Member) pairs with every password settled."""
    for name, data in entries.items() if isinstance(entries, dict) else entries:
        member = dataclasses.replace(data) if isinstance(data, Member) else Member(data)
        if member.password == "":
            member.password = password
        yield name, member


def rar5(entries, password=None, hide_names=False, check=True, tweaked=True, lg=4, solid=False, volume=False, comment=b"", salt=SALT5,
         end=True, lg_said=None, crypt_version=0):
    """lg_said and crypt_version are what the encryption records claim. solid and volume set the archive's flags; a member's own solid flag says that it needs the ones before it."""
    options, out, key = {"check": check, "tweaked": tweaked, "lg_said": lg_said, "crypt_version": crypt_version}, [SIGNATURE5], None
    if hide_names:
        key, _, value = keys5(password, salt, lg)
        out.append(header5(4, 0, vint(crypt_version) + vint(1 if check else 0) + bytes([lg if lg_said is None else lg_said]) + salt + (value if check else b"")))
    seal = _Sealer5(key)
    out.append(seal(header5(1, 0, vint((1 if volume else 0) | (4 if solid else 0)))))
    if comment:
        fields = vint(0) + vint(len(comment)) + vint(0) + vint(0) + vint(1) + vint(3) + b"CMT"
        out += [seal(header5(3, 0, fields, b"", len(comment))), comment]
    for index, (name, member) in enumerate(_members(entries, password)):
        header, packed = _file5(name, member, index, options, lg)
        out += [seal(header), packed]
    if end:
        out.append(seal(header5(5, 0, vint(1 if volume else 0))))
    return b"".join(out)


def _cut(packed, room, left):
    """Pieces of packed data: the first takes what is left in its volume, the others a volume each."""
    cuts = [0] + list(range(min(left, len(packed)), len(packed), room)) + [len(packed)]
    return [packed[a:b] for a, b in zip(cuts, cuts[1:]) if a < b or len(packed) == 0] or [packed]


def _spread(entries, room):
    """(member's index, piece's index, pieces, volume) for (packed data) entries, filling one volume after the other."""
    volume, used = 0, 0
    for index, packed in enumerate(entries):
        if used >= room and packed:
            volume, used = volume + 1, 0
        pieces = _cut(packed, room, room - used)
        for number, piece in enumerate(pieces):
            if number:
                volume, used = volume + 1, 0
            used += len(piece)
            yield index, number, pieces, volume


def volumes5(entries, room, password=None, hide_names=False, check=True, tweaked=True, lg=4, solid=False):
    """Each volume has a salt of its own where headers are encrypted; the encryption of a member's data goes on over its pieces."""
    options = {"check": check, "tweaked": tweaked, "lg_said": None, "crypt_version": 0}
    files = [_prepare5(name, member, index, options, lg) for index, (name, member) in enumerate(_members(entries, password))]
    out, seals = [], []
    for index, number, pieces, volume in _spread([packed for packed, _, _ in files], room):
        if volume == len(out):
            seal, head = _Sealer5(None), SIGNATURE5
            if hide_names:
                salt = hashlib.md5(b"volume %d" % volume).digest()
                key, _, value = keys5(password, salt, lg)
                seal = _Sealer5(key)
                head += header5(4, 0, vint(0) + vint(1 if check else 0) + bytes([lg]) + salt + (value if check else b""))
            flags = 1 | (4 if solid else 0) | (2 if volume else 0)
            out.append(head + seal(header5(1, 0, vint(flags) + (vint(volume) if volume else b""))))
            seals.append(seal)
        _, crc, header = files[index]
        last = number == len(pieces) - 1
        flags = (8 if number else 0) | (0 if last else 16)
        out[volume] += seals[volume](header(flags, crc if last else zlib.crc32(pieces[number]), len(pieces[number]))) + pieces[number]
    return [data + seal(header5(5, 0, vint(0 if i == len(out) - 1 else 1))) for i, (data, seal) in enumerate(zip(out, seals))]


# ---- RAR 4 ----------------------------------------------------------------------------------------

def block4(kind, flags, body):
    head = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head


def _prepare4(name, member, salt, large, kind=0x74):
    """One file's packed data, its checksum, and what makes its header around (flags, checksum, bytes of data)."""
    folder = name.endswith("/")
    raw, data = name.rstrip("/").replace("/", "\\").encode(), member.data
    flags = 0x8000 | (0xE0 if folder else 0x20) | (0x10 if member.solid else 0) | (0x100 if large else 0)
    method = 0x30 if member.method == "store" else 0x33
    packed, tail = data if method == 0x30 else coded4(data), b""
    if member.bad_data:
        packed = packed[:-2] + bytes([packed[-2] ^ 4]) + packed[-1:]
    if member.password is not None and not folder:
        packed = aes_cbc_encrypt(packed, *keys4(member.password, salt))
        flags, tail = flags | 4 | (0x400 if salt else 0), salt
    crc = zlib.crc32(data) ^ (0x1234 if member.wrong_crc else 0)

    def header(more, checksum, data_bytes):
        body = struct.pack("<IIBIIBBHI", data_bytes, len(data), 2, checksum, DOS_TIME, member.version, method, len(raw), 0x10 if folder else 0x20)
        return block4(kind, flags | more, body + (struct.pack("<II", 0, 0) if large else b"") + raw + tail)

    return packed, crc, header


def _file4(name, member, salt, large, kind=0x74):
    packed, crc, header = _prepare4(name, member, salt, large, kind)
    return header((1 if member.split_before else 0) | (2 if member.split_after else 0), crc, len(packed)), packed


def rar4(entries, password=None, hide_names=False, solid=False, volume=False, comment=b"", salt=SALT4, large=False, end=True):
    key = keys4(password, salt) if hide_names else None

    def seal(header):
        return header if key is None else salt + aes_cbc_encrypt(header, *key)

    out = [SIGNATURE4, block4(0x73, (1 if volume else 0) | (8 if solid else 0) | (0x80 if hide_names else 0), bytes(6))]
    if comment:
        header, packed = _file4("CMT", Member(comment, password=None), b"", False, 0x7A)
        out += [seal(header), packed]
    for name, member in _members(entries, password):
        header, packed = _file4(name, member, member.salt or salt, large)
        out += [seal(header), packed]
    if end:
        out.append(seal(block4(0x7B, 0x4000 | (1 if volume else 0), b"")))
    return b"".join(out)


def volumes4(entries, room, password=None, hide_names=False, solid=False, salt=SALT4, large=False, end=True):
    """end=False: volumes of RAR 2's form, without a block at their end."""
    def sealed(volume, number, header):
        if not hide_names:
            return header
        own = hashlib.md5(b"header %d %d" % (volume, number)).digest()[:8] if number == 0 else salt
        return own + aes_cbc_encrypt(header, *keys4(password, own))

    files = [_prepare4(name, member, member.salt or salt, large) for name, member in _members(entries, password)]
    out = []
    for index, number, pieces, volume in _spread([packed for packed, _, _ in files], room):
        if volume == len(out):
            flags = 1 | 0x10 | (8 if solid else 0) | (0x80 if hide_names else 0) | (0 if volume else 0x100)
            out.append(SIGNATURE4 + block4(0x73, flags, bytes(6)))
        _, crc, header = files[index]
        last = number == len(pieces) - 1
        made = header((1 if number else 0) | (0 if last else 2), crc if last else zlib.crc32(pieces[number]), len(pieces[number]))
        out[volume] += sealed(volume, 0, made) + pieces[number]
    if end:
        for volume in range(len(out)):
            more = 0 if volume == len(out) - 1 else 1
            out[volume] += sealed(volume, 1, block4(0x7B, 0x4000 | 8 | more, struct.pack("<H", volume)))
    return out


# ---- archives for the tests in C -------------------------------------------------------------------

TEXT = b"harmless text, harmless text, harmless text, harmless text\n"


def samples():
    """Small archives by name; the password is "infected" where nothing else is said."""
    stored, coded, blocks = Member(TEXT), Member(TEXT, method="literal"), Member(TEXT, method="literals")
    plain, bad = dataclasses.replace(stored, password=None), dataclasses.replace(coded, bad_data=True)
    wrong, after = dataclasses.replace(stored, wrong_crc=True), dataclasses.replace(coded, solid=True)
    part = dataclasses.replace(stored, split_after=True)
    infected = {"password": "infected", "lg": 0}
    old = {"password": "infected"}
    return {
        "r5_stored": rar5({"d/": b"", "d/a": stored}, comment=b"a comment", **infected),
        "r5_coded": rar5({"a": coded}, **infected),
        "r5_blocks": rar5({"a": blocks}, **infected),
        "r5_hidden": rar5({"a": coded}, hide_names=True, tweaked=False, comment=b"a comment", **infected),
        "r5_hidden_no_check": rar5({"a": coded}, hide_names=True, tweaked=False, check=False, **infected),
        "r5_no_check": rar5({"a": coded}, tweaked=False, check=False, **infected),
        "r5_stored_no_check": rar5({"a": stored}, check=False, **infected),
        "r5_nothing_tells": rar5({"a": dataclasses.replace(coded, no_crc=True)}, check=False, **infected),
        "r5_tweaked_no_check": rar5({"a": coded}, check=False, **infected),
        "r5_solid": rar5({"a": coded, "b": after, "c": after, "d": dataclasses.replace(stored, solid=True)}, solid=True, **infected),
        "r5_orphan": rar5({"a": after, "b": coded}, solid=True, **infected),
        "r5_beside_plain": rar5({"a": stored, "p": plain}, **infected),
        "r5_two_passwords": rar5({"a": stored, "b": dataclasses.replace(coded, password="second")}, **infected),
        "r5_volume": rar5({"a": stored, "b": part}, volume=True, **infected),
        "r5_plain_volume": rar5({"a": plain, "b": dataclasses.replace(part, password=None)}, volume=True),
        "r5_wrong_crc": rar5({"a": wrong}, **infected),
        "r5_bad_data": rar5({"a": bad}, **infected),
        "r5_bad_data_no_tweak": rar5({"a": bad}, tweaked=False, **infected),
        "r5_plain_wrong_crc": rar5({"a": dataclasses.replace(wrong, password=None), "b": plain}),
        "r5_costly": rar5({"a": stored}, lg_said=25, **infected),
        "r5_costly_hidden": rar5({"a": stored}, hide_names=True, lg_said=255, **infected),
        "r5_unknown": rar5({"a": stored}, crypt_version=1, **infected),
        "r4_stored": rar4({"d/": b"", "d/a": stored}, comment=b"a comment", **old),
        "r4_coded": rar4({"a": coded}, **old),
        "r4_large": rar4({"a": stored}, large=True, **old),
        "r4_no_salt": rar4({"a": stored}, salt=b"", **old),
        "r4_hidden": rar4({"a": coded}, hide_names=True, comment=b"a comment", **old),
        "r4_hidden_bad": rar4({"a": dataclasses.replace(stored, bad_data=True)}, hide_names=True, **old),
        "r4_solid": rar4({"a": coded, "b": after}, solid=True, **old),
        "r4_beside_plain": rar4({"a": stored, "p": plain}, **old),
        "r4_volume": rar4({"a": stored, "b": part}, volume=True, **old),
        "r4_plain_volume": rar4({"a": plain, "b": dataclasses.replace(part, password=None)}, volume=True),
        "r4_old_cipher": rar4({"a": dataclasses.replace(stored, version=20)}, **old),
        "r4_plain_wrong_crc": rar4({"a": dataclasses.replace(wrong, password=None), "b": plain}),
    }


def c_header():
    """The samples, and keys as hashlib derives them, as a C header."""
    def array(name, data):
        return "static const uint8_t %s[] = {%s};" % (name, ", ".join("0x%02x" % byte for byte in data))

    made = samples()
    out = ["/* Encrypted RAR archives of harmless text, and derived keys. Made by tests/gen/rar.py. */", "#ifndef MS_TESTS_RAR_ARCHIVES_H",
           "#define MS_TESTS_RAR_ARCHIVES_H", "", "#include <stddef.h>", "#include <stdint.h>", "", "static const char rar_text[] = \"%s\";"
           % TEXT.decode().replace("\n", "\\n")]
    out += [array(name, data) for name, data in made.items()]
    out += ["static const struct {", "const char *name; const uint8_t *data; size_t n;", "} rar_archives[] = {",
            ",".join('{"%s", %s, sizeof %s}' % (name, name, name) for name in made) + "};"]
    rows = []
    for password, salt, lg in (("infected", SALT5, 0), ("infected", SALT5, 15), ("", bytes(16), 4), ("p\u00e4ssw\u00f6rd \u65e5\u672c", bytes([255] * 16), 7),
                               ("x" * 100, SALT5, 1)):
        key, mac, value = keys5(password, salt, lg)
        rows.append('{"%s", "%s", %d, "%s", "%s", "%s"}' % ("".join("\\%03o" % byte for byte in password.encode()), salt.hex(), lg, key.hex(), mac.hex(),
                                                          value[:8].hex()))
    out += ["static const struct {", "const char *password, *salt; unsigned rounds_log; const char *key, *mac, *check;", "} rar5_keys[] = {", ",".join(rows) + "};"]
    rows = []
    for password, salt in (("infected", SALT4), ("infected", b""), ("p\u00e4ssw\u00f6rd \U0001f600", bytes([255] * 8)), ("x" * 28, SALT4)):
        key, start = keys4(password, salt)
        rows.append('{"%s", "%s", "%s", "%s"}' % ("".join("\\%03o" % byte for byte in password.encode()), salt.hex(), key.hex(), start.hex()))
    out += ["static const struct {", "const char *password, *salt, *key, *iv;", "} rar4_keys[] = {", ",".join(rows) + "};", "", "#endif", ""]
    return "\n".join(out)


if __name__ == "__main__":
    import sys
    if sys.argv[1:2] == ["fuzz"]:        # a corpus of small archives: rar.py fuzz FOLDER
        import pathlib
        for label, archive in samples().items():
            (pathlib.Path(sys.argv[2]) / (label + ".rar")).write_bytes((b"5" if label.startswith("r5") else b"4") + archive)
    else:                                # the header of tests/unit: rar.py header
        sys.stdout.write(c_header())
