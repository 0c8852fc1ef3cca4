//! The floor: our own forwarder of bytes.

use anyhow::Result;

use super::super::site::own;
use super::{Ground, Started};

pub(super) fn start(ground: &Ground<'_>) -> Result<Started> {
    let (process, plain) = own(ground.plan.core, &["forwarder", &ground.site.app.to_string()])?;
    Ok(Started { process, plain, encrypted: plain, log: None })
}
