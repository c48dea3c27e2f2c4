/* The summary of a night as text for people. Shows the record; computes nothing. */
#include "malseq/nightly.h"

#include "base/json.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static void put(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append_text(out, text);
}

static void put_escaped(struct ms_buf *out, const char *text)
{
    (void)ms_escape(out, text, strlen(text));
}

/* A member as text that is safe on a terminal, in `shown`. */
static const char *safe(const json_t *object, const char *key, char shown[128])
{
    return ms_escape_text(ms_json_string_at(object, key, "?"), shown, 128);
}

static void put_steps(const json_t *record, struct ms_buf *out)
{
    char name[128], state[128];
    json_t *step;
    size_t i;
    json_array_foreach(json_object_get(record, "steps"), i, step)
    {
        const char *why = ms_json_string_at(step, "why", NULL);
        (void)ms_buf_printf(out, "%-18s %-10s %8.1f s", safe(step, "step", name),
                            safe(step, "state", state),
                            json_number_value(json_object_get(step, "seconds")));
        if (why) {
            put(out, "  ");
            put_escaped(out, why);
        }
        const char *until = ms_json_string_at(step, "resume_at", NULL);
        (void)ms_buf_printf(out, "%s%s\n", until ? "; try again at " : "", until ? until : "");
    }
}

/* "  samples   all +60, vaulted +60". */
static void put_new(const json_t *record, struct ms_buf *out)
{
    static const char *const shown[] = {"samples", "blobs",    "origins", "lookups",
                                        "labels",  "analyses", "traces",  "requests today"};
    json_t *all = json_object_get(record, "new");
    bool any = false;
    for (size_t s = 0; s < sizeof shown / sizeof *shown; s++) {
        json_t *part = json_object_get(all, shown[s]), *count;
        const char *name, *before = "";
        if (!json_object_size(part))
            continue;
        (void)ms_buf_printf(out, "%s%-16s", any ? "" : "\nWhat changed\n", shown[s]);
        json_object_foreach(part, name, count)
        {
            put(out, before);
            put_escaped(out, name);
            (void)ms_buf_printf(out, " %+lld", (long long)json_integer_value(count));
            before = ", ";
        }
        put(out, "\n");
        any = true;
    }
    put(out, any ? "" : "\nNothing new.\n");
}

static void put_failures(const json_t *record, struct ms_buf *out)
{
    char what[128], state[128];
    json_t *failure;
    size_t i;
    json_array_foreach(json_object_get(record, "failures"), i, failure)
    {
        const char *reason = ms_json_string_at(failure, "reason", NULL);
        (void)ms_buf_printf(out, "%s%8lld  %-9s %s", i ? "" : "\nWhat failed\n",
                            (long long)ms_json_int_at(failure, "count", 0),
                            safe(failure, "what", what), safe(failure, "state", state));
        if (reason) {
            put(out, ": ");
            put_escaped(out, reason);
        }
        put(out, "\n");
    }
}

static void put_models(const json_t *record, struct ms_buf *out)
{
    json_t *model;
    size_t i;
    json_array_foreach(json_object_get(record, "models"), i, model)
    {
        put(out, i ? "" : "\nModels\n");
        put_escaped(out, ms_json_string_at(model, "model", "?"));
        (void)ms_buf_printf(
            out, ": accuracy %.3f [%.3f, %.3f], majority class %.3f, %lld traces%s\n",
            json_number_value(json_object_get(model, "accuracy")),
            json_number_value(json_object_get(model, "accuracy_low")),
            json_number_value(json_object_get(model, "accuracy_high")),
            json_number_value(json_object_get(model, "majority_accuracy")),
            (long long)ms_json_int_at(model, "samples", 0),
            json_is_true(json_object_get(model, "trained")) ? "; trained anew" : "");
    }
}

void malseq_night_text(const json_t *record, struct ms_buf *out)
{
    char shown[128], ended[128];
    json_t *quota;
    size_t i;
    (void)ms_buf_printf(out, "Night %lld, %s to %s\n\n",
                        (long long)ms_json_int_at(record, "night", 0),
                        safe(record, "started", shown), safe(record, "ended", ended));
    put_steps(record, out);
    put_new(record, out);
    put_failures(record, out);
    put_models(record, out);
    put(out, "\n");
    json_array_foreach(json_object_get(record, "quota"), i, quota)
    {
        (void)ms_buf_printf(out, "VirusTotal key %s: %lld requests today",
                            safe(quota, "key", shown),
                            (long long)ms_json_int_at(quota, "used_today", 0));
        if (ms_json_int_at(quota, "allowed_a_day", -1) >= 0)
            (void)ms_buf_printf(out, " of %lld",
                                (long long)ms_json_int_at(quota, "allowed_a_day", 0));
        put(out, "\n");
    }
    (void)ms_buf_printf(out,
                        "Disk: %.1f GB free of %.1f GB; database %.1f MB, samples %.1f MB, reports "
                        "%.1f MB\n",
                        (double)ms_json_int_at(record, "disk.free_bytes", 0) / 1e9,
                        (double)ms_json_int_at(record, "disk.total_bytes", 0) / 1e9,
                        (double)ms_json_int_at(record, "disk.database_bytes", 0) / 1e6,
                        (double)ms_json_int_at(record, "disk.samples_bytes", 0) / 1e6,
                        (double)ms_json_int_at(record, "disk.reports_bytes", 0) / 1e6);
}
