/* The tables: class words, generic words, VirusTotal's categories. */
#include "label/taxonomy.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

static const char *const class_names[] = {
    "Adware",     "Backdoor", "Downloader", "Dropper", "Spyware", "Trojan", "Virus", "Worm",
    "Ransomware", "Miner",    "Exploit",    "Rootkit", "Tool",    "PUA",    "none"};

struct class_words {
    enum ms_class class_;
    const char *words; /* separated by blanks */
};

/* Vendors' spellings, as seen in their labels: Symantec's Infostealer, Sophos's Bckdr and DwnLdr,
 * DrWeb's MulDrop, Trend Micro's BKDR and TSPY, Avast's [Wrm], Fortinet's bdr and dldr. */
static const struct class_words class_table[] = {
    {MS_CLASS_ADWARE, "adware adw adwares"},
    {MS_CLASS_BACKDOOR, "backdoor bdoor bkdr bckdr bck bds bdr rat backdr trojanbackdoor"},
    {MS_CLASS_DOWNLOADER, "downloader dldr dwnldr dloader downldr dload trojandownloader "
                          "trojdownloader trojdown downloade webdownloader"},
    {MS_CLASS_DROPPER,
     "dropper drp drop muldrop mdrop trojandropper trojdropper dropped multidropper"},
    {MS_CLASS_SPYWARE, "spyware spy trojanspy tspy pws psw pwstealer pwsteal infostealer stealer "
                       "infosteal passwordstealer keylogger keylog keylogr trojanpsw trojanpws "
                       "spywares trojanstealer"},
    {MS_CLASS_TROJAN, "trojan trj troj trojware trojanx trojans"},
    {MS_CLASS_VIRUS, "virus infector fileinfector virusx viruses"},
    {MS_CLASS_WORM, "worm wrm emailworm networm imworm worms networm mailworm"},
    {MS_CLASS_RANSOMWARE, "ransom ransomware filecoder trojanransom cryptolocker"},
    {MS_CLASS_MINER, "miner coinminer bitcoinminer coinmine btcmine bitminer"},
    {MS_CLASS_EXPLOIT, "exploit expl exp"},
    {MS_CLASS_ROOTKIT, "rootkit rtk rkit"},
    {MS_CLASS_TOOL, "hacktool virtool htool hktl hackingtool"},
    {MS_CLASS_PUA, "pua pup puadlmanager grayware greyware riskware unwanted applicunwnt unwnt "
                   "notavirus potentiallyunwanted bundler softwarebundler"},
};

static const char generic_words[] =
    " agen agent aidetect aidetectmalware aidetectvm android apple applic application "
    "artemis aspack attribute auto autoit autorun banker barys based batch behav "
    "behaveslike behavior behavioral bitcoin bundle certificate clicker cloud cloudkit "
    "code cognitive com confidence cryp crypt cryptor cryptx damaged dangerous "
    "dangerousobject data delf delphi detect detected detection dialer doina dos dotnet "
    "downware eldorado email encoder evasion exec executable execute fake fakealert file "
    "filerepmalware filerepmetagen files flooder fraud fraudtool fugrafa game gamethief "
    "gametool gen gena generic generickd generickdz genericml genericr genericrxaa "
    "genetic genkryptik genome graftor grp heur heuristic heuristics high highconfidence "
    "hint html http hybrid image inject injected injector injuke install installer java "
    "javascript jorik js junk kazy krypt kryptik lazy likely linux loader lockscreen "
    "lookslike low macro mal malcode maldet malicious maliciousmoderate malob malpack "
    "malware mass memory metagen midie mikey mint ml moderate modif modified modular "
    "msil multi name nsis obfus obfuscated obfuscator object office online optional "
    "other outbreak overlay pack packed packer packers patch patched pe plock "
    "polymorphic possible possiblethreat prg program protector pwsx quarantine razy "
    "reputation risk rogue save score script self server shell sig siggen small software "
    "startpage static strictor strong subtype susgen suspect suspected suspic suspicious "
    "swf symmi system tedy test themida tool tools trojangen type ulise uncertain "
    "unclassified undef unknown unsafe unsafeai unwaders upx ursu variant variants vb "
    "vbcrypt vbinject vbkrypt vbs vmprotect win windows wine with xpack xpacker yakbeex "
    "zada zard zero zusy ";

/* All words in one hash table, made once. */
enum { WORD_SLOTS = 2048, GENERIC = MS_CLASS_COUNT + 1 };

static struct {
    const char *text;     /* into the tables above; NULL: free */
    uint8_t len, meaning; /* a class, or GENERIC */
} words[WORD_SLOTS];

const char *ms_class_name(enum ms_class class_)
{
    return (unsigned)class_ <= MS_CLASS_NONE ? class_names[class_] : "none";
}

enum ms_class ms_class_by_name(const char *name)
{
    for (int i = 0; i < MS_CLASS_COUNT; i++)
        if (strcasecmp(name, class_names[i]) == 0)
            return (enum ms_class)i;
    return strcasecmp(name, "worms") == 0 ? MS_CLASS_WORM : MS_CLASS_NONE;
}

bool ms_class_is_weak(enum ms_class class_)
{
    return class_ == MS_CLASS_TROJAN || class_ == MS_CLASS_PUA;
}

uint32_t ms_word_hash(const char *text, size_t n)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < n; i++)
        hash = ms_word_hash_byte(hash, text[i]);
    return hash;
}

static size_t slot_of(const char *text, size_t n, uint32_t hash)
{
    size_t slot = (hash ^ hash >> 15) % WORD_SLOTS;
    while (words[slot].text && (words[slot].len != n || memcmp(words[slot].text, text, n) != 0))
        slot = (slot + 1) % WORD_SLOTS;
    return slot;
}

/* The first meaning of a word holds. */
static void add_words(const char *list, int meaning)
{
    for (const char *p = list + strspn(list, " "); *p;) {
        size_t n = strcspn(p, " "), slot = slot_of(p, n, ms_word_hash(p, n));
        if (!words[slot].text) {
            words[slot].text = p;
            words[slot].len = (uint8_t)n;
            words[slot].meaning = (uint8_t)meaning;
        }
        p += n;
        p += strspn(p, " ");
    }
}

static void build_words(void)
{
    for (size_t i = 0; i < sizeof class_table / sizeof *class_table; i++)
        add_words(class_table[i].words, (int)class_table[i].class_);
    add_words(generic_words, GENERIC);
}

enum ms_class ms_word_find(const char *token, size_t n, uint32_t hash, bool *generic)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, build_words);
    size_t slot = slot_of(token, n, hash);
    *generic = words[slot].text && words[slot].meaning == GENERIC;
    return words[slot].text && !*generic ? (enum ms_class)words[slot].meaning : MS_CLASS_NONE;
}

enum ms_class ms_class_of_short(const char *token)
{
    if (strcmp(token, "dl") == 0)
        return MS_CLASS_DOWNLOADER;
    if (strcmp(token, "dr") == 0)
        return MS_CLASS_DROPPER;
    return strcmp(token, "tr") == 0 ? MS_CLASS_TROJAN : MS_CLASS_NONE;
}

enum ms_class ms_class_of_vt_category(const char *category)
{
    static const struct {
        const char *word;
        enum ms_class class_;
    } map[] = {{"adware", MS_CLASS_ADWARE},
               {"downloader", MS_CLASS_DOWNLOADER},
               {"dropper", MS_CLASS_DROPPER},
               {"hacktool", MS_CLASS_TOOL},
               {"miner", MS_CLASS_MINER},
               {"pua", MS_CLASS_PUA},
               {"ransomware", MS_CLASS_RANSOMWARE},
               {"spyware", MS_CLASS_SPYWARE},
               {"trojan", MS_CLASS_TROJAN},
               {"virus", MS_CLASS_VIRUS},
               {"worm", MS_CLASS_WORM}};
    for (size_t i = 0; category && i < sizeof map / sizeof *map; i++)
        if (strcmp(category, map[i].word) == 0)
            return map[i].class_;
    return MS_CLASS_NONE;
}

void ms_taxonomy_describe(struct ms_buf *out)
{
    (void)ms_buf_printf(out, "taxonomy %d\n", MS_TAXONOMY_VERSION);
    for (size_t i = 0; i < sizeof class_table / sizeof *class_table; i++)
        (void)ms_buf_printf(out, "%s: %s\n", ms_class_name(class_table[i].class_),
                            class_table[i].words);
    (void)ms_buf_printf(out, "generic:%s\n", generic_words);
}
