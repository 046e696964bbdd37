//! `dht-bootstrap`: the persistent node of the DHT. See `dht-bootstrap --help`.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("dht-bootstrap: {failure}");
            ExitCode::from(failure.number as u8)
        }
    }
}
