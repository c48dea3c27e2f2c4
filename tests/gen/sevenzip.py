"""Writer of small 7z archives: copy, LZMA or LZMA2, one folder, optionally AES-256 with visible or hidden names; no BCJ, no PPMd, no volumes.

    packed({"a.exe": data}, method="lzma2", password=None, hide_names=False, cycles=8) -> bytes
cycles is the key derivation's NumCyclesPower: 2^cycles rounds (7-Zip itself uses 19). The format is described in 7-Zip's 7zFormat.txt.
The AES here is a plain table version for test input, not for secrets.
"""
import hashlib
import lzma
import struct
import zlib

COPY, LZMA, LZMA2, AES = b"\x00", b"\x03\x01\x01", b"\x21", b"\x06\xf1\x07\x01"


def _tables():
    """The AES S-box and the tables that join S-box and column mix (FIPS 197)."""
    exponent, logarithm, value = [0] * 512, [0] * 256, 1
    for power in range(255):
        exponent[power] = exponent[power + 255] = value
        logarithm[value] = power
        value ^= (value << 1) ^ (0x11B if value & 0x80 else 0)
        value &= 0xFF
    box = []
    for byte in range(256):
        inverse = exponent[255 - logarithm[byte]] if byte else 0
        result = 0x63
        for shift in range(5):
            result ^= (inverse << shift | inverse >> (8 - shift)) & 0xFF
        box.append(result)
    mix = []
    for byte in box:
        double = (byte << 1 ^ (0x11B if byte & 0x80 else 0)) & 0xFF
        mix.append(double << 24 | byte << 16 | byte << 8 | (double ^ byte))
    return box, [[(word >> shift | word << (32 - shift)) & 0xFFFFFFFF for word in mix] for shift in (0, 8, 16, 24)]


_BOX, _MIX = _tables()


def _expand(key):
    size = len(key) // 4
    words, step = list(struct.unpack(">%dI" % size, key)), 1
    for index in range(size, 4 * (size + 7)):
        word = words[-1]
        if index % size == 0:
            word = (word << 8 | word >> 24) & 0xFFFFFFFF
        if index % 4 == 0:
            word = sum(_BOX[word >> shift & 255] << shift for shift in (24, 16, 8, 0))
        if index % size == 0:
            word ^= step << 24
            step = step << 1 ^ (0x11B if step & 0x80 else 0)
        words.append(words[-size] ^ word)
    return words


def aes_cbc_encrypt(data, key, start):
    """AES-CBC of data, zero-padded to whole blocks; a key of 16 or 32 bytes."""
    keys, out, last = _expand(key), [], struct.unpack(">4I", start)
    t0, t1, t2, t3 = _MIX
    box = _BOX
    for block in struct.iter_unpack(">4I", data + b"\0" * (-len(data) % 16)):
        a, b, c, d = (block[i] ^ last[i] ^ keys[i] for i in range(4))
        for turn in range(4, len(keys) - 4, 4):
            a, b, c, d = (t0[a >> 24] ^ t1[b >> 16 & 255] ^ t2[c >> 8 & 255] ^ t3[d & 255] ^ keys[turn],
                          t0[b >> 24] ^ t1[c >> 16 & 255] ^ t2[d >> 8 & 255] ^ t3[a & 255] ^ keys[turn + 1],
                          t0[c >> 24] ^ t1[d >> 16 & 255] ^ t2[a >> 8 & 255] ^ t3[b & 255] ^ keys[turn + 2],
                          t0[d >> 24] ^ t1[a >> 16 & 255] ^ t2[b >> 8 & 255] ^ t3[c & 255] ^ keys[turn + 3])
        last = tuple((box[w >> 24] << 24 | box[x >> 16 & 255] << 16 | box[y >> 8 & 255] << 8 | box[z & 255]) ^ keys[len(keys) - 4 + i]
                     for i, (w, x, y, z) in enumerate(((a, b, c, d), (b, c, d, a), (c, d, a, b), (d, a, b, c))))
        out.append(struct.pack(">4I", *last))
    return b"".join(out)


def derive_key(password, salt, cycles):
    unit, digest = salt + password.encode("utf-16-le"), hashlib.sha256()
    for counter in range(1 << cycles):
        digest.update(unit + struct.pack("<Q", counter))
    return digest.digest()


def _number(value):
    """7z's variable-length number."""
    first, mask = 0, 0x80
    for extra in range(8):
        if value < 1 << (7 * (extra + 1)):
            return bytes([first | value >> (8 * extra)]) + struct.pack("<Q", value)[:extra]
        first |= mask
        mask >>= 1
    return b"\xff" + struct.pack("<Q", value)


def _compress(data, method):
    """(stream, coder record) of one plain coder."""
    if method == "copy" or not data:
        return data, bytes([len(COPY)]) + COPY
    if method == "lzma":
        settings = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}
        stream = lzma.compress(data, lzma.FORMAT_RAW, filters=[settings])
        return stream, bytes([0x20 | len(LZMA)]) + LZMA + b"\x05\x5d" + struct.pack("<I", 1 << 16)
    stream = lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}])
    return stream, bytes([0x20 | len(LZMA2)]) + LZMA2 + b"\x01\x08"


class _Folder:
    """One pack stream and the folder record that opens it."""

    def __init__(self, data, method, password, cycles):
        stream, coder = _compress(data, method)
        self.sizes, self.crc = [len(data)], zlib.crc32(data)
        if password is None:
            self.record = b"\x01" + coder
        else:
            seed = hashlib.sha256(data[:4096] + password.encode()).digest()
            salt, start = seed[:8], seed[8:24]
            plain_bytes = len(stream)
            stream = aes_cbc_encrypt(stream, derive_key(password, salt, cycles), start)
            properties = bytes([0xC0 | cycles, (len(salt) - 1) << 4 | (len(start) - 1)]) + salt + start
            # Coder 0 decrypts the pack stream, coder 1 unpacks what coder 0 gives.
            self.record = b"\x02" + bytes([0x20 | len(AES)]) + AES + _number(len(properties)) + properties + coder + b"\x01\x00"
            self.sizes = [plain_bytes, len(data)]
        self.stream = stream

    def streams_info(self, offset, parts=None):
        """PackInfo, UnpackInfo and SubStreamsInfo; parts: [(size, crc)] of the files inside, None for a packed header."""
        info = b"\x06" + _number(offset) + b"\x01\x09" + _number(len(self.stream)) + b"\x00"
        info += b"\x07\x0b\x01\x00" + self.record + b"\x0c" + b"".join(map(_number, self.sizes))
        if parts is None:
            return info + b"\x0a\x01" + struct.pack("<I", self.crc) + b"\x00\x00"
        info += b"\x00\x08\x0d" + _number(len(parts))
        if len(parts) > 1:
            info += b"\x09" + b"".join(_number(size) for size, _ in parts[:-1])
        return info + b"\x0a\x01" + b"".join(struct.pack("<I", crc) for _, crc in parts) + b"\x00\x00"


def packed(entries, method="lzma2", password=None, hide_names=False, cycles=8):
    """A 7z file of entries (dict or list of (name, data)); empty files are allowed, at least one must not be empty."""
    items = list(entries.items() if isinstance(entries, dict) else entries)
    full = [(name, data) for name, data in items if data]
    folder = _Folder(b"".join(data for _, data in full), method, password, cycles)
    header = b"\x01\x04" + folder.streams_info(0, [(len(data), zlib.crc32(data)) for _, data in full])
    names = b"".join(name.encode("utf-16-le") + b"\0\0" for name, _ in items)
    header += b"\x05" + _number(len(items))
    if len(full) < len(items):
        def bits(flags):
            flags += [False] * (-len(flags) % 8)
            return bytes(sum(flag << (7 - index) for index, flag in enumerate(flags[at:at + 8])) for at in range(0, len(flags), 8))
        empty = bits([not data for _, data in items])
        files = bits([True] * (len(items) - len(full)))
        header += b"\x0e" + _number(len(empty)) + empty + b"\x0f" + _number(len(files)) + files
    header += b"\x11" + _number(len(names) + 1) + b"\x00" + names + b"\x00\x00"
    body = folder.stream
    if password is not None and hide_names:
        cover = _Folder(header, "lzma", password, cycles)
        header = b"\x17" + cover.streams_info(len(body))
        body += cover.stream
    start = struct.pack("<QQI", len(body), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + body + header
