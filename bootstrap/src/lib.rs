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
pub mod history;
pub mod kept_list;
pub mod logging;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod node_identity;
pub mod process;
pub mod reading;
pub mod registry_key;
pub mod reload;
pub mod service_manager;
pub mod status;
pub mod store;
pub mod verify_threads;
pub mod visitor;
pub mod watchdog;
pub mod whole_file;
mod work_queue;
