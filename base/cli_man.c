/* The man page (mdoc) of a tool, made from its table. */
#include "base/cli_table.h"
#include "base/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Text as roff wants it: backslashes and dashes escaped, other than ASCII by number, a control
 * character at the start of a line made harmless. Newlines pass. */
static void roff(struct ms_buf *out, const char *text)
{
    bool start = true;
    for (const char *p = text; *p;) {
        uint32_t code = 0;
        size_t n = ms_utf8_decode((const uint8_t *)p, strlen(p), &code);
        if (start && (*p == '.' || *p == '\''))
            (void)ms_buf_append_text(out, "\\&");
        start = *p == '\n';
        if (*p == '\\')
            (void)ms_buf_append_text(out, "\\e");
        else if (*p == '-')
            (void)ms_buf_append_text(out, "\\-");
        else if (n > 1)
            (void)ms_buf_printf(out, "\\[u%04X]", (unsigned)code);
        else
            (void)ms_buf_append_byte(out, (uint8_t)*p);
        p += n ? n : 1;
    }
}

/* One word as a macro's argument: quoted, so that it is neither split nor taken for a macro. */
static void macro_arg(struct ms_buf *out, const char *text)
{
    char word[256];
    size_t n = 0;
    for (const char *p = text; *p && n + 2 < sizeof word; p++) {
        if (*p == '"')
            word[n++] = '"';
        word[n++] = *p;
    }
    word[n] = '\0';
    (void)ms_buf_append_text(out, "\"\\&");
    roff(out, word);
    (void)ms_buf_append_byte(out, '"');
}

/* Sentences and paragraphs: each blank line becomes .Pp, each sentence a line of its own. */
static void paragraphs(struct ms_buf *out, const char *text)
{
    struct ms_buf part;
    ms_buf_init(&part, 1 << 20);
    for (const char *p = text; *p; p++) {
        if (p[0] == '\n' && p[1] == '\n') {
            roff(out, ms_buf_text(&part));
            (void)ms_buf_append_text(out, "\n.Pp\n");
            ms_buf_clear(&part);
            p++;
        } else if (p[0] == ' ' && p > text && strchr(".:;?", p[-1]) &&
                   isupper((unsigned char)p[1])) {
            (void)ms_buf_append_byte(&part, '\n');
        } else if (!(p[0] == ' ' && (p[1] == '\n' || p[1] == '\0'))) {
            (void)ms_buf_append_byte(&part, (uint8_t)*p);
        }
    }
    roff(out, ms_buf_text(&part));
    (void)ms_buf_append_byte(out, '\n');
    ms_buf_release(&part);
}

static void option_items(struct ms_buf *out, const struct ms_option *options, size_t count,
                         const void *defaults)
{
    bool any = false;
    for (size_t i = 0; i < count; i++)
        any = any || !options[i].hidden;
    if (!any)
        return;
    (void)ms_buf_append_text(out, ".Bl -tag -width Ds\n");
    for (size_t i = 0; i < count; i++) {
        const struct ms_option *option = &options[i];
        const char *arg = option->arg ? option->arg : option->choices;
        char value[256];
        if (option->hidden)
            continue;
        (void)ms_buf_append_text(out, ".It ");
        if (option->letter)
            (void)ms_buf_printf(out, "Fl %c , ", option->letter);
        (void)ms_buf_append_text(out, "Fl \"\\-");
        roff(out, option->name);
        (void)ms_buf_append_byte(out, '"');
        if (arg) {
            (void)ms_buf_append_text(out, option->arg_optional ? " Op Ar " : " Ar ");
            macro_arg(out, arg);
        }
        (void)ms_buf_append_byte(out, '\n');
        roff(out, option->help);
        roff(out, ms_cli_default_text(option, defaults, value, sizeof value));
        (void)ms_buf_append_text(out, ".\n");
    }
    (void)ms_buf_append_text(out, ".El\n");
}

/* Its page goes by its name; the tools' by malseq-TOOL, for that is how they are installed always,
 * and `malseq TOOL` is what works wherever they are. */
static bool is_umbrella(const struct ms_tool *tool)
{
    return strcmp(tool->name, "malseq") == 0;
}

static void synopsis(struct ms_buf *out, const struct ms_tool *tool)
{
    (void)ms_buf_append_text(out, ".Sh SYNOPSIS\n");
    for (size_t i = 0; i < tool->verb_count; i++) {
        const struct ms_verb *verb = &tool->verbs[i];
        (void)ms_buf_printf(out, ".Nm \"%s%s\"\n", is_umbrella(tool) ? "" : "malseq ", tool->name);
        if (*verb->name) {
            (void)ms_buf_append_text(out, ".Cm ");
            macro_arg(out, verb->name);
            (void)ms_buf_append_byte(out, '\n');
        }
        roff(out, verb->synopsis && *verb->synopsis ? verb->synopsis : "[OPTION…]");
        (void)ms_buf_append_byte(out, '\n');
    }
}

static void options_section(struct ms_buf *out, const struct ms_tool *tool, struct ms_arena *memory)
{
    (void)ms_buf_append_text(out, ".Sh OPTIONS\n");
    for (size_t i = 0; i < tool->verb_count; i++) {
        const struct ms_verb *verb = &tool->verbs[i];
        if (*verb->name) {
            (void)ms_buf_printf(out, ".Ss ");
            macro_arg(out, tool->name);
            (void)ms_buf_append_byte(out, ' ');
            macro_arg(out, verb->name);
            (void)ms_buf_append_byte(out, '\n');
        }
        if (*verb->name || verb->option_count) {
            paragraphs(out, verb->summary);
            option_items(out, verb->options, verb->option_count, ms_cli_new_options(verb, memory));
        }
    }
    (void)ms_buf_append_text(out, ".Ss Common options\n");
    option_items(out, ms_cli_common_options, ms_cli_common_count, NULL);
    option_items(out, ms_cli_meta_options, ms_cli_meta_count, NULL);
}

static const char environment[] =
    ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
    ".It Ev MALSEQ_CORPUS\nThe corpus folder when\n.Fl \"\\-corpus\"\nis not given.\n"
    ".It Ev GITHUB_TOKEN , VT_API_KEY , CUCKOO_TOKEN\n"
    "Secrets used when the option for them has no value.\n.El\n";

static const char exit_status[] =
    ".Sh EXIT STATUS\n.Bl -tag -width Ds -compact\n"
    ".It 0\nDone.\n"
    ".It 1\nDone, with findings: something malicious, or some records rejected.\n"
    ".It 2\nThe command line makes no sense.\n"
    ".It 3\nBad input.\n"
    ".It 4\nFile system, database or output failed.\n"
    ".It 5\nA remote service failed.\n"
    ".It 70\nA bug.\n"
    ".It 75\nTry again later: quota spent, rate limited, or another run holds the corpus.\n.El\n";

/* "# what it does" lines become text, others literal commands. */
static void examples(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append_text(out, ".Sh EXAMPLES\n");
    bool first = true;
    for (const char *p = text; *p;) {
        char line[512];
        size_t n = strcspn(p, "\n");
        (void)snprintf(line, sizeof line, "%.*s", (int)(n < 511 ? n : 511), p);
        if (line[0] == '#') {
            (void)ms_buf_append_text(out, first ? "" : ".Pp\n");
            roff(out, line + 1 + strspn(line + 1, " "));
            (void)ms_buf_append_text(out, ":\n");
        } else if (line[0]) {
            (void)ms_buf_append_text(out, ".Dl ");
            macro_arg(out, line);
            (void)ms_buf_append_byte(out, '\n');
        }
        first = false;
        p += n + (p[n] == '\n');
    }
}

void ms_cli_man(const struct ms_tool *tool, struct ms_buf *out)
{
    static const char *const pages[] = {"malseq",         "malseq-collect", "malseq-detect",
                                        "malseq-extract", "malseq-label",   "malseq-train"};
    struct ms_arena memory;
    char page[64];
    (void)snprintf(page, sizeof page, "%s%s", is_umbrella(tool) ? "" : "malseq-", tool->name);
    ms_arena_init(&memory, 1 << 20);
    (void)ms_buf_append_text(out, ".Dd " MS_VERSION_DATE "\n.Dt ");
    for (const char *p = page; *p; p++)
        (void)ms_buf_append_byte(out, (uint8_t)toupper((unsigned char)*p));
    (void)ms_buf_printf(out, " 1\n.Os malseq\n.Sh NAME\n.Nm %s\n.Nd ", page);
    roff(out, tool->summary);
    (void)ms_buf_append_byte(out, '\n');
    synopsis(out, tool);
    (void)ms_buf_append_text(out, ".Sh DESCRIPTION\n");
    paragraphs(out, tool->description);
    if (!is_umbrella(tool))
        (void)ms_buf_printf(out,
                            ".Pp\nWhere malseq's tools are installed under their bare names too,\n"
                            ".Ql %s\nalone is the same program.\n",
                            tool->name);
    options_section(out, tool, &memory);
    (void)ms_buf_append_text(out, environment);
    (void)ms_buf_append_text(out, exit_status);
    if (tool->examples)
        examples(out, tool->examples);
    (void)ms_buf_append_text(out, ".Sh SEE ALSO\n");
    const char *last = strcmp(tool->name, "train") == 0 ? "malseq-label" : "malseq-train";
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (strcmp(pages[i], page) != 0)
            (void)ms_buf_printf(out, ".Xr %s 1%s\n", pages[i],
                                strcmp(pages[i], last) == 0 ? "" : " ,");
    ms_arena_release(&memory);
}
