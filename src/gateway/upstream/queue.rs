//! Requests that wait for a part in a connection that many share: who came first is served first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::shared::Share;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<Share>>>,
    joined: Cell<u64>,
}

/// A request's turn in the queue, left when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    queue: &'a Queue,
    number: u64,
    pub given: oneshot::Receiver<Share>,
}

impl Queue {
    pub(super) fn join(&self) -> Turn<'_> {
        let (sender, given) = oneshot::channel();
        let number = self.joined.get();
        self.joined.set(number + 1);
        self.waiting.borrow_mut().insert(number, sender);
        Turn { queue: self, number, given }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Hands out what there is, for as long as somebody waits.
    pub(super) fn serve(&self, there_is: impl Fn() -> Option<Share>) {
        while !self.is_empty()
            && let Some(share) = there_is()
        {
            let first = self.waiting.borrow_mut().pop_first();
            // Whoever waits is there to take it.
            let _ = first.map(|(_, first)| first.send(share));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.waiting.borrow_mut().remove(&self.number);
    }
}
