/* Options that several verbs of label have, for their tables. */
#ifndef MS_LABEL_OPTIONS_H
#define MS_LABEL_OPTIONS_H

#include "label/session.h"

#include <stddef.h>

#define FIELD(name) offsetof(struct ms_label_options, name)

#define KEY_OPTION                                                                             \
    {                                                                                          \
        .name = "vt-key", .kind = MS_OPT_SECRET, .arg = "SECRET", .arg_optional = true,        \
        .offset = FIELD(vt_key),                                                               \
        .help = "the VirusTotal key: @FILE, env:NAME or the key itself; without a value, and " \
                "without the option, $VT_API_KEY"                                              \
    }
#define URL_OPTION                                                                                 \
    {                                                                                              \
        .name = "vt-url", .kind = MS_OPT_TEXT, .arg = "URL", .offset = FIELD(vt_url),              \
        .help = "base URL of the service (default: https://www.virustotal.com/api/v3); https, or " \
                "http on loopback"                                                                 \
    }
#define USER_OPTION                                                                                \
    {                                                                                              \
        .name = "vt-user", .kind = MS_OPT_TEXT, .arg = "ID", .offset = FIELD(vt_user),             \
        .help =                                                                                    \
            "the account's id, for reading its quota (default: $VT_USER; without it: 4 a minute, " \
            "500 a day, 15500 a month)"                                                            \
    }
#define POLICY_OPTION                                                                           \
    {                                                                                           \
        .name = "policy", .kind = MS_OPT_TEXT, .arg = "NAME|FILE", .offset = FIELD(policy),     \
        .help =                                                                                 \
            "how engines become a verdict: ember2024 (the default), sophos-1-5, ember2017, "    \
            "ratio30, malapi2019, or a file of one's own (a name with '/', or ending in .json)" \
    }
#define AVCLASS_OPTION                                                                             \
    {                                                                                              \
        .name = "avclass-data", .kind = MS_OPT_TEXT, .arg = "DIR", .offset = FIELD(avclass_data),  \
        .help = "folder with AVClass's data files, which families are found by (default: avclass " \
                "in the corpus, if it is there)"                                                   \
    }

#define UNTIL_OPTION                                                                               \
    {                                                                                              \
        .name = "until", .kind = MS_OPT_TEXT, .arg = "HH:MM", .offset = FIELD(until),              \
        .help = "send no request after this time of day (UTC); a quota spent before it is waited " \
                "for when "                                                                        \
                "it comes back before it"                                                          \
    }

#endif
