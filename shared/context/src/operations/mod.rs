//! What applications do: put, get, list, delete. Each is one task that asks other nodes through
//! [`requests`](crate::requests), and this node itself without a socket where it is a server.

mod audit;
mod get;
mod list;
mod locate;
mod put;
mod store_on;
mod version;

pub use get::{GetError, GetOptions, GetReport};
pub use list::{LIST_BYTES_MAX, LIST_RECORDS_MAX, ListError, ListReport};
pub(crate) use locate::alive;
pub use locate::{Holding, Slot};
pub use put::{Delete, Put, PutError, PutReport};
