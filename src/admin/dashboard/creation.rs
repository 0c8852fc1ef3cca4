//! Making a token, and the one page that shows its value.

use askama::Template;
use axum::response::Response;
use http::{Method, StatusCode};

use super::form::Form;
use super::page::{Frame, Wrong, html};
use super::random;
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::config::Config;
use crate::control::{Caller, Fault, MintToken, Minted};
use crate::model::{HostPattern, PlainPath, TokenApp, TokenScope};

/// Places that are described, so that a page with many stays light.
const DESCRIBED: usize = 200;

#[derive(Template)]
#[template(path = "token_new.html")]
struct New {
    frame: Frame,
    places: Vec<App>,
    /// Whether there are too many for more than their names.
    many: bool,
    lifetimes: Vec<String>,
    allow_never: bool,
    filled: Filled,
    wrong: Wrong,
    trial: Option<Trial>,
    /// Whether what narrows a token down is in sight.
    narrowed: bool,
    once: String,
}

/// An app to choose, with its environments.
struct App {
    name: String,
    environments: Vec<Place>,
}

struct Place {
    /// As the form sends it: `shop/production`.
    value: String,
    name: String,
    host: String,
}

/// The form as it was filled in.
#[derive(Default)]
struct Filled {
    place: String,
    label: String,
    description: String,
    expires: String,
    date: String,
    scopes: String,
    networks: String,
    rate: String,
    on_publish: String,
    method: String,
    path: String,
}

/// What scopes say of one request.
#[derive(Debug, PartialEq, Eq)]
struct Trial {
    allowed: bool,
    says: String,
}

#[derive(Template)]
#[template(path = "reveal.html")]
struct Reveal {
    frame: Frame,
    id: String,
    label: String,
    app: String,
    environment: String,
    /// `None`: an earlier answer to the same form showed it.
    value: Option<Shown>,
}

/// A value, in each of the ways in which it is used.
struct Shown {
    token: String,
    header: String,
    authorization: String,
    /// `None` where the query form is off.
    query: Option<String>,
    curl: String,
}

impl Filled {
    fn new(form: &Form) -> Self {
        let text = |name: &str| form.raw(name).to_owned();
        Self {
            place: text("place"),
            label: text("label"),
            description: text("description"),
            expires: text("expires"),
            date: text("date"),
            scopes: text("scopes"),
            networks: text("allowed_addresses"),
            rate: text("rate_limit"),
            on_publish: text("on_publish"),
            method: text("try_method"),
            path: text("try_path"),
        }
    }

    /// What a trial tries, line by line.
    fn attempt(&self) -> String {
        [&self.method, &self.path, &self.scopes].map(|text| text.trim()).join("\n")
    }

    fn narrows(&self) -> bool {
        [&self.scopes, &self.networks, &self.rate, &self.on_publish].iter().any(|field| !field.is_empty())
    }
}

pub(in crate::admin) fn ask(ask: Ask) -> Answer {
    Box::pin(async move {
        let mut filled = Filled::new(&ask.query());
        let config = ask.state.control.config();
        let shortest =
            config.tokens.lifetimes.iter().min_by_key(|lifetime| lifetime.after(ask.state.control.now()));
        filled.expires = shortest.map(ToString::to_string).unwrap_or_default();
        form(&ask, StatusCode::OK, filled, Wrong::default(), None).await
    })
}

pub(in crate::admin) fn mint(ask: Ask) -> Answer {
    Box::pin(async move {
        let sent = &ask.form;
        let filled = Filled::new(sent);
        // Enter stands for the button that what was filled in is for: once it was tried, that is to make the token.
        let tries = match sent.raw("intent") {
            "try" => true,
            "enter" => {
                !filled.path.trim().is_empty() && !filled.attempt().lines().eq(sent.raw("tried").lines())
            }
            _ => false,
        };
        if tries {
            let trial = attempt(&sent.lines("scopes"), &filled.method, &filled.path);
            return form(&ask, StatusCode::OK, filled, Wrong::default(), Some(trial)).await;
        }
        let place = sent.filled("place");
        let (app, environment) = place.as_deref().and_then(|place| place.split_once('/')).unzip();
        let expires = sent.filled("expires");
        let by_date = expires.as_deref() == Some("date");
        let asked = MintToken {
            label: sent.filled("label"),
            description: sent.filled("description"),
            app: app.map(str::to_owned),
            environment: environment.map(str::to_owned),
            expires_in: expires.filter(|_| !by_date),
            expires_at: if by_date { Some(sent.raw("date").to_owned()) } else { None },
            scopes: Some(sent.lines("scopes")),
            allowed_addresses: Some(sent.lines("allowed_addresses")),
            rate_limit: sent.filled("rate_limit"),
            on_publish: sent.filled("on_publish"),
            once: ask.once.clone(),
            ..MintToken::default()
        };
        match ask.state.control.mint_token(ask.caller()?, asked).await {
            Ok(minted) => reveal(&ask, &minted),
            Err(Fault::Invalid(faults)) => {
                form(&ask, StatusCode::UNPROCESSABLE_ENTITY, filled, Wrong::new(faults), None).await
            }
            Err(fault) => Err(fault.into()),
        }
    })
}

/// The page that hands a value over, or says that an earlier one did.
pub(super) fn reveal(ask: &Ask, minted: &Minted) -> Result<Response, Problem> {
    let token = &minted.token;
    let config = ask.state.control.config();
    let value = minted.value.as_ref().map(|value| {
        let value = value.reveal();
        Shown {
            token: value.to_owned(),
            header: format!("{}: {value}", config.tokens.header),
            authorization: format!("Authorization: Bearer {value}"),
            query: config.tokens.query_parameter.as_ref().map(|name| format!("{name}={value}")),
            curl: format!(
                "curl -H 'Authorization: Bearer {value}' {}",
                address(&config, &token.app, token.environment.as_str())
            ),
        }
    });
    let status = if value.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let page = Reveal {
        frame: ask.frame(
            "tokens",
            if value.is_some() { "Copy your token now" } else { "This token was shown before" },
        ),
        id: token.id.to_string(),
        label: token.label.to_string(),
        app: token.app.to_string(),
        environment: token.environment.to_string(),
        value,
    };
    html(status, &page)
}

async fn form(
    ask: &Ask,
    status: StatusCode,
    filled: Filled,
    wrong: Wrong,
    trial: Option<Trial>,
) -> Result<Response, Problem> {
    let (control, caller) = (&ask.state.control, ask.caller()?);
    let config = control.config();
    let narrow = ["scopes", "allowed_addresses", "rate_limit", "on_publish"];
    let places = places(&config, caller);
    let page = New {
        frame: ask.frame("tokens", "New token"),
        many: places.iter().map(|app| app.environments.len()).sum::<usize>() > DESCRIBED,
        places,
        lifetimes: config.tokens.lifetimes.iter().map(ToString::to_string).collect(),
        allow_never: config.tokens.allow_never,
        narrowed: filled.narrows() || trial.is_some() || narrow.iter().any(|field| wrong.of(field).is_some()),
        filled,
        wrong,
        trial,
        once: random::draw().map_err(Fault::from)?,
    };
    html(status, &page)
}

/// Where the caller may open doors: each environment of each app that they see, and every app at once.
fn places(config: &Config, caller: &Caller) -> Vec<App> {
    let seen = config.apps.iter().filter(|app| caller.app().is_none_or(|bound| *bound == app.name));
    let mut places: Vec<_> = seen
        .map(|app| App {
            name: app.name.to_string(),
            environments: app
                .environments
                .iter()
                .map(|environment| Place {
                    value: format!("{}/{}", app.name, environment.name),
                    name: environment.name.to_string(),
                    host: environment.hosts.first().map(ToString::to_string).unwrap_or_default(),
                })
                .collect(),
        })
        .collect();
    if caller.app().is_none() && config.apps.len() > 1 {
        let mut names: Vec<_> =
            config.apps.iter().flat_map(|app| &app.environments).map(|e| e.name.to_string()).collect();
        names.sort_unstable();
        names.dedup();
        let every = |name: String| Place { value: format!("*/{name}"), name, host: String::new() };
        places
            .push(App { name: "Every app".to_owned(), environments: names.into_iter().map(every).collect() });
    }
    places
}

/// Whether scopes would allow a request, by the rules that the gateway goes by.
fn attempt(scopes: &[String], method: &str, path: &str) -> Trial {
    let refused = |says: String| Trial { allowed: false, says };
    let name = if method.trim().is_empty() { "GET" } else { method.trim() };
    let Ok(method) = Method::from_bytes(name.as_bytes()) else {
        return refused("This is no HTTP method.".to_owned());
    };
    let path = path.trim();
    let mut parsed = Vec::new();
    for scope in scopes {
        match TokenScope::parse(scope) {
            Ok(scope) => parsed.push(scope),
            Err(error) => return refused(format!("`{scope}` is no scope: {error}.")),
        }
    }
    if scopes.is_empty() {
        return Trial {
            allowed: true,
            says: "Allowed: without scopes a token may use every path.".to_owned(),
        };
    }
    let Some(plain) = PlainPath::new(path) else {
        return refused("Refused: no scope allows a path that servers read differently.".to_owned());
    };
    match parsed.iter().find(|scope| scope.allows(&method, plain)) {
        Some(scope) => Trial { allowed: true, says: format!("Allowed, by `{scope}`.") },
        None => refused("Refused: no scope allows it.".to_owned()),
    }
}

/// Where a client finds an environment, as far as this gateway knows.
pub(super) fn address(config: &Config, app: &TokenApp, environment: &str) -> String {
    let of_app = |name: &crate::model::AppName| match app {
        TokenApp::Every => true,
        TokenApp::One(one) => one == name,
    };
    let mut environments =
        config.apps.iter().filter(|app| of_app(&app.name)).flat_map(|app| &app.environments);
    let found = environments.find(|known| known.name.as_str() == environment);
    let hosts = found.map(|found| found.hosts.as_slice()).unwrap_or_default();
    let exact = hosts.iter().find(|host| matches!(host, HostPattern::Exact(_))).or(hosts.first());
    let host = match exact {
        Some(HostPattern::Exact(host)) => host.to_string(),
        Some(HostPattern::Wildcard(rest)) => format!("any.{rest}"),
        None => "localhost".to_owned(),
    };
    let (scheme, usual, port) = match (config.gateway.tls.first(), config.gateway.listen.first()) {
        (Some(entry), _) => ("https", 443, entry.listen.port()),
        (None, Some(address)) => ("http", 80, address.port()),
        (None, None) => ("http", 80, 80),
    };
    if port == usual { format!("{scheme}://{host}/") } else { format!("{scheme}://{host}:{port}/") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample;
    use crate::model::AppName;

    #[test]
    fn trials_go_by_the_gateways_rules() {
        let scopes = |all: &[&str]| all.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let tried = |all: &[&str], method, path| attempt(&scopes(all), method, path);
        assert!(tried(&[], "", "/x").allowed);
        assert!(tried(&["POST /a", "GET /b/*"], "GET", " /b/c ").says.contains("GET /b/*"));
        assert!(!tried(&["GET /b/*"], "POST", "/b/c").allowed);
        assert!(!tried(&["GET /*"], "GET", "/a/../b").allowed);
        assert!(tried(&["GET"], "GET", "/").says.contains("is no scope"));
        assert!(tried(&["GET /"], "a b", "/").says.contains("method"));
    }

    #[test]
    fn an_address_leads_to_the_app() {
        let mut config = sample::config();
        let shop = TokenApp::One(AppName::parse("shop").unwrap());
        config.gateway.listen = vec!["127.0.0.1:8080".parse().unwrap()];
        assert_eq!(address(&config, &shop, "production"), "http://shop.localhost:8080/");
        assert_eq!(address(&config, &TokenApp::Every, "production"), "http://shop.localhost:8080/");
        config.gateway.listen = vec!["0.0.0.0:80".parse().unwrap()];
        config.apps[0].environments[1].hosts = vec![HostPattern::parse("*.example.com").unwrap()];
        assert_eq!(address(&config, &shop, "production"), "http://any.example.com/");
    }
}
