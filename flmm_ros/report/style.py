"""The look of the HTML report: one style sheet, light and dark, without anything from the network.

Does not know about: what is shown.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --ink: #1b1f24; --soft: #5c6670; --line: #dfe3e8;
  --good: #11734b; --good-plate: #e0f3ea; --bad: #b3261e; --bad-plate: #fbe6e4;
  --plate: #eef1f4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1d2125; --ink: #e8eaed; --soft: #9aa4ae; --line: #32383e;
    --good: #6fdcab; --good-plate: #14362a; --bad: #ff9a92; --bad-plate: #43201e;
    --plate: #2a2f35;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
main, header { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 36px; }
h1 { margin: 0; font-size: 30px; letter-spacing: -0.02em; }
h2 { margin: 40px 0 14px; font-size: 14px; font-weight: 600; color: var(--soft); }
.lead { margin: 6px 0 22px; color: var(--soft); max-width: 72ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 18px; }
.tile b { display: block; font-size: 28px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.facts { margin: 16px 0 0; color: var(--soft); font-size: 13px; }
.facts span { display: inline-block; margin-right: 18px; white-space: nowrap; }
.facts b { color: var(--ink); font-weight: 600; }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 20px 22px 18px; margin: 0 0 18px;
}
.card.wrong { border-left: 5px solid var(--bad); }
.top { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; font-size: 13px;
  color: var(--soft); }
.top .title { font-weight: 600; color: var(--ink); margin-right: auto; }
.chip { background: var(--plate); border-radius: 99px; padding: 2px 11px; white-space: nowrap; }
.chip.good { background: var(--good-plate); color: var(--good); font-weight: 600; }
.chip.bad { background: var(--bad-plate); color: var(--bad); font-weight: 600;
  white-space: normal; }
.command { margin: 12px 0 2px; font-size: 21px; font-weight: 600; letter-spacing: -0.01em; }
.command.blank { color: var(--soft); font-weight: 400; font-style: italic; }
.answer { margin: 0 0 14px; font-size: 18px; overflow-wrap: anywhere; }
.answer mark { border-radius: 5px; padding: 1px 6px; box-decoration-break: clone;
  -webkit-box-decoration-break: clone; }
.refused { background: var(--plate); border-radius: 10px; padding: 12px 16px; margin: 8px 0 14px; }
.refused code { font-weight: 700; margin-right: 8px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr));
  gap: 14px; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 8px;
  background: var(--plate); }
figcaption { font-size: 13px; color: var(--soft); margin-top: 5px; }
figcaption b { color: var(--ink); }
.dot { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.times { margin-top: 16px; font-size: 13px; color: var(--soft); }
.bar { display: flex; height: 9px; border-radius: 5px; overflow: hidden; background: var(--plate);
  margin-bottom: 6px; max-width: 640px; }
.times span { display: inline-block; margin-right: 14px; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
footer { color: var(--soft); font-size: 13px; max-width: 1180px; margin: 26px auto 44px;
  padding: 0 20px; }
@media (max-width: 560px) {
  .pictures { grid-template-columns: 1fr; }
  .card { padding: 16px; }
  .command { font-size: 19px; }
}
"""

STAGE_COLORS: dict[str, str] = {
    "encode": "#7a8ba0",
    "generate": "#5b8def",
    "read": "#e0a030",
    "decode": "#3aa987",
    "refine": "#b07cd8",
}
OTHER_COLOR = "#9a9a9a"
