//! How a connection begins: RFC 9113, sections 3.4 and 9.2.

use std::io::{Read, Write};

use super::case::Owed::{Answer, End, Seen, Worded};
use super::case::{bare, case, run};
use super::site::Site;
use crate::support::http2::{
    ACK, ENABLE_PUSH, END_HEADERS, END_STREAM, FRAME_SIZE_ERROR, Frame, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE, PREFACE, SETTINGS,
};
use crate::support::wire::request;

#[test]
fn connections_begin_with_preface_and_settings() {
    let site = run(&[
        bare("3.4: another protocol's first words", End, |to| to.raw("INVALID CONNECTION PREFACE\r\n\r\n")),
        bare("3.4: the preface but for its last byte", End, |to| to.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\t")),
        bare("3.4: a frame in place of the preface", End, |to| to.settings(&[])),
        bare("3.4: the preface twice", End, |to| {
            to.raw(PREFACE);
            to.raw(PREFACE);
        }),
        bare("3.4: a PING before any settings", End, |to| {
            to.raw(PREFACE);
            to.send(0x6, 0, 0, [0; 8]);
        }),
        bare("3.4: a request before any settings", End, |to| {
            to.raw(PREFACE);
            to.ask(1, "GET", "/early", &[]);
        }),
        bare("3.4: a frame of an unknown kind before any settings", End, |to| {
            to.raw(PREFACE);
            to.send(0xfa, 0, 0, []);
            to.settings(&[]);
        }),
        bare("3.4: settings of a wrong length to begin with", Worded(FRAME_SIZE_ERROR), |to| {
            to.raw(PREFACE);
            to.send(SETTINGS, 0, 0, [0; 5]);
        }),
        bare("3.4: everything at once, without waiting for the server", Answer(1, 200), |to| {
            let head = Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, to.block("GET", "/", &[]));
            to.raw([PREFACE.to_vec(), Frame::settings(&[]).bytes(), head.bytes()].concat());
        }),
        bare("3.4: an acknowledgement before any settings", End, |to| {
            to.raw(PREFACE);
            to.send(SETTINGS, ACK, 0, []);
            to.settings(&[]);
        }),
        case("3.4: settings are the first that the server sends, before it has read ours", Seen, |to| {
            let first = to.client.frame().unwrap();
            assert_eq!((first.kind, first.flags, first.stream, first.payload.len() % 6), (SETTINGS, 0, 0, 0));
        }),
        bare("3.4: the server does not wait for our settings before it sends its own", Seen, |to| {
            to.raw(PREFACE);
            assert_eq!(to.client.frame().unwrap().kind, SETTINGS);
        }),
        case("6.5.2: no setting of the server's has a value that it may not have", Seen, |to| {
            for setting in to.client.frame().unwrap().payload.chunks(6) {
                let name = u16::from_be_bytes(setting[..2].try_into().unwrap());
                let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
                match name {
                    ENABLE_PUSH => assert_eq!(value, 0, "a server must not ask for pushes"),
                    INITIAL_WINDOW_SIZE => assert!(value <= i32::MAX as u32),
                    MAX_FRAME_SIZE => assert!((1 << 14..1 << 24).contains(&value)),
                    _ => {}
                }
            }
        }),
        case("6.5.3: our settings are acknowledged", Answer(1, 200), |to| {
            let ack = to.client.wait(|frame| frame.kind == SETTINGS && frame.has(ACK)).unwrap();
            assert_eq!((ack.flags, ack.stream, ack.payload.len()), (ACK, 0, 0));
            to.get(1);
        }),
    ]);
    assert!(!site.reached().contains(&"/early".to_owned()));
}

#[test]
fn tls_is_of_a_kind_that_http2_allows() {
    let site = Site::open();
    for version in rustls::ALL_VERSIONS {
        let mut client = site.authority.client_of(&[version]);
        client.config.alpn_protocols = vec![b"h2".to_vec()];
        let mut stream = client.connect(site.gateway.tls_address(), "shop.localhost").stream;
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
        // Appendix A rules out what has no forward secrecy or no authenticated encryption, whatever the version.
        let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
        let name = suite.as_str().unwrap();
        let allowed = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        assert!(allowed && (name.contains("_GCM_") || name.contains("_CHACHA20_")), "{name}");
        // What was agreed is what is spoken.
        stream.write_all(&request("GET /agreed", &[])).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/"), "{}", rest.escape_ascii());
    }
    assert_eq!(site.reached(), Vec::<String>::new());
}
