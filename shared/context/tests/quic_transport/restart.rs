//! A node that dies and comes back under its key and port.

use std::sync::Arc;
use std::time::Duration;

use dht_context::node_key::NodeKey;
use dht_context::transport::{CloseReason, RequestError, Transport};
use tokio::runtime::{Builder, Runtime};

use crate::node::{Echo, LOOPBACK, addr_of, bind, frame, node, serve_all, within};

/// Far below the 30 s after which a silent connection is given up.
const SOON: Duration = Duration::from_secs(8);

/// A runtime of its own: dropping it is a node's sudden death, with no word to anybody.
fn life() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_restarted_node_ends_the_connections_of_its_former_life_at_once() {
    let survivor = life();
    let first_life = life();
    let key = NodeKey::generate().unwrap();
    let (addr, listener) = first_life.block_on(async {
        let listener = bind(key.clone(), LOOPBACK, "test");
        serve_all(&listener, Arc::new(Echo));
        (addr_of(&listener), listener)
    });
    let (dialler, dialled) = survivor.block_on(async {
        let dialler = node();
        let dialled = within(dialler.dial(addr, Some(key.id()))).await.unwrap();
        assert_eq!(within(dialled.request(frame(b"alive"))).await, Ok(frame(b"alive")));
        (dialler, dialled)
    });

    first_life.shutdown_timeout(Duration::from_secs(5));
    drop(listener);
    let second_life = life();
    let _listener = second_life.block_on(async {
        let listener = bind(key.clone(), &addr.to_string(), "test");
        serve_all(&listener, Arc::new(Echo));
        listener
    });

    survivor.block_on(async {
        let lost = tokio::time::timeout(SOON, dialled.request(frame(b"again"))).await;
        let lost = lost.expect("the reset comes soon");
        assert_eq!(lost, Err(RequestError::ConnectionLost(CloseReason::Lost)));
        assert!(!dialled.is_open());
        let again = within(dialler.dial(addr, Some(key.id()))).await.unwrap();
        assert_eq!(within(again.request(frame(b"again"))).await, Ok(frame(b"again")));
    });
}
