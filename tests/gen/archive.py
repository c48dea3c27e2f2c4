"""Writer of test archives: zip with ZipCrypto and with raw names, nested, tar and single-file compressions; no AES, no 7z, no RAR.

    zipped({"a.exe": data}, password="infected", method="deflate")   entries: dict or list of (name, data); names str or bytes
    nested(data, name, depth)      depth zips around one file         tarred(entries, "gz" | "bz2" | "xz" | "")
    zip_bomb(total_bytes)          one entry of zeros                 wrong_but_accepted(zip password, count): passwords whose check byte fits
Everything is deterministic: fixed dates, and the ZipCrypto salt is drawn from the content.
"""
import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zlib

_TABLE = []
for _value in range(256):
    for _ in range(8):
        _value = (_value >> 1) ^ (0xEDB88320 if _value & 1 else 0)
    _TABLE.append(_value)
DOS_TIME, DOS_DATE = 0x6000, 0x5821      # 2024-01-01 12:00


def _keys(password):
    """The three ZipCrypto keys after the password (APPNOTE.TXT 6.1.5)."""
    k0, k1, k2 = 0x12345678, 0x23456789, 0x34567890
    for byte in password:
        k0 = (k0 >> 8) ^ _TABLE[(k0 ^ byte) & 255]
        k1 = ((k1 + (k0 & 255)) * 134775813 + 1) & 0xFFFFFFFF
        k2 = (k2 >> 8) ^ _TABLE[(k2 ^ (k1 >> 24)) & 255]
    return k0, k1, k2


def zip_encrypt(data, password, check):
    """ZipCrypto (APPNOTE.TXT 6.1): 12 bytes of header, the last of which is `check`, and the data, encrypted."""
    k0, k1, k2 = _keys(password)
    table, out = _TABLE, bytearray()
    salt = hashlib.sha256(data[:4096] + password).digest()[:11]
    append = out.append
    for byte in salt + bytes([check]) + data:
        word = (k2 | 2) & 0xFFFF
        append(byte ^ ((word * (word ^ 1)) >> 8 & 255))
        k0 = (k0 >> 8) ^ table[(k0 ^ byte) & 255]
        k1 = ((k1 + (k0 & 255)) * 134775813 + 1) & 0xFFFFFFFF
        k2 = (k2 >> 8) ^ table[(k2 ^ (k1 >> 24)) & 255]
    return bytes(out)


def zipped(entries, password=None, method="deflate", comment=b""):
    """A zip file. A name that ends in a slash is a folder. password: str, bytes or None."""
    if isinstance(password, str):
        password = password.encode()
    locals_, central, count = b"", b"", 0
    pieces, offset = [], 0
    for name, data in (entries.items() if isinstance(entries, dict) else entries):
        raw, flags = (name, 0) if isinstance(name, bytes) else (name.encode(), 0 if name.isascii() else 0x800)
        crc, packed, code = zlib.crc32(data), data, 0
        if method == "deflate" and data:
            squeeze = zlib.compressobj(6, zlib.DEFLATED, -15)
            packed, code = squeeze.compress(data) + squeeze.flush(), 8
        if password is not None and not raw.endswith(b"/"):
            packed, flags = zip_encrypt(packed, password, crc >> 24), flags | 1
        common = struct.pack("<HHHHHIIIHH", 20, flags, code, DOS_TIME, DOS_DATE, crc, len(packed), len(data), len(raw), 0)
        local = b"PK\x03\x04" + common + raw + packed
        central += b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + raw
        pieces.append(local)
        offset += len(local)
        count += 1
    locals_ = b"".join(pieces)
    return locals_ + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), offset, len(comment)) + comment


def nested(data, name="inner.exe", depth=2, password=None):
    for level in range(depth):
        data, name = zipped({name: data}, password), "level%d.zip" % (depth - level)
    return data


def tarred(entries, compression="gz"):
    """A tar (ustar/pax) of dict or list entries, compressed with gz, bz2, xz or not at all ("")."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in (entries.items() if isinstance(entries, dict) else entries):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), 1704110400, 0o644
            archive.addfile(member, io.BytesIO(data))
    return compressed(raw.getvalue(), compression)


def compressed(data, compression):
    if compression == "gz":
        return gzip.compress(data, 6, mtime=0)
    return bz2.compress(data) if compression == "bz2" else lzma.compress(data) if compression == "xz" else data


def zip_bomb(total_bytes, name="zeros.bin"):
    """One deflated entry of zeros, made in pieces so that the writer needs little memory."""
    squeeze, pieces, crc, left = zlib.compressobj(9, zlib.DEFLATED, -15), [], 0, total_bytes
    block = b"\0" * (1 << 20)
    while left > 0:
        piece = block[:min(left, len(block))]
        crc = zlib.crc32(piece, crc)
        pieces.append(squeeze.compress(piece))
        left -= len(piece)
    packed, raw = b"".join(pieces) + squeeze.flush(), name.encode()
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, DOS_TIME, DOS_DATE, crc, len(packed), total_bytes, len(raw), 0)
    local = b"PK\x03\x04" + common + raw + packed
    central = b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + raw
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


def wrong_but_accepted(archive, count=1, stem="wrong"):
    """Passwords STEM<i> that pass the one-byte check of the first entry although they are wrong (about one in 256 does)."""
    name_bytes, extra_bytes = struct.unpack_from("<HH", archive, 26)
    # Where sizes follow the data (flag bit 3), the check byte is the time's, not the checksum's.
    check = archive[11] if archive[6] & 8 else struct.unpack_from("<I", archive, 14)[0] >> 24
    head = archive[30 + name_bytes + extra_bytes:][:12]
    found, index = [], 0
    while len(found) < count and index < 200000:
        k0, k1, k2 = _keys(b"%s%d" % (stem.encode(), index))
        plain = 0
        for byte in head:
            word = (k2 | 2) & 0xFFFF
            plain = byte ^ ((word * (word ^ 1)) >> 8 & 255)
            k0 = (k0 >> 8) ^ _TABLE[(k0 ^ plain) & 255]
            k1 = ((k1 + (k0 & 255)) * 134775813 + 1) & 0xFFFFFFFF
            k2 = (k2 >> 8) ^ _TABLE[(k2 ^ (k1 >> 24)) & 255]
        if plain == check:
            found.append("%s%d" % (stem, index))
        index += 1
    return found
