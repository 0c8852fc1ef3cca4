//! A gateway with an app behind it that the cases of one topic share.

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::wire;

use super::peer::Peer;

/// How HTTP/2 comes to a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    PriorKnowledge,
}

pub(super) struct Site {
    pub(super) app: App,
    gateway: Gateway,
    token: String,
}

impl Way {
    pub(super) const ALL: [Self; 1] = [Self::PriorKnowledge];
}

impl Site {
    pub(super) fn open() -> Self {
        let app = App::start(|exchange| match exchange.head.target() {
            "/wait" => {
                exchange.wire.wait_for_end();
                exchange.close();
            }
            "/deaf" => loop {
                std::thread::park();
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
        });
        let gateway = Gateway::before(&app);
        let token = gateway.mint("production").secret;
        Self { app, gateway, token }
    }

    pub(super) fn connect(&self, way: Way) -> Peer {
        match way {
            Way::PriorKnowledge => {
                Peer::new(Box::new(wire::connect(self.gateway.address()).stream), &self.token)
            }
        }
    }

    /// The targets of the requests that reached the app, without those that show whether a connection goes on.
    pub(super) fn reached(&self) -> Vec<String> {
        let targets = self.app.requests().into_iter().map(|request| request.head.target().to_owned());
        targets.filter(|target| target != "/probe").collect()
    }
}
