//! What is asked of one node by its name, whoever else there is: how it is, to keep a record, and what
//! it holds.
//!
//! A put goes to all that are responsible, and a get to whoever has something: neither tells whether this
//! one node does its part. This does, for those who watch over it.

use std::sync::Arc;

use dht_kad::message::{
    NodeInfo, Receipt, RecordBytes, Request, Response, Store, StoreItem, StoreResults, VitalSigns,
    Vitals,
};
use dht_kad::{RecordId, ValidRecord};
use futures_util::future::BoxFuture;

use super::locate::{Recognised, find_slot};
use crate::context::DhtContext;
use crate::requests::AskError;

impl DhtContext {
    /// Asks one node how it is.
    ///
    /// # Errors
    /// [`AskError`]; an older node answers that it does not know the request, a client that it serves none.
    pub fn vitals<'a>(&'a self, node: &'a NodeInfo) -> BoxFuture<'a, Result<VitalSigns, AskError>> {
        Box::pin(async move {
            match self.inner.requests.ask(node, &Request::Vitals(Vitals {})).await? {
                Response::VitalSigns(signs) => Ok(signs),
                _ => Err(AskError::WrongAnswer(node.id)),
            }
        })
    }

    /// Has one node keep a signed record, and no other. Its receipt is verified.
    ///
    /// # Errors
    /// [`AskError`]; a refusal is one, and a receipt that is none is a wrong answer.
    pub fn store_on_node<'a>(
        &'a self,
        node: &'a NodeInfo,
        record: &'a ValidRecord,
    ) -> BoxFuture<'a, Result<Receipt, AskError>> {
        Box::pin(async move {
            let item =
                StoreItem { record: RecordBytes(record.bytes().clone()), expected_seq: None };
            let request = Request::Store(Store { items: vec![item] });
            let wrong = || AskError::WrongAnswer(node.id);
            let results = match self.inner.requests.ask(node, &request).await? {
                Response::StoreResults(StoreResults { results }) => results,
                _ => return Err(wrong()),
            };
            let [result] = <[_; 1]>::try_from(results).map_err(|_| wrong())?;
            let receipt: Receipt = result.map_err(AskError::Refused)?;
            receipt.verify(self.network(), record, &node.id).map_err(|_| wrong())?;
            Ok(receipt)
        })
    }

    /// What one node shows of a slot, verified: a value whole, all else as a head; `None` if it shows
    /// nothing.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn held_by<'a>(
        &'a self,
        node: &'a NodeInfo,
        id: &'a RecordId,
    ) -> BoxFuture<'a, Result<Option<ValidRecord>, AskError>> {
        Box::pin(async move {
            let find = find_slot(id, false, false);
            let recognised = Arc::new(Recognised::default());
            let holding =
                Arc::clone(&self.inner).holding(node.clone(), find, recognised, true).await?;
            Ok(holding.records.into_iter().next())
        })
    }
}
