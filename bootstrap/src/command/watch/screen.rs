//! What `status --watch` draws: state, figures, four plots, refusals.

use dht_bootstrap::history::{SAMPLE_EVERY, Sample};
use dht_bootstrap::status::NodeStatus;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline, Wrap};

use super::View;
use super::figures::{bytes, micros, rate, span, whole};

/// Digits of a node's id that tell it from others.
const ID_SHOWN: usize = 16;
/// Columns of a figure's name.
const NAME_WIDTH: usize = 10;

/// Draws one picture of the node.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let [head, why, figures, plots, refusals, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(7),
        Constraint::Min(6),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let View { status, samples, silent } = view;
    frame.render_widget(Paragraph::new(heading(status, silent.is_some())), head);
    let reason = silent.as_ref().or(status.not_ready_because.as_ref());
    let reason = reason.cloned().unwrap_or_default();
    frame.render_widget(Paragraph::new(reason.red()).wrap(Wrap { trim: true }), why);
    frame.render_widget(Paragraph::new(figure_lines(status)), figures);
    draw_plots(frame, plots, samples);
    frame.render_widget(Paragraph::new(refused(status)), refusals);
    let back = SAMPLE_EVERY.as_secs().saturating_mul(u64::try_from(samples.len()).unwrap_or(0));
    let keys = format!("q ends; a bar is {} s, {} are known", SAMPLE_EVERY.as_secs(), span(back));
    frame.render_widget(Paragraph::new(keys.dim()), foot);
}

fn heading(status: &NodeStatus, silent: bool) -> Line<'static> {
    let state = match (silent, status.ready) {
        (true, _) => "no answer".red(),
        (false, true) => "ready".green(),
        (false, false) => "not ready".red(),
    };
    let id: String = status.node.chars().take(ID_SHOWN).collect();
    let whole = if status.whole { "whole" } else { "being filled" };
    Line::from(vec![
        Span::from(format!("{id} of {}  ", status.network)).bold(),
        state.bold(),
        Span::from(format!(", {}, {whole}, up {}", status.stage, span(status.uptime_secs))),
    ])
}

fn figure_lines(status: &NodeStatus) -> Vec<Line<'static>> {
    let figures = &status.replication;
    let classes: Vec<String> = status
        .records_by_retention
        .iter()
        .map(|(class, records)| format!("{} of {class}", whole(*records)))
        .collect();
    let clock = status.clock_difference_ms.map_or_else(
        || "not compared yet".to_owned(),
        |ahead_ms| format!("{ahead_ms:+} ms against its peers"),
    );
    let count = |number: usize| whole(u64::try_from(number).unwrap_or(u64::MAX));
    let lines = [
        (
            "peers",
            format!(
                "{} servers in the table, {} connected, {} known",
                count(status.table),
                count(status.connections),
                count(status.peers)
            ),
        ),
        ("records", format!("{}: {}", whole(status.records), classes.join(", "))),
        ("kept", format!("{} of {}", bytes(Some(status.bytes)), bytes(Some(status.limit_bytes)))),
        (
            "copies",
            format!(
                "lag {}, oldest unrepaired {}, {} records lack copies",
                span(figures.lag_ms / 1_000),
                span(figures.oldest_unrepaired_ms / 1_000),
                whole(figures.under_replicated)
            ),
        ),
        (
            "disk",
            format!(
                "{} free; puts are refused below {}",
                bytes(status.disk_free_bytes),
                bytes(Some(status.disk_floor_bytes))
            ),
        ),
        ("memory", bytes(status.memory_bytes)),
        ("clock", clock),
    ];
    lines.map(|(name, figure)| named(name, figure)).into()
}

fn named(name: &str, figure: String) -> Line<'static> {
    Line::from(vec![format!("{name:<NAME_WIDTH$}").dim(), figure.into()])
}

fn draw_plots(frame: &mut Frame<'_>, area: Rect, samples: &[Sample]) {
    let half = || [Constraint::Fill(1), Constraint::Fill(1)];
    let [upper, lower] = Layout::vertical(half()).spacing(1).areas(area);
    let [puts, gets] = Layout::horizontal(half()).spacing(2).areas(upper);
    let [put_times, get_times] = Layout::horizontal(half()).spacing(2).areas(lower);
    // Tenths, since bars have whole heights.
    let tenths = |rate: f64| (rate * 10.0) as u64;
    let of_tenths = |tenths: u64| format!("{} /s", rate(tenths as f64 / 10.0));
    draw_plot(frame, puts, "puts", samples, |s| tenths(s.puts_per_sec), of_tenths, Color::Blue);
    draw_plot(frame, gets, "gets", samples, |s| tenths(s.gets_per_sec), of_tenths, Color::Blue);
    let times = "99% of puts within";
    draw_plot(frame, put_times, times, samples, |s| s.puts.p99_us, micros, Color::Yellow);
    let times = "99% of gets within";
    draw_plot(frame, get_times, times, samples, |s| s.gets.p99_us, micros, Color::Yellow);
}

/// One line with the last figure and the greatest, and below it the samples as bars, newest at the right.
fn draw_plot(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &str,
    samples: &[Sample],
    value: impl Fn(&Sample) -> u64,
    write: impl Fn(u64) -> String,
    color: Color,
) {
    let [title, bars] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let width = usize::from(bars.width);
    let shown: Vec<u64> = samples.iter().rev().take(width).map(value).collect();
    let (last, greatest) = (shown.first().copied(), shown.iter().max().copied());
    let text = match (last, greatest) {
        (Some(last), Some(greatest)) => {
            vec![
                format!("{name} ").dim(),
                write(last).bold(),
                format!("  most {}", write(greatest)).dim(),
            ]
        }
        _ => vec![format!("{name}: within ten seconds").dim()],
    };
    frame.render_widget(Paragraph::new(Line::from(text)), title);
    // As many as there are columns, so that the newest stands at the right from the start.
    let absent = std::iter::repeat_n(None, width.saturating_sub(shown.len()));
    let data: Vec<Option<u64>> = absent.chain(shown.into_iter().rev().map(Some)).collect();
    frame.render_widget(Sparkline::default().data(data).style(Style::from(color)), bars);
}

fn refused(status: &NodeStatus) -> Line<'static> {
    let mut reasons: Vec<_> = status.refusals.iter().filter(|(_, count)| *count > 0).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons: Vec<String> =
        reasons.into_iter().map(|(reason, count)| format!("{reason} {}", whole(*count))).collect();
    let text = if reasons.is_empty() { "nothing".to_owned() } else { reasons.join(", ") };
    named("refused", text)
}

#[cfg(test)]
mod tests {
    use dht_bootstrap::history::Took;
    use dht_context::replication::ReplicationFigures;
    use dht_context::watch::WatchFigures;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn status() -> NodeStatus {
        NodeStatus {
            node: "ab".repeat(32),
            network: "test".to_owned(),
            version: "dht-bootstrap".to_owned(),
            mode: "server".to_owned(),
            stage: "joined".to_owned(),
            ready: false,
            not_ready_because: Some("the others are away".to_owned()),
            whole: true,
            refusing_writes: None,
            listen: Vec::new(),
            started_at_ms: 0,
            uptime_secs: 3_725,
            peers: 12,
            table: 9,
            connections: 7,
            records: 1_234,
            bytes: 3 << 20,
            limit_bytes: 20 << 30,
            records_by_retention: vec![("8h".to_owned(), 234), ("7d".to_owned(), 1_000)],
            bytes_by_retention: Vec::new(),
            commit_no: 1,
            disk_free_bytes: None,
            disk_floor_bytes: 1 << 29,
            memory_bytes: Some(100 << 20),
            clock_difference_ms: Some(-40),
            asked: Vec::new(),
            answered: Vec::new(),
            refusals: vec![
                ("Full".to_owned(), 2),
                ("Busy".to_owned(), 30),
                ("Expired".to_owned(), 0),
            ],
            dials_ok: 0,
            dials_failed: 0,
            accepted: 0,
            lies: 0,
            replication: ReplicationFigures {
                under_replicated: 5,
                ..ReplicationFigures::default()
            },
            watches: WatchFigures::default(),
            sources: Vec::new(),
        }
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_usual_terminal_has_room_for_all_of_it() {
        let took = Took { p50_us: 512, p99_us: 8_192 };
        let sample = Sample { gets_per_sec: 3.4, puts: took, ..Sample::default() };
        let mut view = View { status: status(), samples: vec![sample], silent: None };
        let screen = drawn(&view, 80, 24);
        for shown in [
            "abababababababab of test  not ready, joined, whole, up 1 h 2 min",
            "the others are away",
            "9 servers in the table, 7 connected, 12 known",
            "1,234: 234 of 8h, 1,000 of 7d",
            "3.0 MiB of 20.0 GiB",
            "5 records lack copies",
            "unknown free; puts are refused below 512 MiB",
            "-40 ms against its peers",
            "gets 3.4 /s  most 3.4 /s",
            "99% of puts within 8.2 ms  most 8.2 ms",
            "Busy 30, Full 2",
            "q ends",
        ] {
            assert!(screen.contains(shown), "{shown}:\n{screen}");
        }
        assert!(!screen.contains("Expired"));
        view.silent = Some("nobody answers".to_owned());
        let screen = drawn(&view, 80, 24);
        assert!(screen.contains("no answer") && screen.contains("nobody answers"), "{screen}");
    }

    #[test]
    fn a_small_terminal_is_drawn_on_as_well() {
        let view = View { status: status(), samples: Vec::new(), silent: None };
        for (width, height) in [(1, 1), (20, 5), (200, 60)] {
            let _ = drawn(&view, width, height);
        }
    }
}
