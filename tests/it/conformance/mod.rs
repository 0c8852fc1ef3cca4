//! What RFC 9113 and RFC 7541 ask of a server, rule by rule: the cases of the well-known public suite, and those that it
//! has not. Each says what is sent and what is owed for it; most of it the HTTP library does, and this is how we know.

mod case;
mod exchanges;
mod field_blocks;
mod flow_control;
mod frame_types;
mod frames;
mod hpack;
mod messages;
mod peer;
mod preface;
mod settings;
mod site;
mod streams;
