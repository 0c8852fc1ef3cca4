//! The dashboard: pages for people.

mod browser;
mod forgery;
mod pages;
mod sessions;
