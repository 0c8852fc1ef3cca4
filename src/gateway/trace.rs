//! Distributed tracing: the trace that a request belongs to goes on to the app, with us as the hop in between.
//! Reference: W3C Trace Context, levels 1 and 2, sections 3.2 and 4.

use http::{HeaderMap, HeaderName};

use super::hex;

pub(super) const PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The length of version 00: `00-` trace `-` parent `-` flags.
const LENGTH: usize = 55;
/// Sampled, and that the identifier is random. The others are reserved, and a sender of version 00 clears them.
const KNOWN_FLAGS: u8 = 0b11;

/// Our part in the trace that a request belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop {
    /// What the app is told of it.
    pub parent: [u8; LENGTH],
    /// The trace began before us. What is not in order goes together with its state, which would belong to no trace.
    pub goes_on: bool,
}

/// Goes on with the trace in the fields of a request, or begins one.
pub(super) fn hop(headers: Option<&HeaderMap>) -> Hop {
    let mut parent = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let received = headers.and_then(received);
    match &received {
        Some(trace) => {
            parent[3..35].copy_from_slice(&trace.id);
            parent[54] |= trace.flags & KNOWN_FLAGS;
        }
        None => parent[3..35].copy_from_slice(&hex::digits(fastrand::u128(..).max(1))),
    }
    parent[36..52].copy_from_slice(&hex::half(fastrand::u64(..).max(1)));
    Hop { parent, goes_on: received.is_some() }
}

/// A trace as its sender told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trace {
    /// In hexadecimal.
    id: [u8; 32],
    flags: u8,
}

fn received(headers: &HeaderMap) -> Option<Trace> {
    let mut values = headers.get_all(PARENT).iter();
    let value = values.next()?.as_bytes();
    if values.next().is_some() { None } else { parse(value) }
}

/// Strict: hexadecimal in lower case, no identifier of zeros. Of a version to come, the part that is known.
fn parse(value: &[u8]) -> Option<Trace> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let [v1, v2, b'-', rest_of_known @ ..] = known else { return None };
    let version = (digit(*v1)?, digit(*v2)?);
    let whole = match version {
        (0, 0) => rest.is_empty(),
        (15, 15) => false,
        _ => rest.first().is_none_or(|next| *next == b'-'),
    };
    let (id, rest_of_known) = rest_of_known.split_first_chunk::<32>()?;
    let [b'-', parent @ .., b'-', high, low] = rest_of_known else { return None };
    let identifies =
        |id: &[u8]| id.iter().all(|byte| digit(*byte).is_some()) && id.iter().any(|byte| *byte != b'0');
    let flags = digit(*high)? << 4 | digit(*low)?;
    (whole && identifies(id) && identifies(parent)).then_some(Trace { id: *id, flags })
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT_ID: &str = "00f067aa0ba902b7";

    fn carried(fields: &[(&'static str, &str)]) -> (String, Vec<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let hop = hop(Some(&headers));
        let parent = std::str::from_utf8(&hop.parent).unwrap().to_owned();
        assert!(parse(parent.as_bytes()).is_some(), "{parent}");
        let states = headers.get_all("tracestate").iter().filter(|_| hop.goes_on);
        (parent, states.map(|state| state.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn a_trace_goes_on_with_us_as_its_parent() {
        let sent = format!("00-{ID}-{PARENT_ID}-01");
        let (parent, states) =
            carried(&[("traceparent", &sent), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert!(parent.starts_with(&format!("00-{ID}-")) && parent.ends_with("-01"), "{parent}");
        assert!(!parent.contains(PARENT_ID));
        assert_eq!(states, ["a=1", "b=2"]);
    }

    #[test]
    fn a_version_to_come_is_read_as_far_as_it_is_known() {
        for sent in [format!("cc-{ID}-{PARENT_ID}-ff"), format!("01-{ID}-{PARENT_ID}-03-what.the.future")] {
            let (parent, _) = carried(&[("traceparent", &sent)]);
            assert!(parent.starts_with(&format!("00-{ID}-")) && parent.ends_with("-03"), "{parent}");
        }
    }

    #[test]
    fn what_is_not_in_order_begins_a_new_trace_without_state() {
        let good = format!("00-{ID}-{PARENT_ID}-01");
        let zeros = "0".repeat(32);
        for bad in [
            "",
            "00",
            &good[..54],
            &format!("{good}-"),
            &format!("{good}0"),
            &format!("ff-{ID}-{PARENT_ID}-01"),
            &format!("01-{ID}-{PARENT_ID}-01.x"),
            &format!("0x-{ID}-{PARENT_ID}-01"),
            &format!("00-{zeros}-{PARENT_ID}-01"),
            &format!("00-{ID}-{}-01", &zeros[..16]),
            &format!("00-{ID}-{PARENT_ID}-0A"),
            &good.to_uppercase(),
            &good.replace('-', "_"),
        ] {
            let (parent, states) = carried(&[("traceparent", bad), ("tracestate", "a=1")]);
            assert!(!parent.contains(ID) && parent.ends_with("-00"), "{bad}: {parent}");
            assert!(states.is_empty(), "{bad}");
        }
        let twice = [("traceparent", &*good), ("traceparent", &*good), ("tracestate", "a=1")];
        for fields in [&[("tracestate", "a=1")][..], &twice, &[]] {
            let (parent, states) = carried(fields);
            assert!(!parent.contains(ID) && states.is_empty(), "{fields:?}");
        }
        assert_ne!(carried(&[]).0, carried(&[]).0);
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(value: Vec<u8>) {
            let _ = parse(&value);
        }

        #[test]
        fn what_is_accepted_is_well_formed(value in "[0-9a-f]{2}-[0-9a-fA]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?") {
            if let Some(trace) = parse(value.as_bytes()) {
                prop_assert_eq!(&trace.id[..], &value.as_bytes()[3..35]);
                prop_assert!(!value.starts_with("ff") && !value.contains('A'));
            }
        }
    }
}
