//! The daemon: a DHT server that keeps what it acknowledges.
//!
//! The program is a thin `main` around [`node::Node`], which is the whole daemon in one value:
//!
//! ```no_run
//! use dht_bootstrap::config::{Config, RunFlags};
//! use dht_bootstrap::node::Node;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let flags = RunFlags { data_dir: Some("./data".into()), solo: true, ..RunFlags::default() };
//! let node = Node::start(Config::load(&flags)?).await?;
//! node.ready().await;
//! println!("{} is ready on {:?}", node.id(), node.listen());
//! node.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod admin;
pub mod config;
pub mod kept_list;
pub mod logging;
pub mod node;
pub mod node_identity;
pub mod registry_key;
pub mod status;
pub mod store;
pub mod verify_threads;
pub mod visitor;
pub mod whole_file;
mod work_queue;
