//! How many connections may be open at once, on all listeners together.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// A number of places that can grow and shrink while they are taken.
#[derive(Debug)]
pub struct Capacity {
    places: Arc<Semaphore>,
    size: Mutex<usize>,
}

impl Capacity {
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(size)), size: Mutex::new(size) }
    }

    /// Waits for a place, in the order of asking.
    ///
    /// # Errors
    /// Never: nobody closes the places.
    pub async fn take(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.places.clone().acquire_owned().await
    }

    /// Makes it `size` places. What is taken beyond them stays so until it is given back; nobody gets a place before.
    /// Must be called within a runtime.
    pub fn resize(&self, size: usize) {
        let size = size.min(Semaphore::MAX_PERMITS);
        let mut now = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size > *now {
            self.places.add_permits(size - *now);
        }
        let surplus = now.saturating_sub(size);
        *now = size;
        let taken = surplus - self.places.forget_permits(surplus);
        if let Some(taken) = u32::try_from(taken).ok().filter(|taken| *taken > 0) {
            let places = self.places.clone();
            tokio::spawn(async move {
                if let Ok(given_back) = places.acquire_many_owned(taken).await {
                    given_back.forget();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_grows_and_shrinks_under_those_who_have_places() {
        let capacity = Capacity::new(2);
        let first = capacity.take().await.unwrap();
        let second = capacity.take().await.unwrap();
        capacity.resize(1);
        tokio::task::yield_now().await;
        let waits = async || tokio::time::timeout(Duration::from_millis(20), capacity.take()).await.is_err();
        drop(first);
        assert!(waits().await, "one place, and one is taken");
        capacity.resize(2);
        let third = capacity.take().await.unwrap();
        assert!(waits().await);
        drop((second, third));
        let all = (capacity.take().await.unwrap(), capacity.take().await.unwrap());
        assert!(waits().await);
        drop(all);
    }
}
