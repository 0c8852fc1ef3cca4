//! What browser sessions are sealed with.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::gateway::Settings;
use crate::gateway::session::Seal;
use crate::secrets::{Key, KeyError, KeyFile};

/// Gives the settings their seal, where browsers may get sessions and there is none yet.
///
/// # Errors
/// When the key file holds something else than a key, or cannot be read.
pub(super) fn provide(settings: &mut Settings, config: &Config) -> Result<()> {
    let mut environments = config.apps.iter().flat_map(|app| &app.environments);
    if settings.seal.is_some() || !environments.any(|environment| environment.browser_sessions) {
        return Ok(());
    }
    let key = match KeyFile::find(&config.secrets.key_file, config.secrets.named).read_or_make() {
        Ok(key) => key,
        // Browsers sign in anew then; that is no reason to serve nobody.
        Err(error @ KeyError::Unwritable { .. }) => {
            tracing::warn!("{error}: browser sessions will end with this process (secrets.key_file)");
            Key::generate().context("secrets.key_file")?
        }
        Err(error) => return Err(error).context("secrets.key_file"),
    };
    settings.seal = Some(Arc::new(Seal::new(&key)));
    Ok(())
}
