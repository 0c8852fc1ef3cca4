//! `[apps.…]`: the applications behind the gateway, and which host belongs to whom.

use super::environment::{self, Claims};
use super::report::Placed;
use super::section::Section;
use super::value::Given;
use super::{Admin, App, Gateway};
use crate::model::{AppName, EnvironmentName, Text};

pub(super) fn read(root: &mut Section<'_>, gateway: &Gateway, admin: &Admin) -> Vec<App> {
    let mut claims = Claims::default();
    let apps = root.entries("apps", |name, section| app(name, section, (gateway, admin), &mut claims));
    if apps.is_empty() {
        root.doubt("there is no app: every request gets unknown_host; add [apps.NAME] and its environments");
    }
    apps.into_iter().flatten().collect()
}

/// `None` where something is wrong, which was then reported.
fn app(
    name: &Placed<String>,
    section: &mut Section<'_>,
    ours: (&Gateway, &Admin),
    claims: &mut Claims,
) -> Option<App> {
    let valid = AppName::parse(&name.value);
    if let Err(wrong) = &valid {
        section.wrong(&name.place, &wrong.to_string());
    }
    let description = section.or("description", Text::default(), text::<1000>);
    let product = section.read("product", product).map(|read| read.value);
    let wanted = "at least one, as in [apps.NAME.environments.production], with `hosts` and `upstreams`";
    let environments = section.full_entries("environments", wanted, |name, section| {
        let valid = EnvironmentName::parse(&name.value);
        if let Err(wrong) = &valid {
            section.wrong(&name.place, &wrong.to_string());
        }
        environment::read(valid.ok()?, section, ours, claims)
    });
    Some(App {
        name: valid.ok()?,
        description: description.as_str().to_owned(),
        product,
        environments: environments.into_iter().collect::<Option<Vec<_>>>()?,
    })
}

fn text<const MAX: usize>(given: &Given<'_>) -> Result<Text<MAX>, String> {
    Text::parse(given.text("a string")?).map_err(|wrong| format!("wants {wrong}"))
}

/// A name, as apps have them: it groups them.
fn product(given: &Given<'_>) -> Result<String, String> {
    let name = given.text("a name, as in \"commerce\"")?;
    AppName::parse(name).map(|name| name.as_str().to_owned()).map_err(|wrong| format!("is no name: {wrong}"))
}
