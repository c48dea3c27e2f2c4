"""Writer of small cabinets: one folder, stored, MSZIP, or LZX in its uncompressed form; no Quantum, no sets of several cabinets.

    packed({"a.exe": data}, method="none" | "mszip" | "lzx") -> bytes
The form is that of Microsoft's cabinet specification ([MS-CAB]) and, for LZX, of its [MS-PATCH] appendix. Dates are fixed.
"""
import struct
import zlib

BLOCK, DOS_TIME, DOS_DATE = 32768, 0x6000, 0x5821      # 2024-01-01 12:00
CODES = {"none": 0, "mszip": 1, "lzx": 3 | 15 << 8}


def checksum(data, value=0):
    """The exclusive or of the words; the bytes of a rest come the other way round."""
    whole = len(data) & ~3
    for word in struct.unpack("<%dI" % (whole // 4), data[:whole]):
        value ^= word
    return value ^ int.from_bytes(data[whole:], "big")


def _lzx(part, first):
    """One uncompressed block: a bit that says no to E8 translation (first alone), type 3, 24 bits of length; then three offsets, the bytes."""
    bits = ("0" if first else "") + "011" + format(len(part), "024b")
    bits = bits.ljust(32, "0")
    return struct.pack("<HH", int(bits[:16], 2), int(bits[16:], 2)) + struct.pack("<III", 1, 1, 1) + part + b"\0" * (len(part) % 2)


def _mszip(part, history):
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=history[-BLOCK:]) if history else zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"CK" + squeeze.compress(part) + squeeze.flush()


def packed(entries, method="mszip"):
    whole, files, blocks = b"".join(entries.values()), b"", b""
    offset = 0
    for name, data in entries.items():
        files += struct.pack("<IIHHHH", len(data), offset, 0, DOS_DATE, DOS_TIME, 0x20) + name.encode() + b"\0"
        offset += len(data)
    for at in range(0, len(whole), BLOCK):
        part = whole[at:at + BLOCK]
        body = _lzx(part, at == 0) if method == "lzx" else _mszip(part, whole[:at]) if method == "mszip" else part
        sizes = struct.pack("<HH", len(body), len(part))
        blocks += struct.pack("<I", checksum(sizes, checksum(body))) + sizes + body
    start = 36 + 8 + len(files)
    folder = struct.pack("<IHH", start, -(-len(whole) // BLOCK), CODES[method])
    return struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, start + len(blocks), 0, 44, 0, 3, 1, 1, len(entries), 0, 1, 0) + folder + files + blocks
