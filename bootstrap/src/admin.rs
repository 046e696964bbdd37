//! The admin address: what a node says of itself, over HTTP, on loopback.
//!
//! `/livez` answers while the process does; `/readyz` is 200 while the node is ready and 503
//! otherwise; `/status` is a [`NodeStatus`] as JSON. Nothing can be changed here.

use std::future::Future;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::status::NodeStatus;

/// Gives the node's state at the moment it is called.
pub type ReadStatus = Arc<dyn Fn() -> NodeStatus + Send + Sync>;

/// Serves the admin address until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    read: ReadStatus,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(read);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the admin address is not served any more");
    }
}

async fn readyz(State(read): State<ReadStatus>) -> (StatusCode, &'static str) {
    if read().ready {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn status(State(read): State<ReadStatus>) -> Json<NodeStatus> {
    Json(read())
}
