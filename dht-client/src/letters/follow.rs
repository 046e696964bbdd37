//! [`LetterStream`]: letters as they come.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::sleep;

use super::ReceivedLetter;
use crate::client::Client;
use crate::error::ClientError;

/// The pause between two looks while letters come.
const POLL_FIRST: Duration = Duration::from_secs(1);
/// The longest pause: what comes after hours of silence may take so long.
const POLL_MAX: Duration = Duration::from_secs(15);

/// The letters that wait on this device, then those that come, each once.
pub struct LetterStream {
    client: Client,
    waiting: VecDeque<ReceivedLetter>,
    /// The last one that was given.
    given: u64,
    pause: Duration,
    /// Why the last look came to nothing.
    fault: Option<ClientError>,
}

impl Client {
    /// Follows what comes: first all that is not acknowledged.
    #[must_use]
    pub fn follow_letters(&self) -> LetterStream {
        LetterStream {
            client: self.clone(),
            waiting: VecDeque::new(),
            given: 0,
            pause: Duration::ZERO,
            fault: None,
        }
    }
}

impl LetterStream {
    /// The next letter, whenever it comes. May be dropped and called again.
    ///
    /// # Errors
    /// [`ClientError`] if the profile cannot be read. That the network does not answer is no error: it
    /// is asked again, and [`fault`](Self::fault) says why it gave nothing.
    pub async fn next(&mut self) -> Result<ReceivedLetter, ClientError> {
        loop {
            if self.waiting.is_empty() {
                self.waiting = self.client.letters_after(self.given)?.into();
            }
            if let Some(letter) = self.waiting.pop_front() {
                self.given = letter.arrival;
                return Ok(letter);
            }
            sleep(self.pause).await;
            let fetched = self.client.fetch_letters().await;
            let came = fetched.as_ref().is_ok_and(|report| report.ready > 0);
            self.fault = fetched.err();
            self.pause = match came {
                true => POLL_FIRST,
                false => (2 * self.pause).clamp(POLL_FIRST, POLL_MAX),
            };
        }
    }

    /// Why the last look into the network came to nothing, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<&ClientError> {
        self.fault.as_ref()
    }
}
