//! Values: put, got, deleted.

use dht_client::{ErrorNumber, GetOptions, Identity, Put, Slot};

use crate::people::{client_of, live};

#[test]
fn what_one_client_puts_another_gets() {
    live(async {
        let alice = Identity::generate().unwrap();
        let (writer, reader) = (client_of(&alice), client_of(&Identity::generate().unwrap()));
        let label = writer.label("greeting");
        let slot = Slot::Owned { publisher: alice.public_key(), label, slot: 0 };
        let missing = reader.get(&slot, GetOptions::default()).await.unwrap_err();
        assert_eq!(missing.number(), ErrorNumber::NotFound);
        writer.put(Put::owned(label, "hello".into())).await.unwrap();
        let found = reader.get(&slot, GetOptions::default()).await.unwrap();
        assert_eq!(found.record.body().as_deref(), Some(b"hello".as_slice()));
        writer.stop().await;
        reader.stop().await;
    });
}
