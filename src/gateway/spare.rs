//! Header maps that have served, kept by each worker for messages to come: a new one takes two allocations.

use std::cell::RefCell;

use http::HeaderMap;

/// How many are kept.
const KEPT: usize = 32;
/// Fields that one may have room for and yet be kept.
const LARGEST: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map, with room for `usual` fields unless it has served.
pub(super) fn take(usual: usize) -> HeaderMap {
    let spare = SPARE.with(|spare| spare.borrow_mut().pop());
    spare.unwrap_or_else(|| HeaderMap::with_capacity(usual))
}

/// Takes a map that has served.
pub(super) fn give(mut map: HeaderMap) {
    if (1..=LARGEST).contains(&map.capacity()) {
        map.clear();
        // What is dropped with the thread may come too late.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(map);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn a_map_comes_back_empty_and_none_that_is_large() {
        let mut map = take(6);
        map.append(header::COOKIE, HeaderValue::from_static("a"));
        map.append(header::COOKIE, HeaderValue::from_static("b"));
        let room = map.capacity();
        give(map);
        give(HeaderMap::new());
        give(HeaderMap::with_capacity(1000));
        let again = take(1);
        assert_eq!((again.len(), again.capacity()), (0, room));
        assert!(take(1).capacity() < room);
    }
}
