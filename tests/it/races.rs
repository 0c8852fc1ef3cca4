//! Changes while requests go on: what was answered holds for every request that comes after.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Minted, Setup};

const HOST: &str = "shop.localhost";
const ASKING: usize = 4;
/// Requests that a connection sends in one go.
const AT_ONCE: usize = 16;

/// Ends that a change may make of a token, and what its holder is told.
const ENDS: [(&str, &str); 4] = [
    ("revoke", "token_revoked"),
    ("rotate", "token_expired"),
    ("delete", "token_unknown"),
    ("remove", "token_revoked"),
];

#[test]
fn after_the_answer_to_an_ending_no_request_is_let_through() {
    // `make soak` asks for more.
    let wanted: usize = std::env::var("REQUESTS").map_or(100_000, |requests| requests.parse().unwrap());
    let gateway = Setup::new(&App::echo()).set("gateway.limits", "auth_failures_per_minute", "0").start();
    let operator = Caller::operator(&gateway);
    // Each with the code that has to come from the moment that its ending was answered.
    let tokens: Mutex<Vec<(Minted, Option<&'static str>)>> = Mutex::default();
    // Requests after the answer to an ending.
    let (asked, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let asking: Vec<_> = (0..ASKING)
            .map(|_| {
                scope.spawn(|| {
                    let mut wire = gateway.connect();
                    while !stop.load(Ordering::Relaxed) {
                        let chosen = {
                            let tokens = tokens.lock().unwrap();
                            // The last ones are those of which something is happening.
                            let recent = tokens.len().saturating_sub(8);
                            let chosen = tokens.get(fastrand::usize(recent..=tokens.len()));
                            chosen.map(|(token, ended)| (token.secret.clone(), *ended))
                        };
                        let Some((secret, ended)) = chosen else { continue };
                        // All of them begin after the answer to the ending that was seen.
                        let request = with_token("GET /", HOST, &secret);
                        wire.send(request.repeat(AT_ONCE));
                        for _ in 0..AT_ONCE {
                            let answer = wire.answer();
                            match ended {
                                Some(code) => {
                                    assert_eq!(answer.code(), code, "let through after the answer");
                                    asked.fetch_add(1, Ordering::Relaxed);
                                }
                                None if answer.status == 200 => {}
                                None => {
                                    assert!(ENDS.iter().any(|(_, code)| *code == answer.code()), "{answer:?}")
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        let mut round = 0;
        while asked.load(Ordering::Relaxed) < wanted && asking.iter().all(|thread| !thread.is_finished()) {
            let (how, code) = ENDS[round % ENDS.len()];
            let name = format!("m{round}");
            let token = if how == "remove" {
                Caller::member(&gateway, &name, &["mint"], None).mint("production")
            } else {
                gateway.mint("production")
            };
            let id = token.id.clone();
            let place = {
                let mut tokens = tokens.lock().unwrap();
                tokens.push((token, None));
                tokens.len() - 1
            };
            match how {
                "revoke" => drop(gateway.revoke(&id)),
                "rotate" => {
                    let body = json!({ "overlap": "0s" });
                    operator.get(201, &format!("POST /v1/tokens/{id}/rotate"), Some(body));
                }
                "delete" => drop(operator.get(200, &format!("DELETE /v1/tokens/{id}"), None)),
                _ => drop(operator.get(200, &format!("DELETE /v1/members/{name}"), None)),
            }
            tokens.lock().unwrap()[place].1 = Some(code);
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn many_mints_revokes_and_requests_at_once_leave_each_token_as_it_was_told() {
    let gateway = Gateway::before(&App::echo());
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut wire = gateway.connect();
                let mut ask = |token: &Minted| {
                    wire.send(with_token("GET /", HOST, &token.secret));
                    wire.answer().status
                };
                for round in 0..30 {
                    let token = gateway.mint("production");
                    assert_eq!(ask(&token), 200, "in force with the answer to the mint");
                    if round % 2 == 0 {
                        gateway.revoke(&token.id);
                        assert_eq!(ask(&token), 401);
                    }
                }
            });
        }
    });
}
