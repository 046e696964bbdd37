//! `status --watch`: a node's state, live on the whole terminal.
//!
//! ```text
//! keys ────────────────┐
//!                      ├─▶ events ─▶ View ─▶ screen ─▶ terminal
//! /status, /history ───┘
//! ```
//!
//! The node is asked and keys are read by threads of their own, so that a node that does not answer holds
//! up neither the screen nor the key that ends it. The terminal is what it was before on every way out:
//! q, a signal, an error, a panic.

mod figures;
mod screen;

use std::io::{IsTerminal, Read, stdin, stdout};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use dht_bootstrap::history::{HistoryReport, SAMPLES_MAX, Sample};
use dht_bootstrap::status::NodeStatus;
use dht_kad::ErrorNumber;
use ratatui::Terminal;
use ratatui::backend::TermionBackend;
use ratatui::termion::raw::IntoRawMode;
use ratatui::termion::screen::IntoAlternateScreen;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::{Failure, admin_address};

/// How often the node is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked for signals and for another size of the terminal while nothing else comes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Events that may wait: the screen takes each at once, so more than a few never do.
const EVENTS_MAX: usize = 16;
/// What Ctrl-C and Ctrl-D send while the terminal hands every key through.
const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

/// What is shown.
#[derive(Debug)]
struct View {
    status: NodeStatus,
    /// Oldest first.
    samples: Vec<Sample>,
    /// Why the node's last answer is missing, if it is.
    silent: Option<String>,
}

/// An answer of the node.
struct Answer {
    status: NodeStatus,
    later: Vec<Sample>,
}

enum Event {
    Key(u8),
    Answered(Box<Answer>),
    Silent(String),
}

/// Shows the node's state until q is pressed or a signal comes.
pub(super) fn run(admin: SocketAddr) -> Result<(), Failure> {
    if !stdout().is_terminal() {
        let sentence =
            "--watch draws on a terminal, and stdout is none; leave it out or take --json";
        return Err(Failure::new(ErrorNumber::Usage, sentence));
    }
    let ended = ended_by_signal()?;
    // Asked before anything is drawn: that there is no node is said in a line, not on a screen.
    let Answer { status, later } = ask(admin, 0)?;
    let mut view = View { status, samples: later, silent: None };
    let (events, coming) = sync_channel(EVENTS_MAX);
    read_keys(events.clone());
    ask_again(admin, events, newest(&view.samples));
    let cannot_draw = |error: std::io::Error| {
        let sentence = format!("the terminal cannot be drawn on ({error}); leave --watch out");
        Failure::new(ErrorNumber::FileAccess, sentence)
    };
    let raw = stdout().into_raw_mode().and_then(IntoAlternateScreen::into_alternate_screen);
    let backend = TermionBackend::new(raw.map_err(cannot_draw)?);
    let mut terminal = Terminal::new(backend).map_err(cannot_draw)?;
    while !ended.load(Ordering::Relaxed) {
        terminal.draw(|frame| screen::draw(frame, &view)).map_err(cannot_draw)?;
        match coming.recv_timeout(LOOK_EVERY) {
            Ok(Event::Key(b'q' | b'Q' | CTRL_C | CTRL_D)) => break,
            Ok(Event::Key(_)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(event) => view.take(event),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

impl View {
    fn take(&mut self, event: Event) {
        match event {
            Event::Key(_) => {}
            Event::Silent(reason) => self.silent = Some(reason),
            Event::Answered(answer) => {
                let Answer { status, later } = *answer;
                (self.status, self.silent) = (status, None);
                self.samples.extend(later);
                let surplus = self.samples.len().saturating_sub(SAMPLES_MAX);
                self.samples.drain(..surplus);
            }
        }
    }
}

/// Becomes true with the first signal that asks the process to end.
fn ended_by_signal() -> Result<Arc<AtomicBool>, Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(|error| {
            let sentence = format!("signals cannot be handled ({error}); start it again");
            Failure::new(ErrorNumber::Internal, sentence)
        })?;
    }
    Ok(ended)
}

/// Reads keys until there are no more, or nobody wants them. It ends with the process.
fn read_keys(events: SyncSender<Event>) {
    std::thread::spawn(move || {
        for key in stdin().lock().bytes().map_while(Result::ok) {
            if events.send(Event::Key(key)).is_err() {
                return;
            }
        }
    });
}

/// Asks the node again and again, until nobody wants the answers. It ends with the process.
fn ask_again(admin: SocketAddr, events: SyncSender<Event>, mut newest_ms: u64) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(ASK_EVERY);
            let event = match ask(admin, newest_ms) {
                Ok(answer) => {
                    newest_ms = newest(&answer.later).max(newest_ms);
                    Event::Answered(Box::new(answer))
                }
                Err(failure) => Event::Silent(failure.to_string()),
            };
            if events.send(event).is_err() {
                return;
            }
        }
    });
}

fn ask(admin: SocketAddr, after_ms: u64) -> Result<Answer, Failure> {
    let status = admin_address::read(admin, &admin_address::ask(admin, "/status")?)?;
    let past = admin_address::ask(admin, &format!("/history?after={after_ms}"))?;
    let HistoryReport { samples, .. } = admin_address::read(admin, &past)?;
    Ok(Answer { status, later: samples })
}

fn newest(samples: &[Sample]) -> u64 {
    samples.last().map_or(0, |sample| sample.at_ms)
}
