//! `/v1/openapi.json`: the API as programs read it, put together from the route table and the types on the wire.

mod calls;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::call::{Answer, Call};
use super::routes::{Need, ROUTES, Route, Serves};
use super::wire;
use calls::Doc;

/// Made once: it depends on nothing but the program.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());

const ABOUT: &str = "Mints, lists and ends the tokens that Portcullis lets through, and publishes what they are bound to. \
    On the admin socket the caller is the operator and needs no key; elsewhere a management key says who calls. An \
    answer to a change means that it is on disk and in force. Times are RFC 3339 in UTC.";

pub(super) fn show(_call: Call) -> Answer {
    Box::pin(async {
        let mut response = Response::new(Body::from(DOCUMENT.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    })
}

/// The schemas of the types that calls take and give, by name.
#[derive(Default)]
struct Schemas(BTreeMap<String, Value>);

/// How a body or an answer looks: a type's schema is noted where it is used.
type Shape = fn(&mut Schemas) -> Value;

impl Schemas {
    fn add<T: ToSchema>(&mut self) -> Value {
        let mut found: Vec<(String, RefOr<Schema>)> = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut found);
        for (name, schema) in found {
            self.0.entry(name.clone()).or_insert_with(|| complete(&name, &schema));
        }
        json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
    }
}

/// Bodies that have to say when what they ask for ends. The others may, in one way.
const MUST_END: [&str; 2] = ["MintToken", "MintShare"];

/// What answers hold is always there, also where it is null; what bodies hold may be left out.
fn complete(name: &str, schema: &RefOr<Schema>) -> Value {
    // A schema is names, numbers and text, and always serializes.
    let mut schema = serde_json::to_value(schema).unwrap_or_default();
    let is_body = schema["additionalProperties"] == json!(false);
    let names = schema["properties"].as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    let ends = ["expires_in", "expires_at"];
    if names
        .as_ref()
        .is_some_and(|names| is_body && ends.iter().all(|end| names.iter().any(|name| name == end)))
    {
        if MUST_END.contains(&name) {
            schema["oneOf"] = ends.map(|end| json!({ "required": [end] })).into();
        } else {
            schema["not"] = json!({ "required": ends });
        }
    }
    // What a problem has depends on its code.
    if let Some(names) = names.filter(|names| !is_body && !names.contains(&"errors".to_owned())) {
        schema["required"] = json!(names);
    }
    schema
}

/// One thing of a type.
fn one<T: ToSchema>(schemas: &mut Schemas) -> Value {
    schemas.add::<T>()
}

/// A page of a list of them, as [`wire::Page`] has it.
fn page<T: ToSchema>(schemas: &mut Schemas) -> Value {
    json!({
        "type": "object",
        "required": ["items", "next_cursor"],
        "properties": {
            "items": { "type": "array", "items": schemas.add::<T>() },
            "next_cursor": {
                "type": ["string", "null"],
                "description": "What `cursor` goes on from; null at the end of the list.",
            },
        },
    })
}

fn document() -> Value {
    let mut schemas = Schemas::default();
    let problem = schemas.add::<wire::Problem>();
    let mut paths = Map::new();
    for route in ROUTES.iter().filter(|route| matches!(route.serves, Serves::Calls(_))) {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut schemas);
    }
    let refusals = REFUSALS.iter().map(|refusal| (refusal.status.to_owned(), refusal.described(&problem)));
    let responses: Map<_, _> = refusals.collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "responses": responses,
            "securitySchemes": {
                "management_key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "pcm_…",
                    "description": "A management key. The roles are its scopes; `admin` stands for all of them.",
                },
            },
        },
    })
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let doc = Doc::of(route.method.as_str(), route.path);
    let mut parameters: Vec<Value> = names(route.path).map(calls::path_parameter).collect();
    parameters.extend(doc.query.iter().map(|parameter| parameter.described("query")));
    parameters.extend(doc.fields.iter().map(|parameter| parameter.described("header")));
    let mut answers = Map::new();
    for (status, means, content) in &doc.answers {
        let mut headers = json!({ "X-Request-Id": text_header("Marks the request, here and in the log.") });
        if doc.tagged {
            headers["ETag"] = text_header("The revision, for `If-Match`.");
        }
        let content = match content {
            calls::Content::Json(shape) => json!({ "application/json": { "schema": shape(schemas) } }),
            calls::Content::File(kind) => {
                json!({ *kind: { "schema": { "type": "string", "format": "binary" } } })
            }
            calls::Content::Text(kinds) => kinds
                .iter()
                .map(|kind| ((*kind).to_owned(), json!({ "schema": { "type": "string" } })))
                .collect::<Map<_, _>>()
                .into(),
        };
        let answer = json!({ "description": means, "headers": headers, "content": content });
        answers.insert(status.to_string(), answer);
    }
    for refusal in refusals(route, &doc) {
        let place = format!("#/components/responses/{}", refusal.status);
        answers.insert(refusal.status.to_owned(), json!({ "$ref": place }));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [tag(route.path)],
        "summary": doc.summary,
        "description": needs(route.need),
        "security": security(route.need),
        "parameters": parameters,
        "responses": answers,
    });
    if let Some((shape, required)) = doc.body {
        let content = json!({ "application/json": { "schema": shape(schemas) } });
        operation["requestBody"] = json!({ "required": required, "content": content });
    }
    operation
}

/// What stands in braces in a path.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '-', '.']).filter(|word| !word.is_empty() && *word != "v1");
    words.fold(route.method.as_str().to_ascii_lowercase(), |id, word| {
        format!("{id}_{}", word.trim_matches(['{', '}']))
    })
}

fn tag(path: &str) -> &str {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    match segments.next() {
        Some("v1") => segments.next().unwrap_or("api"),
        _ => "health",
    }
}

/// The refusals that a call can have: each that the server gives. Where its form is the same for every call, it stands among
/// the components.
fn refusals(route: &Route, doc: &Doc) -> impl Iterator<Item = &'static Refusal> {
    let named = names(route.path).next().is_some();
    let conditional = doc.fields.iter().any(|field| field.name == "If-Match");
    let judged = doc.body.is_some() || !doc.query.is_empty() || route.method == Method::POST;
    let (conflicting, keyed) = (doc.may_conflict, route.need != Need::Open);
    REFUSALS.iter().filter(move |refusal| match refusal.status {
        "401" => keyed,
        "404" => named,
        "409" => conflicting,
        "412" => conditional,
        "422" => judged,
        _ => true,
    })
}

struct Refusal {
    status: &'static str,
    means: &'static str,
    /// Whether a document says more. A request that is not read to its end gets none.
    told: bool,
}

const fn refusal(status: &'static str, means: &'static str) -> Refusal {
    Refusal { status, means, told: true }
}

const REFUSALS: [Refusal; 12] = [
    refusal("400", "Not what HTTP or JSON allow. Without a document where not even the head could be read."),
    refusal("401", "No management key, or one that is not in force."),
    refusal("403", "The key may not do this, or the Host is not one of the admin side's."),
    refusal("404", "There is no such thing, or none that the caller may see."),
    refusal("408", "The body did not arrive in time: `request_timeout`."),
    refusal("409", "What is there does not allow it: `conflict`, or `limit_reached`."),
    refusal("412", "It was changed since: `stale`."),
    refusal("413", "The body is too long: `body_too_large`."),
    Refusal { status: "414", means: "The target is too long.", told: false },
    refusal("422", "Fields are wrong, missing or unknown: `errors` names each."),
    Refusal { status: "431", means: "The head is too long.", told: false },
    refusal("503", "It cannot be done just now: `store_unavailable`, or what the detail says. Try again."),
];

impl Refusal {
    fn described(&self, problem: &Value) -> Value {
        if !self.told {
            return json!({ "description": self.means });
        }
        let mut headers = json!({ "X-Request-Id": text_header("Marks the request, here and in the log.") });
        match self.status {
            "401" => headers["WWW-Authenticate"] = text_header("How to authenticate."),
            "503" => headers["Retry-After"] = text_header("Seconds after which to try again."),
            _ => {}
        }
        let content = json!({ "application/problem+json": { "schema": problem } });
        json!({ "description": self.means, "headers": headers, "content": content })
    }
}

fn text_header(means: &str) -> Value {
    json!({ "description": means, "schema": { "type": "string" } })
}

fn needs(need: Need) -> String {
    match need {
        Need::Open => "Needs no key.".to_owned(),
        Need::Nothing => "Needs no key on this machine.".to_owned(),
        Need::Key => "Needs any management key.".to_owned(),
        Need::Scope(scope) => format!("Needs the scope `{}`.", scope.as_str()),
        Need::Workspace => "Needs the scope `admin`, with a key that is bound to no app.".to_owned(),
    }
}

fn security(need: Need) -> Value {
    match need {
        Need::Open => json!([{}]),
        Need::Nothing => json!([{}, { "management_key": [] }]),
        Need::Key => json!([{ "management_key": [] }]),
        Need::Scope(scope) => json!([{ "management_key": [scope.as_str()] }]),
        Need::Workspace => json!([{ "management_key": ["admin"] }]),
    }
}
