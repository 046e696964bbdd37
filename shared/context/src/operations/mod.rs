//! What applications do: put, get, list, delete. Each is one task that asks other nodes through
//! [`requests`](crate::requests), and this node itself without a socket where it is a server.

mod audit;
mod get;
pub(crate) mod holders;
mod list;
mod list_slots;
mod locate;
mod one_node;
mod prepared;
mod put;
mod put_batch;
mod store_on;
mod version;
mod witnesses;
mod work;

pub use get::{GetError, GetOptions, GetReport};
pub use list::{LIST_BYTES_MAX, LIST_RECORDS_MAX, ListError, ListReport};
pub use list_slots::{RANGES_MAX, SlotsReport};
pub(crate) use locate::alive;
pub use locate::{Holding, Slot};
pub use prepared::{Attempts, Prepared};
pub use put::{Delete, Put, PutError, PutReport};
pub use witnesses::WITNESSES_MAX;
pub use work::Work;
