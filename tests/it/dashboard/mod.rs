//! The dashboard: pages for people.

mod browser;
mod comfort;
mod deployments;
mod forgery;
mod leaks;
mod members;
mod pages;
mod secrets;
mod sessions;
mod typing;
mod weight;
