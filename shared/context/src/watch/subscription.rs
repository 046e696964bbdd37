//! [`Subscription`]: watching one node.

use futures_util::future::BoxFuture;
use std::sync::Arc;

use dht_kad::message::watch::{Cursor, Watch, WatchKey, Watched};
use dht_kad::message::{NodeInfo, RecordBytes, Request, Response};
use dht_kad::{NodeId, ParsedRecord, ValidRecord, codec};
use futures_util::StreamExt;

use crate::context::{DhtContext, Inner};
use crate::operations::alive;
use crate::requests::AskError;
use crate::transport::FrameStream;

/// A watch of one node; dropping it ends the watch.
pub struct Subscription {
    inner: Arc<Inner>,
    node: NodeId,
    keys: Vec<WatchKey>,
    frames: FrameStream,
    cursor: Cursor,
    resumed: bool,
}

/// What a watched node tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// These versions were written; of each, verified, the record or the head. Perhaps none.
    Changed(Vec<ValidRecord>),
    /// The node does not tell what was written since the last news: what is there is to be read.
    Missed,
}

impl DhtContext {
    /// Watches one node: it tells of everything that it takes at these keys from now on, or from the
    /// cursor on. A later watch of the same node takes the place of this one.
    ///
    /// # Errors
    /// [`AskError`]; refused with `Busy` if the node has too many watchers.
    pub fn subscribe<'a>(
        &'a self,
        node: &'a NodeInfo,
        keys: Vec<WatchKey>,
        cursor: Option<Cursor>,
    ) -> BoxFuture<'a, Result<Subscription, AskError>> {
        Box::pin(async move {
            let watch = Request::Watch(Watch { keys: keys.clone(), cursor });
            let (greeting, frames) = self.inner.requests.subscribe(node, &watch).await?;
            let Response::Watched(Watched::Watching { cursor, resumed }) = greeting else {
                return Err(AskError::WrongAnswer(node.id));
            };
            let inner = Arc::clone(&self.inner);
            Ok(Subscription { inner, node: node.id, keys, frames, cursor, resumed })
        })
    }
}

impl Subscription {
    /// Up to where everything has been shown: what to go on from later. It moves with each news.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether the node shows everything since the cursor that was given. Otherwise what is there is to
    /// be read besides, after the subscription began.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Waits for the next news. Not to be given up halfway: news that have arrived would be lost.
    ///
    /// # Errors
    /// [`AskError`] says how the watch ended.
    pub async fn next(&mut self) -> Result<News, AskError> {
        let frame = self.frames.next().await.ok_or(AskError::Ended(self.node))??;
        match codec::decode_response(&frame) {
            Ok(Response::Watched(Watched::Changed { records, cursor })) => {
                let records = verified(&self.inner, &self.keys, records).await;
                self.cursor = cursor;
                Ok(News::Changed(records))
            }
            Ok(Response::Watched(Watched::Watching { cursor, resumed: false })) => {
                self.cursor = cursor;
                Ok(News::Missed)
            }
            Ok(Response::Refused(refusal)) => Err(AskError::Refused(refusal)),
            _ => Err(AskError::WrongAnswer(self.node)),
        }
    }
}

/// Those of the records that are what was asked for, signed and alive.
async fn verified(inner: &Inner, keys: &[WatchKey], records: Vec<RecordBytes>) -> Vec<ValidRecord> {
    let now = inner.clock.now();
    let parsed = |RecordBytes(bytes)| {
        let record = ParsedRecord::parse(bytes).ok();
        if record.is_none() {
            inner.stats.note_lie();
        }
        // It may have waited to be read until it ended.
        record.filter(|record| alive(record, now))
    };
    let batch: Vec<_> = records.into_iter().filter_map(parsed).collect();
    let mut verified = Vec::with_capacity(batch.len());
    for result in inner.verifier.verify(batch).await {
        match result {
            Ok(record) if asked_for(keys, &record) => verified.push(record),
            _ => inner.stats.note_lie(),
        }
    }
    verified
}

fn asked_for(keys: &[WatchKey], record: &ValidRecord) -> bool {
    let id = record.id();
    let wanted = |watched: &WatchKey| {
        watched.key == id.key
            && watched.publisher.is_none_or(|publisher| publisher.0 == id.publisher)
    };
    keys.iter().any(wanted)
}
