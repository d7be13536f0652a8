"""How the page looks: light and dark, narrow and wide."""

__all__ = ["STYLE"]

STYLE = """
:root{--back:#fff;--text:#1c1e21;--dim:#5f6570;--line:#dcdfe4;--plain:#3c78c8;--mark:#c2571a;
--good:#1d7a3e;--bad:#b3261e;--warn:#8a5a00}
@media(prefers-color-scheme:dark){:root{--back:#16181c;--text:#e6e8eb;--dim:#9aa1ac;--line:#353a42;
--plain:#6ba3ec;--mark:#f0935a;--good:#5cc585;--bad:#f28b82;--warn:#e6b450}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:760px;margin:0 auto;padding:24px 16px}
h1{font-size:22px;margin:0 0 8px;overflow-wrap:anywhere}h2{font-size:17px;margin:32px 0 8px}
p{margin:6px 0;overflow-wrap:anywhere}
.verdict{border-left:4px solid;padding:6px 12px}.verdict strong{text-transform:uppercase}
.passed{border-color:var(--good)}.passed strong{color:var(--good)}
.missed{border-color:var(--bad)}.missed strong{color:var(--bad)}
.undecided{border-color:var(--warn)}.undecided strong{color:var(--warn)}
.stamp{color:var(--bad);font-weight:600}
.chart{overflow-x:auto}
svg{display:block;width:100%;min-width:520px;height:auto;font-size:11px}
svg text{fill:var(--text)}svg .dim{fill:var(--dim)}
rect.plain,circle.plain{fill:var(--plain)}rect.marked,circle.marked{fill:var(--mark)}
.grid{stroke:var(--line)}.limit{stroke:var(--bad);stroke-dasharray:5 4}.whisker{stroke:var(--dim)}
table{border-collapse:collapse;width:100%}
th,td{text-align:right;padding:4px 10px;border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td:first-child{text-align:left;padding-left:0}
td:last-child,th:last-child{padding-right:0}
td:not(:first-child){white-space:nowrap}
.texts td:last-child,.texts th:last-child{text-align:left;white-space:normal;overflow-wrap:anywhere}
th{color:var(--dim);font-weight:600}
summary{cursor:pointer}
footer{margin-top:32px;border-top:1px solid var(--line);padding-top:8px;color:var(--dim);
font-size:13px}
""".replace("\n", "")
