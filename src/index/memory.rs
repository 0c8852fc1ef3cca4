//! Zeroed bytes side by side, in large pages where there are many. A look-up among millions meets memory that is in no
//! cache, and with small pages the processor has to fetch where the page lies first, which takes as long again.

use memmap2::MmapMut;

/// A large page, and from how many bytes on they are asked for.
const LARGE: usize = 2 << 20;

#[derive(Debug)]
pub(super) enum Memory {
    Small(Box<[u8]>),
    /// The bytes that are used begin where a large page may.
    Mapped {
        map: MmapMut,
        start: usize,
        length: usize,
    },
}

impl Memory {
    pub(super) fn zeroed(length: usize) -> Self {
        let mapped = (length >= LARGE).then(|| Self::mapped(length)).flatten();
        mapped.unwrap_or_else(|| Self::Small(vec![0; length].into()))
    }

    /// `None` where the kernel gives no memory in this way.
    fn mapped(length: usize) -> Option<Self> {
        // What is never touched takes no memory.
        let map = MmapMut::map_anon(length.checked_add(LARGE)?).ok()?;
        let address = map.as_ptr().addr();
        let start = address.next_multiple_of(LARGE) - address;
        #[cfg(target_os = "linux")]
        {
            use memmap2::Advice::{HugePage, NoHugePage};
            // Of the last large page most would be empty and yet take room.
            let (whole, rest) = (length / LARGE * LARGE, length % LARGE);
            let advised = map.advise_range(HugePage, start, whole);
            if let Err(e) = advised.and_then(|()| map.advise_range(NoHugePage, start + whole, rest)) {
                tracing::debug!(error = %e, "the kernel knows no large pages: look-ups are slower among millions of tokens");
            }
        }
        Some(Self::Mapped { map, start, length })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Mapped { map, start, length } => &map[*start..*start + *length],
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Mapped { map, start, length } => &mut map[*start..*start + *length],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Small(Box::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bytes_begin_where_a_large_page_may() {
        for length in [0, 1, LARGE - 1, LARGE, 2 * LARGE + 3] {
            let mut memory = Memory::zeroed(length);
            assert!(memory.bytes().len() == length && memory.bytes().iter().all(|byte| *byte == 0));
            memory.bytes_mut().fill(7);
            assert!(memory.bytes().iter().all(|byte| *byte == 7));
            assert_eq!(length >= LARGE, matches!(memory, Memory::Mapped { .. }));
            assert!(length < LARGE || memory.bytes().as_ptr().addr().is_multiple_of(LARGE));
        }
    }
}
