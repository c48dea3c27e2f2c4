/* Curves over the nights, for the page of one. Shows records; judges nothing. */
#include "malseq/nightly.h"

#include "base/chart.h"
#include "base/json.h"
#include "base/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nights in a curve; models that get one. */
enum { CURVE_NIGHTS = 90, CURVE_MODELS = 6 };

json_int_t malseq_night_count(const json_t *record, const char *map, const char *section,
                              const char *name)
{
    json_t *part = json_object_get(json_object_get(record, map), section);
    return json_integer_value(json_object_get(part, name));
}

json_int_t malseq_night_sum(const json_t *record, const char *map, const char *section)
{
    json_t *part = json_object_get(json_object_get(record, map), section), *count;
    const char *name;
    json_int_t sum = 0;
    json_object_foreach(part, name, count) sum += json_integer_value(count);
    return sum;
}

struct curves {
    const json_t *nights[CURVE_NIGHTS]; /* oldest first; the last one is tonight */
    size_t count;
    double x[CURVE_NIGHTS], y[4][CURVE_NIGHTS];
};

static double figure_of(const json_t *night, const char *model, const char *key)
{
    json_t *m;
    size_t i;
    json_array_foreach(json_object_get(night, "models"), i, m)
    {
        json_t *value = json_object_get(m, key);
        if (strcmp(ms_json_string_at(m, "model", ""), model) == 0 && json_is_number(value))
            return json_number_value(value);
    }
    return NAN;
}

static void draw(struct curves *self, const char *title, const char *y_label, double y_max,
                 struct ms_chart_series *series, size_t count, struct ms_buf *out)
{
    for (size_t s = 0; s < count; s++) {
        series[s].x = self->x;
        series[s].y = self->y[s];
        series[s].count = self->count;
        series[s].dots = self->count < 40;
    }
    const struct ms_chart chart = {.title = title,
                                   .x_label = "night",
                                   .y_label = y_label,
                                   .x_min = self->x[0],
                                   .x_max = self->x[self->count - 1],
                                   .y_min = 0,
                                   .y_max = y_max,
                                   .x_whole = true,
                                   .level = NAN,
                                   .series = series,
                                   .series_count = count};
    ms_page_put(out, "<section><h2>");
    ms_html_text(title, out);
    ms_page_put(out, "</h2>");
    ms_chart_legend(series, count, out);
    ms_chart_draw(&chart, out);
    ms_page_put(out, "</section>\n");
}

static void draw_model(struct curves *self, const char *model, struct ms_buf *out)
{
    static const char *const keys[4] = {"accuracy", "majority_accuracy", "macro_f1", "auc"};
    struct ms_chart_series series[4] = {{.name = "accuracy", .style = "a"},
                                        {.name = "majority class", .style = "b"},
                                        {.name = "macro-F1", .style = "c"},
                                        {.name = "AUC", .style = "d"}};
    char title[128];
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < self->count; i++)
            self->y[k][i] = figure_of(self->nights[i], model, keys[k]);
    (void)snprintf(title, sizeof title, "%.80s over the nights", model);
    draw(self, title, "of the traces judged", 1, series, 4, out);
}

static void draw_growth(struct curves *self, struct ms_buf *out)
{
    struct ms_chart_series series[3] = {{.name = "samples", .style = "a"},
                                        {.name = "labels", .style = "b"},
                                        {.name = "traces", .style = "c"}};
    double most = 1;
    for (size_t i = 0; i < self->count; i++) {
        self->y[0][i] = (double)malseq_night_count(self->nights[i], "census", "samples", "all");
        self->y[1][i] = (double)malseq_night_sum(self->nights[i], "census", "labels");
        self->y[2][i] = (double)malseq_night_count(self->nights[i], "census", "analyses", "ok");
        for (size_t s = 0; s < 3; s++)
            most = fmax(most, self->y[s][i]);
    }
    draw(self, "The corpus over the nights", "how many", most, series, 3, out);
}

/* Without what is free: beside that, a corpus is a line along the axis. */
static void draw_disk(struct curves *self, struct ms_buf *out)
{
    static const char *const keys[3] = {"disk.database_bytes", "disk.samples_bytes",
                                        "disk.reports_bytes"};
    struct ms_chart_series series[3] = {{.name = "database", .style = "a"},
                                        {.name = "samples", .style = "b"},
                                        {.name = "reports", .style = "c"}};
    double most = 1e6;
    for (size_t i = 0; i < self->count; i++)
        for (size_t k = 0; k < 3; k++)
            most = fmax(most, (double)ms_json_int_at(self->nights[i], keys[k], 0));
    double unit = most < 1e9 ? 1e6 : 1e9;
    for (size_t i = 0; i < self->count; i++)
        for (size_t k = 0; k < 3; k++)
            self->y[k][i] = (double)ms_json_int_at(self->nights[i], keys[k], 0) / unit;
    draw(self, "The disk over the nights", unit < 1e9 ? "MB" : "GB", most / unit, series, 3, out);
}

void malseq_night_curves(const json_t *record, const json_t *history, struct ms_buf *out)
{
    struct curves *self = calloc(1, sizeof *self);
    size_t all = json_array_size(history), first = 0;
    json_t *model;
    size_t i;
    if (!self) {
        out->failed = true;
        return;
    }
    first = all > CURVE_NIGHTS - 1 ? all - (CURVE_NIGHTS - 1) : 0;
    for (i = first; i < all; i++)
        self->nights[self->count++] = json_array_get(history, i);
    self->nights[self->count++] = record;
    for (i = 0; i < self->count; i++)
        self->x[i] = (double)ms_json_int_at(self->nights[i], "night", 0);
    ms_page_put(out, "<div class=\"two\">\n");
    json_array_foreach(json_object_get(record, "models"), i, model) if (i < CURVE_MODELS)
        draw_model(self, ms_json_string_at(model, "model", "?"), out);
    draw_growth(self, out);
    draw_disk(self, out);
    ms_page_put(out, "</div>\n");
    free(self);
}
