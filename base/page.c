/* What every HTML page of ours begins with, and figures in it. Knows nothing of what is shown. */
#include "base/page.h"

#include <math.h>

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta name=\"referrer\" content=\"no-referrer\">\n<style>\n"
    ":root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee6;--paper:#fff;--back:#f4f6f9;--a:#2f6fb7;"
    "--b:#c2561f;--c:#1f7a4d;--d:#8a4fb0;--e:#7d6a00;--cell:47,111,183}\n"
    "@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b6;--line:#354052;"
    "--paper:#1b222d;--back:#12171f;--a:#6aa9ec;--b:#f08a55;--c:#63c795;--d:#c99be6;--e:#d8c34a;--"
    "cell:106,"
    "169,236}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);"
    "font:15px/1.5 system-ui,sans-serif}\n"
    "main{max-width:1120px;margin:0 auto;padding:24px 20px 48px}h1{font-size:1.5rem;margin:0;"
    "overflow-wrap:anywhere}h2{font-size:1.05rem;margin:0 0 10px}.sub{color:var(--soft);margin:2px "
    "0 "
    "18px;overflow-wrap:anywhere}\n"
    "section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:16px "
    "18px;margin:0 0 16px;min-width:0}.two{display:grid;grid-template-columns:repeat(auto-fit,"
    "minmax(min(100%,430px),1fr));gap:16px}.two>section{margin:0}.two{margin-bottom:16px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:"
    "0 "
    "0 16px}.card{background:var(--paper);border:1px solid "
    "var(--line);border-radius:8px;padding:10px "
    "14px}.card b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}.card "
    "span{color:var(--soft);font-size:.85rem}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:4px "
    "10px;text-align:right;white-space:nowrap}th{font-weight:600;white-space:normal}"
    "th:first-child,td:first-child{text-align:left}thead th{border-bottom:1px solid var(--line)}\n"
    ".wide{width:100%}.two .wide th,.two .wide td{padding:4px 7px}.two .wide "
    "td:first-child{white-space:normal}.wide tbody "
    "tr:nth-child(even){background:var(--back)}"
    ".matrix td{border:1px solid var(--line);text-align:center;min-width:58px}.matrix "
    "th:first-child,.matrix thead tr:last-child "
    "th:first-child{position:sticky;left:0;background:var(--paper);z-index:1}.matrix "
    "td.hit{outline:2px solid var(--a);outline-offset:-2px}.matrix small{display:block;"
    "opacity:.75}.matrix th{font-weight:500}.matrix thead th{text-align:center;border:0}"
    ".axis-name{color:var(--soft);font-weight:400!important;font-size:.85rem}\n"
    ".bar{display:inline-block;height:12px;border-radius:2px;background:var(--a);"
    "vertical-align:middle}.bars td:last-child{width:55%;text-align:left}\n"
    ".facts td{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}"
    ".facts td:first-child{color:var(--soft);white-space:nowrap}code{font:.85em "
    "ui-monospace,monospace}p.note{color:var(--soft);margin:8px 0 0;font-size:.9rem}"
    ".warn{border-left:4px solid var(--b)}\n";
static const char more_style[] =
    "td small{display:block;color:var(--soft);font-size:.8em}.matrix td small{color:inherit}"
    "h3{font-size:.95rem;margin:14px 0 6px;overflow-wrap:anywhere}.first td{font-weight:600}"
    ".first td small{font-weight:400}.better{color:var(--c)}.worse{color:var(--b)}"
    ".errors td,.errors th{text-align:left}.errors "
    "code{white-space:nowrap}body{overflow-wrap:anywhere}table{overflow-wrap:normal}.card{min-"
    "width:0}.axis-name[colspan]{text-align:left!important}"
    "ul{margin:0;padding-left:20px}li{margin:2px 0;overflow-wrap:anywhere}li.bad{font-weight:600}"
    ".side{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,7fr);gap:16px;margin:0 0 16px}"
    ".side>section{margin:0}.side th,.side "
    "td{padding-left:6px;padding-right:6px}.small{display:grid;grid-template-columns:repeat(auto-"
    "fill,minmax(min("
    "100%,"
    "250px),1fr));gap:14px}.two>div,.small>div{min-width:0}.legend{margin:0 0 "
    "6px;display:flex;flex-wrap:"
    "wrap;gap:4px "
    "18px;font-size:.9rem}.key{display:inline-block;width:20px;height:3px;margin-right:6px;"
    "vertical-align:middle}\n"
    ".key.a{background:var(--a)}.key.b{background:var(--b)}.key.c{background:var(--c)}"
    ".key.d{background:var(--d)}.key.e{background:var(--e)}.line.c{stroke:var(--c)}"
    ".line.d{stroke:var(--d)}.line.e{stroke:var(--e)}.dot.a{fill:var(--a)}.dot.b{fill:var(--b)}"
    ".dot.c{fill:var(--c)}.dot.d{fill:var(--d)}.dot.e{fill:var(--e)}\n"
    "svg{width:100%;height:auto;display:block}svg text{fill:var(--soft);font:11px "
    "system-ui,sans-serif}svg text.label{fill:var(--ink);font-size:12px}.grid{stroke:var(--line)}"
    ".axis{stroke:var(--soft)}.level{stroke:var(--soft);stroke-dasharray:5 4}"
    ".line{fill:none;stroke-width:2;stroke-linejoin:round}.line.a{stroke:var(--a)}"
    ".line.b{stroke:var(--b)}\n"
    "@media (max-width:560px){main{padding:14px 10px 32px}section{padding:12px}th,td{padding:3px "
    "6px}.facts td:first-child{white-space:normal}.facts td+td{min-width:9em}"
    ".side{grid-template-columns:minmax(0,1fr)}svg text{font-size:17px}svg "
    "text.label{font-size:"
    "18px}}.small svg text{font-size:17px}.small svg text.label{font-size:18px}\n"
    "</style>\n";

void ms_page_head(struct ms_buf *out)
{
    ms_page_put(out, head);
    ms_page_put(out, more_style);
}

void ms_page_put(struct ms_buf *out, const char *text)
{
    (void)ms_buf_append_text(out, text);
}

void ms_page_real(struct ms_buf *out, double x)
{
    if (isnan(x))
        ms_page_put(out, "&ndash;");
    else
        (void)ms_buf_printf(out, "%.3f", x);
}
