/* The tables: class words, generic words, engine groups. */
#include "label/taxonomy.h"

#include <pthread.h>
#include <stdlib.h>
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

/* Engines that share a detection engine, a licence or a name. Each line is one group of equals. */
static const char *const engine_table[] = {
    "BitDefender Ad-Aware ALYac Arcabit Emsisoft FireEye Trellix GData",
    "BitDefender MicroWorld-eScan eScan ViRobot",
    "BitDefender VIPRE BitDefenderTheta BitDefenderFalx",
    "VIPRE AVware",
    "Avira AntiVir Avira(nocloud) F-Secure", /* F-Secure: BitDefender until 2018, Avira since */
    "Avast AVG Avast-Mobile",
    "K7AntiVirus K7GW",
    "Kaspersky ZoneAlarm",
    "McAfee McAfee-GW-Edition Skyhigh McAfeeD McAfee+Artemis",
    "Cyren Commtouch F-Prot Varist",
    "ESET-NOD32 NOD32 NOD32v2",
    "Sophos Invincea",
    "Symantec SymantecMobileInsight",
    "TrendMicro TrendMicro-HouseCall",
    "nProtect TACHYON",
    "Agnitum VirusBuster Yandex",
    "CA-eTrust eTrust-Vet TotalDefense",
    "Baidu Baidu-International",
    "Comodo Xcitium",
    "Endgame Elastic",
    "Qihoo-360 360",
};

enum { NAME_BYTES = 40, GROUP_NAMES = 96 };

/* Union-find over the names of the table. */
static struct {
    char key[NAME_BYTES];  /* letters and digits, lower case */
    char name[NAME_BYTES]; /* as written */
    size_t parent;
} names[GROUP_NAMES];
static size_t name_count;

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

/* True when `word` is one of the blank-separated `words`. */
static bool listed(const char *words, const char *word)
{
    size_t n = strlen(word);
    if (n == 0)
        return false;
    for (const char *p = words; (p = strstr(p, word)) != NULL; p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

enum ms_class ms_class_of_token(const char *token)
{
    for (size_t i = 0; i < sizeof class_table / sizeof *class_table; i++)
        if (listed(class_table[i].words, token))
            return class_table[i].class_;
    return MS_CLASS_NONE;
}

enum ms_class ms_class_of_short(const char *token)
{
    if (strcmp(token, "dl") == 0)
        return MS_CLASS_DOWNLOADER;
    if (strcmp(token, "dr") == 0)
        return MS_CLASS_DROPPER;
    return strcmp(token, "tr") == 0 ? MS_CLASS_TROJAN : MS_CLASS_NONE;
}

bool ms_token_is_generic(const char *token)
{
    return listed(generic_words, token);
}

static void make_key(const char *name, size_t n, char key[NAME_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < n && used + 1 < NAME_BYTES; i++) {
        char c = name[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            key[used++] = c;
    }
    key[used] = '\0';
}

static size_t find_name(const char *key)
{
    size_t i = 0;
    while (i < name_count && strcmp(names[i].key, key) != 0)
        i++;
    return i;
}

static size_t root_of(size_t i)
{
    while (names[i].parent != i)
        i = names[i].parent;
    return i;
}

static size_t add_name(const char *name, size_t n)
{
    char key[NAME_BYTES];
    make_key(name, n, key);
    size_t at = find_name(key);
    if (at < name_count || at >= GROUP_NAMES || n >= NAME_BYTES)
        return at < name_count ? at : 0;
    memcpy(names[at].key, key, sizeof key);
    memcpy(names[at].name, name, n);
    names[at].name[n] = '\0';
    names[at].parent = at;
    name_count++;
    return at;
}

static void build_groups(void)
{
    for (size_t line = 0; line < sizeof engine_table / sizeof *engine_table; line++) {
        const char *p = engine_table[line];
        size_t first = 0;
        for (bool leader = true; *p; leader = false) {
            size_t n = strcspn(p, " ");
            size_t at = root_of(add_name(p, n));
            if (leader)
                first = at;
            /* The older name leads, so that the result does not depend on who is asked first. */
            else if (at > first)
                names[at].parent = first;
            else if (at < first) {
                names[first].parent = at;
                first = at;
            }
            p += n;
            p += *p == ' ';
        }
    }
}

const char *ms_engine_group(const char *engine)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char key[NAME_BYTES];
    (void)pthread_once(&once, build_groups);
    make_key(engine, strlen(engine), key);
    size_t at = find_name(key);
    return key[0] && at < name_count ? names[root_of(at)].name : engine;
}
