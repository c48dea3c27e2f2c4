"""Small files in the published forms of the datasets that `extract dataset` reads, and what is in them, counted here."""
import hashlib
import json
import re
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLIVEIRA_HEAD = ["hash"] + [f"t_{number}" for number in range(100)] + ["malware"]


def oliveira_names():
    """The list of the product, read from its source: the tests compare what comes out with it by number."""
    text = (ROOT / "extract/dataset_oliveira.c").read_text()
    return re.findall(r'"([^"]+)",', text[text.index("[MS_OLIVEIRA_NAMES]"):])


def md5(number):
    return hashlib.md5(b"oliveira %d" % number).hexdigest()


def sha256(number):
    return hashlib.sha256(b"sample %d" % number).hexdigest()


def oliveira(rng, rows):
    """Rows as published: MD5, a hundred numbers from 0 to 306, no two neighbours equal, 1 for malware."""
    out = []
    for number in range(rows):
        calls = [rng.randrange(307)]
        while len(calls) < 100:
            call = rng.randrange(307)
            if call != calls[-1]:
                calls.append(call)
        out.append([md5(number)] + calls + [int(rng.random() < 0.9)])
    return out


def csv_text(rows, head=None, end="\n"):
    lines = ([head] if head else []) + rows
    return end.join(",".join(str(cell) for cell in line) for line in lines) + end


# --- BIG 2015 ---

BIG_FAMILIES = ["Ramnit", "Lollipop", "Kelihos_ver3", "Vundo", "Simda", "Tracur", "Kelihos_ver1", "Obfuscator.ACY", "Gatak"]
MNEMONICS = "push mov call lea xor test jz jnz retn pop add sub cmp jmp and or inc dec leave movzx imul shl fld fstp cvtsi2sd setnz rep nop int".split()
LITERATURE = re.compile(r"\s([a-fA-F0-9]{2}\s)+\s*([a-z]+)")  # how the solutions of the competition find an opcode


def big_id(number):
    digest = hashlib.sha256(b"big %d" % number).hexdigest()
    return "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"[int(digest[2 * i:2 * i + 2], 16) % 62] for i in range(20))


def _hex(rng, count):
    return " ".join("%02X" % rng.randrange(256) for _ in range(count))


def listing(rng, instructions, segments=(".text", "CODE", "UPX0", ".text"), end="\r\n"):
    """(bytes, opcodes): a listing as IDA writes it, with the lines that are no instructions among those that are."""
    lines, opcodes, address = [], [], 0x401000
    for segment in segments:
        lines += [f"{segment}:{address:08X}", f"{segment}:{address:08X} ; Segment type: Pure code",
                  f"{segment}:{address:08X} {segment.strip('.')}\t\tsegment para public 'CODE' use32",
                  f"{segment}:{address:08X}\t\t\t\tassume cs:{segment.strip('.')}"]
        for _ in range(instructions // len(segments)):
            place = f"{segment}:{address:08X}"
            size = rng.randrange(1, 8)
            name = rng.choice(MNEMONICS)
            operands = {"rep": " movsd", "retn": "", "leave": "", "nop": ""}.get(name, "    eax, [ebp+arg_0]\t; \xe9\x81")
            plus = "+" if rng.random() < 0.1 else ""
            blanks = rng.choice(("\t\t\t\t ", "                       "))
            lines.append(f"{place} {_hex(rng, size)}{plus}{blanks}{name}{operands}")
            opcodes.append(name)
            address += size
            lines += rng.choice(([], [], [place], [f"{place} loc_{address:X}:\t\t\t; CODE XREF: sub_401000+3\x18j"],
                                 [f"{place} ; ---------------------------------------------------------------------------"],
                                 [f"{place} sub_{address:X}\tproc near"], [f"{place} var_4\t= dword ptr -4"],
                                 [f"{place} {_hex(rng, 4)}\t\t dd offset sub_401000"], [f"{place} CC CC CC CC\t\t align 10h"],
                                 [f"{place} 68 65 6C 6C 6F 00\taHello\t\tdb 'hello',0"], [f"{place} 61 00\t\ta\t\tdb 'a',0"],
                                 [f"{place} ?? ?? ?? ??\t\tdword_{address:X} dd ?"], [f"{place} ?? ?? ?? ??\t\textrn CloseHandle:dword"],
                                 [f"{place} 61 00 62 00\t\tunicode 0, <ab>,0"], [f"{place} {_hex(rng, 8)}\t\tguid <0>"]))
    return end.join(lines).encode("latin-1") + end.encode(), opcodes


def literature_opcodes(data):
    out = []
    text = re.sub(r"([0-9A-F]{2})\+", r"\1", data.decode("latin-1"))  # the pattern misses instructions whose bytes are cut
    for line in text.split("\n"):
        if line.startswith(".text"):
            hits = LITERATURE.findall(line)
            if hits and hits[0][1] not in ("align", "dd", "db", "dw", "extrn", "unicode", "a", "guid", "dword"):
                out.append(hits[0][1])
    return out


def dump(rng, count, end="\r\n"):
    """The bytes of a program as the dataset gives them, 16 a line; some are not known."""
    lines = []
    for at in range(0, count, 16):
        cells = ["??" if rng.random() < 0.1 else "%02X" % rng.randrange(256) for _ in range(min(16, count - at))]
        lines.append(f"{0x401000 + at:08X} " + " ".join(cells))
    return (end.join(lines) + end).encode()


# --- Avast-CTU ---

AVAST = [("Emotet", "banker"), ("njRAT", "rat"), ("HarHar", "coinminer"), ("Lokibot", "pws"), ("Adload", "trojan"), ("Swisyn", "keylogger")]
AVAST_HEAD = ["sha256", "classification_family", "classification_type", "date"]


def avast_labels(count):
    return [[sha256(number), *AVAST[number % len(AVAST)], f"2019-{number % 12 + 1:02d}-{number % 28 + 1:02d}"] for number in range(count)]


def reduced_report(number):
    """A summary of the behaviour and static features, and no calls: what the reduced reports have."""
    return json.dumps({"behavior": {"summary": {"keys": [f"HKEY_CURRENT_USER\\Software\\{number}"], "resolved_apis": ["kernel32.dll.Sleep", "ntdll.dll.NtClose"],
                                                "executed_commands": [], "write_keys": [], "files": ["C:\\a\u00e9"], "mutexes": ["m"]}},
                       "static": {"pe": {"imports": [{"dll": "KERNEL32.dll", "imports": [{"address": "0x1", "name": "Sleep"}]}]}}}).encode()
