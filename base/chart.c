/* The drawing of line charts, and HTML escaping. */
#include "base/chart.h"

#include "base/log.h"

#include <math.h>
#include <string.h>

/* The canvas and the plot inside it, in SVG units. */
static const double WIDTH = 480, HEIGHT = 290, LEFT = 52, RIGHT = 470, TOP = 34, BOTTOM = 246;

void ms_html_text(const char *text, struct ms_buf *out)
{
    struct ms_buf plain;
    ms_buf_init(&plain, SIZE_MAX / 2);
    (void)ms_escape(&plain, text, strlen(text));
    out->failed = out->failed || plain.failed;
    for (const char *c = ms_buf_text(&plain); *c; c++) {
        const char *reference = *c == '&'    ? "&amp;"
                                : *c == '<'  ? "&lt;"
                                : *c == '>'  ? "&gt;"
                                : *c == '"'  ? "&quot;"
                                : *c == '\'' ? "&#39;"
                                             : NULL;
        if (reference)
            (void)ms_buf_append_text(out, reference);
        else
            (void)ms_buf_append_byte(out, (uint8_t)*c);
    }
    ms_buf_release(&plain);
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double at_x(const struct ms_chart *c, double x)
{
    double share = c->x_max > c->x_min ? (x - c->x_min) / (c->x_max - c->x_min) : .5;
    return LEFT + clamp(share, 0, 1) * (RIGHT - LEFT);
}

static double at_y(const struct ms_chart *c, double y)
{
    double share = c->y_max > c->y_min ? (y - c->y_min) / (c->y_max - c->y_min) : .5;
    return BOTTOM - clamp(share, 0, 1) * (BOTTOM - TOP);
}

/* A round step (1, 2 or 5 times a power of ten) that gives about `ticks` of them. */
static double round_step(double range, int ticks, bool whole)
{
    double raw = range / ticks, power = pow(10, floor(log10(raw > 0 ? raw : 1)));
    double part = raw / power;
    double step = (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10) * power;
    return whole && step < 1 ? 1 : step;
}

static void text_at(struct ms_buf *out, double x, double y, const char *anchor, const char *style,
                    const char *text)
{
    (void)ms_buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y,
                        anchor, style);
    ms_html_text(text, out);
    (void)ms_buf_append_text(out, "</text>\n");
}

static void line(struct ms_buf *out, double x1, double y1, double x2, double y2, const char *style)
{
    (void)ms_buf_printf(out,
                        "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n",
                        x1, y1, x2, y2, style);
}

static void number(char out[32], double x)
{
    (void)snprintf(out, 32, "%.4g", fabs(x) < 1e-9 ? 0 : x);
}

static void draw_axes(const struct ms_chart *c, struct ms_buf *out)
{
    char label[32];
    double step = round_step(c->y_max - c->y_min, 5, false);
    double first = ceil(c->y_min / step - 1e-9);
    for (unsigned i = 0; (first + i) * step <= c->y_max + step * 1e-6; i++) {
        double y = (first + i) * step;
        line(out, LEFT, at_y(c, y), RIGHT, at_y(c, y), "grid");
        number(label, y);
        text_at(out, LEFT - 7, at_y(c, y) + 4, "end", "tick", label);
    }
    step = round_step(c->x_max - c->x_min, 8, c->x_whole);
    first = ceil(c->x_min / step - 1e-9);
    for (unsigned i = 0; (first + i) * step <= c->x_max + step * 1e-6; i++) {
        double x = (first + i) * step;
        line(out, at_x(c, x), BOTTOM, at_x(c, x), BOTTOM + 4, "axis");
        number(label, x);
        text_at(out, at_x(c, x), BOTTOM + 17, "middle", "tick", label);
    }
    line(out, LEFT, BOTTOM, RIGHT, BOTTOM, "axis");
    text_at(out, (LEFT + RIGHT) / 2, BOTTOM + 36, "middle", "label", c->x_label);
    text_at(out, LEFT - 40, TOP - 14, "start", "label", c->y_label);
}

static void draw_series(const struct ms_chart *c, const struct ms_chart_series *s,
                        struct ms_buf *out)
{
    bool open = false;
    (void)ms_buf_printf(out, "<path class=\"line %s\" d=\"", s->style);
    for (size_t i = 0; i < s->count; i++) {
        if (!isfinite(s->y[i]) || !isfinite(s->x[i])) {
            open = false;
            continue;
        }
        (void)ms_buf_printf(out, "%c%.1f %.1f ", open ? 'L' : 'M', at_x(c, s->x[i]),
                            at_y(c, s->y[i]));
        open = true;
    }
    (void)ms_buf_append_text(out, "\"/>\n");
    for (size_t i = 0; s->dots && i < s->count; i++)
        if (isfinite(s->y[i]) && isfinite(s->x[i]))
            (void)ms_buf_printf(out, "<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n",
                                s->style, at_x(c, s->x[i]), at_y(c, s->y[i]));
}

void ms_chart_draw(const struct ms_chart *self, struct ms_buf *out)
{
    (void)ms_buf_printf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\"><title>", WIDTH, HEIGHT);
    ms_html_text(self->title, out);
    (void)ms_buf_append_text(out, "</title>\n");
    draw_axes(self, out);
    if (self->diagonal)
        line(out, LEFT, BOTTOM, RIGHT, TOP, "level");
    if (isfinite(self->level)) {
        line(out, LEFT, at_y(self, self->level), RIGHT, at_y(self, self->level), "level");
        /* under a high line, over a low one: away from the curves */
        double below = self->level > (self->y_min + self->y_max) / 2 ? 14 : -5;
        if (self->level_name)
            text_at(out, RIGHT - 2, at_y(self, self->level) + below, "end", "tick",
                    self->level_name);
    }
    for (size_t i = 0; i < self->series_count; i++)
        draw_series(self, &self->series[i], out);
    (void)ms_buf_append_text(out, "</svg>\n");
}

void ms_chart_legend(const struct ms_chart_series *series, size_t count, struct ms_buf *out)
{
    (void)ms_buf_append_text(out, "<p class=\"legend\">");
    for (size_t i = 0; i < count; i++) {
        (void)ms_buf_printf(out, "<span><i class=\"key %s\"></i>", series[i].style);
        ms_html_text(series[i].name, out);
        (void)ms_buf_append_text(out, "</span> ");
    }
    (void)ms_buf_append_text(out, "</p>\n");
}
