"""Generator of sandbox reports in the layouts of Cuckoo 2.0.7 and CAPE from lists of API names; it runs nothing and reads no sandbox.

    processes = [Process("sample.exe", ["NtCreateFile", "NtWriteFile", ...]), ...]
    cuckoo(processes, sha256=..., ...) -> bytes      indent 4, sorted keys, calls as objects with "arguments" as an object
    cape(processes, sha256=..., ...)   -> bytes      indent 2, arguments as a list, consecutive equal calls folded into "repeated"
Every report begins with lsass.exe, tracked: false and without calls (Cuckoo only), as real ones do. A name that begins with "__" is
written as a pseudo-call of category __notification__. A call may be an API name or (name, status, thread index).
count(processes) gives what a reader must find: {"processes", "calls", "pseudo", "names"}; CAPE's `calls` is the expanded number.
count_json(bytes) counts any report of either kind, real ones too, by the standard library's parser: {"processes", "calls",
"calls_expanded"}, pseudo-calls included; mutate(bytes, seed) removes, doubles, adds and repeats calls of any report.
"""
import hashlib
import json
import random
import time
import zlib

# API name -> (Cuckoo 2 category, argument names and values). Only names that the generators use; all others are "misc".
CATEGORIES = {
    "file": "NtCreateFile NtOpenFile NtReadFile NtWriteFile DeleteFileW CopyFileW MoveFileWithProgressW GetFileAttributesW SetFileAttributesW "
            "FindFirstFileExW FindFirstFileExA NtQueryDirectoryFile NtQueryInformationFile NtSetInformationFile SetFilePointer SetFilePointerEx GetFileSize "
            "GetFileSizeEx GetFileType GetTempPathW GetTempFileNameW CreateDirectoryW GetSystemDirectoryW GetSystemWindowsDirectoryW NtDeviceIoControlFile "
            "GetVolumePathNamesForVolumeNameW GetDiskFreeSpaceExW GetVolumeNameForVolumeMountPointW GetShortPathNameW SetEndOfFile SearchPathW",
    "registry": "RegOpenKeyExW RegOpenKeyExA RegQueryValueExW RegQueryValueExA RegSetValueExW RegSetValueExA RegCreateKeyExW RegCreateKeyExA RegCloseKey "
                "RegEnumKeyExW RegEnumValueW RegDeleteValueW NtOpenKey NtQueryValueKey NtSetValueKey NtCreateKey NtOpenKeyEx",
    "process": "NtAllocateVirtualMemory NtFreeVirtualMemory NtProtectVirtualMemory NtMapViewOfSection NtUnmapViewOfSection NtCreateSection NtOpenProcess "
               "NtTerminateProcess CreateProcessInternalW CreateThread CreateRemoteThread NtResumeThread NtSuspendThread NtGetContextThread "
               "NtSetContextThread NtOpenThread NtCreateThreadEx ReadProcessMemory WriteProcessMemory Process32FirstW Process32NextW ShellExecuteExW "
               "CreateToolhelp32Snapshot Module32FirstW NtOpenSection NtCreateUserProcess",
    "system": "LdrLoadDll LdrGetProcedureAddress LdrGetDllHandle LdrUnloadDll NtClose SetErrorMode GetSystemInfo GetSystemMetrics NtDuplicateObject "
              "SetWindowsHookExA SetWindowsHookExW UnhookWindowsHookEx GetKeyState GetAsyncKeyState LookupPrivilegeValueW IsDebuggerPresent OutputDebugStringA "
              "GetNativeSystemInfo GetKeyboardState NtQuerySystemInformation GlobalMemoryStatusEx ExitWindowsEx",
    "network": "WSAStartup socket connect send recv closesocket bind listen accept select getaddrinfo gethostbyname setsockopt ioctlsocket WSASocketW "
               "InternetOpenA InternetOpenW InternetConnectA InternetConnectW InternetOpenUrlA InternetOpenUrlW InternetReadFile InternetCloseHandle "
               "HttpOpenRequestA HttpOpenRequestW HttpSendRequestA HttpSendRequestW InternetSetOptionA InternetCrackUrlA InternetCrackUrlW "
               "URLDownloadToFileW DnsQuery_A ObtainUserAgentString GetAdaptersAddresses InternetQueryOptionA NetShareEnum sendto InternetGetConnectedState",
    "ui": "FindWindowA FindWindowW FindWindowExW MessageBoxTimeoutW LoadStringW DrawTextExW GetForegroundWindow SendNotifyMessageW",
    "resource": "FindResourceA FindResourceExW FindResourceW LoadResource SizeofResource",
    "services": "OpenSCManagerA OpenSCManagerW OpenServiceA OpenServiceW CreateServiceA CreateServiceW StartServiceA StartServiceW ControlService "
                "DeleteService EnumServicesStatusW",
    "synchronisation": "NtCreateMutant NtOpenMutant NtDelayExecution GetSystemTimeAsFileTime GetLocalTime GetSystemTime GetTickCount NtQuerySystemTime",
    "ole": "CoInitializeEx CoCreateInstance CoUninitialize OleInitialize CoInitializeSecurity CoGetClassObject",
    "crypto": "CryptAcquireContextW CryptAcquireContextA CryptCreateHash CryptHashData CryptGenKey CryptEncrypt CryptDecrypt CryptUnprotectData CryptProtectData CryptDecodeObjectEx",
    "exception": "SetUnhandledExceptionFilter RtlAddVectoredExceptionHandler",
}
CATEGORY = {name: category for category, names in CATEGORIES.items() for name in names.split()}
# CAPE spells some categories otherwise and knows some that Cuckoo 2 does not.
CAPE_CATEGORY = {"file": "filesystem", "synchronisation": "synchronization", "ui": "windows", "ole": "com", "exception": "hooking"}
ARGUMENTS = {
    "file": (("filepath", "C:\\Users\\demo\\AppData\\Local\\Temp\\data.tmp"), ("file_handle", "0x00000120")),
    "registry": (("key_handle", "0x0000008c"), ("regkey", "HKEY_CURRENT_USER\\Software\\Demo")),
    "process": (("base_address", "0x00410000"), ("process_identifier", 2260), ("region_size", 4096)),
    "network": (("buffer", "GET /index.html\r\n\u0000"), ("socket", 512)),
    "system": (("module_name", "kernel32.dll"),),
}
START = 1700000000.0          # first_seen of the first process: the guest's clock, not the host's
TICK = 0.015625               # the guest's clock granularity


class Process:
    """One process of a report: name, calls (names or (name, status, thread)), pid, ppid, track."""

    def __init__(self, name, calls, pid=None, ppid=None, track=True):
        self.name, self.calls, self.pid, self.ppid, self.track = name, list(calls), pid, ppid, track


def _numbered(processes):
    for index, process in enumerate(processes):
        pid = process.pid or 2000 + 4 * (index + 13)
        yield process, pid, process.ppid or (1984 if index == 0 else processes[0].pid or 2052), START + index * 1.25


def _call(call):
    return (call, True, 0) if isinstance(call, str) else call


def _category(name):
    return "__notification__" if name.startswith("__") else CATEGORY.get(name, "misc")


def count(processes):
    names = {}
    for process in processes:
        for call in process.calls:
            name = _call(call)[0]
            names[name] = names.get(name, 0) + 1
    return {"processes": len(processes), "calls": sum(names.values()), "names": names,
            "pseudo": sum(number for name, number in names.items() if name.startswith("__"))}


class _CallText:
    """Renders calls as text by templates: json.dumps with an indent is ten times slower on a report of this size."""

    def __init__(self, depth, indent):
        self.pad, self.step, self.heads = "\n" + " " * (depth * indent), " " * indent, {}

    def object(self, pairs):
        inner = self.pad + self.step
        return "{" + ",".join(inner + json.dumps(key) + ": " + value for key, value in pairs) + self.pad + "}"


def _cuckoo_template(text, name, status):
    category = _category(name)
    inner = _CallText(0, 4)
    inner.pad, inner.step = text.pad + text.step, text.step
    arguments = ARGUMENTS.get(category)
    shown = inner.object([(key, json.dumps(value)) for key, value in sorted(arguments)]) if arguments else "{}"
    pairs = [("api", json.dumps(name)), ("arguments", shown), ("category", json.dumps(category)), ("flags", "{}")]
    if not status:
        pairs += [("last_error", "2"), ("nt_status", "-1073741772")]
    pairs += [("return_value", "0" if status else "-1073741772"), ("stacktrace", "[]"), ("status", "1" if status else "0"),
              ("tid", "\x01"), ("time", "\x02")]
    return text.object(pairs)


def cuckoo_calls(calls, tid, first_seen):
    """The text of a calls array (its elements, indented for report.json) and the array's own counts by API."""
    text, templates, pieces, stats = _CallText(5, 4), {}, [], {}
    for index, call in enumerate(calls):
        name, status, thread = _call(call)
        template = templates.get((name, status))
        if template is None:
            template = templates[(name, status)] = _cuckoo_template(text, name, status).replace("%", "%%").replace("\x01", "%d").replace("\x02", "%r")
        # Most neighbours share a time stamp: the guest's clock is that coarse.
        pieces.append(template % (tid + 4 * thread, first_seen + TICK * (index // 24)))
        stats[name] = stats.get(name, 0) + 1
    return text.pad + ("," + text.pad).join(pieces) + "\n" + " " * 16 if pieces else "", stats


def _hashes(sha256, sample):
    if sample is None:
        return {"sha256": sha256, "sha1": sha256[:40], "md5": sha256[:32], "sha512": sha256 * 2, "size": 4096, "crc32": sha256[:8].upper()}
    return {"sha256": hashlib.sha256(sample).hexdigest(), "sha1": hashlib.sha1(sample).hexdigest(), "md5": hashlib.md5(sample).hexdigest(),
            "sha512": hashlib.sha512(sample).hexdigest(), "size": len(sample), "crc32": "%08X" % zlib.crc32(sample)}


def cuckoo(processes, sha256="0" * 64, task=1, sample=None, options="", package="exe", custom="", errors=(), lsass=True, behavior=True):
    """A report.json of Cuckoo 2.0.7. sample: the file's bytes for true hashes; behavior=False leaves that key out altogether."""
    listed = ([Process("lsass.exe", [], 484, 380, track=False)] if lsass else []) + list(processes)
    rows, stats, tree, calls_text = [], {}, [], {}
    for index, (process, pid, ppid, first_seen) in enumerate(_numbered(listed)):
        text, counts = cuckoo_calls(process.calls, pid + 4, first_seen)
        mark = "\x03%d\x03" % index
        calls_text[json.dumps(mark)] = text
        path = "C:\\Windows\\System32\\lsass.exe" if not process.track else "C:\\Users\\demo\\AppData\\Local\\Temp\\" + process.name
        common = {"command_line": '"%s" ' % path, "first_seen": first_seen, "pid": pid, "ppid": ppid, "process_name": process.name,
                  "track": process.track}
        rows.append(dict(common, calls=[mark] if text else [], modules=[], process_path=path, tid=pid + 4, time=0, type="process"))
        tree.append(dict(common, children=[]))
        if counts:
            stats[str(pid)] = counts
    digest = _hashes(sha256, sample)
    report = {
        "info": {"added": START - 20, "started": START - 19, "ended": START + 60, "duration": 79, "id": task, "category": "file", "custom": custom,
                 "git": {"head": "0" * 40, "fetch_head": "0" * 40}, "monitor": "0" * 40, "package": package, "platform": "", "route": "none",
                 "owner": "", "options": options, "score": 2.4, "version": "2.0.7",
                 "machine": {"label": "cuckoo1", "manager": "VirtualBox", "name": "cuckoo1", "started_on": "2023-11-14 22:13:21",
                             "shutdown_on": "2023-11-14 22:14:20", "status": "stopped"}},
        "target": {"category": "file", "file": dict(digest, name=digest["sha256"][:12] + ".exe", path="/srv/cuckoo/binaries/" + digest["sha256"],
                                                    ssdeep=None, type="PE32 executable (GUI) Intel 80386, for MS Windows", urls=[], yara=[])},
        "debug": {"action": [], "dbgview": [], "errors": list(errors), "log": ["analysis of a generated file\n"], "cuckoo": []},
        "metadata": {"output": {}}, "network": {}, "signatures": [], "static": {}, "strings": [],
    }
    if behavior:
        report["behavior"] = {"apistats": stats, "generic": [], "processes": rows, "processtree": tree, "summary": {}}
    text = json.dumps(report, indent=4, sort_keys=True)
    for mark, calls in calls_text.items():
        # json.dumps put the mark on a line of its own inside the brackets; the brackets stay, the mark's line goes.
        start = text.find(mark)
        if start >= 0:
            text = text[:text.rindex("[", 0, start) + 1] + calls + text[text.index("]", start):]
    return text.encode("ascii")


def cape_stamp(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + ",%03d" % int(seconds % 1 * 1000)


def cape_calls(calls, tid, first_seen):
    """CAPE's call entries: neighbours that are equal become one entry with `repeated`."""
    entries, previous = [], None
    for index, call in enumerate(calls):
        name, status, thread = _call(call)
        if previous == (name, status):
            entries[-1]["repeated"] += 1
            continue
        previous = (name, status)
        category = _category(name)
        entries.append({"timestamp": cape_stamp(first_seen + TICK * (index // 24)), "thread_id": str(tid + 4 * thread), "caller": "0x00401000",
                        "parentcaller": "0x00401100", "category": CAPE_CATEGORY.get(category, category), "api": name, "status": bool(status),
                        "return": "0x00000000" if status else "0xc0000034",
                        "arguments": [{"name": key, "value": str(value)} for key, value in ARGUMENTS.get(category, ())],
                        "repeated": 0, "id": len(entries)})
    return entries


def cape(processes, sha256="0" * 64, task=1, sample=None, options=None, package="exe", custom=""):
    """A report.json of CAPE: raw UTF-8, indent 2."""
    rows, tree = [], []
    for process, pid, ppid, first_seen in _numbered(list(processes)):
        path = "C:\\Users\\demo\\AppData\\Local\\Temp\\" + process.name
        rows.append({"process_id": pid, "process_name": process.name, "parent_id": ppid, "module_path": path, "first_seen": cape_stamp(first_seen),
                     "calls": cape_calls(process.calls, pid + 4, first_seen), "threads": [str(pid + 4)], "environ": {"UserName": "demo"}})
        tree.append({"name": process.name, "pid": pid, "parent_id": ppid, "module_path": path, "children": [], "threads": [str(pid + 4)],
                     "environ": {}})
    digest = _hashes(sha256, sample)
    report = {
        "statistics": {"processing": [], "signatures": [], "reporting": []},
        "info": {"version": "2.4-CAPE", "started": "2023-11-14 22:13:00", "ended": "2023-11-14 22:14:20", "duration": 80, "id": task,
                 "category": "file", "custom": custom, "package": package, "timeout": False, "options": options or {}, "route": "none",
                 "machine": {"id": task, "status": "stopped", "name": "win10", "label": "win10", "manager": "KVM",
                             "started_on": "2023-11-14 22:13:01", "shutdown_on": "2023-11-14 22:14:20"}},
        "behavior": {"processes": rows, "anomaly": [], "processtree": tree, "summary": {}, "enhanced": [], "encryptedbuffers": []},
        "debug": {"log": "", "errors": []}, "network": {}, "signatures": [], "malscore": 1.0,
        "target": {"category": "file", "file": dict(digest, name=digest["sha256"][:12] + ".exe", path="/opt/CAPEv2/storage/binaries/" + digest["sha256"])},
    }
    return json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")


def count_json(data):
    """An independent count of a report's call entries; `repeated` further equal calls are in calls_expanded alone."""
    processes = (json.loads(data).get("behavior") or {}).get("processes") or []
    calls = [call for process in processes for call in process.get("calls") or []]
    return {"processes": len(processes), "calls": len(calls), "calls_expanded": sum(1 + int(call.get("repeated") or 0) for call in calls)}


def mutate(data, seed):
    """The same report with some calls removed, doubled, moved, renamed to pseudo-calls, and (CAPE) other `repeated` numbers."""
    rng, whole = random.Random("mutate/%s" % (seed,)), json.loads(data)
    for process in (whole.get("behavior") or {}).get("processes") or []:
        calls = []
        for call in process.get("calls") or []:
            roll = rng.random()
            if roll < 0.05:
                continue
            if "repeated" in call and roll < 0.15:
                call = dict(call, repeated=rng.choice((0, 1, 2, 17, 300)))
            if roll > 0.97:
                call = dict(call, api=rng.choice(("__anomaly__", "__exception__", "NtClose")))
            calls.extend([call] * (2 if 0.15 < roll < 0.2 else 1))
        if rng.random() < 0.3:
            rng.shuffle(calls)
        process["calls"] = calls if rng.random() > 0.03 else []
    return json.dumps(whole, indent=rng.choice((None, 2, 4)), sort_keys=rng.random() < 0.5, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
