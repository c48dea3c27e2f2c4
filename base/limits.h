/* Every cap on input from outside, with what it guards. Nothing here is a guess about good input:
 * all are far above it. */
#ifndef MS_BASE_LIMITS_H
#define MS_BASE_LIMITS_H

/* A single API answer held in memory: guards against a server that streams for ever. */
#define MS_LIMIT_HTTP_BODY_BYTES ((size_t)64 << 20)
/* Response header bytes kept of one answer: guards the header list. */
#define MS_LIMIT_HTTP_HEADER_BYTES ((size_t)256 << 10)
/* A URL, ours or from a Location header: guards buffers (signed download links run to 2 kB). */
#define MS_LIMIT_URL_BYTES 8192
/* Redirects followed for one request: guards against redirect loops. */
#define MS_LIMIT_HTTP_REDIRECTS 5

/* One downloaded repository blob or archive on its way to the worker: guards the spool. GitHub
 * serves blobs to 100 MB. */
#define MS_LIMIT_BLOB_BYTES ((uint64_t)2 << 30)
/* A sandbox report on the wire and unpacked: reports of 5 GB have been seen; guards the disk and
 * the worker's time. */
#define MS_LIMIT_REPORT_BYTES ((uint64_t)8 << 30)

/* Pages of a hundred releases: guards against a list without end (GitHub shows 10,000). */
#define MS_LIMIT_RELEASE_PAGES 100
/* One file from Git LFS or a release, held in a memory file until it is opened: guards memory. */
#define MS_LIMIT_LFS_BYTES ((uint64_t)512 << 20)

/* Files of one repository or folder: guards the memory for its list (the Linux kernel has 90,000).
 */
#define MS_LIMIT_TREE_ENTRIES ((size_t)2000000)

/* One answer of a git server: guards the memory file it waits in (GitHub warns at repositories of 1
 * GB; trees without blobs, and blobs in batches, are far smaller). */
#define MS_LIMIT_GIT_ANSWER_BYTES ((uint64_t)512 << 20)
/* A blob that comes by git's protocol: what GitHub serves by its API too, so that both ways agree.
 */
#define MS_LIMIT_GIT_BLOB_BYTES ((uint64_t)100 << 20)
/* Objects of one pack: guards the reader's table (the Linux kernel has 10 M, its trees of one
 * commit 6,000). */
#define MS_LIMIT_GIT_OBJECTS ((uint64_t)4000000)
/* Bytes that reading one pack may produce, and the bytes kept at hand meanwhile: guard against
 * packs of bombs, and the worker's memory. */
#define MS_LIMIT_GIT_TOTAL_BYTES ((uint64_t)16 << 30)
#define MS_LIMIT_GIT_CACHE_BYTES ((size_t)256 << 20)
/* Branches and tags of one repository whose history is asked for: guards the request, which names
 * each (GitHub's largest have some thousand; those beyond are left). */
#define MS_LIMIT_GIT_REFS ((size_t)20000)
/* Known commits named in a request for what is new: guards the request; a server that is told of
 * fewer sends more, and nothing is lost. */
#define MS_LIMIT_GIT_HAVES ((size_t)1024)
/* Deltas upon deltas: guards the reader's time (git makes at most 4095). */
#define MS_LIMIT_GIT_DELTA_DEPTH 4095
/* Folders in folders, and the bytes of one path and of all paths together: guard both sides against
 * trees that contain each other many times. */
#define MS_LIMIT_GIT_TREE_DEPTH 256
#define MS_LIMIT_GIT_PATH_BYTES ((size_t)16 << 10)
#define MS_LIMIT_GIT_PATHS_BYTES ((uint64_t)256 << 20)
/* The tarball of a repository, held in a memory file while it is read, and its plain bytes (a
 * header and a filled block more for each file): guard memory, and the worker's time against bombs.
 * Larger repositories are fetched blob by blob. */
#define MS_LIMIT_TARBALL_BYTES ((uint64_t)512 << 20)
#define MS_LIMIT_TARBALL_PLAIN_BYTES ((uint64_t)1 << 30)
/* CPU and wall time for one pack. */
#define MS_LIMIT_GIT_CPU_S 300
#define MS_LIMIT_GIT_WALL_MS 900000

/* Containers inside containers: guards the worker's stack and time (droppers nest 2 or 3 deep). */
#define MS_LIMIT_UNPACK_DEPTH 8
/* Members of one top-level blob, nested ones included: guards against archives of empty files. */
#define MS_LIMIT_UNPACK_ENTRIES 20000
/* Bytes actually produced from one top-level blob, nested ones included: guards against bombs
 * (ratios do not: bloated PE files of zeros are real samples). */
#define MS_LIMIT_UNPACK_TOTAL_BYTES ((uint64_t)4 << 30)
/* Bytes of one member: guards memory, a member being held in a memory file while it is read. */
#define MS_LIMIT_UNPACK_ENTRY_BYTES ((uint64_t)512 << 20)
/* What a run may raise those four to, and the time for one file, and the size of a local file
 * (VirusShare's parts have 131,072 members and tens of GB): guard the worker's stack, descriptors
 * and tables, and against a slip of the hand. */
#define MS_LIMIT_UNPACK_DEPTH_MOST 32
#define MS_LIMIT_UNPACK_ENTRIES_MOST ((uint64_t)1 << 20)
#define MS_LIMIT_UNPACK_TOTAL_BYTES_MOST ((uint64_t)1 << 40)
#define MS_LIMIT_UNPACK_ENTRY_BYTES_MOST ((uint64_t)2 << 30)
#define MS_LIMIT_UNPACK_CPU_S_MOST 86400
#define MS_LIMIT_BLOB_BYTES_MOST ((uint64_t)1 << 40)
/* Bytes that one worker holds in memory files at a time, nested containers and the plain form of a
 * compressed archive included: guards the machine's memory, which RLIMIT_AS does not see there. */
#define MS_LIMIT_UNPACK_HELD_BYTES ((uint64_t)2 << 30)
/* Parts of one multi-volume set, and their bytes together, which are held in a memory file while
 * the set is opened: guard memory (sets of 100 MB parts, as GitHub takes them, have a handful). */
#define MS_LIMIT_VOLUME_PARTS ((size_t)4096)
#define MS_LIMIT_VOLUME_SET_BYTES ((uint64_t)1 << 30)
/* Bytes behind a program's sections in which the beginning of an archive is looked for (7-Zip's
 * modules put some 200 bytes of text in front of it): guards the worker's time. */
#define MS_LIMIT_SFX_SEARCH_BYTES ((size_t)1 << 20)
/* Bytes of a member that are held before it is decided by them whether it is of use: guards memory
 * against large files that are neither programs nor containers (programs are 2 MB as a rule). */
#define MS_LIMIT_UNPACK_UNDECIDED_BYTES ((uint64_t)8 << 20)
/* Plain bytes of a compressed tar, cpio or ar archive that are held: guards memory. A larger one is
 * decompressed twice: to its end for its checksum, then for its members, one at a time. */
#define MS_LIMIT_UNPACK_STREAM_BYTES ((uint64_t)32 << 20)
/* Encrypted members on which one password may fail before the first success: guards the time spent
 * on archives of many members whose password is not known. */
#define MS_LIMIT_UNPACK_PASSWORD_MISSES 64
/* Members of one RAR 5 archive that may fail before what follows is given up: guards the time spent
 * on passing over the ones before them again. */
#define MS_LIMIT_UNPACK_RENEWALS 64
/* Candidate passwords tried on one archive: guards the time spent on key derivation. */
#define MS_LIMIT_UNPACK_PASSWORDS 64
/* Bytes hashed to derive keys for one blob: guards the worker's time, rounds being chosen by the
 * archive (64 passwords on a 7z of today hash 0.8 GB; 4 GB take 2 to 10 s). */
#define MS_LIMIT_DECRYPT_KDF_BYTES ((uint64_t)4 << 30)
/* Rounds of one key derivation, as a power of two: 7-Zip's own cap (it writes 19). */
#define MS_LIMIT_DECRYPT_KDF_POWER 24
/* Units of an encrypted container on which all passwords may fail before the first success: guards
 * the time spent on archives whose password is not known. */
#define MS_LIMIT_DECRYPT_UNIT_MISSES 16
/* A container's header, unpacked, and what is read from it: guard the worker's memory. */
#define MS_LIMIT_DECRYPT_HEADER_BYTES ((size_t)32 << 20)
#define MS_LIMIT_DECRYPT_ITEMS ((uint64_t)1 << 18)
/* A decoder's dictionary or model in an encrypted container: guards the worker's address space. */
#define MS_LIMIT_DECRYPT_DICTIONARY_BYTES ((uint64_t)1536 << 20)
/* The central directory of a zip file with encrypted members: guards the worker's memory (a million
 * members of 128 bytes each). */
#define MS_LIMIT_ZIP_DIRECTORY_BYTES ((size_t)128 << 20)
/* Bytes of a member's name that are kept: guards the database. */
#define MS_LIMIT_NAME_BYTES 4096

/* Sections of a PE file whose features are kept, and sections that addresses are looked up in; the
 * libraries it imports from that are kept by name; entries of import tables that are looked at
 * (pefile's bound): guard the database and the worker's time (XP's loader takes 96 sections). */
#define MS_LIMIT_PE_SECTIONS 96
#define MS_LIMIT_PE_MAPPED 2048
#define MS_LIMIT_PE_LIBRARIES 64
#define MS_LIMIT_PE_IMPORTS 8192
/* Bytes of code of one sample that are disassembled, all sections together: guards the worker's
 * memory and time (3 bytes and some 0.3 us a byte). What lies behind is left out, which is
 * recorded. */
#define MS_LIMIT_CODE_BYTES ((size_t)16 << 20)

/* Worker: address space, CPU seconds and wall time for one input: guard the machine against
 * decoders that grab or spin. */
#define MS_LIMIT_WORKER_ADDRESS_BYTES ((uint64_t)2 << 30)
#define MS_LIMIT_WORKER_CPU_S 60
#define MS_LIMIT_WORKER_WALL_MS 300000
/* Jobs that run in workers at the same time (--jobs is at most 64): guards the process table. */
#define MS_LIMIT_WORKER_JOBS 128
/* Open descriptors of a worker: one memory file a level of nesting, and what the libraries need. */
#define MS_LIMIT_WORKER_FILES 64
/* The fast lane (base/quick.h): the shared memory that an answer has to fit into, of which so much
 * is kept from job to job; input files, the argument and CPU seconds of a job. They guard memory
 * and time: what is larger or slower is the worker's business. */
#define MS_LIMIT_QUICK_BYTES ((size_t)2 << 20)
#define MS_LIMIT_QUICK_KEPT_BYTES ((size_t)128 << 10)
#define MS_LIMIT_QUICK_INPUT_BYTES ((uint64_t)2 << 20)
#define MS_LIMIT_QUICK_ARGUMENT_BYTES ((size_t)32 << 10)
#define MS_LIMIT_QUICK_CPU_S 2
/* One frame from a worker: guards the reader against a corrupted length. */
#define MS_LIMIT_FRAME_BYTES ((size_t)4 << 20)

/* Nesting of a JSON report: guards the scanner's bracket stack (real reports: 12). */
#define MS_LIMIT_JSON_DEPTH 512
/* Length of a JSON string that is read rather than skipped (names, categories): guards the
 * scanner's buffer. */
#define MS_LIMIT_JSON_STRING_BYTES 65536
/* Processes in one report (real: below 200). */
#define MS_LIMIT_PROCESSES 65536
/* Calls in one process's trace: guards the database (real: 1.8 M). */
#define MS_LIMIT_CALLS ((uint64_t)64 << 20)
/* One process's encoded trace, and the body of one in the form of older corpora before compression:
 * guard the database and the decoder's memory. */
#define MS_LIMIT_TRACE_BYTES ((size_t)256 << 20)
#define MS_LIMIT_TRACE_PLAIN_BYTES ((size_t)1 << 30)
/* Calls in one normalised sequence: guards memory against a hostile `repeated`. */
#define MS_LIMIT_SEQUENCE ((size_t)64 << 20)
/* Distinct API names in one report, and the length of one: guard the `api` table against a hostile
 * report. */
#define MS_LIMIT_APIS_PER_REPORT 4096
#define MS_LIMIT_API_NAME_BYTES 256
/* All encoded traces of one report, in a temporary file until they are stored: guards the disk. */
#define MS_LIMIT_REPORT_TRACES_BYTES ((size_t)1 << 30)
/* The names of APIs and processes of one report, held by the parent: guards its memory (real: below
 * 100 KB). */
#define MS_LIMIT_REPORT_NAMES_BYTES ((size_t)64 << 20)
/* Bytes of a process's name that detect tells, and reports of one archive that it gives a line each
 * (a day's output of a large farm): guard the reader of the worker's answer. */
#define MS_LIMIT_PROCESS_NAME_BYTES 256
#define MS_LIMIT_ARCHIVE_REPORTS 100000
/* A log that is followed: new calls at which its verdict is looked at again (and a 16th of those
 * before, so that all looks together cost no more than some twenty readings), CPU and wall time of
 * the process that reads it. */
#define MS_LIMIT_FOLLOW_CALLS 64
#define MS_LIMIT_FOLLOW_CPU_S 604800
#define MS_LIMIT_FOLLOW_WALL_MS 2147483647
/* Why a verdict is what it is: calls of a view that are looked at, changed views that the model is
 * asked about at once and the steps of all of them, and the length up to which every beginning of a
 * view is asked about. They guard the time spent on one report (0.1 to 1 s with a net of 64). */
#define MS_LIMIT_EXPLAINED_CALLS ((size_t)65536)
#define MS_LIMIT_EXPLAINED_VARIANTS ((size_t)256)
#define MS_LIMIT_EXPLAINED_STEPS ((size_t)1 << 18)
#define MS_LIMIT_EXPLAINED_PREFIXES ((size_t)400)
/* One line of a log (real: 100 KB, where a library and all its functions are told), and what the
 * calls of all processes take until the log is at its end, where they must be held; where they may
 * be put aside, what is held of them at a time: guard the reader's memory. */
#define MS_LIMIT_LOG_LINE_BYTES ((size_t)1 << 20)
#define MS_LIMIT_INTERLEAVED_BYTES ((size_t)256 << 20)
#define MS_LIMIT_INTERLEAVED_HELD_BYTES ((size_t)2 << 20)
/* Calls of one log that are put aside in a temporary file, and how often that is done: guard the
 * disk, and the memory of who reads the file (a log of 8 GB: 54 million calls, 250 MB, 120 times).
 */
#define MS_LIMIT_TURNS_BYTES ((uint64_t)1 << 30)
#define MS_LIMIT_TURNS_RUNS 4096
/* The document beside a report that says whose it is (real: 2 KB): guards the reader's time. */
#define MS_LIMIT_METADATA_BYTES ((uint64_t)16 << 20)
/* Bytes of a member of an archive of reports that are held; a larger report is read as it comes (an
 * ISO image shows by then what it is): guards memory. */
#define MS_LIMIT_ARCHIVE_BEGINNING_BYTES ((uint64_t)256 << 10)
/* CPU and wall time for an archive of reports: 1 TB unpacks in a day. */
#define MS_LIMIT_ARCHIVE_CPU_S 86400
#define MS_LIMIT_ARCHIVE_WALL_MS 172800000
/* CPU and wall time for one report: 8 GB at 100 MB/s. */
#define MS_LIMIT_REPORT_CPU_S 600
#define MS_LIMIT_REPORT_WALL_MS 1200000
/* A compressed report of this size or more is decompressed beside the process that reads it; below
 * (some 5 MB of JSON) a second process costs more than it saves. */
#define MS_LIMIT_REPORT_ALONE_BYTES ((int64_t)256 << 10)
/* Rows of a published dataset, and the bytes of its text: guard the run against an endless one
 * (Mal-API-2019 has 7,107 rows and 2 GB). */
#define MS_LIMIT_PUBLISHED_ROWS 10000000
#define MS_LIMIT_PUBLISHED_BYTES ((uint64_t)64 << 30)
/* CPU and wall time for one file or archive of a published dataset: guard the machine's time (BIG
 * 2015 unpacks to 200 GB, Avast-CTU's full reports to more). */
#define MS_LIMIT_PUBLISHED_CPU_S 86400
#define MS_LIMIT_PUBLISHED_WALL_MS (48U * 3600U * 1000U)
/* `repeated` of one entry: guards the expanded count against overflow (real: 238). */
#define MS_LIMIT_REPEATED ((uint64_t)1 << 32)

/* Distinct tokens of a vocabulary and rows of a dataset: guard the trainer's tables. */
#define MS_LIMIT_VOCABULARY 1000000
#define MS_LIMIT_DATASET_ROWS 50000000
/* Distinct n-grams of an export's vocabulary, 24 bytes each while it is made: guards the memory of
 * the machine that exports. */
#define MS_LIMIT_NGRAMS 16777216
/* Distinct n-grams kept of one trace, 16 to 48 bytes each while they are gathered: guards memory
 * and time against a trace in which every call is another (real: below 10,000). */
#define MS_LIMIT_TRACE_GRAMS ((size_t)1 << 18)
/* Distinct n-grams of all traces of a dataset, 16 to 32 bytes each: guards their numbers (32 bits)
 * and the trainer's memory (real: 26,000 in 808 traces). */
#define MS_LIMIT_DATASET_GRAMS (1 << 28)
/* N-grams that a model knows: guards the reader of model files, and the models' sizes. */
#define MS_LIMIT_NGRAMS_KEPT (1 << 20)
/* Free space below which the vault takes no new object: guards the database, which must still be
 * able to record what happened, and what else lives on the disk. This part of the disk (1/50), but
 * within these bounds. */
#define MS_LIMIT_DISK_RESERVE_SHARE 50
#define MS_LIMIT_DISK_RESERVE_BYTES ((uint64_t)32 << 20)
#define MS_LIMIT_DISK_RESERVE_MAX_BYTES ((uint64_t)1 << 30)
/* Objects that wait for a sync with an open file each: guards the process's descriptors (often
 * 1024), and bounds what a power cut loses. */
#define MS_LIMIT_VAULT_WAITING 256

/* A model file and its JSON header: guard the reader's memory (the article's net: 1.5 MB and 10
 * KB). */
#define MS_LIMIT_MODEL_BYTES ((size_t)2 << 30)
#define MS_LIMIT_MODEL_HEADER_BYTES ((size_t)32 << 20)
/* A model's report page, which holds a table of classes x classes cells and curves of some hundred
 * points: what writing one may take, and what is read to forget a sample in it. */
#define MS_LIMIT_REPORT_PAGE_BYTES ((size_t)256 << 20)
/* A split's manifest, and a file of predictions, and a line of either: guard the memory of who
 * reads one back (a row of 8 classes and 4 models: 700 bytes). */
#define MS_LIMIT_SPLIT_BYTES ((size_t)4 << 30)
#define MS_LIMIT_PREDICTIONS_BYTES ((size_t)8 << 30)
#define MS_LIMIT_JSON_LINE_BYTES ((size_t)4 << 20)
/* Members of an ensemble, and nodes of a model's boosted trees, 20 bytes each: guard the memory and
 * the time of whoever opens a model file (default: 6 members; 8 classes, 200 rounds: 40,000). */
#define MS_LIMIT_MODEL_MEMBERS 64
#define MS_LIMIT_MODEL_TREE_NODES (1 << 26)
/* A scan answer (a file object of VirusTotal), its nesting, its engines, and the texts kept of
 * each: guard the label worker and the database (real: below 1 MB, 12 levels, 100 engines). */
#define MS_LIMIT_SCAN_BYTES ((size_t)16 << 20)
#define MS_LIMIT_SCAN_DEPTH 64
/* Scan answers read by one job, and their bytes together: guard the memory of both sides. */
#define MS_LIMIT_SCAN_BATCH 64
#define MS_LIMIT_SCAN_BATCH_BYTES ((size_t)32 << 20)
#define MS_LIMIT_ENGINES 512
/* Engines of a report that is read without being stored: guards the reader's tables. */
#define MS_LIMIT_RECORD_ENGINES ((size_t)1 << 17)
#define MS_LIMIT_ENGINE_NAME_BYTES 64
#define MS_LIMIT_ENGINE_TEXT_BYTES 512
/* One of AVClass's data files, and the tags that all words of all three give together: guard the
 * memory of the compiled rules (real: 57 kB; 9,000). */
#define MS_LIMIT_AVCLASS_BYTES ((size_t)16 << 20)
#define MS_LIMIT_AVCLASS_TAGS ((size_t)16 << 20)

/* A file that is uploaded: VirusTotal takes 650 MB, and 32 MB without asking for a URL of its own
 * (both read as decimal, the smaller reading); guards the memory file it is sent from. */
#define MS_LIMIT_UPLOAD_BYTES ((uint64_t)650000000)
#define MS_LIMIT_UPLOAD_DIRECT_BYTES ((uint64_t)32000000)

/* Engines named in a policy's groups, and the days on which memberships change: guard the tables
 * made of them, which are days times engines. */
#define MS_LIMIT_GROUP_ENGINES 1024
#define MS_LIMIT_GROUP_DAYS 32
/* A policy file: guards the parser. */
#define MS_LIMIT_POLICY_BYTES ((size_t)256 << 10)
/* One file or stream of reports, unpacked, and the processor time for it: guard a run against an
 * endless one. */
#define MS_LIMIT_LABEL_FILE_BYTES ((uint64_t)1 << 42)
#define MS_LIMIT_LABEL_FILE_CPU_S 86400
/* Plain bytes of one file of reports: guards against a bomb without end. */
#define MS_LIMIT_IMPORT_BYTES ((uint64_t)1 << 40)
/* Plain files of reports are read in slices of this many bytes, each within so many CPU seconds; a
 * compressed one, which cannot be entered in its middle, within those of a stream: guard the
 * machine's time. */
#define MS_LIMIT_IMPORT_SLICE_BYTES ((uint64_t)1 << 30)
#define MS_LIMIT_IMPORT_SLICE_CPU_S 300
#define MS_LIMIT_IMPORT_STREAM_CPU_S 21600
/* Records of one file that may kill the process that reads them before the rest of it is left:
 * guards the time spent on reading the others again. */
#define MS_LIMIT_IMPORT_CRASHES 8

/* A password list, repository list or hash list. */
#define MS_LIMIT_LIST_BYTES ((size_t)256 << 20)
/* A secret read from a file. */
#define MS_LIMIT_SECRET_BYTES 4096

/* A checkpoint of a training: its header or the run's record, the whole file, and all finished nets
 * of a run together: guard the reader's memory and the disk. */
#define MS_LIMIT_CHECKPOINT_RECORD_BYTES ((size_t)1 << 20)
#define MS_LIMIT_CHECKPOINT_BYTES ((size_t)8 << 30)
#define MS_LIMIT_CHECKPOINT_KEPT_BYTES ((uint64_t)2 << 30)

/* nightly.conf: guards its parser's memory. */
#define MS_LIMIT_NIGHTLY_CONF_BYTES ((size_t)1 << 20)
/* What a night keeps of what a tool says (its log) and prints (its JSON): guard the disk against a
 * tool that does not stop talking, and the reader of the latter (a training's figures: 1 MB). */
#define MS_LIMIT_NIGHT_LOG_BYTES ((uint64_t)4 << 20)
#define MS_LIMIT_NIGHT_OUTPUT_BYTES ((uint64_t)64 << 20)
/* The record of one night: guards who reads the records of all that are kept. */
#define MS_LIMIT_NIGHT_RECORD_BYTES ((size_t)4 << 20)

/* A net's shape, which a model file may bring from outside; these bound what a forged one can make
 * us allocate: recurrent layers, feature tables, dense layers, classes, the width of any layer,
 * embedding rows, all parameters together (1 GiB of float), tokens of one sequence (activations are
 * kept for every step), sequences in one batch. */
#define MS_LIMIT_NET_RECURRENT 8
#define MS_LIMIT_NET_FEATURES 8
#define MS_LIMIT_NET_DENSES 8
#define MS_LIMIT_NET_CLASSES 1024
#define MS_LIMIT_NET_WIDTH 4096
#define MS_LIMIT_NET_VOCABULARY (1 << 20)
#define MS_LIMIT_NET_PARAMETERS (1 << 28)
#define MS_LIMIT_NET_STEPS (1 << 16)
#define MS_LIMIT_NET_ROWS (1 << 20)
/* Threads of one net. */
#define MS_LIMIT_NET_JOBS 256

#endif
