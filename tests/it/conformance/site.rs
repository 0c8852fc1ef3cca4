//! A gateway with an app behind it that the cases of one topic share.

use std::thread;

use super::peer::Peer;
use crate::support::app::{App, Exchange};
use crate::support::authority::{Authority, Client};
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire;

const HOST: &str = "shop.localhost";

/// How HTTP/2 comes to a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    PriorKnowledge,
    Tls,
}

pub(super) struct Site {
    pub(super) app: App,
    pub(super) gateway: Gateway,
    pub(super) authority: Authority,
    /// Offers HTTP/2, and HTTP/1.1 should that not do.
    browser: Client,
    token: String,
}

impl Way {
    pub(super) const ALL: [Self; 2] = [Self::PriorKnowledge, Self::Tls];
}

impl Site {
    pub(super) fn open() -> Self {
        let app = App::start(answer);
        let authority = Authority::new();
        authority.write("shop", &[HOST]);
        let gateway = Setup::new(&app).and(&authority.entry("127.0.0.1:0", "shop")).start();
        let token = gateway.mint("production").secret;
        let mut browser = authority.client();
        browser.config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { app, gateway, authority, browser, token }
    }

    pub(super) fn connect(&self, way: Way) -> Peer {
        match way {
            Way::PriorKnowledge => {
                Peer::new(Box::new(wire::connect(self.gateway.address()).stream), &self.token)
            }
            Way::Tls => {
                let stream = self.browser.connect(self.gateway.tls_address(), HOST).stream;
                assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
                Peer::new(Box::new(stream), &self.token)
            }
        }
    }

    /// The targets of the requests that reached the app, without those that show whether a connection goes on.
    pub(super) fn reached(&self) -> Vec<String> {
        let targets = self.app.requests().into_iter().map(|request| request.head.target().to_owned());
        targets.filter(|target| target != "/probe").collect()
    }
}

fn answer(exchange: &mut Exchange<'_>) {
    match exchange.head.target() {
        "/wait" => {
            exchange.wire.wait_for_end();
            exchange.close();
        }
        "/deaf" => loop {
            thread::park();
        },
        "/large" => exchange.answer(&[b'x'; 200_000]),
        "/hop" => {
            exchange.send(
                "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: a\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n\
                 X-Capital: A\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            );
        }
        _ => {
            let body = exchange.body();
            exchange.answer(if body.is_empty() { b"hello" } else { &body });
        }
    }
}
