"""What the pages of the replay add to the look of all reports."""

TABLE_STYLE = """
table { border-collapse: collapse; width: 100%; font-size: 14px; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; }
td, th { padding: 6px 12px; text-align: left; border-top: 1px solid var(--line);
  font-variant-numeric: tabular-nums; vertical-align: top; }
th { color: var(--soft); font-weight: 600; border-top: 0; }
td.n, th.n { text-align: right; }
.met { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
"""

RUN_STYLE = """
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 14px; }
.plot { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 12px 14px; }
.plot.wide, .plots .wide { grid-column: 1 / -1; }
.plot svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.plot svg text { fill: var(--soft); }
.plot figcaption { font-weight: 600; color: var(--ink); margin: 0 0 8px; }
.warning { background: var(--bad-plate); color: var(--bad); border-radius: 10px;
  padding: 10px 16px; }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 14px; }
.worst .card { margin: 0; padding: 14px 16px; } .worst .command { font-size: 17px; }
.worst .answer { font-size: 15px; margin-bottom: 8px; }
.worst .pictures { grid-template-columns: 1fr; }
@media (max-width: 560px) { .plots, .worst { grid-template-columns: 1fr; } }
"""
