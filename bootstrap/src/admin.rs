//! The admin address: what a node says of itself, over HTTP, on loopback.
//!
//! | path | answers |
//! |---|---|
//! | `/livez` | `alive`, while the process answers at all |
//! | `/readyz` | 200 while the node is ready; 503 and the reason otherwise |
//! | `/status` | a [`NodeStatus`] as JSON |
//! | `/metrics` | the same and histograms, for Prometheus |
//! | `/history` | a [`HistoryReport`] as JSON; `?after=MS` only what came since |
//! | `/` | a page that shows all of it to a person |
//!
//! Nothing can be changed here.

use std::future::Future;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dht_kad::UnixMs;
use tokio::net::TcpListener;

use crate::history::{History, HistoryReport};
use crate::metrics;
use crate::reading::Reading;
use crate::status::NodeStatus;

/// Gives the node's state at the moment it is called.
pub type ReadNode = Arc<dyn Fn() -> Reading + Send + Sync>;

/// The page for people: one file with its style and script in it.
const PAGE: &str = include_str!("status_page.html");
/// Stands in [`PAGE`] for what the one answer's policy lets its own style and script through by.
const NONCE: &str = "{{nonce}}";

#[derive(Clone)]
struct Admin {
    read: ReadNode,
    history: Arc<History>,
}

/// Serves the admin address, and keeps the history that it shows, until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    read: ReadNode,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let history = Arc::new(History::default());
    let keeping = Arc::clone(&history).keep(Arc::clone(&read));
    let router = Router::new()
        .route("/", get(page))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(prometheus))
        .route("/history", get(past))
        .with_state(Admin { read, history });
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop).into_future();
    tokio::select! {
        biased;
        served = serving => if let Err(error) = served {
            tracing::error!(%error, "the admin address is not served any more");
        },
        () = keeping => {}
    }
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    match (admin.read)().status.not_ready_because {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}

async fn status(State(admin): State<Admin>) -> Json<NodeStatus> {
    Json((admin.read)().status)
}

async fn prometheus(State(admin): State<Admin>) -> Response {
    match metrics::encode((admin.read)()) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn past(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    match after(query.as_deref().unwrap_or_default()) {
        Some(moment) => {
            let report: HistoryReport = admin.history.after(moment);
            Json(report).into_response()
        }
        None => {
            let sentence = "ask for /history, or /history?after= and a Unix time in milliseconds\n";
            (StatusCode::BAD_REQUEST, sentence).into_response()
        }
    }
}

/// The moment that a query names; the beginning of time if it is empty.
fn after(query: &str) -> Option<UnixMs> {
    if query.is_empty() {
        return Some(UnixMs(0));
    }
    query.strip_prefix("after=")?.parse().ok().map(UnixMs)
}

/// The page. It may load nothing but this node's own answers, and run nothing but its own script.
async fn page() -> Response {
    let mut seed = [0; 16];
    if let Err(error) = getrandom::fill(&mut seed) {
        tracing::error!(%error, "no chance for the status page");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let nonce = hex::encode(seed);
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let headers: [(HeaderName, String); 4] = [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Html(PAGE.replace(NONCE, &nonce))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_for_the_past_is_one_moment_or_nothing() {
        assert_eq!(after(""), Some(UnixMs(0)));
        assert_eq!(after("after=17"), Some(UnixMs(17)));
        for wrong in ["after=", "after=-1", "before=17", "after=17&x=1"] {
            assert_eq!(after(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        assert!(PAGE.contains(NONCE));
        for foreign in ["http://", "https://", "//", "@import", "url("] {
            let lines = PAGE.lines().filter(|line| !line.contains("http://www.w3.org/2000/svg"));
            let found: Vec<&str> = lines.filter(|line| line.contains(foreign)).collect();
            assert!(found.is_empty(), "{foreign}: {found:?}");
        }
    }
}
