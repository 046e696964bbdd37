use std::error::Error;
use std::path::Path;

use dht_client::receipts::{KeptReceipt, ReceiptBook};
use dht_client::{Audited, Client, Put, Verdict};

/// Holds nodes to what they promised. The client has an identity.
pub async fn keep_and_audit(client: &Client, file: &Path) -> Result<(), Box<dyn Error>> {
    // Opened first: if receipts cannot be kept, nothing is put.
    let book = ReceiptBook::create(file)?;
    let put = client.put(Put::owned(client.label("contract"), "signed".into())).await?;
    book.add(&KeptReceipt::of(client.network(), &put.record, &put.outcome))?;

    // Days later, perhaps by somebody else who was given the file.
    let mut promises = Vec::new();
    book.read(|entry| promises.extend(entry.receipt.ok().and_then(|kept| kept.prove().ok())))?;
    for (promise, audited) in promises.iter().zip(client.audit(&promises).await) {
        let node = promise.kept().node.id;
        match audited {
            Audited::Judged(Verdict::Broken(breach)) => println!("{node} broke it: {breach:?}"),
            Audited::Judged(verdict) => println!("{node}: {verdict:?}"),
            Audited::Unanswered(error) => println!("{node} gave no answer: {error}"),
            Audited::OtherNetwork => println!("{node} is of another network"),
        }
    }
    Ok(())
}
