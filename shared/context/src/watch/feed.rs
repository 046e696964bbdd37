//! [`Feed`]: what one watcher is shown, frame by frame.
//!
//! ```text
//! Greet ─▶ Since: page by page what was written since the cursor ─▶ Live: what waits in the queue
//!    └───────────── no cursor, or one of another store ───────────────▶┘
//! ```
//!
//! The watcher's queue is open before anything is read from the store, so that nothing falls in
//! between: what is read goes up to the commit at which the queue begins.

use std::sync::Arc;

use bytes::Bytes;
use dht_kad::message::watch::{Cursor, Watch, WatchKey, Watched};
use dht_kad::message::{Position, RecordBytes, Response};
use dht_kad::{NodeId, Refusal};
use futures_util::stream::{self, BoxStream};

use super::hub::{Due, End, Hub, Watcher};
use crate::server::encode;
use crate::store::{PageQuery, RecordStore};

/// Pages that are read to go on from a cursor: one for each key, and as many again. A watcher that
/// was away for longer reads for itself what is there.
const SINCE_PAGES_MAX: usize = 2_048;
/// Pages that are read before others get their turn: under a millisecond while they are in memory.
const PAGES_A_TURN: usize = 16;

/// What one watcher is shown.
pub(super) struct Feed {
    watcher: Watcher,
    store: Arc<dyn RecordStore>,
    keys: Arc<[WatchKey]>,
    step: Step,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Step {
    Greet(Option<Cursor>),
    Since(Since),
    Live,
    Over,
}

/// How far the reading of what was written since a cursor has come.
#[derive(Clone, Copy)]
struct Since {
    cursor: Cursor,
    /// The key that is read.
    place: usize,
    after: Option<Position>,
    pages: usize,
}

impl Hub {
    /// Begins to answer a watch.
    ///
    /// # Errors
    /// [`Refusal::Busy`] or [`Refusal::Restarting`].
    pub(crate) fn watch(
        self: &Arc<Self>,
        asker: NodeId,
        watch: Watch,
        store: Arc<dyn RecordStore>,
    ) -> Result<BoxStream<'static, Bytes>, Refusal> {
        let keys: Arc<[WatchKey]> = distinct(watch.keys).into();
        let watcher = self.admit(asker, Arc::clone(&keys))?;
        let feed = Feed { watcher, store, keys, step: Step::Greet(watch.cursor) };
        let frames = stream::unfold(feed, |mut feed| async move {
            let frame = feed.next().await?;
            Some((encode(&frame), feed))
        });
        Ok(Box::pin(frames))
    }
}

/// Each record once: no key twice, and none beside the same one for all publishers.
fn distinct(mut keys: Vec<WatchKey>) -> Vec<WatchKey> {
    keys.sort_unstable();
    // `None` sorts first.
    keys.dedup_by(|next, kept| {
        next.key == kept.key && (kept.publisher.is_none() || next.publisher == kept.publisher)
    });
    keys
}

impl Feed {
    /// The next frame, when it is there; `None` at the end.
    async fn next(&mut self) -> Option<Response> {
        loop {
            match self.step {
                Step::Greet(cursor) => return Some(self.greet(cursor)),
                Step::Since(since) => {
                    if let Some(frame) = self.read_on(since).await {
                        return Some(frame);
                    }
                }
                Step::Live => match self.watcher.due() {
                    Due::Records(records, commit_no) => {
                        return Some(self.changed(records, commit_no));
                    }
                    Due::End(end) => {
                        self.step = Step::Over;
                        if let End::Refused(refusal) = end {
                            return Some(Response::Refused(refusal));
                        }
                    }
                    Due::Nothing => self.watcher.woken().await,
                },
                Step::Over => return None,
            }
        }
    }

    fn greet(&mut self, cursor: Option<Cursor>) -> Response {
        let from = self.watcher.hub().cursor(self.watcher.from);
        let fits = |cursor: &Cursor| {
            cursor.incarnation == from.incarnation && cursor.commit_no <= from.commit_no
        };
        let watching = match cursor.filter(fits) {
            Some(cursor) => {
                self.watcher.note_resumed();
                self.step = Step::Since(Since { cursor, place: 0, after: None, pages: 0 });
                Watched::Watching { cursor, resumed: true }
            }
            None => {
                self.step = Step::Live;
                Watched::Watching { cursor: from, resumed: false }
            }
        };
        Response::Watched(watching)
    }

    /// Reads pages until one has something to show, or all is read.
    async fn read_on(&mut self, mut since: Since) -> Option<Response> {
        let (cursor, from) = (since.cursor, self.watcher.from);
        while let Some(watched) = self.keys.get(since.place) {
            if cursor.commit_no == from {
                break;
            }
            if since.pages == SINCE_PAGES_MAX {
                self.step = Step::Live;
                let cursor = self.watcher.hub().cursor(from);
                return Some(Response::Watched(Watched::Watching { cursor, resumed: false }));
            }
            since.pages += 1;
            if since.pages.is_multiple_of(PAGES_A_TURN) {
                tokio::task::yield_now().await;
            }
            let query = PageQuery {
                publisher: watched.publisher.map(|publisher| publisher.0),
                after: since.after,
                written: Some((cursor.commit_no, from)),
                ..PageQuery::all(watched.key)
            };
            let page = match self.store.find(query).wait().await {
                Ok(page) => page,
                Err(refusal) => {
                    self.step = Step::Over;
                    return Some(Response::Refused(refusal));
                }
            };
            since.after = page.next;
            since.place += usize::from(page.next.is_none());
            self.step = Step::Since(since);
            if !page.records.is_empty() {
                self.watcher.note_shown(page.records.len());
                return Some(self.changed(page.records, cursor.commit_no));
            }
        }
        self.step = Step::Live;
        (cursor.commit_no < from).then(|| self.changed(Vec::new(), from))
    }

    fn changed(&self, records: Vec<Bytes>, commit_no: u64) -> Response {
        let records = records.into_iter().map(RecordBytes).collect();
        let cursor = self.watcher.hub().cursor(commit_no);
        Response::Watched(Watched::Changed { records, cursor })
    }
}

#[cfg(test)]
mod tests {
    use dht_kad::Key;
    use dht_kad::message::PublisherKey;

    use super::*;

    #[test]
    fn no_record_is_watched_twice() {
        let of = |key: u8, publisher: Option<u8>| WatchKey {
            key: Key([key; 32]),
            publisher: publisher.map(|byte| PublisherKey([byte; 32])),
        };
        let asked =
            vec![of(2, Some(1)), of(1, Some(2)), of(1, None), of(2, Some(1)), of(2, Some(3))];
        assert_eq!(distinct(asked), [of(1, None), of(2, Some(1)), of(2, Some(3))]);
    }
}
