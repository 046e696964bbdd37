//! Elsewhere, answers were matched to requests last-in-first-out, per peer.

use std::sync::Arc;

use bytes::Bytes;
use dht_context::transport::{Answer, Asker, Connection, Service};
use futures_util::future::join_all;

use crate::node::{connect, frame, node, payload, settled, within};

const REQUESTS: u32 = 1000;

/// Answers every third request at once and the others later, in an order of its own.
struct OutOfOrder;

impl Service for OutOfOrder {
    fn answer(&self, _asker: Asker, request: Bytes) -> Answer {
        let number = number_of(&request);
        if number.is_multiple_of(3) {
            return Answer::Ready(request);
        }
        Answer::Later(Box::pin(async move {
            for _ in 0..number % 17 {
                tokio::task::yield_now().await;
            }
            request
        }))
    }
}

fn number_of(frame: &Bytes) -> u32 {
    u32::from_be_bytes(payload(frame)[..4].try_into().unwrap())
}

/// A request of its own number and of a length of its own, up to some packets.
fn numbered(number: u32) -> Bytes {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(4 + (number as usize * 37) % 5000, 0);
    frame(&payload)
}

async fn ask_all(connection: &dyn Connection) {
    let answers = join_all((0..REQUESTS).map(|number| connection.request(numbered(number))));
    for (number, answer) in (0..REQUESTS).zip(within(answers).await) {
        assert_eq!(answer, Ok(numbered(number)));
    }
}

#[tokio::test]
async fn answers_mixed_up() {
    let (dialler, listener) = (node(), node());
    let (dialled, accepted) = connect(&dialler, &listener).await;
    tokio::spawn(accepted.serve(Arc::new(OutOfOrder)));
    tokio::spawn(dialled.serve(Arc::new(OutOfOrder)));
    tokio::join!(ask_all(&*dialled), ask_all(&*accepted));
    settled(&*dialled).await;
    settled(&*accepted).await;
}
