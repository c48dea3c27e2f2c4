/* --help and the bash completion, made from a tool's table. The man page is made in cli_man.c. */
#include "base/cli_table.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 80, OPTION_COLUMN = 26 };

const char *ms_cli_bytes_text(uint64_t bytes, char out[24])
{
    static const char units[][2] = {"", "K", "M", "G", "T"};
    size_t unit = 0;
    while (bytes && bytes % 1024 == 0 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(out, 24, "%llu%s", (unsigned long long)bytes, units[unit]);
    return out;
}

const char *ms_cli_default_text(const struct ms_option *option, const void *defaults, char *out,
                                size_t n)
{
    char size[24];
    out[0] = '\0';
    if (!defaults || strstr(option->help, "default"))
        return out;
    const void *field = (const char *)defaults + option->offset;
    /* UINT64_MAX: not given, where 0 means something. */
    if (option->kind == MS_OPT_NUMBER && *(const uint64_t *)field &&
        *(const uint64_t *)field != UINT64_MAX)
        (void)snprintf(out, n, " [default: %llu]", (unsigned long long)*(const uint64_t *)field);
    else if (option->kind == MS_OPT_SIZE && *(const uint64_t *)field &&
             *(const uint64_t *)field != UINT64_MAX)
        (void)snprintf(out, n, " [default: %s]", ms_cli_bytes_text(*(const uint64_t *)field, size));
    else if (option->kind == MS_OPT_REAL && *(const double *)field != 0)
        (void)snprintf(out, n, " [default: %g]", *(const double *)field);
    else if ((option->kind == MS_OPT_TEXT || option->kind == MS_OPT_CHOICE) &&
             *(const char *const *)field)
        (void)snprintf(out, n, " [default: %s]", *(const char *const *)field);
    return out;
}

/* Appends words of `text`, broken before column WIDTH; lines after the first start at `indent`.
 * `column` is where the line stands. A newline ends a line; "\n\n" leaves a blank line. */
static void wrap(struct ms_buf *out, const char *text, size_t indent, size_t column)
{
    bool fresh = true;
    for (const char *p = text; *p;) {
        if (*p == '\n') {
            (void)ms_buf_append_byte(out, '\n');
            if (p[1] && p[1] != '\n')
                (void)ms_buf_printf(out, "%*s", (int)indent, "");
            column = indent;
            fresh = true;
            p++;
            continue;
        }
        if (*p == ' ') {
            p++;
            continue;
        }
        size_t n = strcspn(p, " \n");
        size_t width = ms_utf8_width(p, n);
        if (!fresh && column + 1 + width > WIDTH) {
            (void)ms_buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            fresh = true;
        }
        if (!fresh) {
            (void)ms_buf_append_byte(out, ' ');
            column++;
        }
        (void)ms_buf_append(out, p, n);
        column += width;
        fresh = false;
        p += n;
    }
    (void)ms_buf_append_byte(out, '\n');
}

static void option_line(struct ms_buf *out, const struct ms_option *option, const void *defaults)
{
    char head[128], text[1024], value[256];
    const char *arg = option->arg ? option->arg : option->choices;
    char letter[8] = "    ";
    if (option->letter)
        (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
    (void)snprintf(head, sizeof head, "  %s--%s%s%s%s", letter, option->name,
                   !arg                   ? ""
                   : option->arg_optional ? " ["
                                          : " ",
                   arg ? arg : "", arg && option->arg_optional ? "]" : "");
    (void)snprintf(text, sizeof text, "%s%s", option->help,
                   ms_cli_default_text(option, defaults, value, sizeof value));
    (void)ms_buf_append_text(out, head);
    size_t width = ms_utf8_width(head, strlen(head));
    if (width + 2 > OPTION_COLUMN)
        (void)ms_buf_printf(out, "\n%*s", OPTION_COLUMN, "");
    else
        (void)ms_buf_printf(out, "%*s", (int)(OPTION_COLUMN - width), "");
    wrap(out, text, OPTION_COLUMN, OPTION_COLUMN);
}

static void option_lines(struct ms_buf *out, const char *title, const struct ms_option *options,
                         size_t count, const void *defaults)
{
    size_t shown = 0;
    for (size_t i = 0; i < count; i++)
        shown += !options[i].hidden;
    if (shown && title)
        (void)ms_buf_printf(out, "\n%s:\n", title);
    for (size_t i = 0; i < count; i++)
        if (!options[i].hidden)
            option_line(out, &options[i], defaults);
}

static void usage_line(struct ms_buf *out, const struct ms_tool *tool, const struct ms_verb *verb,
                       bool first)
{
    char head[128];
    int n = snprintf(head, sizeof head, "%s%s%s%s ", first ? "usage: " : "       ", tool->name,
                     *verb->name ? " " : "", verb->name);
    (void)ms_buf_append_text(out, head);
    size_t indent = n > 0 ? (size_t)n : 0;
    wrap(out, verb->synopsis && *verb->synopsis ? verb->synopsis : "[OPTION…]", indent, indent);
}

void ms_cli_help(const struct ms_tool *tool, const struct ms_verb *verb, struct ms_buf *out)
{
    struct ms_arena memory;
    ms_arena_init(&memory, 1 << 20);
    bool whole = !verb || !*verb->name;
    if (!verb)
        verb = ms_cli_find_verb(tool, "");
    if (whole) {
        bool first = true;
        for (size_t i = 0; i < tool->verb_count; i++)
            if (!tool->verbs[i].passthrough) {
                usage_line(out, tool, &tool->verbs[i], first);
                first = false;
            }
        (void)ms_buf_append_byte(out, '\n');
        wrap(out, tool->summary, 0, 0);
        (void)ms_buf_append_byte(out, '\n');
        wrap(out, tool->description, 0, 0);
        if (tool->verb_count > 1 || !verb)
            (void)ms_buf_append_text(out, "\nVerbs:\n");
        for (size_t i = 0; i < tool->verb_count; i++)
            if (*tool->verbs[i].name) {
                (void)ms_buf_printf(out, "  %-*s", OPTION_COLUMN - 2, tool->verbs[i].name);
                wrap(out, tool->verbs[i].summary, OPTION_COLUMN, OPTION_COLUMN);
            }
    } else {
        usage_line(out, tool, verb, true);
        (void)ms_buf_append_byte(out, '\n');
        wrap(out, verb->summary, 0, 0);
    }
    if (verb)
        option_lines(out, "Options", verb->options, verb->option_count,
                     ms_cli_new_options(verb, &memory));
    option_lines(out, "Common options", ms_cli_common_options, ms_cli_common_count, NULL);
    option_lines(out, NULL, ms_cli_meta_options, ms_cli_meta_count, NULL);
    if (whole && tool->verb_count > 1) {
        char text[160];
        (void)snprintf(text, sizeof text, "'%s VERB --help' tells more about a verb.", tool->name);
        (void)ms_buf_append_byte(out, '\n');
        wrap(out, text, 0, 0);
    }
    ms_arena_release(&memory);
}

static void option_words(struct ms_buf *out, const struct ms_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!options[i].hidden)
            (void)ms_buf_printf(out, " --%s", options[i].name);
}

/* "--progress) … ;;" for each option with choices; folders and files are completed by bash. */
static void choice_cases(struct ms_buf *out, const struct ms_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!options[i].choices || options[i].hidden)
            continue;
        (void)ms_buf_printf(out, "    --%s) COMPREPLY=($(compgen -W '", options[i].name);
        for (const char *p = options[i].choices; *p; p++)
            (void)ms_buf_append_byte(out, *p == '|' ? ' ' : (uint8_t)*p);
        (void)ms_buf_append_text(out, "' -- \"$cur\")); return ;;\n");
    }
}

void ms_cli_completion(const struct ms_tool *tool, struct ms_buf *out)
{
    (void)ms_buf_printf(out,
                        "# bash completion for %s (malseq); generated from its option table\n"
                        "_malseq_%s() {\n"
                        "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                        "  local first=1 verb options i\n"
                        "  [ \"${COMP_WORDS[0]##*/}\" = malseq ] && [ %s != malseq ] && first=2\n"
                        "  for ((i = first; i < COMP_CWORD; i++)); do\n"
                        "    case ${COMP_WORDS[i]} in\n",
                        tool->name, tool->name, tool->name);
    for (size_t i = 0; i < tool->verb_count; i++)
        if (*tool->verbs[i].name)
            (void)ms_buf_printf(out, "    %s) verb=%s; break ;;\n", tool->verbs[i].name,
                                tool->verbs[i].name);
    (void)ms_buf_append_text(out, "    *) ;;\n    esac\n  done\n");
    for (size_t i = 0; i < tool->verb_count; i++)
        if (tool->verbs[i].passthrough)
            (void)ms_buf_printf(
                out,
                "  if [ \"$verb\" = %s ]; then\n"
                "    declare -F _malseq_%s >/dev/null ||\n"
                "      source \"${BASH_SOURCE[0]%%/*}/malseq-%s\" 2>/dev/null\n"
                "    declare -F _malseq_%s >/dev/null && { _malseq_%s; return; }\n  fi\n",
                tool->verbs[i].name, tool->verbs[i].name, tool->verbs[i].name, tool->verbs[i].name,
                tool->verbs[i].name);
    (void)ms_buf_append_text(out, "  case $prev in\n");
    choice_cases(out, ms_cli_common_options, ms_cli_common_count);
    for (size_t i = 0; i < tool->verb_count; i++)
        choice_cases(out, tool->verbs[i].options, tool->verbs[i].option_count);
    (void)ms_buf_append_text(out, "    *) ;;\n  esac\n  case $verb in\n");
    for (size_t i = 0; i < tool->verb_count; i++) {
        const struct ms_verb *verb = &tool->verbs[i];
        (void)ms_buf_printf(out, "    '%s') options='", verb->name);
        option_words(out, verb->options, verb->option_count);
        (void)ms_buf_append_text(out, "' ;;\n");
    }
    (void)ms_buf_append_text(out, "    *) ;;\n  esac\n  options+='");
    option_words(out, ms_cli_common_options, ms_cli_common_count);
    option_words(out, ms_cli_meta_options, ms_cli_meta_count);
    (void)ms_buf_append_text(out, "'\n  [ -z \"$verb\" ] && ((COMP_CWORD == first)) && options+='");
    for (size_t i = 0; i < tool->verb_count; i++)
        if (*tool->verbs[i].name)
            (void)ms_buf_printf(out, " %s", tool->verbs[i].name);
    (void)ms_buf_printf(out,
                        "'\n  COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                        "}\ncomplete -o default -F _malseq_%s %s\n",
                        tool->name, tool->name);
}
