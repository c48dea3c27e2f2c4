"""A noisy grammar of API-call sequences for the eight classes and benign programs; invented behaviour, not a model of any real family.

    trace = Grammar(seed).trace(cls, family, key) -> [(process name, [call, ...]), ...]
cls is a class name or None (benign). A trace is a start-up prologue that all share, then blocks: motifs of the own class (in loops), of a
neighbouring class, and noise that every program makes; each block with insertions, deletions and runs. The mixture differs from sample
to sample, and a few samples show nearly nothing but noise, so that no reader of these traces can be right always. The same key gives the
same trace.
"""
import random

PROLOGUE = ("GetSystemTimeAsFileTime", "NtAllocateVirtualMemory", "NtFreeVirtualMemory", "SetUnhandledExceptionFilter", "LdrLoadDll",
            "LdrGetProcedureAddress", "LdrGetProcedureAddress", "NtProtectVirtualMemory", "LdrGetDllHandle", "GetSystemInfo", "NtOpenKey",
            "NtQueryValueKey", "NtClose", "GetFileType", "SetErrorMode")

NOISE = (
    "RegOpenKeyExW RegQueryValueExW RegCloseKey", "RegOpenKeyExA RegQueryValueExA RegCloseKey", "LdrLoadDll LdrGetProcedureAddress LdrGetProcedureAddress",
    "NtAllocateVirtualMemory NtAllocateVirtualMemory NtFreeVirtualMemory", "GetSystemMetrics GetSystemMetrics", "NtOpenKey NtQueryValueKey NtClose",
    "NtCreateFile NtReadFile NtClose", "NtCreateFile NtWriteFile NtClose", "NtDelayExecution", "GetSystemTimeAsFileTime NtDelayExecution",
    "GetFileAttributesW", "NtCreateMutant NtClose", "CoInitializeEx CoCreateInstance CoUninitialize", "NtOpenSection NtMapViewOfSection NtClose",
    "LoadStringW", "FindFirstFileExW NtQueryDirectoryFile NtClose", "NtQuerySystemInformation", "GetSystemDirectoryW SetErrorMode", "NtDuplicateObject NtClose",
    "LdrGetDllHandle LdrGetProcedureAddress", "RegEnumKeyExW RegEnumKeyExW RegCloseKey", "CreateThread NtResumeThread", "LdrUnloadDll", "GetKeyState",
)

MOTIFS = {
    None: ("FindResourceExW LoadResource DrawTextExW", "LoadStringW LoadStringW DrawTextExW", "GetSystemMetrics FindWindowExW GetForegroundWindow",
           "NtOpenFile NtReadFile SetFilePointer NtReadFile NtClose", "RegOpenKeyExW RegEnumValueW RegEnumValueW RegCloseKey",
           "CoCreateInstance CoGetClassObject OleInitialize", "SHGetFolderPathW SearchPathW GetFileSizeEx NtReadFile", "MessageBoxTimeoutW GetLocalTime",
           "CryptAcquireContextW CryptCreateHash CryptHashData", "GetFileVersionInfoSizeW GetFileVersionInfoW"),
    "Adware": ("InternetOpenA InternetSetOptionA InternetOpenUrlA InternetReadFile InternetCloseHandle", "FindWindowA SendNotifyMessageW ShellExecuteExW",
               "RegCreateKeyExA RegSetValueExA RegDeleteValueW", "ObtainUserAgentString InternetQueryOptionA InternetOpenUrlA",
               "CoCreateInstance CoGetClassObject RegSetValueExA"),
    "Backdoor": ("WSAStartup socket connect select recv send", "select recv CreateProcessInternalW send", "socket bind listen accept",
                 "NtCreateMutant RegSetValueExW NtClose", "GetComputerNameW GetUserNameW GetAdaptersAddresses send"),
    "Downloader": ("InternetOpenW InternetConnectW HttpOpenRequestW HttpSendRequestW InternetReadFile NtWriteFile", "URLDownloadToFileW ShellExecuteExW DeleteFileW",
                   "InternetCrackUrlW DnsQuery_A InternetConnectW", "InternetReadFile NtWriteFile InternetReadFile NtWriteFile NtClose CreateProcessInternalW",
                   "GetTempPathW GetTempFileNameW URLDownloadToFileW"),
    "Dropper": ("FindResourceA SizeofResource LoadResource NtCreateFile NtWriteFile NtClose", "GetTempPathW GetTempFileNameW NtCreateFile NtWriteFile CreateProcessInternalW",
                "CopyFileW SetFileAttributesW CreateProcessInternalW", "FindResourceA LoadResource CryptDecrypt NtWriteFile", "GetShortPathNameW ShellExecuteExW ExitWindowsEx"),
    "Spyware": ("SetWindowsHookExA GetKeyState GetAsyncKeyState GetForegroundWindow", "GetKeyboardState GetAsyncKeyState NtWriteFile",
                "CryptUnprotectData NtReadFile HttpSendRequestA", "GetForegroundWindow ReadProcessMemory NtWriteFile", "RegQueryValueExA CryptUnprotectData RegCloseKey",
                "InternetConnectA HttpOpenRequestA HttpSendRequestA InternetCloseHandle"),
    "Trojan": ("CreateToolhelp32Snapshot Process32FirstW Process32NextW NtOpenProcess", "NtOpenProcess NtAllocateVirtualMemory WriteProcessMemory CreateRemoteThread",
               "NtGetContextThread WriteProcessMemory NtSetContextThread NtResumeThread", "OpenSCManagerW OpenServiceW ControlService DeleteService",
               "IsDebuggerPresent LookupPrivilegeValueW NtTerminateProcess"),
    "Virus": ("FindFirstFileExW NtCreateFile NtReadFile SetFilePointer NtWriteFile SetEndOfFile NtClose", "NtCreateSection NtMapViewOfSection NtUnmapViewOfSection SetFileTime",
              "NtQueryDirectoryFile GetFileSize NtReadFile SetFilePointer NtWriteFile", "SetFilePointerEx NtReadFile NtWriteFile SetFileTime", "GetFileAttributesW SetFileAttributesW NtCreateFile"),
    "Worm": ("NetShareEnum CopyFileW CopyFileW", "GetVolumePathNamesForVolumeNameW GetDiskFreeSpaceExW CopyFileW SetFileAttributesW", "socket ioctlsocket connect select closesocket",
             "gethostbyname socket connect send closesocket", "FindFirstFileExA CopyFileW NtSetInformationFile", "CreateServiceA StartServiceA NetShareEnum"),
}
NEIGHBOURS = {None: ("Adware", "Dropper", "Downloader"), "Adware": (None, "Downloader"), "Backdoor": ("Spyware", "Trojan"), "Downloader": ("Dropper", "Backdoor"),
              "Dropper": ("Downloader", "Trojan"), "Spyware": ("Backdoor", "Adware"), "Trojan": ("Backdoor", "Dropper", "Downloader"),
              "Virus": ("Worm", "Dropper"), "Worm": ("Virus", "Backdoor")}
QUIET_SHARE = 0.12          # samples that show hardly anything of their class
FEWEST, MOST = 60, 1500     # calls of a trace before runs; drawn log-uniformly


class Grammar:
    """See the module text. Families weight the motifs of their class differently."""

    def __init__(self, seed=0):
        self.seed = seed
        self.motifs = {cls: [motif.split() for motif in motifs] for cls, motifs in MOTIFS.items()}
        self.noise = [block.split() for block in NOISE]
        self.everything = sorted({name for block in self.noise for name in block})

    def weights(self, cls, family):
        rng = random.Random("family/%s/%s/%s" % (self.seed, cls, family))
        return [rng.choice((0.2, 1.0, 1.0, 2.5)) for _ in self.motifs[cls]]

    def block(self, rng, own, weights, other, own_share, other_share):
        roll = rng.random()
        if roll < own_share:
            motif, loops = rng.choices(self.motifs[own], weights)[0], rng.choice((1, 1, 2, 3, 5, 8))
        elif roll < own_share + other_share:
            motif, loops = rng.choice(self.motifs[other]), rng.choice((1, 1, 2))
        else:
            motif, loops = rng.choice(self.noise), rng.choice((1, 1, 1, 2, 4))
        for name in motif * loops:
            roll = rng.random()
            if roll < 0.04:
                continue
            if roll < 0.09:
                yield rng.choice(self.everything)
            yield name
            if roll > 0.97:
                for _ in range(rng.randint(1, 12)):
                    yield name

    def trace(self, cls, family, key):
        rng = random.Random("trace/%s/%s" % (self.seed, key))
        length = int(FEWEST * (MOST / FEWEST) ** rng.random())
        own_share, other_share = rng.uniform(0.12, 0.42), rng.uniform(0.0, 0.28)
        if rng.random() < QUIET_SHARE:
            own_share, other_share = 0.02, 0.02
        weights, other = self.weights(cls, family), rng.choice(NEIGHBOURS[cls])
        calls = [name for name in PROLOGUE if rng.random() > 0.08]
        while len(calls) < length:
            calls.extend(self.block(rng, cls, weights, other, own_share, other_share))
        calls = calls[:MOST]
        if rng.random() < 0.1:
            calls.insert(rng.randrange(len(calls)), "__exception__")
        calls = [(name, rng.random() > 0.06, 1 if rng.random() < 0.05 else 0) for name in calls]
        return self.split(rng, cls, calls)

    @staticmethod
    def split(rng, cls, calls):
        """The calls over one to three processes: a child started part-way, sometimes an injected system process."""
        processes = [("sample.exe", calls)]
        if len(calls) > 150 and rng.random() < (0.2 if cls is None else 0.55):
            cut = rng.randint(len(calls) // 3, len(calls) - 40)
            child = rng.choice(("explorer.exe", "svchost.exe", "cmd.exe", "updater.exe"))
            processes = [("sample.exe", calls[:cut]), (child, calls[cut:])]
            if len(calls) - cut > 160 and rng.random() < 0.3:
                middle = rng.randint(cut + 60, len(calls) - 60)
                processes = [("sample.exe", calls[:cut]), (child, calls[cut:middle]), ("rundll32.exe", calls[middle:])]
        return processes
