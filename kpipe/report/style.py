"""Template of the page: HTML around a body, style sheet and icon."""

import base64

# The policy is a second safeguard: even an unescaped string could not load or run anything.
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="{icon}">
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""

# A rising curve; in base64, because its namespace looks like an address.
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect width="16" height="16" rx="3" fill="#0072B2"/>
<path d="M3 12C7 12 5 4 13 4" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round"/>
</svg>"""
ICON = f"data:image/svg+xml;base64,{base64.b64encode(_SVG.encode()).decode()}"

STYLE = """
:root { --ink: #1c1e21; --quiet: #5c6370; --page: #fff; --card: #f5f6f8; --line: #dfe2e7;
  --good: #00664a; --fair: #7a5000; --bad: #a83200; --mark: #fff2c2; --warn: #ffd24d;
  --part-train: #0072b2; --part-val: #56b4e9; --part-test: #e69f00; --gap: #d55e00;
  --track: #e3e6ea; --shadow: #0005; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7e9; --quiet: #a0a6b0; --page: #15171a; --card: #1f2226; --line: #363b42;
    --good: #4fd0a5; --fair: #f0b94a; --bad: #ff8a5c; --mark: #4a3d12; --shadow: #fff5;
    --part-train: #3a97d3; --part-val: #9fd3f2; --track: #30353b; }
  figure { filter: brightness(.92); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: break-word; }
h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.15; margin: 1rem 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .8rem; }
p { margin: .3rem 0; }
.lead { font-size: 1.15rem; }
.quiet, dt, figcaption { color: var(--quiet); }
pre { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  white-space: pre-wrap; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  margin: .4rem 0 1rem; padding: .7rem .9rem; }
.banner { background: var(--warn); color: #1c1e21; border: 2px solid #1c1e21; border-radius: 8px;
  padding: .8rem 1rem; font-size: 1.05rem; }
.banner ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.banner li + li { margin-top: .3rem; }
.alert { border: 3px solid var(--bad); border-radius: 8px; padding: .8rem 1rem; font-weight: 700;
  font-size: 1.15rem; color: var(--bad); margin-bottom: 1rem; }
.whole { display: inline-block; max-width: 100%; }
.banner pre { background: none; border: 0; margin: 0; padding: .4rem 0 0; }
.verdict { display: grid; gap: 1.2rem 2rem; grid-template-columns: auto 1fr; align-items: center;
  margin-top: 1.5rem; padding: 1.2rem 1.4rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; }
.big { font-size: clamp(2.6rem, 9vw, 4rem); font-weight: 700; line-height: 1.1; margin: 0; }
.headline .quiet::first-letter { text-transform: uppercase; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); }
.chip { display: inline-block; border: 2px solid; border-radius: 99px; padding: .1rem .8rem;
  font-weight: 600; margin-top: .6rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr));
  gap: .9rem 1.5rem; margin: 0; }
dt { font-size: .9rem; } dd { margin: 0; font-weight: 600; }
.proof { grid-column: 1 / -1; border-top: 1px solid var(--line); padding-top: .9rem; margin: 0; }
time { white-space: nowrap; }
.figures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0 1.2rem;
  align-items: start; }
figure { margin: 0 0 1.2rem; padding: .8rem; background: #fff; border: 1px solid var(--line);
  border-radius: 12px; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figcaption { color: #5c6370; font-size: .9rem; margin-top: .5rem; }
/* Columns, not a grid: tables of unlike height leave no holes. */
.grid { columns: 22rem auto; column-gap: 2rem; margin-bottom: -1.2rem; }
.grid > * { break-inside: avoid; margin-bottom: 1.2rem; }
/* A shadow at the edge behind which a table goes on. */
.scroll { overflow-x: auto; background:
  linear-gradient(to right, var(--page) 40%, transparent) left / 2.5rem 100% local,
  linear-gradient(to left, var(--page) 40%, transparent) right / 2.5rem 100% local,
  linear-gradient(to right, var(--shadow), transparent) left / .9rem 100% scroll,
  linear-gradient(to left, var(--shadow), transparent) right / .9rem 100% scroll;
  background-repeat: no-repeat; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem .3rem;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-size: .9rem; }
tbody th { font-weight: 500; }
.numbers, .layers { max-width: 50rem; }
.numbers :is(th, td):nth-child(n+2), .layers :is(th, td):nth-child(n+3) {
  text-align: right; padding-right: .3rem; }
.texts th:first-child { width: 65%; font-weight: 400; }
.settings th:first-child { width: 1%; white-space: nowrap; padding-right: 1.5rem; }
.settings td { min-width: 8em; overflow-wrap: anywhere; }  /* fingerprints */
.layers td:nth-child(3) { white-space: nowrap; }  /* a shape */
.layers td:nth-child(4):not(:empty) { min-width: 10em; }  /* how its parameters are counted */
.marked :is(th, td) { background: var(--mark); font-weight: 700; }
.marked th::after { content: " (overridden)"; font-weight: 400; }
/* The look at a user's own data. */
h3 { font-size: 1.05rem; margin: 1.8rem 0 .5rem; }
.facts { padding: 1.2rem 1.4rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
.look > :is(.banner, .facts) { margin: 1rem 0; }
.look > .grid { margin-bottom: -.6rem; }
.look > ul { margin: 0; padding-left: 1.2rem; }
.key { margin-left: .8rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .35em;
  border-radius: 2px; background: var(--part); }
.part-train { --part: var(--part-train); } .part-val { --part: var(--part-val); }
.part-test { --part: var(--part-test); } .gap { --part: var(--gap); }
.bar { display: flex; min-width: 3rem; height: .8em; border-radius: 2px; overflow: hidden;
  background: var(--track); }
.bar i { background: var(--part); }
.bars { table-layout: fixed; }
.bars th { width: 30%; overflow-wrap: anywhere; }
.bars td:nth-child(2) { vertical-align: middle; }
.bars td:nth-child(n+3) { width: 5rem; text-align: right; white-space: nowrap; }
.names { table-layout: fixed; }
.names :is(th, td), .columns :is(tbody th, td:last-child) { overflow-wrap: anywhere; }
.columns td:nth-child(3), .columns tr > :nth-child(4) { white-space: nowrap; }
.columns td:nth-child(3) { min-width: 8.5rem; }
.columns tr > :nth-child(4) { text-align: right; }
.columns tbody th { min-width: 8rem; width: 22%; }
.columns td:last-child { width: 36%; }
.fives { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 1.2rem 2rem; }
/* From the minimum to the maximum a line, between the quartiles a box, at the median a mark. */
.box { position: relative; height: 1.4rem; border-inline: 2px solid var(--quiet);
  background: linear-gradient(var(--quiet), var(--quiet)) center / 100% 2px no-repeat; }
.box i, .box b { position: absolute; top: 0; height: 100%; }
.box i { background: var(--part-train); border-radius: 2px; min-width: 2px; }
.box b { width: 3px; margin-left: -1.5px; background: var(--page); outline: 1px solid var(--ink); }
.quartiles { display: flex; justify-content: space-between; gap: .5rem; flex-wrap: wrap;
  font-variant-numeric: tabular-nums; }
.quartiles span { text-align: center; }
.quartiles span:first-child { text-align: left; }
.quartiles span:last-child { text-align: right; }
.quartiles small { display: block; color: var(--quiet); }
.many { columns: 14rem auto; padding: 0; list-style: none; font-size: .9rem; }
.many, .long { max-height: 30rem; overflow-y: auto; }
.many li { overflow-wrap: anywhere; break-inside: avoid; padding-right: .5rem; }
summary { cursor: pointer; margin: .6rem 0; font-weight: 600; }
@media (max-width: 700px) {
  .verdict { grid-template-columns: 1fr; padding: 1rem; }
  .figures { display: flex; flex-direction: column; }
  .column { display: contents; }
  figure { padding: .4rem; }
  main { padding-inline: .8rem; }
  .numbers, .layers { font-size: .8rem; }
  .numbers :is(th, td), .layers :is(th, td) { padding: .3rem .15rem; }
  thead th { font-size: inherit; }
  .facts { padding: 1rem; }
  .bars th { width: 40%; }
  .bars td:nth-child(n+3) { width: 3.6rem; padding-right: 0; font-size: .85rem; }
  /* A column of the user's table is a block: name and use, missing and different values. */
  .columns thead { display: none; }
  .columns tr { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; padding: .4rem 0;
    border-bottom: 1px solid var(--line); }
  .columns tbody :is(th, td) { border: 0; padding: .1rem 0; min-width: 0; width: auto; }
  .columns tbody th { font-weight: 700; }
  .columns td:nth-child(2) { text-align: right; }
  .columns td:nth-child(3)::after { content: " missing"; }
  .columns td:nth-child(4)::after { content: " different"; }
  .columns tbody td:last-child { grid-column: 1 / -1; width: auto; }
}
@media print {
  @page { margin: 14mm; }
  html { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h2 + p, p:has(+ pre), thead { break-after: avoid; }
  tbody tr:first-child { break-before: avoid; }
  .grid { columns: 2; }
  .scroll { overflow: visible; background: none; }
  figure img { max-height: 220mm; object-fit: contain; }
  figure, tr, pre, h2 + p, .verdict, .banner { break-inside: avoid; }
}
"""
