/* collect: samples from repositories and folders into the corpus. The option table; the work is in
 * collect/session. */
#include "base/limits.h"
#include "collect/session.h"

#include <stddef.h>

#define FIELD(name) offsetof(struct ms_collect_options, name)
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct ms_option run_options[] = {
    {.name = "github-list",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = FIELD(github_list),
     .help =
         "collect from these repositories: one owner/repo[@ref] of GitHub, or "
         "https://host/path.git[@ref], a line; then optionally claim=malware|benign|unknown and "
         "private"},
    {.name = "url-list",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = FIELD(url_list),
     .help = "collect the files behind these URLs: one https URL a line, then optionally "
             "claim=malware|benign|unknown and private"},
    {.name = "dir",
     .kind = MS_OPT_LIST,
     .arg = "PATH",
     .offset = FIELD(dirs),
     .help = "collect from this folder or file; paths behind it count too"},
    {.name = "github-token",
     .kind = MS_OPT_SECRET,
     .arg = "SECRET",
     .offset = FIELD(github_token),
     .help = "GitHub token: @FILE, env:NAME or the token itself (default: $GITHUB_TOKEN where set, "
             "for api.github.com alone; without one repositories are read by git's own protocol, "
             "which has no hourly quota, "
             "and a name that was registered anew is not noticed)"},
    {.name = "history",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(history),
     .help =
         "every blob of every commit that any branch or tag leads to, also files deleted since; by "
         "git's protocol, without the token"},
    {.name = "git-host",
     .kind = MS_OPT_LIST,
     .arg = "URL",
     .offset = FIELD(git_hosts),
     .help = "a git server that may have a private or loopback address (lines of the list lead to "
             "public addresses only); https, or http on loopback"},
    {.name = "github-url",
     .kind = MS_OPT_TEXT,
     .arg = "URL",
     .offset = FIELD(github_url),
     .help = "base URL of the API (default: https://api.github.com); https, or http on loopback"},
    {.name = "releases",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(releases),
     .help = "take the files attached to releases too; a second request a repository"},
    {.name = "recurse-sfx",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(recurse_sfx),
     .help = "open archives (7z, RAR, zip, cab) behind the last section of programs too; what is "
             "known to hold programs is opened once more for it"},
    {.name = "recheck",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(recheck),
     .help = "ask now about repositories that were gone, blocked, taken down or somebody else's "
             "when last asked; without it they are asked once a week"},
    {.name = "password-list",
     .kind = MS_OPT_TEXT,
     .arg = "FILE",
     .offset = FIELD(password_list),
     .help = "try these passwords, one a line, before the built-in ones"},
    {.name = "max-store",
     .kind = MS_OPT_SIZE,
     .arg = "SIZE",
     .offset = FIELD(max_store_bytes),
     .help = "end with exit code 4, all so far kept, before samples and reports take more than "
             "SIZE on disk (bytes, or with K, M, G, T); the next run goes on from there"},
    {.name = "keep-free",
     .kind = MS_OPT_SIZE,
     .arg = "SIZE",
     .offset = FIELD(keep_free_bytes),
     .help =
         "the same before less than SIZE is free on the corpus' disk (default: 2 % of the disk, "
         "at least 32M, at most 1G)"},
    {.name = "max-members",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = FIELD(max_members),
     .min = 1,
     .max = MS_LIMIT_UNPACK_ENTRIES_MOST,
     .help = "members of one file, nested ones included; what is beyond a limit is recorded, and a "
             "run with a higher one opens the file again"},
    {.name = "max-unpacked",
     .kind = MS_OPT_SIZE,
     .arg = "SIZE",
     .offset = FIELD(max_unpacked),
     .min = 1 << 10,
     .max = MS_LIMIT_UNPACK_TOTAL_BYTES_MOST,
     .help = "bytes that one file may give unpacked"},
    {.name = "max-member",
     .kind = MS_OPT_SIZE,
     .arg = "SIZE",
     .offset = FIELD(max_member),
     .min = 1 << 10,
     .max = MS_LIMIT_UNPACK_ENTRY_BYTES_MOST,
     .help = "bytes of one member"},
    {.name = "max-depth",
     .kind = MS_OPT_NUMBER,
     .arg = "N",
     .offset = FIELD(max_depth),
     .min = 1,
     .max = MS_LIMIT_UNPACK_DEPTH_MOST,
     .help = "containers inside containers"},
    {.name = "max-time",
     .kind = MS_OPT_NUMBER,
     .arg = "SECONDS",
     .offset = FIELD(max_time),
     .min = 1,
     .max = MS_LIMIT_UNPACK_CPU_S_MOST,
     .help = "processor time for one file, and a fifth of the wall time (default: 60, more where "
             "--max-members or --max-unpacked are raised)"},
    {.name = "max-file",
     .kind = MS_OPT_SIZE,
     .arg = "SIZE",
     .offset = FIELD(max_file),
     .min = 1 << 10,
     .max = MS_LIMIT_BLOB_BYTES_MOST,
     .help = "size of a local file that is opened"},
    {.name = "claim",
     .kind = MS_OPT_CHOICE,
     .arg = "WHAT",
     .choices = "malware|benign|unknown",
     .offset = FIELD(claim),
     .help = "what the origin says its files are; recorded beside each sighting, never a label"},
    {.name = "private",
     .kind = MS_OPT_FLAG,
     .offset = FIELD(private_),
     .help = "never submit, look up or export what is found"},
};

static const struct ms_verb verbs[] = {
    {.name = "",
     .synopsis = "--github-list FILE | --url-list FILE | --dir PATH…",
     .summary = "collect Windows programs from repositories and folders",
     .options = run_options,
     .option_count = COUNT(run_options),
     .options_bytes = sizeof(struct ms_collect_options),
     .defaults = ms_collect_defaults,
     .max_operands = SIZE_MAX,
     .run = ms_collect_run},
    {.name = "cat",
     .synopsis = "HASH",
     .summary = "write the bytes of a sample to a pipe (live malware: handle with care)",
     .options_bytes = sizeof(struct ms_collect_options),
     .min_operands = 1,
     .max_operands = 1,
     .run = ms_collect_cat},
    {.name = "adopt",
     .synopsis = "",
     .summary = "give stored samples that no row names a row of their own, as 'malseq fsck "
                "--repair' does",
     .options_bytes = sizeof(struct ms_collect_options),
     .run = ms_collect_adopt},
    {.name = "forget",
     .synopsis = "HASH|ORIGIN…",
     .summary = "remove a sample or everything seen only at an origin, for good",
     .options_bytes = sizeof(struct ms_collect_options),
     .min_operands = 1,
     .max_operands = SIZE_MAX,
     .run = ms_collect_forget},
};

static const struct ms_tool tool = {
    .name = "collect",
    .summary = "collect Windows PE files from GitHub repositories and folders",
    .description =
        "collect looks through repositories and local folders, opens archives (nested ones and "
        "password-protected ones too), and keeps every Windows PE file it finds in the corpus, "
        "with where it was seen: repository, commit, path, and the names inside archives.\n\n"
        "Everything is decided by content, never by a file's name. Untrusted bytes are read in a "
        "process without network, files and exec; samples are stored so that they can neither be "
        "run nor be matched by scanners. A file that cannot be read costs itself alone: what "
        "became of it is recorded, and it is not opened again until the unpacker or the passwords "
        "change.\n\n"
        "Repositories of other hosts than GitHub, and GitHub's where no token is given, are read "
        "by "
        "git's smart HTTP protocol (version 2) without a login: trees first, then the blobs that "
        "the corpus does not know, many in a request.\n\n"
        "A second run asks each repository once and downloads only what is new. When GitHub's rate "
        "limit is reached the tool ends with exit code 75 and says when to go on. A repository "
        "that "
        "moved is followed to its new name; one whose name belongs to another repository now is "
        "refused.\n\n"
        "Being found in a repository of malware does not make a file malware: --claim and claim= "
        "are recorded as what the origin says, and label decides.",
    .verbs = verbs,
    .verb_count = COUNT(verbs),
    .examples = "# what a list of repositories holds\ncollect --github-list repos.txt\n"
                "# clean programs from a local folder\ncollect --dir /srv/clean --claim benign\n"
                "# look before doing\ncollect --dir ~/incoming --dry-run --json\n"
                "# a sample's bytes into another program\n"
                "collect cat 275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f | "
                "sha256sum\n",
};

int main(int argc, char **argv)
{
    return ms_cli_main(&tool, argc, argv);
}
