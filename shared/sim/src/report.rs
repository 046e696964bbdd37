//! A page about a run: its summary, and plots over the world's time. One file of HTML with drawings
//! in it, that needs nothing else.

use std::fmt::Write as _;

use crate::Run;
use crate::sampler::Sample;
use crate::transport::Purpose;

/// Size of a plot, and of the margin at its left and below it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;
const MARGIN: f64 = 60.0;
/// Colours of lines, told apart by most eyes (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000"];

/// One line of a plot: its name, and its points over the hours that the world has lived.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// The page.
#[must_use]
pub fn page(run: &Run, samples: &[Sample]) -> String {
    let mut page = String::from(HEAD);
    let verdict = match &run.verdict {
        Ok(()) => "kept".to_owned(),
        Err(failure) => format!("broken: {failure}"),
    };
    let title =
        format!("{} · seed {} · {} nodes", run.scenario, run.settings.seed, run.settings.nodes);
    let _ = write!(page, "<h1>{}</h1><p class=verdict>{}</p><ul>", text(&title), text(&verdict));
    for fact in facts(run) {
        let _ = write!(page, "<li>{}</li>", text(&fact));
    }
    page.push_str("</ul>");
    let over = |name, of: fn(&Sample) -> f64| Line { name, points: over_time(samples, of) };
    let grown = |name, of: &dyn Fn(&Sample) -> u64| Line { name, points: rates(samples, run, of) };
    plot(&mut page, "Nodes up", &[over("nodes", |sample| sample.up as f64)]);
    let copies = [
        over("median", |sample| sample.copies_median as f64),
        over("fewest", |sample| sample.copies_least as f64),
    ];
    plot(&mut page, "Copies of a record among its closest nodes", &copies);
    let answers = [
        over("answers checked", |sample| sample.checked as f64),
        over("found while there were faults", |sample| sample.reads.found as f64),
        over("missed while there were faults", |sample| sample.reads.missed as f64),
        over("writes acknowledged", |sample| sample.acknowledged as f64),
    ];
    plot(&mut page, "Reads and writes so far", &answers);
    let bytes: Vec<Line> = Purpose::ALL
        .into_iter()
        .map(|purpose| grown(purpose.name(), &|sample| sample.sent.bytes(purpose)))
        .filter(is_anything)
        .collect();
    plot(&mut page, "Bytes sent, per node and second", &bytes);
    let requests: Vec<Line> = Purpose::ALL
        .into_iter()
        .map(|purpose| grown(purpose.name(), &|sample| sample.sent.requests(purpose)))
        .filter(is_anything)
        .collect();
    plot(&mut page, "Requests, per node and second", &requests);
    page.push_str("</body></html>\n");
    page
}

fn facts(run: &Run) -> Vec<String> {
    let mut facts = vec![
        format!("{} writes acknowledged, {} answers checked", run.acknowledged, run.checked),
        format!("{} reads found and {} missed it during faults", run.reads.found, run.reads.missed),
        format!("{} letters, {} bytes sent", run.letters, run.sent.all_bytes()),
        format!("{} writes undone by crashes and failing disks", run.lost_writes),
        format!("{} s of virtual time", run.lived.as_secs()),
    ];
    facts.extend(run.settings.fault.map(|fault| format!("with the fault «{fault}» put back")));
    facts.extend(run.notes.iter().cloned());
    facts.push(format!("trace {}", run.trace));
    facts
}

fn over_time(samples: &[Sample], of: fn(&Sample) -> f64) -> Vec<(f64, f64)> {
    samples.iter().map(|sample| (hours(sample), of(sample))).collect()
}

/// What a counter grew by, per node and second, between each two samples.
fn rates(samples: &[Sample], run: &Run, of: &dyn Fn(&Sample) -> u64) -> Vec<(f64, f64)> {
    let nodes = run.settings.nodes.max(1) as f64;
    let pairs = samples.iter().zip(samples.iter().skip(1));
    let rate = |(before, after): (&Sample, &Sample)| {
        let secs = (after.at_ms.saturating_sub(before.at_ms) as f64 / 1_000.0).max(0.001);
        (hours(after), of(after).saturating_sub(of(before)) as f64 / secs / nodes)
    };
    pairs.map(rate).collect()
}

fn hours(sample: &Sample) -> f64 {
    sample.at_ms as f64 / 3_600_000.0
}

fn is_anything(line: &Line) -> bool {
    line.points.iter().any(|(_, y)| *y > 0.0)
}

/// Draws lines into one frame whose axes start at zero.
fn plot(page: &mut String, title: &str, lines: &[Line]) {
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let most_x = points().map(|(x, _)| *x).fold(f64::MIN_POSITIVE, f64::max);
    let most_y = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let (full_width, full_height) = (WIDTH + 2.0 * MARGIN, HEIGHT + MARGIN);
    let _ = write!(
        page,
        "<h2>{}</h2><svg viewBox=\"0 0 {full_width} {full_height}\" role=img>\
         <rect x={MARGIN} y=10 width={WIDTH} height={HEIGHT} class=frame />",
        text(title)
    );
    let bottom = HEIGHT + 10.0;
    for (name, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let _ = write!(page, "<polyline stroke=\"{colour}\" points=\"");
        for (x, y) in &name.points {
            let (x, y) = (MARGIN + x / most_x * WIDTH, bottom - y / most_y * HEIGHT);
            let _ = write!(page, "{x:.1},{y:.1} ");
        }
        page.push_str("\"/>");
    }
    let (left, right, below) = (MARGIN - 6.0, MARGIN + WIDTH, bottom + 18.0);
    let _ = write!(
        page,
        "<text x={left} y=20 class=end>{}</text><text x={left} y={bottom} class=end>0</text>\
         <text x={right} y={below} class=end>{} h</text></svg><p>",
        short(most_y),
        short(most_x)
    );
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let _ = write!(page, "<span style=\"color:{colour}\">▬ {}</span> ", text(line.name));
    }
    page.push_str("</p>");
}

/// A number with as many digits as a label needs.
fn short(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.1}G", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.1}k", n / 1e3),
        n if n >= 10.0 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}

fn text(raw: &str) -> String {
    raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8>\
    <meta name=viewport content=\"width=device-width\"><title>dht-sim</title><style>\
    body{font:15px/1.5 system-ui,sans-serif;max-width:56em;margin:2em auto;padding:0 1em;\
    color:#222;background:#fff}h1{font-size:1.4em}h2{font-size:1em;margin:2em 0 .3em}\
    svg{width:100%;height:auto}polyline{fill:none;stroke-width:1.5}.frame{fill:none;stroke:#bbb}\
    text{font-size:12px;fill:#555}.end{text-anchor:end}.verdict{font-weight:bold}\
    span{margin-right:1em}</style></head><body>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, scenario, simulate_watched};

    #[test]
    fn a_page_needs_nothing_else_and_watching_changes_nothing() {
        let story = scenario::find("restart-all").unwrap();
        let settings = Settings::new(1, 5);
        let (run, samples) = simulate_watched(story, settings).unwrap();
        assert_eq!(run.trace, crate::simulate(story, settings).unwrap().trace);
        let page = page(&run, &samples);
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(page.contains("restart-all") && page.contains("polyline"), "{page}");
        assert!(!page.contains("http") && !page.contains("<script"), "{page}");
        assert!(samples.len() > 10 && samples.iter().any(|sample| sample.up == 0), "{samples:?}");
    }
}
