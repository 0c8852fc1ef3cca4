//! The CPU times as a picture: a panel for each workload, a bar for each proxy.

use std::fmt::Write as _;

use serde_json::Value;

use super::peer::Kind;
use super::sample::Figure;
use super::workload::Workload;

const WIDTH: usize = 860;
const COLUMNS: usize = 2;
const PANEL: usize = WIDTH / COLUMNS;
/// Left of the bars stand the names, right of them the figures.
const NAMES: usize = 92;
const BAR: f64 = 260.0;
const LINE: usize = 19;
const TOP: usize = 74;
/// Of a panel, around its bars.
const TITLE: usize = 26;
const GAP: usize = 14;
/// Bars longer than so many of the gateway's are cut off: they would make all others short.
const LONGEST: f64 = 3.0;

/// It carries its own ground, so that it reads the same wherever it is shown, by day and by night.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-size:17px;font-weight:600}.panel{font-size:13px;font-weight:600}\
.dim{fill:#59636e}.ground{fill:#fff}.rival{fill:#afb8c1}.floor{fill:#d8dee4}.ours{fill:#0969da}.bold{font-weight:600}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.ground{fill:#0d1117}.rival{fill:#6e7681}\
.floor{fill:#3d444d}.ours{fill:#4493f8}}";

/// One proxy's bar.
struct Bar {
    kind: Kind,
    value: f64,
}

pub(super) fn draw(record: &Value) -> String {
    let panels: Vec<_> = Workload::ALL
        .into_iter()
        .filter(|workload| !matches!(workload, Workload::Conns | Workload::Two | Workload::Tail))
        .map(|workload| (workload, bars(record, workload)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let (mut body, mut y) = (String::new(), TOP);
    for row in panels.chunks(COLUMNS) {
        for (column, (workload, bars)) in row.iter().enumerate() {
            panel(&mut body, *workload, bars, column * PANEL, y);
        }
        let most = row.iter().map(|(_, bars)| bars.len()).max().unwrap_or_default();
        y += TITLE + most * LINE + GAP;
    }
    let height = y + 46;
    let (machine, versions) = (machine(record), versions(record));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"CPU time a request of each proxy\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"16\" y=\"32\">CPU time the proxy takes for a request, in µs: less is better</text>\n\
         <text class=\"dim\" x=\"16\" y=\"52\">All look tokens up among 10,000 (traefik knows one), pass on who the client \
         is, and write an access log.</text>\n\
         {body}<text class=\"dim\" x=\"16\" y=\"{}\">{machine}</text>\n\
         <text class=\"dim\" x=\"16\" y=\"{}\">{versions}</text>\n</svg>\n",
        height - 32,
        height - 14
    )
}

fn panel(out: &mut String, workload: Workload, bars: &[Bar], x: usize, y: usize) {
    let ours = bars.iter().find(|bar| bar.kind == Kind::Portcullis).map_or(f64::INFINITY, |bar| bar.value);
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).min(ours * LONGEST);
    let _ = writeln!(
        out,
        "<text class=\"panel\" x=\"{}\" y=\"{}\">{workload}: {}</text>",
        x + 16,
        y + 14,
        workload.title()
    );
    for (place, Bar { kind, value }) in bars.iter().enumerate() {
        let top = y + TITLE + place * LINE;
        let length = (value / most).min(1.0) * BAR;
        let (class, weight) = match kind {
            Kind::Portcullis => ("ours", " class=\"bold\""),
            Kind::Floor => ("floor", " class=\"dim\""),
            _ => ("rival", ""),
        };
        let cut = if *value > most { "… " } else { "" };
        let decimals = if *value < 100.0 { 1 } else { 0 };
        let _ = writeln!(
            out,
            "<text{weight} x=\"{names}\" y=\"{base}\" text-anchor=\"end\">{kind}</text>\
             <rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{length:.1}\" height=\"{thick}\" rx=\"2\"/>\
             <text{weight} x=\"{end:.1}\" y=\"{base}\">{cut}{value:.decimals$}</text>",
            names = x + NAMES - 6,
            base = top + 12,
            left = x + NAMES,
            thick = LINE - 4,
            end = (x + NAMES) as f64 + length + 6.0,
        );
    }
}

/// In the order of [`Kind::ALL`].
fn bars(record: &Value, workload: Workload) -> Vec<Bar> {
    let proxies = &record["workloads"][workload.name()]["proxies"];
    let value = |kind: Kind| proxies[kind.name()][Figure::Cpu.key()]["median"].as_f64();
    Kind::ALL.into_iter().filter_map(|kind| Some(Bar { kind, value: value(kind)? })).collect()
}

fn machine(record: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "floor: a forwarder that sees only bytes · {}, one core for the proxy · Linux {} · {}",
        text(&record["machine"]["processor"]),
        text(&record["machine"]["kernel"]),
        text(&record["date"])
    )
}

fn versions(record: &Value) -> String {
    let version = |kind: &Kind| {
        let whole = record["versions"][kind.name()].as_str()?;
        let number: String = whole.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        Some(format!("{kind} {number}"))
    };
    let all: Vec<_> = Kind::ALL.iter().filter(|kind| kind.rival()).filter_map(version).collect();
    all.join(" · ")
}
