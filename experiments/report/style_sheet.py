"""How a report looks: light and dark, narrow and wide, on a screen and on paper."""

from __future__ import annotations

from .looks import colour_rules

GROUNDS = """
:root{color-scheme:light dark;--ink:#24272c;--soft:#5d626c;--faint:#d9dce1;--ground:#fff;
--panel:#f5f6f8;--good:#14703a;--good-ground:#e8f5ec;--alarm:#b3261e;--link:#1a5fb4}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#a5abb6;--faint:#3a3f47;
--ground:#15171a;--panel:#1e2125;--good:#7fd19b;--good-ground:#1b2f22;--alarm:#ff8a80;
--link:#8ab8f2}}
"""

WORDS = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:68rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.5rem}
footer{padding:1rem 1rem 2rem;color:var(--soft);font-size:.85rem}
h1,h2,h3{line-height:1.25;overflow-wrap:anywhere}
h1{font-size:1.6rem;margin:0 0 .25rem}
h2{font-size:1.3rem;margin:2.5rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--faint)}
h3{font-size:1.05rem;margin:1.75rem 0 .5rem}
p{margin:.5rem 0;overflow-wrap:anywhere}
a{color:var(--link)}
.what,.note,caption{color:var(--soft)}
.note{font-size:.85rem}
.verdict{border-left:4px solid var(--link);background:var(--panel);padding:.75rem 1rem;
margin:1rem 0;border-radius:0 6px 6px 0;max-width:52rem}
.verdict p{margin:.25rem 0}
.verdict .lead{font-size:1.15rem;font-weight:600}
.warning{color:var(--alarm);font-weight:600}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
"""

TABLES = """
.scroll{overflow-x:auto;margin:.75rem 0 .25rem}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:0 0 .25rem;white-space:nowrap}
th,td{padding:.25rem .6rem;text-align:left;vertical-align:top;white-space:nowrap}
th:first-child{padding-left:.25rem}
thead th{border-bottom:1.5px solid var(--soft);vertical-align:bottom;white-space:normal}
tbody tr+tr>*{border-top:1px solid var(--faint)}
tbody th{font-weight:500}
.n{text-align:right}
tr.best{background:var(--good-ground)}
tr.best>th,tr.best>td{color:var(--good);font-weight:650}
tr.tied>th{color:var(--good);font-weight:650}
tr.bad>th,tr.bad>td{color:var(--alarm)}
tr.dim>th,tr.dim>td{color:var(--soft)}
.facts th{color:var(--soft);font-weight:500;padding-left:0}
.facts td{white-space:normal;overflow-wrap:anywhere}
.facts tr+tr>*{border-top:0}
.w.long{white-space:normal;min-width:18rem;max-width:34rem}
pre{background:var(--panel);padding:.75rem;border-radius:6px;overflow:auto;max-height:32rem;
font-size:.8rem;line-height:1.4;margin:.5rem 0}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
details{margin:.5rem 0}
summary{cursor:pointer;font-weight:500;overflow-wrap:anywhere}
details>details{margin-left:1rem}
"""

FIGURES = """
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));
gap:1rem;margin:1rem 0;align-items:start}
figure{margin:0;min-width:0}
.chart{background:var(--panel);border-radius:8px;padding:.75rem;max-width:40rem}
figcaption{font-weight:600;font-size:.95rem;margin-bottom:.25rem}
.chart>svg{display:block;width:100%;height:auto;touch-action:pan-y}
svg text{fill:var(--ink);font-size:12px;font-family:inherit}
svg .tick{fill:var(--soft);font-size:11.5px;font-variant-numeric:tabular-nums}
svg .axis{fill:var(--soft)}
svg .name{font-weight:500}
svg .m{text-anchor:middle}
svg .e{text-anchor:end}
svg text.alarm{fill:var(--alarm)}
.grid{stroke:var(--faint);stroke-width:.8}
.edge{stroke:var(--soft);stroke-width:1}
.guide{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 3;fill:none}
.guide.alarm,.target.alarm{stroke:var(--alarm)}
.target{stroke:var(--ink);stroke-width:1.6}
.line,.legend line{stroke:var(--c);stroke-width:2;fill:none;stroke-linejoin:round}
.band{fill:var(--c);opacity:.18}
.whisker{stroke:var(--c);stroke-width:1.6;fill:none}
.bar{fill:var(--c);opacity:.45}
.stop{stroke:var(--soft);stroke-width:1.6}
.mark{fill:var(--c)}
.mark.hollow{fill:var(--panel);stroke:var(--c);stroke-width:1.2}
.mark.on{stroke:var(--ink);stroke-width:2}
.legend{display:flex;flex-wrap:wrap;gap:.25rem;margin-top:.5rem}
.legend button{font:inherit;font-size:.8rem;color:var(--ink);background:none;cursor:pointer;
border:1px solid var(--faint);border-radius:99px;padding:.1rem .55rem;display:inline-flex;
align-items:center;gap:.35rem;max-width:100%;overflow-wrap:anywhere;text-align:left}
.legend button[aria-pressed=false]{opacity:.45;text-decoration:line-through}
.legend svg{width:22px;height:10px;flex:none}
.legend .dot{width:9px;height:9px;border-radius:50%;background:var(--c);flex:none}
[data-series].off{display:none}
.pictures img{max-width:100%;height:auto;background:#fff;border-radius:6px;padding:.25rem}
#tip{position:fixed;left:0;top:0;z-index:9;pointer-events:none;background:var(--ink);
color:var(--ground);font-size:.82rem;padding:.25rem .5rem;border-radius:5px;
max-width:min(20rem,90vw);
visibility:hidden}
"""

NARROW = """
@media (max-width:30rem){body{font-size:15px}.chart{padding:.5rem}h1{font-size:1.35rem}
.facts th,.facts td{display:block;padding:.1rem 0}}
"""

PAPER = """
@media print{body{font-size:10pt}main,header,footer{max-width:none;padding:0}
.scroll,pre{overflow:visible;max-height:none}pre{white-space:pre-wrap}
.chart,tr,.verdict{break-inside:avoid}h2,h3{break-after:avoid}
.charts{grid-template-columns:1fr 1fr}.legend button{border:0}#tip,nav{display:none}
table{font-size:7.5pt}th,td{padding:.15rem .3rem;white-space:normal}
.verdict,.chart,pre{background:none;border:1px solid #ccc}*{print-color-adjust:exact}}
"""


def style_sheet() -> str:
    """The whole of it."""
    return "".join((GROUNDS, colour_rules(), WORDS, TABLES, FIGURES, NARROW, PAPER))
